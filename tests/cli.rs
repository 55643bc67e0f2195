//! The program at the shell: what it says to wrong flags, and the way of a file through `send`, `jobs`
//! and `listen`.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use ringback::{Attempt, Output as Done, TaskError};
use tempfile::TempDir;

use crate::support::{Target, TestServer, echo, eventually, gated};

/// Runs the program to its end.
fn ringback(arguments: &[&str]) -> Ended {
    let output = program(arguments).output().expect("the program starts");
    Ended { arguments: arguments.iter().map(|&a| a.to_owned()).collect(), output }
}

pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    // What is set where the tests run must not decide them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGBACK_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// What a run of the program left.
#[derive(Debug)]
struct Ended {
    arguments: Vec<String>,
    output: Output,
}

impl Ended {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    fn with_code(self, code: i32) -> Ended {
        let (out, err) = (self.stdout(), self.stderr());
        let arguments = &self.arguments;
        assert_eq!(self.output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
        self
    }
}

/// A file to send, in a folder that goes with it.
fn file(name: &str, contents: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, contents).expect("a file");
    (folder, path)
}

/// `ringback listen` on a port of its own.
struct Listener {
    child: Child,
    url: String,
}

impl Listener {
    fn start(arguments: &[&str]) -> Listener {
        let mut child = program(&["listen"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let url = line.trim().strip_prefix("listening on ").expect("its address").to_owned();
        Listener { child, url }
    }

    /// What it printed, once it has ended by itself.
    fn printed(mut self) -> String {
        let status = eventually("the receiver ends", || self.child.try_wait().expect("a status"));
        let mut out = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
        assert!(status.success(), "{status}: {out}");
        out
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn wrong_flags_end_with_2_and_say_what_would_be_right() {
    for (arguments, says) in [
        (&["serve", "--listen", "8080"][..], "ADDRESS:PORT"),
        (&["serve", "--max-body", "a lot"], "512MiB"),
        (&["serve", "--keep", "24"], "24h"),
        (&["serve", "--drain", "soon"], "30s"),
        (&["serve", "--workers", "0"], "1.."),
        (&["serve", "--max-queued", "0"], "1.."),
        (&["serve", "--callbacks", "everywhere"], "lan"),
        (&["serve", "--cors-origin", "app.example"], "https://app.example"),
        (&["serve", "--per-client", "0"], "1.."),
        (&["serve", "--rate", "fast"], "--rate"),
        (&["send"], "<FILE>"),
        (&["send", "x", "-p", "language"], "NAME=VALUE"),
        (&["send", "no-such-file.wav"], "no-such-file.wav"),
        (&["send", "x", "--url", "example.org"], "http://"),
        (&["jobs", "--state", "asleep"], "queued, running"),
        (&["jobs", "show", "1"], "not a job's id"),
        (&["listen", "--secret", "hush"], "whsec_"),
        (&["transcribe"], "unrecognized subcommand"),
    ] {
        let ended = ringback(arguments).with_code(2);
        assert!(ended.stderr().contains(says), "{arguments:?}: {}", ended.stderr());
    }
}

#[test]
fn a_secret_is_not_repeated_when_it_is_wrong() {
    for wrong in [
        &["serve", "--webhook-secret", "whsec_tooshort"][..],
        &["serve", "--api-key", "tooshort"],
        &["jobs", "list", "--api-key", "tooshort"],
    ] {
        let ended = ringback(wrong).with_code(2);
        assert!(!ended.stderr().contains("tooshort"), "{}", ended.stderr());
    }
}

#[cfg(feature = "whisper")]
#[test]
fn a_server_that_others_reach_asks_for_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let model = crate::support::binary::model();
    let (data_arg, model) = (data.to_str().expect("UTF-8"), model.to_str().expect("UTF-8"));
    let serve = ["serve", "--listen", "0.0.0.0:0", "--data", data_arg, "--model", model];
    let ended = ringback(&serve).with_code(2);
    for way in ["--api-key", "127.0.0.1", "--insecure"] {
        assert!(ended.stderr().contains(way), "{}", ended.stderr());
    }
    assert!(!data.exists(), "a server that does not start makes no folder");
}

#[cfg(feature = "whisper")]
#[test]
fn without_a_model_one_line_names_the_command_to_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let ended = ringback(&["serve", "--data", data.to_str().expect("UTF-8")]).with_code(2);
    let said = ended.stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("ringback model get tiny.en"), "{said}");
    assert!(!data.exists(), "a server that does not start makes no folder");
}

#[test]
fn help_names_every_variable_of_serve() {
    let help = ringback(&["serve", "--help"]).with_code(0).stdout();
    let flags = help.lines().map(str::trim_start).filter_map(|line| {
        let flag = line.strip_prefix("--")?.split([' ', '.']).next()?;
        Some(flag.to_owned())
    });
    let mut seen = 0;
    for flag in flags {
        let variable = format!("[env: RINGBACK_{}", flag.replace('-', "_").to_uppercase());
        assert!(help.contains(&variable), "--{flag} has no variable in:\n{help}");
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} flags in:\n{help}");
}

#[test]
fn send_prints_the_result_alone() {
    let server = TestServer::start(echo());
    let (_folder, path) = file("hello.txt", "hello");
    let path = path.to_str().expect("UTF-8");
    let ended = ringback(&["send", path, "--url", &server.url("")]).with_code(0);
    assert_eq!(ended.stdout(), "hello\n");
    assert_eq!(ended.stderr(), "");
}

#[test]
fn send_tells_why_a_job_failed() {
    let builder = ringback::Server::builder().task("never", |_: &Attempt| {
        Err::<Done, _>(TaskError::permanent("this is no recording").with_code("undecodable"))
    });
    let server = TestServer::start(builder);
    let (_folder, path) = file("x", "x");
    let path = path.to_str().expect("UTF-8");
    let ended = ringback(&["send", path, "--url", &server.url("")]).with_code(1);
    assert_eq!(ended.stderr(), "ringback: this is no recording (undecodable)\n");
    let ended = ringback(&["send", path, "--url", &server.url(""), "--task", "other"]).with_code(1);
    assert!(ended.stderr().contains("unknown_task"), "{}", ended.stderr());
}

#[test]
fn send_that_has_waited_long_enough_says_that_the_job_goes_on() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let (_folder, path) = file("x", "x");
    let path = path.to_str().expect("UTF-8");
    let ended = ringback(&["send", path, "--url", &server.url(""), "--wait", "100ms"]).with_code(1);
    let (id, _) = gate.next();
    let said = ended.stderr();
    assert!(said.starts_with(&format!("ringback: job {id} is still ")), "{said}");
    assert!(said.ends_with(" and goes on\n"), "{said}");
    gate.succeed("late");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // A port that was free a moment ago, and that nothing listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("its address"));
    drop(free);
    let ended = ringback(&["jobs", "--url", &url]).with_code(1);
    assert!(ended.stderr().contains(&url), "{}", ended.stderr());
    assert!(ended.stderr().contains("ringback serve"), "{}", ended.stderr());
}

#[test]
fn a_callback_arrives_at_listen_and_its_signature_is_checked() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = ringback::parse_secret(secret).expect("a secret");
    let server = TestServer::start(echo().webhook_secret(key));
    let listener = Listener::start(&["--count", "1", "--secret", secret]);
    let (_folder, path) = file("hello.txt", "hello");
    let path = path.to_str().expect("UTF-8");
    let sent = ringback(&["send", path, "--url", &server.url(""), "--callback", &listener.url]);
    let sent = sent.with_code(0).stdout();
    assert!(sent.starts_with("204 No Content after "), "{sent}");
    assert!(sent.contains(&format!("Location: {}/jobs/", server.url(""))), "{sent}");
    let printed = listener.printed();
    assert!(printed.contains("webhook-id: "), "{printed}");
    assert!(printed.contains("(the signature is right)"), "{printed}");
    assert!(printed.contains(r#"{"success":true,"data":"hello""#), "{printed}");
}

#[test]
fn a_wrong_signature_is_told_and_refused() {
    let listener =
        Listener::start(&["--count", "1", "--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let reply = crate::support::agent()
        .post(&listener.url)
        .header("webhook-id", "1")
        .header("webhook-timestamp", "1")
        .header("webhook-signature", "v1,AAAA v2,BBBB nonsense")
        .send("{}");
    assert_eq!(crate::support::request(reply).status, 401);
    assert!(listener.printed().contains("WRONG"));
}

#[test]
fn jobs_are_listed_shown_and_canceled() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let url = server.url("");
    let (_folder, path) = file("hello.txt", "hello");
    let path = path.to_str().expect("UTF-8");
    ringback(&["send", path, "--url", &url, "--wait", "0s"]).with_code(0);
    let id = gate.next().0.to_string();

    let listed = ringback(&["jobs", "--url", &url]).with_code(0).stdout();
    let line = listed.lines().nth(1).expect("a job");
    assert!(line.starts_with(&id) && line.contains("running"), "{listed}");
    assert!(line.ends_with("hello.txt"), "{listed}");

    let shown = ringback(&["jobs", "show", &id, "--url", &url]).with_code(0).stdout();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["state"], "running");

    ringback(&["jobs", "cancel", &id, "--url", &url]).with_code(0);
    let listed = ringback(&["jobs", "list", "--state", "canceled", "--url", &url]).with_code(0);
    assert!(listed.stdout().contains(&id), "{}", listed.stdout());

    ringback(&["jobs", "cancel", &id, "--url", &url]).with_code(0);
    let gone = ringback(&["jobs", "show", &id, "--url", &url]).with_code(1);
    assert!(gone.stderr().contains("404"), "{}", gone.stderr());
}

#[test]
fn pipes_are_sent_to_their_end() {
    let server = TestServer::start(echo().max_body(1024 * 1024));
    let (_folder, path) = file("hello.txt", "hello from a pipe");
    let path = path.to_str().expect("UTF-8");
    let url = server.url("");
    let bash = |line: &str| {
        let mut shell = Command::new("bash");
        shell.args(["-c", line, env!("CARGO_BIN_EXE_ringback"), path, &url]);
        shell.output().expect("bash")
    };
    for line in [
        r#""$0" send <(cat "$1") --url "$2""#,
        r#"cat "$1" | "$0" send - --url "$2""#,
        r#""$0" send - --url "$2" < "$1""#,
        r#"cat "$1" | "$0" send /dev/stdin --url "$2""#,
        r#""$0" send /dev/stdin --url "$2" < "$1""#,
        r#"mkfifo "$1.fifo"; cat "$1" > "$1.fifo" & "$0" send "$1.fifo" --url "$2"; rm "$1.fifo""#,
    ] {
        let ended = bash(line);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(String::from_utf8_lossy(&ended.stdout), "hello from a pipe\n", "{line}: {said}");
    }
    let jobs = server.jobs();
    assert_eq!(jobs[0]["input"]["name"], "hello.txt.fifo", "{jobs:?}");
    assert_eq!(jobs[5]["input"]["name"], "input", "{jobs:?}");
    let nothing = bash(r#"true | "$0" send - --url "$2""#);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("empty"), "{nothing:?}");
    // It never ends by itself.
    let endless = bash(r#""$0" send /dev/zero --url "$2""#);
    assert_eq!(endless.status.code(), Some(1), "{endless:?}");
}

#[test]
fn several_files_are_sent_and_one_that_fails_does_not_stop_the_others() {
    let server = TestServer::start(echo());
    let (folder, first) = file("first.txt", "one");
    let second = folder.path().join("second.txt");
    std::fs::write(&second, "two").expect("a file");
    let (first, second) = (first.to_str().expect("UTF-8"), second.to_str().expect("UTF-8"));
    let url = server.url("");
    let ended = ringback(&["send", first, second, "--url", &url]).with_code(0);
    assert_eq!(ended.stdout(), format!("==> {first} <==\none\n==> {second} <==\ntwo\n"));
    let ended = ringback(&["send", "missing.txt", second, "--url", &url]).with_code(1);
    assert!(ended.stdout().ends_with("two\n"), "{}", ended.stdout());
    assert!(ended.stderr().contains("missing.txt") && ended.stderr().contains("1 of 2 files"));
}

#[test]
fn a_refusal_of_a_large_upload_is_told() {
    let server = TestServer::start(echo().max_body(1024 * 1024));
    let (_folder, path) = file("large.txt", &"x".repeat(8 * 1024 * 1024));
    let path = path.to_str().expect("UTF-8");
    let ended = ringback(&["send", path, "--url", &server.url("")]).with_code(1);
    assert!(ended.stderr().contains("413"), "{}", ended.stderr());
}
