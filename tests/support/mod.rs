//! What the tests share: a real server on a port of its own, tasks that wait for a word from the test, and a
//! client that keeps every status and header.

#![allow(dead_code, reason = "each feature set uses its part")]

#[cfg(all(feature = "cli", feature = "whisper"))]
pub mod binary;
pub mod sink;
#[cfg(all(feature = "cli", feature = "whisper", target_os = "linux"))]
pub mod strace;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ringback::{Attempt, Builder, JobId, Output, Running, Server, TaskError};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes on a busy machine: who waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server in this process, with a folder of its own.
pub struct TestServer {
    running: Option<Running>,
    addr: SocketAddr,
    folder: TempDir,
}

impl TestServer {
    /// Starts it with the settings of `builder`, on a new folder.
    pub fn start(builder: Builder) -> TestServer {
        TestServer::start_on(tempfile::tempdir().expect("a folder"), builder)
    }

    /// Starts it on the folder of an earlier one.
    pub fn start_on(folder: TempDir, builder: Builder) -> TestServer {
        let server = builder.data(folder.path()).bind("127.0.0.1:0").expect("bind");
        let addr = server.addr();
        let running = Some(server.start().expect("start"));
        TestServer { running, addr, folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Drains it and gives back its folder.
    pub fn stop(mut self) -> TempDir {
        if let Some(running) = self.running.take() {
            running.stop();
        }
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"))
    }
}

impl Target for TestServer {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Somewhere to send requests to.
pub trait Target {
    fn addr(&self) -> SocketAddr;

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    fn get(&self, path: &str) -> Reply {
        request(agent().get(self.url(path)).call())
    }

    fn delete(&self, path: &str) -> Reply {
        request(agent().delete(self.url(path)).call())
    }

    fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        request(agent().post(self.url(path)).header("content-type", content_type).send(body))
    }

    /// `POST`s a form; see [`form`].
    fn post_form(&self, path: &str, parts: &[Part<'_>]) -> Reply {
        self.post(path, FORM_TYPE, &form(parts))
    }

    /// Submits an input to the default task and gives the job's address.
    fn submit(&self, bytes: &[u8]) -> String {
        let reply = self.post("/jobs", "application/octet-stream", bytes);
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.header("location").expect("a location").to_owned()
    }

    /// `POST`s with these headers.
    fn with_headers(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let post = agent().post(self.url(path));
        let post = headers.iter().fold(post, |post, (name, value)| post.header(*name, *value));
        request(post.send(body))
    }

    /// Sends bytes as they are, ends the sending side, and reads what comes back.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.addr()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(bytes).expect("it is sent");
        stream.shutdown(Shutdown::Write).expect("it is ended");
        let mut reply = Vec::new();
        // A server that closes on a broken request may reset the connection.
        drop(stream.read_to_end(&mut reply));
        String::from_utf8(reply).expect("UTF-8")
    }

    /// The hundred newest jobs.
    fn jobs(&self) -> Vec<Value> {
        self.get("/jobs?limit=100").json()["jobs"].as_array().expect("jobs").clone()
    }

    /// Asks for a job until it has ended.
    fn finished(&self, job: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.get(&format!("{job}?wait=5"));
            assert_eq!(reply.status, 200, "{reply:?}");
            let job = reply.json();
            if !matches!(job["state"].as_str(), Some("queued" | "running")) {
                return job;
            }
            assert!(Instant::now() < deadline, "the job does not end: {job}");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // A test that fails must not leave workers waiting for its channels.
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

/// A server whose default task gives back a word about its input.
pub fn echo() -> Builder {
    Server::builder().drain(Duration::from_secs(5)).task("echo", |attempt: &Attempt| {
        let bytes = attempt.input().bytes()?;
        Ok(Output::text(String::from_utf8_lossy(&bytes)))
    })
}

/// The test's side of a task that begins and ends when the test says so.
pub struct Gate {
    /// Each attempt as it begins.
    pub begun: Receiver<(JobId, u32)>,
    /// What one waiting attempt is to end with.
    pub end: Sender<Result<Output, TaskError>>,
}

impl Gate {
    /// The next attempt to begin.
    pub fn next(&self) -> (JobId, u32) {
        self.begun.recv_timeout(PATIENCE).expect("an attempt begins")
    }

    /// Lets one attempt succeed with `text`.
    pub fn succeed(&self, text: &str) {
        self.end.send(Ok(Output::text(text))).expect("an attempt waits");
    }
}

/// A server with one worker whose task waits at a gate; it also ends when it is canceled.
pub fn gated() -> (Builder, Gate) {
    let (begins, begun) = unbounded();
    let (end, ends) = bounded::<Result<Output, TaskError>>(16);
    let task = move |attempt: &Attempt| {
        begins.send((attempt.job(), attempt.number())).expect("the test listens");
        loop {
            match ends.recv_timeout(Duration::from_millis(10)) {
                Ok(result) => return result,
                Err(_) if attempt.is_canceled() => return Err(TaskError::permanent("canceled")),
                Err(_) => {}
            }
        }
    };
    let builder = Server::builder().workers(1).drain(Duration::from_secs(5)).task("gate", task);
    (builder, Gate { begun, end })
}

/// Tries until `probe` gives something, for what no channel announces.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// How many files there are in a folder and the folders in it.
pub fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

/// One reply, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The stable word of a problem.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        self.json()["code"].as_str().expect("a code").to_owned()
    }
}

/// An HTTP client that takes every status as an answer.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(PATIENCE * 3))
        .build()
        .into()
}

/// Takes a reply apart.
pub fn request(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut response = result.expect("an answer");
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let body = response.body_mut().read_to_vec().expect("a body");
    Reply { status: response.status().as_u16(), headers, body }
}

/// One part of a form.
pub enum Part<'a> {
    Field(&'a str, &'a str),
    /// Field name, file name, content type, contents.
    File(&'a str, &'a str, &'a str, &'a [u8]),
}

const BOUNDARY: &str = "----ringbackTestBoundary7MA4YWxk";

/// The content type that goes with [`form`].
pub const FORM_TYPE: &str = "multipart/form-data; boundary=----ringbackTestBoundary7MA4YWxk";

/// A form as a browser sends it.
pub fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let head = match part {
            Part::Field(name, _) => {
                format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n")
            }
            Part::File(name, file, content_type, _) => format!(
                "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
                 Content-Type: {content_type}\r\n\r\n"
            ),
        };
        let contents = match part {
            Part::Field(_, value) => value.as_bytes(),
            Part::File(_, _, _, bytes) => bytes,
        };
        body.extend_from_slice(format!("--{BOUNDARY}\r\n{head}").as_bytes());
        body.extend_from_slice(contents);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}
