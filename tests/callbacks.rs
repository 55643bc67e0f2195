//! The ring back, from the request to the receiver.

use std::time::{Duration, Instant};

use ringback::{Attempt, Output, Server, TaskError, parse_secret};
use serde_json::{Value, json};

use crate::support::sink::{Answer, Call, CallbackSink};
use crate::support::{
    FORM_TYPE, PATIENCE, Part, Reply, Target, TestServer, echo, eventually, form, gated,
};

const TICK: Duration = Duration::from_millis(20);

/// `POST /send` as the first clients did it. Gives the job's address.
pub fn send(server: &impl Target, bytes: &[u8], callback: &str) -> String {
    let parts =
        [Part::File("file", "note.txt", "text/plain", bytes), Part::Field("callback", callback)];
    let reply: Reply = server.post("/send", FORM_TYPE, &form(&parts));
    assert_eq!(reply.status, 204, "{reply:?}");
    reply.header("location").expect("a location").to_owned()
}

/// The job once its callback stands as `state`.
fn told(server: &impl Target, job: &str, state: &str) -> Value {
    eventually("the callback's state", || {
        let job = server.get(job).json();
        (job["callback"]["state"] == state).then_some(job)
    })
}

fn ledger(server: &impl Target, job: &str) -> Vec<Value> {
    let reply = server.get(&format!("{job}/deliveries"));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["deliveries"].as_array().expect("lines").clone()
}

fn id_of(job: &str) -> &str {
    job.strip_prefix("/jobs/").expect("a job's address")
}

#[test]
fn a_result_arrives_at_the_callback() {
    let sink = CallbackSink::start();
    let server = TestServer::start(echo());
    let job = send(&server, b"hello", &sink.url_to("/hook?tenant=7"));
    let call = sink.recv_timeout(PATIENCE);
    assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", "/hook?tenant=7"));
    assert_eq!(call.header("content-type"), "application/json");
    let body = call.json();
    let finished = told(&server, &job, "delivered");
    assert_eq!(
        body,
        json!({
            "success": true,
            "data": "hello",
            "id": id_of(&job),
            "task": "echo",
            "created_at": finished["created_at"],
            "finished_at": finished["finished_at"],
        })
    );
    let ledger = ledger(&server, &job);
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!((&ledger[0]["attempt"], &ledger[0]["status"]), (&json!(1), &json!(200)));
}

#[test]
fn what_fails_or_is_canceled_is_told_too() {
    let sink = CallbackSink::start();
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let failing = send(&server, b"1", &sink.url());
    gate.next();
    let canceled = send(&server, b"2", &sink.url());
    assert_eq!(server.delete(&canceled).status, 200);
    let body = sink.recv_timeout(PATIENCE).json();
    assert_eq!((&body["success"], &body["id"]), (&json!(false), &json!(id_of(&canceled))));
    assert_eq!(body["error"], "the job was canceled");
    gate.end.send(Err(TaskError::permanent("no audio in it"))).expect("an attempt waits");
    let body = sink.recv_timeout(PATIENCE).json();
    assert_eq!((&body["success"], &body["id"]), (&json!(false), &json!(id_of(&failing))));
    assert_eq!(body["error"], "no audio in it");
}

#[test]
fn a_file_arrives_as_a_form_with_the_members_beside_it() {
    let sink = CallbackSink::start();
    let builder = Server::builder().task("subtitle", |attempt: &Attempt| {
        let path = attempt.scratch()?.join("out");
        std::fs::write(&path, "WEBVTT\n".repeat(100_000))?;
        Ok(Output::file(path, "../talk \"1\".vtt", "text/vtt"))
    });
    let server = TestServer::start(builder);
    let job = send(&server, b"x", &sink.url());
    let call = sink.recv_timeout(PATIENCE);
    let content_type = call.header("content-type");
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a form");
    assert_eq!(call.header("content-length"), call.body.len().to_string());
    let text = std::str::from_utf8(&call.body).expect("text");
    let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.last(), Some(&"--\r\n"));
    let id_part =
        format!("\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n{}\r\n", id_of(&job));
    assert!(parts.contains(&id_part.as_str()), "{parts:.200?}");
    let file = format!(
        "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"talk '1'.vtt\"\r\n\
         Content-Type: text/vtt\r\n\r\n{}\r\n",
        "WEBVTT\n".repeat(100_000)
    );
    assert!(parts.contains(&file.as_str()), "the file is not whole");
}

#[test]
fn a_receiver_that_is_down_gets_it_when_it_is_up() {
    let mut sink = CallbackSink::start_down();
    let server = TestServer::start(echo().callback_waits([TICK; 100]));
    let job = send(&server, b"hello", &sink.url());
    let finished = eventually("a failed attempt", || {
        let job = server.get(&job).json();
        (job["callback"]["attempts"].as_u64() >= Some(1)).then_some(job)
    });
    assert_eq!(finished["callback"]["state"], "pending");
    assert!(finished["callback"]["last_error"].as_str().expect("an error").contains("refused"));
    sink.up();
    assert_eq!(sink.recv_timeout(PATIENCE).json()["data"], "hello");
    let delivered = told(&server, &job, "delivered");
    let ledger = ledger(&server, &job);
    assert_eq!(delivered["callback"]["attempts"], ledger.len());
    let (last, failed) = ledger.split_last().expect("lines");
    assert_eq!(last["status"], 200);
    assert!(failed.iter().all(|line| line["error"].is_string() && line["status"].is_null()));
}

#[test]
fn what_was_not_delivered_goes_out_after_a_restart() {
    let sink = CallbackSink::start();
    sink.answer_next([Answer::Status(500)]);
    let waits = [Duration::from_millis(300); 10];
    let server = TestServer::start(echo().callback_waits(waits));
    let job = send(&server, b"hello", &sink.url());
    let first: Call = sink.recv_timeout(PATIENCE);
    let folder = server.stop();
    let server = TestServer::start_on(folder, echo().callback_waits(waits));
    let second = sink.recv_timeout(PATIENCE);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    let job = told(&server, &job, "delivered");
    assert_eq!(job["callback"]["attempts"], 2);
}

#[test]
fn attempts_end_and_the_result_stays() {
    let sink = CallbackSink::start();
    sink.answer_next([Answer::Status(500), Answer::Status(500)]);
    let server = TestServer::start(echo().callback_waits([TICK]));
    let job = send(&server, b"hello", &sink.url());
    let dead = told(&server, &job, "dead");
    assert_eq!((&dead["state"], &dead["data"]), (&json!("succeeded"), &json!("hello")));
    assert_eq!(dead["callback"]["attempts"], 2);
    assert!(dead["callback"]["next_attempt_at"].is_null());
    // 410 ends it at once, however many attempts are left.
    sink.answer_next([Answer::Status(410)]);
    let gone = told(&server, &send(&server, b"hello again", &sink.url()), "dead");
    assert_eq!(gone["callback"]["attempts"], 1);
}

#[test]
fn callbacks_are_signed() {
    let key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
    let sink = CallbackSink::start();
    let server = TestServer::start(echo().webhook_secret(key.clone()).webhook_secret(vec![7; 32]));
    send(&server, b"hello", &sink.url());
    let call = sink.recv_timeout(PATIENCE);
    let mut signed = call.header("webhook-id").as_bytes().to_vec();
    signed.extend_from_slice(b".");
    signed.extend_from_slice(call.header("webhook-timestamp").as_bytes());
    signed.extend_from_slice(b".");
    signed.extend_from_slice(&call.body);
    let signatures: Vec<&str> = call.header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    for (signature, key) in signatures.iter().zip([key, vec![7; 32]]) {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        let tag = base64_of(ring::hmac::sign(&key, &signed).as_ref());
        assert_eq!(*signature, format!("v1,{tag}"));
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_receiver_that_hangs_delays_no_other_and_no_stop() {
    let hanging = CallbackSink::start();
    hanging.answer_always(Answer::Hang);
    let well = CallbackSink::start();
    let server = TestServer::start(echo().drain(Duration::from_millis(200)));
    for n in 0..6 {
        send(&server, format!("hang {n}").as_bytes(), &hanging.url());
    }
    hanging.recv_timeout(PATIENCE);
    for n in 0..6 {
        let text = format!("well {n}");
        send(&server, text.as_bytes(), &well.url());
        assert_eq!(well.recv_timeout(PATIENCE).json()["data"], text);
    }
    let began = Instant::now();
    let folder = server.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // What hung is sent again, to a receiver that has come to its senses.
    hanging.answer_always(Answer::Status(200));
    let _server = TestServer::start_on(folder, echo());
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 6 {
        let call = hanging.recv_timeout(PATIENCE);
        seen.insert(call.json()["data"].as_str().expect("text").to_owned());
    }
}
