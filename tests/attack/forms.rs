//! Forms with parts without number or end, and with boundaries that are none.

use std::io::{Read, Write};

use super::siege::{Siege, honest_recording};
use super::{connect, post, told};
use crate::support::{Target, files_below};

/// What separates the parts here.
const BOUNDARY: &str = "edge";
const FORM: &str = "Content-Type: multipart/form-data; boundary=edge";

/// The head of a part that is the file.
const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";

/// A part of a form, from its boundary to its last byte.
fn part(head: &str, contents: &[u8]) -> Vec<u8> {
    [format!("--{BOUNDARY}\r\n{head}").as_bytes(), contents, b"\r\n"].concat()
}

/// What a form ends with.
fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// Sends this as a form, of a length that is told, from elsewhere.
fn sent(siege: &Siege, fields: &str, body: &[u8]) -> String {
    let fields = format!("{fields}\r\nContent-Length: {}\r\nConnection: close", body.len());
    let request = [post(&fields).as_bytes(), body].concat();
    siege.during(|| told(&mut connect(siege), &request))
}

#[track_caller]
fn assert_no_form(siege: &Siege, what: &str, fields: &str, body: &[u8]) {
    let reply = sent(siege, fields, body);
    assert!(reply.starts_with("HTTP/1.1 400 "), "{what}: {reply}");
    assert!(reply.contains("\"code\":\"bad_multipart\""), "{what}: {reply}");
}

#[test]
fn forms_that_are_none_do_no_harm() {
    let siege = Siege::begin();
    let jobs = siege.jobs().len();
    a_hundred_thousand_parts_are_too_many(&siege);
    forms_without_end_are_refused(&siege);
    what_separates_nothing_is_no_boundary(&siege);
    parts_that_are_none_are_refused(&siege);
    fields_are_bounded_together(&siege);
    assert_eq!(siege.jobs().len(), jobs, "there is no job of any of them");
    assert_eq!(files_below(&siege.folder().join("spool")), 0, "nor a file");
    what_looks_like_a_boundary_stays_in_the_file(&siege);
    siege.assert_unchanged();
}

fn a_hundred_thousand_parts_are_too_many(siege: &Siege) {
    let field = part("Content-Disposition: form-data; name=\"prompt\"\r\n\r\n", b"x");
    let body = [field.repeat(100_000), part(FILE, &honest_recording()), end()].concat();
    assert_no_form(siege, "100,000 parts", FORM, &body);
    let nothing = format!("--{BOUNDARY}\r\n").repeat(100_000);
    assert_no_form(siege, "100,000 boundaries", FORM, nothing.as_bytes());
}

/// Each goes on for 20 MB.
fn forms_without_end_are_refused(siege: &Siege) {
    let opened = format!("--{BOUNDARY}\r\n");
    let file = part(FILE, b"x");
    for (what, begin, piece) in [
        ("a part's head", opened.clone(), "X-A: b\r\n"),
        ("one line of a part's head", format!("{opened}X-A: "), "a"),
        ("a line that is folded", format!("{opened}X-A: "), "a\r\n "),
        ("one name", format!("{opened}Content-Disposition: form-data; name=\""), "n"),
        ("parameters", format!("{opened}Content-Disposition: form-data"), "; a=b"),
        ("what stands before the first boundary", String::new(), "preamble"),
        ("spaces behind a boundary", format!("--{BOUNDARY}"), " "),
        ("boundaries that begin", String::new(), "\r\n--edg"),
    ] {
        let body = format!("{begin}{}", piece.repeat(20_000_000 / piece.len()));
        assert_no_form(siege, what, FORM, body.as_bytes());
    }
    let behind = [&file[..], &end(), &vec![b'x'; 20_000_000]].concat();
    assert_no_form(siege, "what stands behind the last boundary", FORM, &behind);
    let cut = [&file[..], format!("--{BOUNDARY}").as_bytes()].concat();
    assert_no_form(siege, "no final boundary", FORM, &cut);
    assert_no_form(siege, "no end of the file", FORM, &part(FILE, &vec![0; 1_000_000]));
    a_part_whose_head_never_ends_holds_nothing(siege);
}

/// The same in chunks: there is no length to go by.
fn a_part_whose_head_never_ends_holds_nothing(siege: &Siege) {
    let mut stream = connect(siege);
    let head = post(&format!("{FORM}\r\nTransfer-Encoding: chunked"));
    let chunk = format!("{:x}\r\n{}\r\n", 64_000, "X-A: b\r\n".repeat(8_000));
    let begun = format!("{head}6\r\n--edge\r\n2\r\n\r\n\r\n");
    stream.write_all(begun.as_bytes()).expect("it is sent");
    let reply = siege.during(|| {
        for _ in 0..1000 {
            if stream.write_all(chunk.as_bytes()).is_err() {
                break;
            }
        }
        told(&mut stream, b"")
    });
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400 "), "{reply}");
}

fn what_separates_nothing_is_no_boundary(siege: &Siege) {
    let body = [part(FILE, b"x"), end()].concat();
    let long = format!("Content-Type: multipart/form-data; boundary={}", "e".repeat(71));
    for (what, fields) in [
        ("no boundary", "Content-Type: multipart/form-data"),
        ("an empty one", "Content-Type: multipart/form-data; boundary="),
        ("one of a space", "Content-Type: multipart/form-data; boundary=\" \""),
        ("one with a quotation mark", "Content-Type: multipart/form-data; boundary=\"a\\\"b\""),
        ("one of 71 characters", &long),
        ("another one", "Content-Type: multipart/form-data; boundary=other"),
    ] {
        assert_no_form(siege, what, fields, &body);
    }
    // A form in a form: its boundary begins like the one around it, and ends nothing.
    let inner = "--edge2\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b\"\r\n\r\nx\r\n--edge2--";
    let mixed = "Content-Disposition: form-data; name=\"prompt\"\r\nContent-Type: multipart/mixed; boundary=edge2\r\n\r\n";
    let reply = sent(siege, FORM, &[part(mixed, inner.as_bytes()), end()].concat());
    assert!(reply.contains("\"code\":\"missing_file\""), "there is none outside of it: {reply}");
}

fn parts_that_are_none_are_refused(siege: &Siege) {
    let name =
        |name: &[u8]| [b"Content-Disposition: form-data; name=\"", name, b"\"\r\n\r\n"].concat();
    let long = name(&[b'n'; 257]);
    for (what, head) in [
        ("no head", &b"\r\n"[..]),
        ("a head without a name", b"Content-Disposition: form-data\r\n\r\n"),
        ("another disposition", b"Content-Disposition: attachment; name=\"file\"\r\n\r\n"),
        ("no disposition", b"Content-Type: audio/wav\r\n\r\n"),
        ("a line without a colon", b"Content-Disposition\r\n\r\n"),
        ("a quotation without end", b"Content-Disposition: form-data; name=\"file\r\n\r\n"),
        ("a name that is not UTF-8", &name(b"\xff\xfe")),
        ("an overlong form", &name(b"\xc0\xaf")),
        ("half a surrogate", &name(b"\xed\xa0\x80")),
        ("a name of 257 bytes", &long),
    ] {
        let body = [b"--edge\r\n", head, b"x\r\n", &part(FILE, b"x"), &end()].concat();
        assert_no_form(siege, what, FORM, &body);
    }
}

fn fields_are_bounded_together(siege: &Siege) {
    let field = |bytes: usize| {
        part("Content-Disposition: form-data; name=\"prompt\"\r\n\r\n", &vec![b'x'; bytes])
    };
    for (what, fields) in [
        ("one of 20 MB", field(20_000_000)),
        ("90 of 60 KB", field(60_000).repeat(90)),
        (
            "one that is not UTF-8",
            part("Content-Disposition: form-data; name=\"prompt\"\r\n\r\n", b"\xff\xfe"),
        ),
    ] {
        let reply = sent(siege, FORM, &[fields, part(FILE, b"x"), end()].concat());
        assert!(reply.starts_with("HTTP/1.1 422 "), "{what}: {reply}");
        assert!(reply.contains("\"code\":\"bad_parameter\""), "{what}: {reply}");
    }
}

fn what_looks_like_a_boundary_stays_in_the_file(siege: &Siege) {
    let lookalikes: [&[u8]; 8] = [
        b"\r\n--edg",
        b"\r\n--edgeX\r\n",
        b"\r\n--edge-",
        b"\r\n-- edge\r\n",
        b"\n--edge\r\n",
        b"--edge--",
        b"\r\n--edge \tX\r\n",
        b"\r\r\n--edge\n",
    ];
    let contents = [honest_recording(), lookalikes.join(&b"x"[..]).repeat(1000)].concat();
    let body = [part(FILE, &contents), end()].concat();
    let reply = sent(siege, FORM, &body);
    assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    assert!(reply.contains(&format!("\"bytes\":{}", contents.len())), "{reply}");
    // Byte by byte too, so that every window ends in every place of it.
    let short = [part(FILE, &lookalikes.join(&b"x"[..])), end()].concat();
    let head = post(&format!("{FORM}\r\nTransfer-Encoding: chunked\r\nConnection: close"));
    let mut stream = connect(siege);
    stream.write_all(head.as_bytes()).expect("it is sent");
    for byte in short {
        stream.write_all(&[b"1\r\n", &[byte][..], b"\r\n"].concat()).expect("it is sent");
    }
    stream.write_all(b"0\r\n\r\n").expect("it is sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer");
    assert!(reply.contains(&format!("\"bytes\":{}", lookalikes.join(&b"x"[..]).len())), "{reply}");
}
