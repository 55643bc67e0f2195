//! Warnings of a task: on the job, in lists, in both forms of the callback, after a restart.

use std::time::Duration;

use ringback::client::Client;
use ringback::{Attempt, Builder, Output, Server, Warning};
use serde_json::{Value, json};

use crate::support::sink::CallbackSink;
use crate::support::{FORM_TYPE, PATIENCE, Part, Target, TestServer, form};

/// A task that gives half of its input back and says so. An input `file` is given as a file, and one
/// that is a number gets as many warnings.
fn halves() -> Builder {
    Server::builder().task("half", |attempt: &Attempt| {
        let text = String::from_utf8_lossy(&attempt.input().bytes()?).into_owned();
        let lost = Warning::new("lost", "The second half is lost.").at(Duration::from_millis(1500));
        if text == "whole" {
            return Ok(Output::text("whole"));
        }
        if text == "file" {
            let path = attempt.scratch()?.join("half");
            std::fs::write(&path, "ha")?;
            return Ok(Output::file(path, "half.txt", "text/plain").with_warning(lost));
        }
        let mut output = Output::text("half").with_warning(lost);
        for n in 1..text.parse().unwrap_or(1) {
            output.warn(Warning::new("lost", format!("Part {n} is lost.")));
        }
        Ok(output)
    })
}

fn one_warning() -> Value {
    json!([{"code": "lost", "message": "The second half is lost.", "at_s": 1.5}])
}

#[test]
fn a_result_that_falls_short_was_a_success_without_a_word() {
    let server = TestServer::start(halves());
    let whole = server.finished(&server.submit(b"whole"));
    assert_eq!((&whole["data"], whole.get("warnings")), (&json!("whole"), None), "{whole}");
    let job = server.submit(b"one");
    let half = server.finished(&job);
    assert_eq!((&half["state"], &half["warnings"]), (&json!("succeeded"), &one_warning()));
    assert_eq!(server.jobs()[0]["warnings"], one_warning(), "in the list");

    let client = Client::new(server.url(""));
    let id = job.trim_start_matches("/jobs/").parse().expect("an id");
    let warnings = client.job(id).expect("a job").warnings;
    assert_eq!((warnings.len(), warnings[0].code()), (1, "lost"));
    assert_eq!(warnings[0].position(), Some(Duration::from_millis(1500)));

    let server = TestServer::start_on(server.stop(), halves());
    assert_eq!(server.get(&job).json()["warnings"], one_warning(), "after a restart");
}

#[test]
fn a_task_that_warns_of_everything_is_cut_short() {
    let server = TestServer::start(halves());
    let job = server.finished(&server.submit(b"100000"));
    let warnings = job["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 21);
    let more = json!({"code": "more_warnings", "message": "There were 99980 more warnings."});
    assert_eq!(warnings[20], more);
}

#[test]
fn the_receiver_of_a_callback_was_not_told_of_warnings() {
    let sink = CallbackSink::start();
    let server = TestServer::start(halves());
    let send = |bytes: &[u8]| {
        let parts =
            [Part::File("file", "a", "text/plain", bytes), Part::Field("callback", &sink.url())];
        let reply = server.post("/send", FORM_TYPE, &form(&parts));
        assert_eq!(reply.status, 204, "{reply:?}");
        sink.recv_timeout(PATIENCE)
    };
    assert_eq!(send(b"one").json()["warnings"], one_warning());
    let form = String::from_utf8(send(b"file").body).expect("text");
    let field = "form-data; name=\"warnings\"\r\n\r\n\
                 [{\"code\":\"lost\",\"message\":\"The second half is lost.\",\"at_s\":1.5}]\r\n";
    assert!(form.contains(field), "{form}");
    assert_eq!(send(b"whole").json().get("warnings"), None);
}

#[cfg(feature = "cli")]
#[test]
fn send_prints_warnings_beside_the_result() {
    let server = TestServer::start(halves());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("one.txt");
    std::fs::write(&path, "one").expect("a file");
    let output = crate::cli::program(&["send", path.to_str().expect("UTF-8")])
        .args(["--url", &server.url("")])
        .output()
        .expect("the program starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "half\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "warning at 1.5 s: The second half is lost. (lost)\n");
}
