use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::job::{Failure, InputInfo, Parameters, Sha256};
use crate::notifier::parse_secret;

/// A job in `state`, created at 1 s and finished at 2 s after the epoch.
fn job(state: State) -> Job {
    Job {
        id: "0190a3a0-0000-7000-8000-000000000001".parse().expect("an id"),
        task: "transcribe".to_owned(),
        parameters: Parameters::new(),
        state,
        attempt: 1,
        created_at: Timestamp::from_micros(1_000_000),
        started_at: None,
        finished_at: Some(Timestamp::from_micros(2_000_000)),
        expires_at: None,
        input: InputInfo {
            name: None,
            content_type: None,
            bytes: 0,
            sha256: Sha256([0; 32]),
            duration_s: None,
        },
        error: None,
        warnings: Vec::new(),
        callback: None,
    }
}

fn output(data: StoredData) -> StoredOutput {
    StoredOutput { data, formats: Vec::new(), warnings: Vec::new() }
}

fn body(message: &mut Message) -> String {
    let mut body = String::new();
    message.reader().expect("a reader").read_to_string(&mut body).expect("a body");
    assert_eq!(message.len(), body.len() as u64);
    body
}

const REST: &str = r#""id":"0190a3a0-0000-7000-8000-000000000001","task":"transcribe","created_at":"1970-01-01T00:00:01.000000Z","finished_at":"1970-01-01T00:00:02.000000Z"}"#;

#[test]
fn text_and_json_are_told_as_data() {
    let text = output(StoredData::Text("says \"hé\"\n".to_owned()));
    let mut message = Message::new(&job(State::Succeeded), Some(&text)).expect("a message");
    assert_eq!(message.content_type(), "application/json");
    assert_eq!(body(&mut message), format!(r#"{{"success":true,"data":"says \"hé\"\n",{REST}"#));
    let value = output(StoredData::Json(json!({"words": [1, 2]})));
    let mut message = Message::new(&job(State::Succeeded), Some(&value)).expect("a message");
    assert_eq!(body(&mut message), format!(r#"{{"success":true,"data":{{"words":[1,2]}},{REST}"#));
}

#[test]
fn failed_and_canceled_are_told_as_errors() {
    let mut failed = job(State::Failed);
    failed.error = Some(Failure { code: "x".into(), message: "no audio in it".into() });
    let mut message = Message::new(&failed, None).expect("a message");
    assert_eq!(body(&mut message), format!(r#"{{"success":false,"error":"no audio in it",{REST}"#));
    let mut message = Message::new(&job(State::Canceled), None).expect("a message");
    assert_eq!(
        body(&mut message),
        format!(r#"{{"success":false,"error":"the job was canceled",{REST}"#)
    );
}

#[test]
fn warnings_are_told_in_json_and_in_a_form() {
    let mut warned = job(State::Succeeded);
    let there = Duration::from_millis(1500);
    warned.warnings = vec![Warning::new("lost", "A part is lost.").at(there)];
    let warnings = r#"[{"code":"lost","message":"A part is lost.","at_s":1.5}]"#;
    let text = output(StoredData::Text("half".to_owned()));
    let mut message = Message::new(&warned, Some(&text)).expect("a message");
    let expected = format!(r#"{{"success":true,"data":"half","warnings":{warnings},{REST}"#);
    assert_eq!(body(&mut message), expected);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let file = output(StoredData::File {
        path: file.path().to_owned(),
        name: "a".into(),
        content_type: "a/b".into(),
        bytes: 0,
    });
    let mut message = Message::new(&warned, Some(&file)).expect("a message");
    let part = format!("form-data; name=\"warnings\"\r\n\r\n{warnings}\r\n--");
    let body = body(&mut message);
    assert!(body.contains(&part), "{body}");
}

#[test]
fn an_unfinished_job_has_nothing_to_tell() {
    for state in [State::Queued, State::Running, State::Succeeded] {
        let error = Message::new(&job(state), None).expect_err("nothing to tell");
        assert!(error.to_string().contains(state.as_str()), "{error}");
    }
}

/// A message about a job that gave this text.
pub(in crate::notifier) fn text_message(text: &str) -> Message {
    let text = output(StoredData::Text(text.to_owned()));
    Message::new(&job(State::Succeeded), Some(&text)).expect("a message")
}

/// A message with a file of this content, which goes when the first half is dropped.
pub(in crate::notifier) fn file_message(content: &[u8]) -> (tempfile::NamedTempFile, Message) {
    file_output(content, "output.bin", "application/octet-stream")
}

fn file_output(
    content: &[u8],
    name: &str,
    content_type: &str,
) -> (tempfile::NamedTempFile, Message) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content).expect("written");
    let output = output(StoredData::File {
        path: file.path().to_owned(),
        name: name.to_owned(),
        content_type: content_type.to_owned(),
        bytes: content.len() as u64,
    });
    let message = Message::new(&job(State::Succeeded), Some(&output)).expect("a message");
    (file, message)
}

#[test]
fn a_file_is_a_part_beside_the_members() {
    let (_file, mut message) = file_output(b"WEBVTT\n", "talk.vtt", "text/vtt; charset=utf-8");
    let boundary = message
        .content_type()
        .strip_prefix("multipart/form-data; boundary=")
        .expect("multipart")
        .to_owned();
    let part = |name: &str, value: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let expected = [
        part("success", "true"),
        part("id", "0190a3a0-0000-7000-8000-000000000001"),
        part("task", "transcribe"),
        part("created_at", "1970-01-01T00:00:01.000000Z"),
        part("finished_at", "1970-01-01T00:00:02.000000Z"),
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"talk.vtt\"\r\nContent-Type: text/vtt; charset=utf-8\r\n\r\nWEBVTT\n"
        ),
        format!("\r\n--{boundary}--\r\n"),
    ]
    .concat();
    // Each reader begins at the beginning.
    assert_eq!(body(&mut message), expected);
    assert_eq!(body(&mut message), expected);
}

#[test]
fn boundaries_differ() {
    assert_ne!(boundary().expect("random"), boundary().expect("random"));
}

#[test]
fn a_file_that_shrank_is_an_error_and_not_a_short_body() {
    let (file, mut message) = file_output(b"0123456789", "a", "text/plain");
    file.as_file().set_len(4).expect("shorter");
    let error = io::copy(&mut message.reader().expect("a reader"), &mut io::sink());
    assert_eq!(error.expect_err("short").kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn names_and_types_cannot_break_out_of_their_header() {
    for (name, safe) in [
        ("talk.vtt", "talk.vtt"),
        ("a\"; name=\"x", "a'; name='x"),
        ("a\r\nX-Evil: 1", "aX-Evil: 1"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\talk.vtt", "talk.vtt"),
        ("grabación.txt", "grabación.txt"),
        ("", "output"),
        ("a/..", "output"),
        (" \u{7f} ", "output"),
    ] {
        assert_eq!(safe_file_name(name), safe, "{name:?}");
    }
    assert_eq!(safe_file_name(&"é".repeat(200)), "é".repeat(127));
    for (content_type, safe) in [
        ("text/vtt", "text/vtt"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("application/vnd.x+json", "application/vnd.x+json"),
        ("text/plain\r\nX-Evil: 1", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("te xt/plain", "application/octet-stream"),
    ] {
        assert_eq!(safe_content_type(content_type), safe, "{content_type:?}");
    }
}

/// The specification's own example.
#[test]
fn the_signature_is_that_of_standard_webhooks() {
    let key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
    let mut message = Message {
        content_type: "application/json".to_owned(),
        head: br#"{"test": 2432232314}"#.to_vec(),
        file: None,
        tail: Vec::new(),
    };
    let at = Timestamp::from_micros(1_614_265_330_000_000);
    let signed = message.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, &[key]).expect("signed");
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/// Signing goes over the body as it is sent, the file included, once for each secret.
#[test]
fn every_secret_signs_id_timestamp_and_body() {
    let large = vec![b'x'; SIGN_CHUNK + 17];
    let (_file, mut message) = file_output(&large, "a.bin", "application/octet-stream");
    let secrets = [vec![1; 24], vec![2; 32]];
    let id = crate::job::DeliveryId::new().to_string();
    let at = Timestamp::from_micros(1_700_000_000_999_999);
    let signed = message.sign(&id, at, &secrets).expect("signed");
    let text = format!("{id}.1700000000.{}", body(&mut message));
    let expected: Vec<String> = secrets
        .iter()
        .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret))
        .map(|key| format!("v1,{}", STANDARD.encode(hmac::sign(&key, text.as_bytes()))))
        .collect();
    assert_eq!(signed, expected.join(" "));
}
