//! Rung 5: the callback.
//!
//! What hurt: on rung 4 the client never learned the result.
//!
//! What this mends: with `?callback=URL` the result is POSTed there. A thread of its own does that, the
//! notifier, behind a second bounded channel: a worker that called by itself would stand still as long as
//! its receiver does, and the card with it. Each call has a timeout.
//!
//! What hurts now: a browser cannot be called. A call that fails is not tried again, a dead receiver
//! delays the calls behind it by a second each, and any URL is called that a stranger names.
//!
//! ```sh
//! cargo run --example ladder5
//! ringback listen --addr 127.0.0.1:9000
//! curl -d hello 'http://127.0.0.1:8080/jobs?callback=http://127.0.0.1:9000/'
//! ```

#[path = "work.rs"]
mod work;

use std::error::Error;
use std::io::{self, Read};
use std::panic::catch_unwind;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::json;
use tiny_http::{Header, Method, Request, Response, Server};

const WORKERS: usize = 2;
/// How many jobs may wait for a worker, and how many calls for the notifier.
const QUEUE: usize = 100;
/// The longest text that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024;
/// The longest that one call may take in all.
const CALL: Duration = Duration::from_secs(1);

/// A text and where its result goes; that place and the JSON for it.
type Job = (String, Option<String>);
type Call = (String, String);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8080".into());
    let server = Server::http(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.server_addr());
    let ((queue, jobs), (outbox, calls)) = (bounded(QUEUE), bounded(QUEUE));
    let spawn = |name: &str| thread::Builder::new().name(name.into());
    thread::scope(|scope| {
        spawn("notifier").spawn_scoped(scope, move || notify(&calls))?;
        for number in 0..WORKERS {
            let (jobs, outbox) = (jobs.clone(), outbox.clone());
            let worker = spawn(&format!("worker-{number}"));
            worker.spawn_scoped(scope, move || consume(&jobs, &outbox))?;
        }
        for request in server.incoming_requests() {
            accept(request, &queue).unwrap_or_else(|error| eprintln!("not answered: {error}"));
        }
        // Closes the queue; when the workers have ended, the outbox closes, and the notifier ends.
        drop((queue, outbox));
        Ok(())
    })
}

fn accept(mut request: Request, queue: &Sender<Job>) -> io::Result<()> {
    if request.method() != &Method::Post {
        return request.respond(Response::empty(405));
    }
    let callback = request.url().split_once("?callback=").map(|(_, url)| url.to_owned());
    let text = io::read_to_string(request.as_reader().take(MAX_BODY))?;
    if queue.try_send((text, callback)).is_ok() {
        return request.respond(Response::empty(202));
    }
    let later = Header::from_bytes("Retry-After", "1").expect("invariant: plain ASCII");
    request.respond(Response::empty(503).with_header(later))
}

fn consume(jobs: &Receiver<Job>, outbox: &Sender<Call>) {
    for (text, callback) in jobs {
        let result = match catch_unwind(|| work::work(&text)) {
            Ok(data) => json!({ "success": true, "data": data }),
            Err(_) => json!({ "success": false, "error": "the work panicked" }),
        };
        // Waits while the outbox is full: then the queue fills, too, and new clients get a 503.
        if callback.is_some_and(|url| outbox.send((url, result.to_string())).is_err()) {
            eprintln!("the notifier is gone");
        }
    }
}

fn notify(calls: &Receiver<Call>) {
    let config = ureq::Agent::config_builder().timeout_global(Some(CALL)).proxy(None);
    let agent = config.max_redirects(0).build().new_agent();
    for (url, json) in calls {
        if let Err(error) = agent.post(&url).content_type("application/json").send(json) {
            eprintln!("{url} was called in vain: {error}");
        }
    }
}
