//! Receives callbacks and notes when each came.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use crate::Failed;

pub struct Sink {
    pub url: String,
    pub arrivals: Receiver<Arrival>,
}

/// One callback.
pub struct Arrival {
    /// From the job's finish to the receiver, where the body says when that was.
    pub took: Option<Duration>,
}

impl Sink {
    /// Receives on a port of its own until the process ends.
    pub fn open() -> Result<Sink, Failed> {
        let server = tiny_http::Server::http("127.0.0.1:0")?;
        let addr = server.server_addr().to_ip().ok_or("the receiver has no address")?;
        let (sender, arrivals) = channel();
        std::thread::Builder::new().name("sink".into()).spawn(move || {
            for mut request in server.incoming_requests() {
                let now = SystemTime::now();
                let mut body = Vec::new();
                let read = request.as_reader().read_to_end(&mut body);
                let took = read.ok().and_then(|_| finished_at(&body));
                let took = took.and_then(|finished| now.duration_since(finished).ok());
                if sender.send(Arrival { took }).is_err() {
                    return;
                }
                if let Err(error) = request.respond(tiny_http::Response::empty(204)) {
                    eprintln!("load: a callback could not be answered: {error}");
                }
            }
        })?;
        Ok(Sink { url: format!("http://{addr}/ring"), arrivals })
    }

    /// Waits for `count` callbacks, at most `patience` between two of them.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Vec<Arrival> {
        let next = || self.arrivals.recv_timeout(patience).ok();
        std::iter::from_fn(next).take(count).collect()
    }
}

fn finished_at(body: &[u8]) -> Option<SystemTime> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    humantime::parse_rfc3339(body.get("finished_at")?.as_str()?).ok()
}
