//! A small blocking client: what the `ringback` program, the examples and the tests talk to a server
//! with. Every wait in it has a bound.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! use ringback::client::{Client, Upload};
//!
//! # fn main() -> Result<(), ringback::client::ClientError> {
//! let client = Client::new("http://127.0.0.1:8080");
//! let submitted = client.submit(Upload::file("talk.mp3")?.parameter("language", "en"))?;
//! let job = client.wait(submitted.id, Instant::now() + Duration::from_secs(600))?;
//! println!("{}: {:?}", job.state, job.data);
//! # Ok(())
//! # }
//! ```

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use ureq::http::{Response, header};
use ureq::{Agent, Body, RequestBuilder, SendBody};

use crate::api_key::ApiKey;
use crate::job::{JobId, State};

mod error;
mod reply;
mod upload;

pub use error::{ClientError, Problem};
pub use reply::{Callback, Input, Job, JobPage, Submitted};
pub use upload::Upload;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other side may keep still while the client reads or writes.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest `?wait=` of one request; a longer wait asks again.
const LONG_POLL: Duration = Duration::from_secs(25);
/// How long a server that does not say is left alone between two polls.
const POLL_PAUSE: Duration = Duration::from_secs(1);
/// The longest JSON reply that is read: an hour of speech with its words is some 10 MB.
const MAX_REPLY: u64 = 64 * 1024 * 1024;

/// Talks to one server. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    key: Option<ApiKey>,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:8080`. Nothing is sent yet. Proxy
    /// variables are not read.
    pub fn new(url: impl AsRef<str>) -> Client {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(STALL_TIMEOUT))
            .timeout_per_write(Some(STALL_TIMEOUT))
            .user_agent(concat!("ringback/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Client { agent, base: url.as_ref().trim_end_matches('/').to_owned(), key: None }
    }

    /// Shows this key with every request.
    #[must_use]
    pub fn with_key(mut self, key: ApiKey) -> Client {
        self.key = Some(key);
        self
    }

    /// The server's address, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Hands over an input for the default task and a callback (`POST /send`): the server answers
    /// `204 No Content` and sends the outcome to the callback. The upload needs one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the server says no, and the ways a request can break.
    pub fn send(&self, upload: Upload) -> Result<Submitted, ClientError> {
        self.post("/send", upload)
    }

    /// Hands over an input (`POST /jobs`), with a callback or to be asked for.
    ///
    /// # Errors
    /// As [`send`](Client::send).
    pub fn submit(&self, upload: Upload) -> Result<Submitted, ClientError> {
        self.post("/jobs", upload)
    }

    fn post(&self, path: &str, upload: Upload) -> Result<Submitted, ClientError> {
        let mut request = self.with_headers(self.agent.post(self.at(path)));
        if let Some(task) = upload.task_name() {
            request = request.query("task", task);
        }
        if let Some(key) = upload.key() {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        let mut body = upload.into_multipart()?;
        // Without `Expect: 100-continue`: ureq 3.5 waits in vain for a refusal that came with its body in
        // one piece, when the server leaves the connection open.
        let mut request = request.header(header::CONTENT_TYPE, body.content_type());
        // Without a length the body goes out in chunks.
        if let Some(length) = body.len() {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let reply = request.send(SendBody::from_reader(&mut body)).map_err(|e| self.broken(e))?;
        Submitted::from_reply(&self.base, &accepted(reply)?)
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 for a job the server does not know (any more).
    pub fn job(&self, id: JobId) -> Result<Job, ClientError> {
        read_json(self.get(&format!("/jobs/{id}"), &[])?)
    }

    /// Waits until a job has finished, at most until `deadline`, by long polls.
    ///
    /// # Errors
    /// [`ClientError::Unfinished`] when the deadline came first, else as [`job`](Client::job).
    pub fn wait(&self, id: JobId, deadline: Instant) -> Result<Job, ClientError> {
        loop {
            let asked = Instant::now();
            let left = deadline.saturating_duration_since(asked);
            // The contract counts whole seconds; rounded up so that the last part is waited for too.
            let wait = left.min(LONG_POLL).as_secs_f64().ceil();
            let reply = self.get(&format!("/jobs/{id}"), &[("wait", &wait.to_string())])?;
            let pause = retry_after(&reply).unwrap_or(POLL_PAUSE);
            let job: Job = read_json(reply)?;
            if job.state.is_finished() {
                return Ok(job);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(ClientError::Unfinished(Box::new(job)));
            }
            // A server with too many waiting replies answers at once; it is not asked in a hurry.
            if now.duration_since(asked).as_secs_f64() + 0.5 < wait {
                thread::sleep(pause.min(deadline - now));
            }
        }
    }

    /// Copies a succeeded job's output to `out`, in its own content type or as `format`, and returns
    /// the content type.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 while the job has no output; [`ClientError::Output`]
    /// when `out` takes no more.
    pub fn result(
        &self,
        id: JobId,
        format: Option<&str>,
        out: &mut dyn Write,
    ) -> Result<String, ClientError> {
        let format: Option<(&str, &str)> = format.map(|name| ("format", name));
        let reply = self.get(&format!("/jobs/{id}/result"), format.as_slice())?;
        let (head, body) = reply.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str());
        let content_type = content_type.and_then(Result::ok).unwrap_or("application/octet-stream");
        io::copy(&mut body.into_reader(), out).map_err(ClientError::Output)?;
        Ok(content_type.to_owned())
    }

    /// Cancels a queued or running job; forgets a finished one.
    ///
    /// # Errors
    /// As [`job`](Client::job).
    pub fn cancel(&self, id: JobId) -> Result<(), ClientError> {
        let path = self.at(&format!("/jobs/{id}"));
        let request = self.with_headers(self.agent.delete(path));
        let reply = request.call().map_err(|e| self.broken(e))?;
        accepted(reply).map(drop)
    }

    /// Jobs, newest first: those in `state` or all, at most `limit` (1 to 100), and only those older
    /// than `after` where it is given.
    ///
    /// # Errors
    /// The ways a request can break.
    pub fn list(
        &self,
        state: Option<State>,
        limit: usize,
        after: Option<JobId>,
    ) -> Result<JobPage, ClientError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(state.map(|state| ("state", state.to_string())));
        query.extend(after.map(|id| ("after", id.to_string())));
        let query: Vec<(&str, &str)> = query.iter().map(|(k, v)| (*k, v.as_str())).collect();
        read_json(self.get("/jobs", &query)?)
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Response<Body>, ClientError> {
        let request = self.with_headers(self.agent.get(self.at(path)));
        let request = request.query_pairs(query.iter().copied());
        accepted(request.call().map_err(|e| self.broken(e))?)
    }

    /// What goes with every request.
    fn with_headers<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header(header::AUTHORIZATION, format!("Bearer {}", key.as_str())),
            None => request,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn broken(&self, source: ureq::Error) -> ClientError {
        ClientError::Broken { url: self.base.clone(), source: Box::new(source) }
    }
}

/// The reply, where it is a 2xx.
fn accepted(reply: Response<Body>) -> Result<Response<Body>, ClientError> {
    if reply.status().is_success() {
        return Ok(reply);
    }
    let (status, retry_after) = (reply.status(), retry_after(&reply));
    // A refusal without a readable body is told by its status alone.
    let body = reply.into_body().into_with_config().limit(MAX_REPLY).read_to_vec();
    let body = body.unwrap_or_default();
    Err(ClientError::Refused(Problem::from_reply(status, retry_after, &body)))
}

fn read_json<T: DeserializeOwned>(reply: Response<Body>) -> Result<T, ClientError> {
    let body = reply.into_body().into_with_config().limit(MAX_REPLY).read_to_vec();
    let body = body.map_err(|error| ClientError::NotOurs(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| ClientError::NotOurs(error.to_string()))
}

fn retry_after(reply: &Response<Body>) -> Option<Duration> {
    let seconds = reply.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
