//! What an orderly stop leaves for the next start.

use std::time::Duration;

use ringback::{Attempt, Output, Server};

use crate::support::sink::CallbackSink;
use crate::support::{PATIENCE, Part, Target, TestServer, eventually, gated};

#[test]
fn work_and_outcomes_outlive_a_restart() {
    let mut sink = CallbackSink::start_down();
    let waits = [Duration::from_millis(50); 20];
    let (builder, gate) = gated();
    let server = TestServer::start(builder.callback_waits(waits).drain(Duration::from_millis(1)));
    let undelivered = send(&server, &sink.url(), b"undelivered");
    gate.next();
    gate.succeed("undelivered");
    eventually("it fails to be delivered", || {
        (server.get(&undelivered).json()["callback"]["attempts"] != 0).then_some(())
    });
    let running = send(&server, &sink.url(), b"running");
    gate.next();
    let queued = send(&server, &sink.url(), b"queued");
    let folder = server.stop();

    let second_life =
        |attempt: &Attempt| Ok(Output::text(String::from_utf8_lossy(&attempt.input().bytes()?)));
    let builder = Server::builder().task("gate", second_life).callback_waits(waits);
    let server = TestServer::start_on(folder, builder);
    for (job, text) in [(&running, "running"), (&queued, "queued")] {
        let job = server.finished(job);
        assert_eq!((&job["data"], &job["attempt"]), (&text.into(), &1.into()), "{job}");
    }
    sink.up();
    let mut told: Vec<String> = (0..3)
        .map(|_| sink.recv_timeout(PATIENCE).json()["id"].as_str().expect("an id").to_owned())
        .collect();
    told.sort();
    let mut sent: Vec<String> = [undelivered, running, queued]
        .iter()
        .map(|job| job.trim_start_matches("/jobs/").to_owned())
        .collect();
    sent.sort();
    assert_eq!(told, sent);
}

fn send(server: &TestServer, callback: &str, contents: &[u8]) -> String {
    let parts = [
        Part::File("file", "a.txt", "text/plain", contents),
        // The file may come first: nothing is known of the callback while it comes in.
        Part::Field("callback", callback),
    ];
    let reply = server.post_form("/send", &parts);
    assert_eq!((reply.status, reply.body.len()), (204, 0), "{reply:?}");
    reply.header("location").expect("a location").to_owned()
}
