//! Rung 4: as many workers as the machine bears.
//!
//! What hurt: on rung 3 the one worker left one of the card's two units idle.
//!
//! What this mends: N workers take from the same channel. crossbeam's receivers can be cloned, and each job
//! goes to exactly one of them; nobody deals them out. N is a property of the machine, not of the crowd: as
//! many as it can compute at once. A worker more than that makes every job slower and no second shorter.
//! They are started in a scope, which ends only when all of them have: no thread is forgotten.
//!
//! What hurts now: still, nobody learns the result.
//!
//! ```sh
//! cargo run --example ladder4            # two workers
//! cargo run --example ladder4 -- 8080 16 # try more; then knock
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
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "8080".into());
    let workers: usize = arguments.next().map_or(Ok(2), |count| count.parse())?;
    let server = Server::http(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.server_addr());
    let (queue, jobs) = bounded(QUEUE);
    thread::scope(|scope| {
        for number in 0..workers {
            let (name, jobs) = (format!("worker-{number}"), jobs.clone());
            thread::Builder::new().name(name).spawn_scoped(scope, move || consume(&jobs))?;
        }
        for request in server.incoming_requests() {
            if let Err(error) = accept(request, &queue) {
                eprintln!("a client was not answered: {error}");
            }
        }
        // Closes the channel: the workers do what is still in it, and end.
        drop(queue);
        Ok(())
    })
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

/// A consumer: sleeps until there is a job, and ends when the channel is closed and empty.
fn consume(jobs: &Receiver<String>) {
    for text in jobs {
        if catch_unwind(|| work::work(&text)).is_err() {
            eprintln!("a job panicked; the worker goes on");
        }
    }
}
