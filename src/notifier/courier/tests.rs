use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::notifier::sink::{Answer, Call, CallbackSink};
use crate::notifier::webhook::tests::{file_message, text_message};

mod odd;

const SOON: Duration = Duration::from_secs(5);
const CONNECTIONS: Connections = Connections { in_all: 8, per_host: 2 };

fn courier() -> Courier {
    with_secrets(Vec::new())
}

fn with_secrets(secrets: Vec<Vec<u8>>) -> Courier {
    Courier::new(CallbackPolicy::Any, secrets, SOON, CONNECTIONS)
}

/// Posts one text to the sink, which answers `answer`.
fn post_for(answer: Answer) -> (Posted, Call) {
    let sink = CallbackSink::start();
    sink.answer_next([answer]);
    let posted = courier().post(&sink.url(), DeliveryId::new(), &mut text_message("hi"));
    (posted, sink.recv_timeout(SOON))
}

#[track_caller]
fn why(posted: &Posted) -> &str {
    match &posted.verdict {
        Verdict::Failed { why, .. } => why,
        other => panic!("not a failure: {other:?}"),
    }
}

#[test]
fn a_post_carries_the_webhook_headers() {
    let sink = CallbackSink::start();
    let id = DeliveryId::new();
    let before = Timestamp::now();
    let posted = courier().post(&sink.url_to("/a?b=c"), id, &mut text_message("hi"));
    assert_eq!(posted.verdict, Verdict::Delivered);
    assert_eq!((posted.status, posted.health), (Some(200), Health::Well));
    assert!(posted.at >= before && posted.took < SOON);
    let call = sink.recv_timeout(SOON);
    assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", "/a?b=c"));
    assert_eq!(call.header("content-type"), "application/json");
    assert_eq!(call.header("user-agent"), concat!("ringback/", env!("CARGO_PKG_VERSION")));
    assert_eq!(call.header("webhook-id"), id.to_string());
    assert_eq!(call.header("webhook-timestamp"), posted.at.as_secs().to_string());
    assert_eq!(call.header("content-length"), call.body.len().to_string());
    assert!(call.all_headers("transfer-encoding").is_empty());
    assert!(call.all_headers("webhook-signature").is_empty());
    assert_eq!(call.json()["data"], "hi");
}

/// The receiver's side of Standard Webhooks, as a receiver would write it.
fn verify(secret: &[u8], call: &Call) -> bool {
    use base64::Engine;
    let mut signed =
        format!("{}.{}.", call.header("webhook-id"), call.header("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&call.body);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    call.header("webhook-signature").split(' ').any(|signature| {
        let encoded = signature.strip_prefix("v1,").expect("a version");
        let tag = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        ring::hmac::verify(&key, &signed, &tag).is_ok()
    })
}

#[test]
fn every_secret_verifies_what_arrives() {
    let (new, old) = (vec![1; 32], vec![2; 24]);
    let sink = CallbackSink::start();
    let courier = with_secrets(vec![new.clone(), old.clone()]);
    let (_file, mut with_file) = file_message(&vec![b'x'; 300_000]);
    for message in [&mut text_message("hi"), &mut with_file] {
        let posted = courier.post(&sink.url(), DeliveryId::new(), message);
        assert_eq!(posted.verdict, Verdict::Delivered);
        let call = sink.recv_timeout(SOON);
        assert!(verify(&new, &call) && verify(&old, &call));
        assert!(!verify(&[3; 32], &call));
        let mut changed = call.clone();
        *changed.body.last_mut().expect("a body") ^= 1;
        assert!(!verify(&new, &changed));
    }
}

#[test]
fn a_file_arrives_whole() {
    let sink = CallbackSink::start();
    let content: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (_file, mut message) = file_message(&content);
    let posted = courier().post(&sink.url(), DeliveryId::new(), &mut message);
    assert_eq!(posted.verdict, Verdict::Delivered);
    let call = sink.recv_timeout(SOON);
    assert!(call.header("content-type").starts_with("multipart/form-data; boundary="));
    assert_eq!(call.header("content-length"), call.body.len().to_string());
    let at = call.body.windows(4).rposition(|w| w == b"\r\n\r\n").expect("the file's head") + 4;
    assert_eq!(call.body[at..at + content.len()], content);
}

#[test]
fn only_2xx_is_delivered() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(post_for(Answer::Status(status)).0.verdict, Verdict::Delivered, "{status}");
    }
    for (status, health) in [
        (304, Health::Well),
        (400, Health::Well),
        (404, Health::Well),
        (429, Health::Failing),
        (500, Health::Failing),
        (503, Health::Failing),
    ] {
        let (posted, _) = post_for(Answer::Status(status));
        assert!(why(&posted).contains(&status.to_string()), "{posted:?}");
        assert_eq!((posted.status, posted.health), (Some(status), health));
    }
}

#[test]
fn gone_ends_it() {
    let (posted, _) = post_for(Answer::Status(410));
    assert_eq!((posted.verdict, posted.health), (Verdict::Gone, Health::Well));
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = CallbackSink::start();
    let (posted, _) = post_for(Answer::redirect(elsewhere.url()));
    assert_eq!(posted.status, Some(302));
    let to = format!(" to {}, and redirects are not followed", elsewhere.url());
    assert!(why(&posted).contains(&to), "{posted:?}");
    elsewhere.expect_none(Duration::from_millis(50));
}

#[test]
fn retry_after_is_taken_from_the_answer() {
    let (posted, _) = post_for(Answer::retry_after(503, 120));
    let Verdict::Failed { retry_after, .. } = posted.verdict else { panic!("{posted:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(120)));
}

/// A year away from this system's clock.
#[test]
fn a_retry_after_of_a_receiver_in_another_year_made_the_next_attempt_wait_a_day() {
    let receivers = SystemTime::now() + Duration::from_secs(365 * 24 * 3600);
    let later = receivers + Duration::from_secs(30);
    let [date, retry_after] = [receivers, later].map(httpdate::fmt_http_date);
    let headers = vec![("Date", date), ("Retry-After", retry_after)];
    let (posted, _) = post_for(Answer::Full { status: 503, headers, body: Vec::new() });
    let Verdict::Failed { retry_after, .. } = posted.verdict else { panic!("{posted:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(30)));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
    for (value, wait) in [
        ("0", Some(0)),
        (" 30 ", Some(30)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("18446744073709551615", Some(u64::MAX)),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(retry_after(value, now), wait.map(Duration::from_secs), "{value:?}");
    }
}

#[test]
fn a_refused_connection_is_a_failure() {
    let sink = CallbackSink::start_down();
    let posted = courier().post(&sink.url(), DeliveryId::new(), &mut text_message("hi"));
    assert!(why(&posted).contains("refused"), "{posted:?}");
    assert_eq!((posted.status, posted.health), (None, Health::Failing));
}

#[test]
fn a_close_without_answer_is_a_failure() {
    let (posted, _) = post_for(Answer::Close);
    assert!(why(&posted).contains("connection failed"), "{posted:?}");
    assert_eq!(posted.health, Health::Failing);
}

#[test]
fn a_receiver_that_hangs_is_given_up() {
    let sink = CallbackSink::start();
    sink.answer_always(Answer::Hang);
    let patience = Duration::from_millis(200);
    let courier = Courier::new(CallbackPolicy::Any, Vec::new(), patience, CONNECTIONS);
    let posted = courier.post(&sink.url(), DeliveryId::new(), &mut text_message("hi"));
    assert!(why(&posted).contains("did not answer within 200ms"), "{posted:?}");
    assert!(posted.took >= patience && posted.took < SOON, "{posted:?}");
}

#[test]
fn a_body_nobody_asked_for_is_not_waited_for() {
    let body = vec![b'x'; 1_000_000];
    let (posted, _) = post_for(Answer::Full { status: 200, headers: Vec::new(), body });
    assert_eq!(posted.verdict, Verdict::Delivered);
}

#[test]
fn an_endless_head_is_refused() {
    let headers = vec![("X", "x".repeat(LONGEST_HEAD))];
    let (posted, _) = post_for(Answer::Full { status: 200, headers, body: Vec::new() });
    assert!(matches!(posted.verdict, Verdict::Failed { .. }), "{posted:?}");
}

#[test]
fn connections_are_used_again() {
    let sink = CallbackSink::start();
    let body = b"thank you".to_vec();
    sink.answer_always(Answer::Full { status: 200, headers: Vec::new(), body });
    let courier = courier();
    for _ in 0..5 {
        let posted = courier.post(&sink.url(), DeliveryId::new(), &mut text_message("hi"));
        assert_eq!(posted.verdict, Verdict::Delivered);
        assert_eq!(sink.recv_timeout(SOON).connection, 1);
    }
}

#[test]
fn hanging_up_ends_a_post_in_flight() {
    let sink = CallbackSink::start();
    sink.answer_always(Answer::Hang);
    let courier = courier();
    std::thread::scope(|scope| {
        let post =
            scope.spawn(|| courier.post(&sink.url(), DeliveryId::new(), &mut text_message("hi")));
        sink.recv_timeout(SOON);
        courier.hang_up();
        let posted = post.join().expect("the POST");
        assert!(posted.took < SOON && posted.status.is_none(), "{posted:?}");
    });
}

/// Checked again on the address that a name, or an odd form of one, leads to.
#[test]
fn forbidden_addresses_are_not_connected_to() {
    let sink = CallbackSink::start();
    let port = sink.addr().port();
    let public = Courier::new(CallbackPolicy::Public, Vec::new(), SOON, CONNECTIONS);
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}/");
        let posted = public.post(&url, DeliveryId::new(), &mut text_message("hi"));
        assert!(why(&posted).contains("`--callbacks any`"), "{url}: {posted:?}");
    }
    sink.expect_none(Duration::from_millis(50));
    let url = format!("http://localhost:{port}/");
    let posted = courier().post(&url, DeliveryId::new(), &mut text_message("hi"));
    assert_eq!(posted.verdict, Verdict::Delivered, "{posted:?}");
}

#[test]
fn a_proxy_in_the_environment_is_not_asked() {
    // Set for the one process that this test starts: itself, told to run the other test.
    let proxy = CallbackSink::start();
    let output = std::process::Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "notifier::courier::tests::a_post_carries_the_webhook_headers"])
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, proxy.url())))
        .output()
        .expect("a run");
    assert!(output.status.success(), "{output:?}");
    proxy.expect_none(Duration::ZERO);
}

proptest! {
    #[test]
    fn any_retry_after_is_read_or_not(value in "\\PC{0,40}") {
        let _ = retry_after(&value, SystemTime::UNIX_EPOCH);
    }
}
