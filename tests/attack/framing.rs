//! Where a body ends: lengths and chunks that are wrong, doubled, enormous or cut off.

use super::siege::{Siege, honest_recording};
use super::{NEXT, assert_refused, connect, post, told};
use crate::support::{FORM_TYPE, Part, Target, files_below, form};

#[test]
fn bodies_that_end_nowhere_or_twice_do_no_harm() {
    let siege = Siege::begin_with(&["--max-body", "300kB"]);
    a_body_of_no_clear_length_is_refused(&siege);
    chunks_that_are_none_are_refused(&siege);
    a_long_body_that_is_cut_off_or_breaks_leaves_nothing_behind(&siege);
    a_client_speaks_for_nobody_else(&siege);
    siege.assert_unchanged();
}

fn a_body_of_no_clear_length_is_refused(siege: &Siege) {
    for (fields, status) in [
        ("Content-Length: 30000000000", 413),
        ("Content-Length: 9000000000000000000", 413),
        ("Content-Length: 9223372036854775808", 413),
        ("Content-Length: 18446744073709551615", 413),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: abc", 400),
        ("Content-Length: 5, 5", 400),
        ("Content-Length: +5", 400),
        ("Content-Length:", 400),
        ("Content-Length: 5\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked", 411),
        ("Content-Length: 30000000000\r\nExpect: 100-continue", 413),
        ("Content-Length: 5\r\nExpect: a-miracle", 417),
    ] {
        // What follows might be taken for a request of its own.
        assert_refused(siege, fields, (post(fields) + NEXT).as_bytes(), status);
    }
}

fn chunked_form() -> String {
    post(&format!("Content-Type: {FORM_TYPE}\r\nTransfer-Encoding: chunked"))
}

fn chunks_that_are_none_are_refused(siege: &Siege) {
    let chunked = chunked_form();
    let long = "1".repeat(1_000_000);
    let extended = format!("5;{long}\r\n");
    let jobs = siege.jobs().len();
    for (what, body) in [
        ("a size of 1 MB", &*long),
        ("an extension of 1 MB", &*extended),
        ("not a number", "xyz\r\nhello\r\n0\r\n\r\n"),
        ("a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("17 digits", "11111111111111111\r\n"),
        ("longer than it says", "5\r\nhello you\r\n0\r\n\r\n"),
        ("a line feed alone", "5\nhello\n0\n\n"),
    ] {
        assert_refused(siege, what, format!("{chunked}{body}").as_bytes(), 400);
    }
    assert_refused(siege, "16 EiB", format!("{chunked}ffffffffffffffff\r\n").as_bytes(), 413);
    for cut in ["", "5", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0\r\n"] {
        let reply = siege.exchange(format!("{chunked}{cut}").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 400 "), "{cut:?}: {reply}");
    }
    assert_eq!(siege.jobs().len(), jobs);
}

/// `bytes` in chunks.
fn chunks(bytes: &[u8]) -> Vec<u8> {
    let chunk =
        |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    bytes.chunks(10_000).flat_map(chunk).collect()
}

fn a_long_body_that_is_cut_off_or_breaks_leaves_nothing_behind(siege: &Siege) {
    let jobs = siege.jobs().len();
    let long = [honest_recording(), honest_recording()].concat();
    let body = form(&[Part::File("file", "a", "audio/wav", &long)]);
    let chunked = chunked_form();
    let begun = [chunked.as_bytes(), &chunks(&body[..200_000])].concat();
    assert_refused(siege, "a broken chunk", &[&begun[..], b"oops\r\n"].concat(), 400);
    let too_long = [&begun[..], &chunks(&[b'x'; 110_000])].concat();
    assert_refused(siege, "too many bytes in chunks", &too_long, 413);
    assert!(siege.exchange(&begun).starts_with("HTTP/1.1 400 "));
    assert_eq!(files_below(&siege.folder().join("spool")), 0);
    assert_eq!(siege.jobs().len(), jobs);
    let whole = [chunked.as_bytes(), &chunks(&body), b"0\r\n\r\n", NEXT.as_bytes()].concat();
    let reply = siege.exchange(&whole);
    assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    assert!(reply.contains("\"live\""), "the connection goes on: {reply}");
}

fn a_client_speaks_for_nobody_else(siege: &Siege) {
    // The gate's own field would make these five bytes a body of two.
    let forged = post(
        "Ringback-Length: 2\r\nRingback-Client: 1.2.3.4\r\nRingback-Connection: 1\r\nContent-Length: 5\r\nConnection: close",
    ) + "hello";
    let reply = told(&mut connect(siege), forged.as_bytes());
    assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    assert!(reply.contains("\"bytes\":5"), "{reply}");
}
