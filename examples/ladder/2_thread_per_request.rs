//! Rung 2: a thread for each request.
//!
//! What hurt: on rung 1 one client at a time was served, on one of the card's two units, and a panic
//! ended the server.
//!
//! What this mends: requests no longer wait for each other, both units are used, and a panic ends one
//! request. With two or three clients this is all one needs.
//!
//! What hurts now: nothing says how many. The card does not compute faster because more is asked of it;
//! fifty requests at once each get a twenty-fifth of a unit, their data no longer fit, and all of them
//! end late instead of some of them in time. Threads and memory grow with whoever sends, without a bound.
//!
//! ```sh
//! cargo run --example ladder2
//! for i in 1 2 3 4; do curl -d "hello $i" http://127.0.0.1:8080/jobs & done; wait
//! ```

#[path = "work.rs"]
mod work;

use std::error::Error;
use std::io::{self, Read};
use std::thread;

use tiny_http::{Method, Request, Response, Server};

/// The longest text that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8080".into());
    let server = Server::http(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.server_addr());
    for request in server.incoming_requests() {
        // Nobody counts these threads, and nobody waits for them.
        let started = thread::Builder::new().name("request".into()).spawn(move || {
            if let Err(error) = answer(request) {
                eprintln!("a client was not answered: {error}");
            }
        });
        if let Err(error) = started {
            eprintln!("no thread was left for a request: {error}");
        }
    }
    Ok(())
}

fn answer(mut request: Request) -> io::Result<()> {
    if request.method() != &Method::Post {
        return request.respond(Response::empty(405));
    }
    let text = io::read_to_string(request.as_reader().take(MAX_BODY))?;
    // Only this client waits, but as long as the work of all the others makes it.
    let result = work::work(&text);
    request.respond(Response::from_string(result))
}
