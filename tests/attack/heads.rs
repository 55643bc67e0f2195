//! Heads without end, and heads that are none.

use std::io::Write;

use super::siege::Siege;
use super::{assert_refused, connect, told};

/// What an endless head sends in all, unless the server has heard enough before.
const ENDLESS: usize = 100_000_000;

/// Sends `begin`, and then `piece` again and again. Whoever goes on so long may be cut off without a
/// word; whoever sends a little too much is told.
#[track_caller]
fn assert_endless_is_refused(siege: &Siege, begin: &str, piece: &str, status: u16) {
    let refused = format!("HTTP/1.1 {status} ");
    let reply = siege.during(|| {
        let mut stream = connect(siege);
        stream.write_all(begin.as_bytes()).expect("it is sent");
        let block = piece.repeat(1_000_000 / piece.len());
        for _ in 0..ENDLESS / block.len() {
            if stream.write_all(block.as_bytes()).is_err() {
                break;
            }
        }
        told(&mut stream, b"")
    });
    assert!(reply.starts_with(&refused) || reply.is_empty(), "{reply}");
    let little = format!("{begin}{}", piece.repeat(20_000 / piece.len()));
    let reply = told(&mut connect(siege), little.as_bytes());
    assert!(reply.starts_with(&refused), "{reply}");
}

#[test]
fn heads_without_end_do_no_harm() {
    let siege = Siege::begin();
    a_request_line_of_100_mb_is_refused(&siege);
    a_header_of_100_mb_is_refused(&siege);
    a_million_headers_are_refused(&siege);
}

fn a_request_line_of_100_mb_is_refused(siege: &Siege) {
    assert_endless_is_refused(siege, "GET /", "a", 414);
    assert_endless_is_refused(siege, "", "A", 414);
}

fn a_header_of_100_mb_is_refused(siege: &Siege) {
    assert_endless_is_refused(siege, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ", "a", 431);
    assert_endless_is_refused(siege, "GET / HTTP/1.1\r\nHost: localhost\r\n", "a", 431);
}

fn a_million_headers_are_refused(siege: &Siege) {
    let begin = "GET / HTTP/1.1\r\nHost: localhost\r\n";
    // Here the head has an end.
    let million = format!("{begin}{}\r\n", "A: b\r\n".repeat(1_000_000));
    let reply = siege.during(|| told(&mut connect(siege), million.as_bytes()));
    assert!(reply.starts_with("HTTP/1.1 431 ") || reply.is_empty(), "{reply}");
    // And here it has none.
    assert_endless_is_refused(siege, begin, "X: y\r\n", 431);
    let few_too_many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert_refused(siege, "101 fields", few_too_many.as_bytes(), 431);
}

#[test]
fn heads_that_are_none_do_no_harm() {
    let siege = Siege::begin();
    heads_that_are_none_are_refused(&siege);
    heads_that_are_not_utf8_are_refused(&siege);
    weights_that_are_not_numbers_are_none(&siege);
}

fn heads_that_are_none_are_refused(siege: &Siege) {
    let get = |rest: &str| format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{rest}\r\n");
    for (what, head, status) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two hosts", get("Host: y\r\n"), 400),
        ("NUL in a value", get("X: a\0b\r\n"), 400),
        ("NUL in a name", get("X\0: a\r\n"), 400),
        ("NUL in the address", "GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("CR in a value", get("X: a\rSet: b\r\n"), 400),
        ("LF in a value", get("X: a\nSet: b\r\n"), 400),
        ("LF alone", "GET / HTTP/1.1\nHost: x\n\n".to_owned(), 400),
        ("a space before the colon", get("Content-Length : 5\r\n"), 400),
        ("a folded line", get("X: a\r\n b\r\n"), 400),
        ("DEL in a value", get("X: a\u{7f}b\r\n"), 400),
        ("not ASCII where it counts", get("Content-Type: é\r\n"), 400),
        ("an origin that is not ASCII", get("Origin: http://é\r\n"), 400),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        ("HTTP/1.2.3", "GET / HTTP/1.2.3\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}".to_owned(), 400),
    ] {
        assert_refused(siege, what, head.as_bytes(), status);
    }
}

fn heads_that_are_not_utf8_are_refused(siege: &Siege) {
    for (what, head) in [
        ("a name", &b"GET / HTTP/1.1\r\nHost: localhost\r\n\xff\xfe: x\r\n\r\n"[..]),
        ("the address", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("the method", b"G\xffT / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("the host", b"GET / HTTP/1.1\r\nHost: \xc0\xaf\r\n\r\n"),
    ] {
        assert_refused(siege, what, head, 400);
    }
    for field in [
        &b"Cookie: \xff"[..],
        b"X: \xff\xfe",
        b"X: \xc0\x8d\xc0\x8a",
        "CF-IPCity: São Paulo".as_bytes(),
        "Referer: http://localhost/übersicht".as_bytes(),
        b"User-Agent: caf\xe9/1.0",
        "Accept: text/html, é".as_bytes(),
        "Prefer: wait=é".as_bytes(),
    ] {
        let head = [&b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"[..], field, b"\r\n"].concat();
        let reply = told(&mut connect(siege), &[&head[..], b"Connection: close\r\n\r\n"].concat());
        let field = String::from_utf8_lossy(field);
        assert!(reply.starts_with("HTTP/1.1 200 "), "nobody reads {field}: {reply}");
        assert!(reply.is_ascii(), "nothing of it comes back: {reply}");
    }
}

fn weights_that_are_not_numbers_are_none(siege: &Siege) {
    for value in ["a;q=nan", "a;q=inf, b;q=-1", "chunked;q=nan, trailers;q=nan, a;q=0.5", ";;;,,,"]
    {
        let head = format!(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nTE: {value}\r\nConnection: close\r\n\r\n"
        );
        let reply = told(&mut connect(siege), head.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 200 "), "{value}: {reply}");
        siege.assert_served();
    }
}
