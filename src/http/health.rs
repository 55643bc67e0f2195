//! Whether the server lives, whether it is ready, and what it is.

use super::problem::{Code, Problem};
use super::reply::Reply;
use crate::queue::Trouble;
use crate::shared::{Phase, Shared};

/// `GET /` as plain text: a word to whoever found the address.
pub(crate) fn hello(shared: &Shared) -> Reply {
    let tasks: Vec<&str> = shared.tasks.names().collect();
    let text = format!(
        "ringback: hand over slow work, get a ring back when it is done.\n\n\
         POST   /send                   a form with `file` and `callback`; 204\n\
         POST   /jobs                   a form with `file`, or the input itself; 202\n\
         GET    /jobs/ID                the job; ?wait=30 waits for its end\n\
         GET    /jobs/ID/result         what it gave; ?format=NAME\n\
         DELETE /jobs/ID                cancel it, or forget it\n\
         GET    /jobs                   the newest; ?state=, ?limit=, ?after=\n\
         GET    /jobs/ID/deliveries     what became of its callback\n\
         GET    /queue.json             who does what, and how often; /queue draws it\n\
         GET    /ringback.js            the client for browsers\n\
         GET    /livez, /readyz\n\n\
         Tasks: {}\n",
        tasks.join(", ")
    );
    Reply::bytes(200, "text/plain; charset=utf-8", text)
}

/// `GET /livez`: an answer is the answer.
pub(crate) fn live() -> Reply {
    Reply::json(200, &serde_json::json!({ "status": "live" }))
}

/// `GET /readyz`: whether jobs sent now are taken, and worked on now.
pub(crate) fn ready(shared: &Shared) -> Result<Reply, Problem> {
    match shared.phase() {
        Phase::Ready => {
            check_disk(shared)?;
            Ok(Reply::json(200, &serde_json::json!({ "status": "ready" })))
        }
        Phase::Starting => {
            let detail = "The server is starting; it takes jobs already.";
            Err(Problem::new(Code::Starting, detail).retry_after(1))
        }
        Phase::Draining => Err(Problem::new(Code::Draining, "The server is stopping.")),
    }
}

/// Whether a job would be stored, as far as the last changes and the disk tell.
fn check_disk(shared: &Shared) -> Result<(), Problem> {
    let trouble = shared.queue.trouble();
    let trouble = trouble.or_else(|| shared.spool.room().is_short().then_some(Trouble::DiskFull));
    let Some(trouble) = trouble else { return Ok(()) };
    // The janitor tries until it is over, also where nobody sends anything meanwhile.
    shared.bells.sweep_due();
    Err(match trouble {
        Trouble::DiskFull => {
            let detail = "The disk is full, or has less room than is kept free (`--min-free`).";
            Problem::new(Code::DiskFull, detail)
        }
        Trouble::Failing => {
            let detail = "The job store could not be read or written; the server's log says why.";
            Problem::new(Code::StoreFailed, detail)
        }
    }
    .retry_after(10))
}
