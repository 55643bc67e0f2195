//! A system that has no file, no thread or no memory to give for a moment, or too few files for a server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::binary::Binary;
use crate::support::strace::Injection;
use crate::support::{PATIENCE, Target, eventually};

/// The longest time after a failure until the server serves again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a client sees of one request.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Status(u16),
    /// The connection ended without an answer.
    Nothing,
}

struct Starved {
    server: Binary,
    around: TempDir,
}

impl Starved {
    fn start() -> Starved {
        let around = tempfile::tempdir().expect("a folder");
        let server = Binary::serve_without_model(&around.path().join("data"), &["--demo"]);
        // A fault before that would end the start.
        eventually("it is ready", || (server.get("/readyz").status == 200).then_some(()));
        Starved { server, around }
    }

    fn ask(&self, method: &str, target: &str) -> Seen {
        let mut stream = TcpStream::connect(self.server.addr()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"
        );
        let mut reply = Vec::new();
        // A server that has no thread for a connection may reset it.
        if stream.write_all(head.as_bytes()).is_err() || stream.read_to_end(&mut reply).is_err() {
            return Seen::Nothing;
        }
        let reply = String::from_utf8(reply).expect("UTF-8");
        let status = reply.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        status.map_or(Seen::Nothing, Seen::Status)
    }

    /// Lets `fault` strike once, while requests come; then the server must serve again within a second.
    fn survives(&self, fault: &str) {
        let Some(injection) = Injection::begin(self.server.pid(), fault, self.around.path()) else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        while !injection.has_struck() {
            assert!(Instant::now() < deadline, "{fault} strikes nobody");
            for (method, target) in [("GET", "/livez"), ("POST", "/jobs?seconds=0&coalesce=false")]
            {
                let seen = self.ask(method, target);
                let told = [Seen::Status(200), Seen::Status(202), Seen::Status(503), Seen::Nothing];
                assert!(told.contains(&seen), "{fault}: {seen:?}");
            }
        }
        drop(injection);
        let began = Instant::now();
        while self.ask("GET", "/livez") != Seen::Status(200) {
            assert!(began.elapsed() < AGAIN, "{fault}: the server does not serve again");
        }
        assert!(began.elapsed() < AGAIN, "{fault}: {:?}", began.elapsed());
        let work = self.server.post("/jobs?seconds=0", "text/plain", b"work");
        assert_eq!(work.status, 202, "{fault}: {work:?}");
        let job = self.server.finished(work.header("location").expect("a location"));
        assert_eq!(job["state"], "succeeded", "{fault}: {job}");
    }
}

/// Each test lets one call fail with some errors.
macro_rules! faults {
    ($($test:ident: $call:literal [$($error:literal)*])*) => {
        $(#[test] fn $test() {
            let starved = Starved::start();
            for error in [$($error),*] {
                starved.survives(&format!("{}:error={error}:when=1", $call));
            }
        })*
    };
}

faults! {
    a_failed_accept_does_not_end_http: "accept4" ["ENFILE" "EMFILE" "ECONNABORTED" "EINTR" "EPERM" "ENOMEM"]
    a_thread_that_cannot_be_started_does_not_end_http: "clone3" ["EAGAIN"]
    a_socket_that_cannot_be_copied_does_not_end_http: "fcntl" ["EMFILE"]
    a_socket_that_cannot_be_made_does_not_end_http: "socket" ["ENFILE"]
    a_failed_connect_does_not_end_http: "connect" ["ECONNREFUSED" "EAGAIN"]
    a_failed_wait_for_connections_does_not_end_http: "ppoll" ["EINTR" "ENOMEM"]
}

/// A hundred of these take a minute: `make soak` runs them.
#[test]
fn http_serves_again_within_a_second_after_each_failed_accept() {
    let rounds = std::env::var("RINGBACK_TEST_ROUNDS").map_or(3, |n| n.parse().expect("a number"));
    let starved = Starved::start();
    for _ in 0..rounds {
        starved.survives("accept4:error=ENFILE:when=1");
    }
}

#[test]
fn connections_that_use_up_every_file_do_not_end_http() {
    let starved = Starved::start();
    let pid = starved.server.pid().to_string();
    let limited = Command::new("prlimit").args(["--nofile=40:40", "--pid", &pid]).status();
    assert!(limited.expect("prlimit(1)").success());
    let idle: Vec<TcpStream> =
        (0..32).map(|_| TcpStream::connect(starved.server.addr()).expect("a connection")).collect();
    // Idle connections make room where the files of the process have run out.
    let deadline = Instant::now() + PATIENCE;
    while starved.ask("GET", "/livez") != Seen::Status(200) {
        assert!(Instant::now() < deadline, "idle connections keep everybody out");
    }
    drop(idle);
    let began = Instant::now();
    while starved.ask("GET", "/livez") != Seen::Status(200) {
        assert!(began.elapsed() < AGAIN, "the server does not serve again");
    }
}

#[test]
fn too_few_files_are_refused_at_start_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let ended = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringback")])
        .args(["serve", "--demo", "--workers", "2", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output()
        .expect("a shell");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(" 64 ") && said.contains(" 114") && said.contains("ulimit"), "{said}");
    assert!(!data.exists(), "a server that does not start makes no folder");
}

#[test]
fn a_start_without_threads_ends_with_one_line() {
    for nth in [1, 2, 3, 20] {
        let folder = tempfile::tempdir().expect("a folder");
        let ended = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3", "-e"])
            .arg(format!("inject=clone3:error=EAGAIN:when={nth}"))
            .arg(env!("CARGO_BIN_EXE_ringback"))
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .env_remove("RUST_BACKTRACE")
            .output()
            .expect("strace starts: install the package strace");
        let said = String::from_utf8(ended.stderr).expect("UTF-8");
        if said.contains("Operation not permitted") {
            return;
        }
        assert_eq!(ended.status.code(), Some(1), "{nth}: {said}");
        let last = said.lines().last().expect("a line");
        assert!(last.starts_with("ringback: ") && last.contains("start"), "{nth}: {said}");
    }
}
