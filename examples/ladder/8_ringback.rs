//! Rung 8: ringback.
//!
//! What hurt: rung 7 keeps what it accepts and little else, at a hundred lines.
//!
//! What this mends: the same pattern, grown up. Callbacks are rows as jobs are, tried for three days by
//! eight couriers, so that a dead receiver delays nobody; jobs can be polled, waited for and canceled; one
//! that kills the process is given up after three times; ids cannot be guessed; uploads have threads of
//! their own and bounds for size, time and speed; commits of many clients share a sync; SIGTERM drains.
//!
//! ```sh
//! cargo run --example ladder8                    # keeps its jobs in ladder8-data
//! curl -i -d hello http://127.0.0.1:8080/jobs
//! curl -s 'http://127.0.0.1:8080/jobs/01a2…?wait=30'
//! ```

#[path = "work.rs"]
mod work;

use std::error::Error;

use ringback::{Attempt, Output, Server, TaskError};

fn shout(attempt: &Attempt) -> Result<Output, TaskError> {
    let text = attempt.input().bytes()?;
    Ok(Output::text(work::work(&String::from_utf8_lossy(&text))))
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "8080".into());
    let data = arguments.next().unwrap_or_else(|| "ladder8-data".into());
    let server = Server::builder().task("shout", shout).workers(2).max_queued(100).data(data);
    let server = server.bind(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.addr());
    Ok(server.run()?)
}
