//! Rung 3: producers, a bounded queue, a consumer.
//!
//! What hurt: on rung 2 each request brought a thread of its own, so that the crowd at the door decided how
//! much ran at once, and connections were held for as long as the work took.
//!
//! What this mends: the door and the work are two threads with a channel between them. Taking a job is
//! quick, so each client is answered in a millisecond: `202 Accepted`. The channel has a bound, so a crowd
//! is told `503` and when to come back, at once, while it still costs nothing to say. And the one thread
//! that all depends on survives its work: without `catch_unwind` the first panic would end it, and the
//! server would go on accepting what nobody does.
//!
//! What hurts now: one worker leaves one of the card's two units idle, and nobody learns the result.
//!
//! ```sh
//! cargo run --example ladder3
//! curl -i -d hello http://127.0.0.1:8080/jobs     # 202 at once; the result is on the server's own screen
//! ```

#[path = "work.rs"]
mod work;

use std::error::Error;
use std::io::{self, Read};
use std::panic::catch_unwind;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tiny_http::{Header, Method, Request, Response, Server};

/// How many jobs may wait.
const QUEUE: usize = 100;
/// The longest text that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8080".into());
    let server = Server::http(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.server_addr());
    let (queue, jobs) = bounded(QUEUE);
    let worker = thread::Builder::new().name("worker".into()).spawn(move || consume(&jobs))?;
    for request in server.incoming_requests() {
        if let Err(error) = accept(request, &queue) {
            eprintln!("a client was not answered: {error}");
        }
    }
    // Closes the channel: the worker does what is still in it, and ends.
    drop(queue);
    worker.join().map_err(|_| "the worker panicked".into())
}

/// The producer's side.
fn accept(mut request: Request, queue: &Sender<String>) -> io::Result<()> {
    if request.method() != &Method::Post {
        return request.respond(Response::empty(405));
    }
    let text = io::read_to_string(request.as_reader().take(MAX_BODY))?;
    match queue.try_send(text) {
        Ok(()) => request.respond(Response::empty(202)),
        Err(TrySendError::Full(_)) => {
            let later = Header::from_bytes("Retry-After", "1").expect("invariant: plain ASCII");
            request.respond(Response::empty(503).with_header(later))
        }
        Err(TrySendError::Disconnected(_)) => request.respond(Response::empty(500)),
    }
}

/// The consumer's side: sleeps until there is a job, and ends when the channel is closed and empty.
fn consume(jobs: &Receiver<String>) {
    for text in jobs {
        if catch_unwind(|| work::work(&text)).is_err() {
            eprintln!("a job panicked; the worker goes on");
        }
    }
}
