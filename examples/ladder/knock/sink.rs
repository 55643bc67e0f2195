//! Receives callbacks.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::Value;
use tiny_http::{Response, Server};

use crate::Failed;

pub struct Sink {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    pub url: String,
    /// The texts whose results have come.
    pub results: Receiver<String>,
}

impl Sink {
    /// Receives on a free port.
    pub fn open() -> Result<Sink, Failed> {
        let server = Arc::new(Server::http("127.0.0.1:0")?);
        let url = format!("http://{}/ring", server.server_addr());
        let (sender, results) = unbounded();
        let thread = thread::Builder::new().name("sink".into()).spawn({
            let server = Arc::clone(&server);
            move || receive(&server, &sender)
        })?;
        Ok(Sink { server, thread: Some(thread), url, results })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("invariant: the sink does not panic");
        }
    }
}

fn receive(server: &Server, results: &Sender<String>) {
    for mut request in server.incoming_requests() {
        let body: Option<Value> = serde_json::from_reader(request.as_reader()).ok();
        // The work makes capitals of a text; this makes the text of them again.
        if let Some(data) = body.as_ref().and_then(|body| body["data"].as_str()) {
            drop(results.send(data.to_lowercase()));
        }
        if let Err(error) = request.respond(Response::empty(204)) {
            eprintln!("knock: a callback could not be answered: {error}");
        }
    }
}
