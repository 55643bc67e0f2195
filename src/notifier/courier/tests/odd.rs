//! Receivers whose answers are not what a library expects.

use super::*;

/// Posts one text to a sink that answers with these bytes.
fn post_for_bytes(bytes: impl Into<Vec<u8>>) -> Posted {
    post_for(Answer::Raw(bytes.into())).0
}

#[test]
fn a_user_with_percent_signs_was_sent_as_it_is_written() {
    let sink = CallbackSink::start();
    let url = sink.url().replace("http://", "http://user%40x:p%3Aw@");
    let posted = courier().post(&url, DeliveryId::new(), &mut text_message("hi"));
    assert_eq!(posted.verdict, Verdict::Delivered);
    let call = sink.recv_timeout(SOON);
    // "user@x:p:w"
    assert_eq!(call.header("authorization"), "Basic dXNlckB4OnA6dw==");
    assert_eq!(call.header("host"), sink.addr().to_string());
}

#[test]
fn a_path_with_umlauts_was_sent_raw() {
    let sink = CallbackSink::start();
    let url = sink.url_to("/über?q=ä b");
    let posted = courier().post(&url, DeliveryId::new(), &mut text_message("hi"));
    assert_eq!(posted.verdict, Verdict::Delivered);
    assert_eq!(sink.recv_timeout(SOON).target, "/%C3%BCber?q=%C3%A4%20b");
}

#[test]
fn an_answer_with_a_large_cookie_was_a_peer_that_disconnected() {
    let with_cookie = |bytes: usize| {
        let cookie = "c".repeat(bytes);
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 0\r\n\r\n")
    };
    for bytes in [20_000, 60_000] {
        assert_eq!(post_for_bytes(with_cookie(bytes)).verdict, Verdict::Delivered, "{bytes}");
    }
    for bytes in [66_000, 300_000] {
        let posted = post_for_bytes(with_cookie(bytes));
        assert!(why(&posted).contains("a head of more than 65536 bytes"), "{posted:?}");
    }
    let fields = "A: b\r\n".repeat(MOST_FIELDS + 1);
    let posted = post_for_bytes(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
    assert!(why(&posted).contains("a head of more than 128 fields"), "{posted:?}");
}

#[test]
fn answers_of_other_forms_are_delivered() {
    for answer in [
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nthank you",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthank",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthank",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x01\x02",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    ] {
        assert_eq!(post_for_bytes(answer).verdict, Verdict::Delivered, "{answer:?}");
    }
}

#[test]
fn a_body_without_end_does_not_change_the_verdict() {
    let sink = CallbackSink::start();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthank";
    sink.answer_next([Answer::RawOpen(head.into())]);
    let posted = courier().post(&sink.url(), DeliveryId::new(), &mut text_message("hi"));
    assert_eq!(posted.verdict, Verdict::Delivered);
    assert!(posted.took < SOON, "{:?}", posted.took);
}

#[test]
fn what_is_not_an_answer_is_said_to_be_none() {
    for answer in ["thank you, <b>got it</b>\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let posted = post_for_bytes(answer);
        assert!(why(&posted).contains("the receiver's answer is not HTTP"), "{posted:?}");
        assert_eq!((posted.status, posted.health), (None, Health::Failing));
    }
    for answer in ["", "HTTP/1.1 200 OK\r\nSet-"] {
        let posted = post_for_bytes(answer);
        assert!(why(&posted).contains("the connection failed"), "{posted:?}");
    }
}

/// Bytes behind an answer that has no body were taken for the next answer.
#[test]
fn a_204_with_a_body_does_not_spoil_the_next_post() {
    let sink = CallbackSink::start();
    sink.answer_next([Answer::RawOpen(b"HTTP/1.1 204 No Content\r\n\r\nthank you".to_vec())]);
    let courier = courier();
    for _ in 0..2 {
        let posted = courier.post(&sink.url(), DeliveryId::new(), &mut text_message("hi"));
        assert_eq!(posted.verdict, Verdict::Delivered, "{posted:?}");
    }
}

#[test]
fn the_ledger_repeats_no_password_of_a_redirect() {
    let to = format!("http://u:secret@a/{}", "x".repeat(1000));
    let (posted, _) = post_for(Answer::redirect(to));
    let why = why(&posted);
    assert!(why.contains("http://u:***@a/x") && why.contains('…'), "{why}");
    assert!(!why.contains("secret") && why.len() < 600, "{why}");
}
