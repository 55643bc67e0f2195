//! Rung 1: the work is done inside the request.
//!
//! The shortest server there is, and how most of them begin. One thread takes a request, does the work,
//! answers, and takes the next. While one client is served, all others hold their connections and wait;
//! after a minute or so a proxy or the client itself gives up, and sends the request again. The server
//! does not notice: it works through what nobody waits for any more, and is late for everybody else.
//!
//! ```sh
//! cargo run --example ladder1
//! curl -d hello http://127.0.0.1:8080/jobs     # HELLO, after 50 ms
//! curl -d panic http://127.0.0.1:8080/jobs     # the only thread is gone, and the server with it
//! ```

#[path = "work.rs"]
mod work;

use std::error::Error;
use std::io::{self, Read};

use tiny_http::{Method, Request, Response, Server};

/// The longest text that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8080".into());
    let server = Server::http(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.server_addr());
    for request in server.incoming_requests() {
        if let Err(error) = answer(request) {
            eprintln!("a client was not answered: {error}");
        }
    }
    Ok(())
}

fn answer(mut request: Request) -> io::Result<()> {
    if request.method() != &Method::Post {
        return request.respond(Response::empty(405));
    }
    let text = io::read_to_string(request.as_reader().take(MAX_BODY))?;
    // Everybody who is connected waits for this line.
    let result = work::work(&text);
    request.respond(Response::from_string(result))
}
