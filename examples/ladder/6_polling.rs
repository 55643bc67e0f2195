//! Rung 6: polling.
//!
//! What hurt: on rung 5 only a client that can be called learned its result; a browser cannot.
//!
//! What this mends: a job has a number, and its state stands where the client, told by `Location`, asks for
//! it. Only the newest thousand are kept: what stays to be read needs a bound as much as a queue does.
//!
//! What hurts now: all of it is memory. A restart forgets every job, and counts from 1 again: a client that
//! goes on asking for job 7 is given somebody else's.
//!
//! ```sh
//! cargo run --example ladder6
//! curl -i -d hello http://127.0.0.1:8080/jobs    # 202, Location: /jobs/1
//! curl -s http://127.0.0.1:8080/jobs/1           # {"data":"HELLO","state":"succeeded"}
//! ```

#[path = "work.rs"]
mod work;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Cursor, Read};
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};
use tiny_http::{Header, Method, Request, Response, Server};

const WORKERS: usize = 2;
/// How many jobs may wait, how many are remembered, and the longest text that is read, in bytes.
const QUEUE: usize = 100;
const KEPT: usize = 1000;
const MAX_BODY: u64 = 64 * 1024;

/// What is told of each job; the oldest comes first.
static BOARD: Mutex<BTreeMap<u64, Value>> = Mutex::new(BTreeMap::new());
type Reply = io::Result<Response<Cursor<Vec<u8>>>>;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8080".into());
    let server = Server::http(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.server_addr());
    let (queue, jobs) = bounded(QUEUE);
    thread::scope(|scope| {
        for number in 0..WORKERS {
            let (name, jobs) = (format!("worker-{number}"), jobs.clone());
            thread::Builder::new().name(name).spawn_scoped(scope, move || consume(&jobs))?;
        }
        for (mut request, id) in server.incoming_requests().zip(1..) {
            let reply = answer(&mut request, id, &queue);
            let sent = reply.and_then(|reply| request.respond(reply));
            sent.unwrap_or_else(|error| eprintln!("not answered: {error}"));
        }
        drop(queue);
        Ok(())
    })
}

fn answer(request: &mut Request, id: u64, queue: &Sender<(u64, String)>) -> Reply {
    let status = |code: u16| Response::from_string("").with_status_code(code);
    let asked = request.url().strip_prefix("/jobs/").and_then(|id| id.parse().ok());
    Ok(match (request.method(), asked) {
        (Method::Get, Some(asked)) => told(asked).map_or(status(404), Response::from_string),
        // Only this thread sends, so what has room here still has it below.
        (Method::Post, _) if queue.is_full() => status(503),
        (Method::Post, _) => {
            let text = io::read_to_string(request.as_reader().take(MAX_BODY))?;
            tell(id, json!({ "state": "queued" }));
            queue.send((id, text)).map_err(io::Error::other)?;
            let place = Header::from_bytes("Location", format!("/jobs/{id}"));
            status(202).with_header(place.expect("invariant: ASCII"))
        }
        _ => status(405),
    })
}

fn told(id: u64) -> Option<String> {
    BOARD.lock().expect("invariant: nothing panics under it").get(&id).map(Value::to_string)
}

fn tell(id: u64, job: Value) {
    let mut board = BOARD.lock().expect("invariant: nothing panics under it");
    board.insert(id, job);
    if board.len() > KEPT {
        board.pop_first();
    }
}

fn consume(jobs: &Receiver<(u64, String)>) {
    for (id, text) in jobs {
        tell(id, json!({ "state": "running" }));
        match catch_unwind(|| work::work(&text)) {
            Ok(data) => tell(id, json!({ "state": "succeeded", "data": data })),
            Err(_) => tell(id, json!({ "state": "failed", "error": "the work panicked" })),
        }
    }
}
