//! The program and what it is attached to: a terminal that closes, an output that is closed or full, a
//! reader that has had enough.

use std::fs::{File, read_dir, read_link, read_to_string};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::cli::program;
use crate::support::binary::Binary;
use crate::support::{Target, TestServer, echo, eventually};

#[test]
fn a_terminal_that_closes_means_a_drain() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve_without_model(folder.path(), &["--demo", "--workers", "1"]);
    let reply = server.post("/jobs?seconds=2", "text/plain", b"work");
    let job = reply.header("location").expect("a location").to_owned();
    eventually("it runs", || (server.get(&job).json()["state"] == "running").then_some(()));
    server.signal("HUP");
    eventually("it drains", || (server.get("/readyz").status == 503).then_some(()));
    // A terminal may say it twice.
    server.signal("HUP");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("SIGHUP")), "{said:#?}");

    let again = Binary::serve_without_model(folder.path(), &["--demo"]);
    let job = again.get(&job).json();
    assert_eq!((job["state"].as_str(), &job["attempt"]), (Some("succeeded"), &1.into()), "{job}");
}

#[test]
fn under_nohup_a_server_outlives_its_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Quiet::serve(folder.path(), "trap '' HUP; exec \"$0\" \"$@\" 2>/dev/null");
    server.signal("HUP");
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn a_server_whose_stderr_is_closed_serves() {
    serves("exec \"$0\" \"$@\" 2>&-");
}

#[test]
fn a_server_whose_stdout_and_stderr_are_closed_serves() {
    serves("exec \"$0\" \"$@\" <&- >&- 2>&-");
}

#[test]
fn a_server_whose_stderr_is_full_serves() {
    serves("exec \"$0\" \"$@\" 2>/dev/full");
}

#[test]
fn a_server_whose_log_has_no_reader_serves() {
    serves("exec \"$0\" \"$@\" 2> >(exec true)");
}

/// Starts a server by this line of bash, with every line of the log on, and lets it work and stop.
fn serves(line: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Quiet::serve(folder.path(), line);
    let reply = server.post("/jobs?seconds=0", "text/plain", b"work");
    assert_eq!(reply.status, 202, "{reply:?}");
    let job = server.finished(reply.header("location").expect("a location"));
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(server.end().code(), Some(0), "{line}");
}

/// A server that nobody hears.
struct Quiet {
    child: Child,
    addr: SocketAddr,
}

impl Quiet {
    fn serve(folder: &Path, line: &str) -> Quiet {
        let mut child = Command::new("bash")
            .args(["-c", line, env!("CARGO_BIN_EXE_ringback")])
            .args(["-vv", "serve", "--demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash");
        let pid = child.id();
        let addr = eventually("it listens", || {
            assert_eq!(child.try_wait().expect("a status"), None, "it runs: {line}");
            listening(pid)
        });
        Quiet { child, addr }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(status.expect("kill(1)").success());
    }

    fn end(mut self) -> ExitStatus {
        self.signal("TERM");
        eventually("it ends", || self.child.try_wait().expect("a status"))
    }
}

impl Target for Quiet {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The IPv4 address that a process listens on (proc(5)).
fn listening(pid: u32) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let sockets: Vec<String> = read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .filter_map(|file| read_link(file.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .collect();
    let table = read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_its = fields[3] == LISTEN && sockets.contains(&format!("socket:[{}]", fields[9]));
        let port = u16::from_str_radix(fields[1].split_once(':')?.1, 16).ok()?;
        is_its.then(|| SocketAddr::from(([127, 0, 0, 1], port)))
    })
}

/// Every command that prints, with the arguments that it needs.
fn printing(server: &TestServer) -> Vec<Vec<String>> {
    let url = server.url("");
    let job = server.submit(b"work");
    server.finished(&job);
    let id = job.rsplit('/').next().expect("an id").to_owned();
    let file = server.folder().join("hello.txt");
    std::fs::write(&file, "hello").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let models = server.folder().to_str().expect("UTF-8");
    [
        &["jobs", "--url", &url][..],
        &["jobs", "list", "--url", &url],
        &["jobs", "show", &id, "--url", &url],
        &["send", file, "--url", &url],
        &["send", file, "--url", &url, "--wait", "0s"],
        &["model", "list", "--models", models],
        &["--help"],
        &["--version"],
        &["serve", "--help"],
    ]
    .iter()
    .map(|command| command.iter().map(|&word| word.to_owned()).collect())
    .collect()
}

#[test]
fn a_reader_that_has_had_enough_ends_a_command_quietly() {
    let server = TestServer::start(echo());
    for command in printing(&server) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        // The reading end of this pipe is closed before the program begins.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = program(&command).stdout(writer).output().expect("the program starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{command:?}: {said}");
        assert!(!said.contains("ipe") && !said.contains("panicked"), "{command:?}: {said}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_told_without_a_panic() {
    let server = TestServer::start(echo());
    for command in printing(&server).iter().filter(|command| !command[0].starts_with('-')) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        if command.contains(&"--help") {
            continue;
        }
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let ended = program(&command).stdout(full).output().expect("the program starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("No space left") && !said.contains("panicked"),
            "{command:?}: {said}"
        );
    }
}

#[test]
fn a_command_whose_stderr_is_full_ends_with_its_code() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let ended = program(&["jobs", "--url", "http://127.0.0.1:1"]).stderr(full).status();
    assert_eq!(ended.expect("the program starts").code(), Some(1));
}
