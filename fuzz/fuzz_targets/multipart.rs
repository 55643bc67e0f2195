//! A form: the first line is the `Content-Type`, the rest the body. The last byte says in how many bytes
//! at a time it is read.
//!
//! However it is read, the same parts come of it and the same end; no piece is longer than the window;
//! and what was whole comes out again when it is written as browsers write it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringback::fuzzing::{Form, FormEnd, FormPart, read_form};

/// What is read byte by byte is not longer: each byte costs a look at what is there.
const BYTEWISE_MAX: usize = 2048;

fuzz_target!(|bytes: &[u8]| {
    let Some((step, bytes)) = bytes.split_last() else { return };
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at(end);
    let (first, body) = (String::from_utf8_lossy(first), rest.get(1..).unwrap_or_default());
    let Some(form) = read_form(first.trim_end(), body, usize::MAX) else { return };
    let read = |step: usize| read_form(first.trim_end(), body, step).expect("the same first line");
    assert_eq!(read(usize::from(*step) + 2), form, "read in pieces");
    if body.len() <= BYTEWISE_MAX {
        assert_eq!(read(1), form, "read byte by byte");
    }
    check_bounds(&form, body);
    if form.end == FormEnd::Whole {
        check_round_trip(form);
    }
});

fn check_bounds(form: &Form, body: &[u8]) {
    assert!((1..=200).contains(&form.boundary.len()) && form.parts.len() <= 100);
    assert!(form.parts.iter().map(|part| part.content.len()).sum::<usize>() <= body.len());
    for part in &form.parts {
        assert!(part.name.len() <= 256);
        assert!(part.file_name.as_ref().is_none_or(|name| name.len() <= 24 * 1024));
        assert!(part.content_type.as_ref().is_none_or(|text| text.len() <= 127
            && text.is_ascii()
            && text.matches('/').count() == 1
            && !text.contains(|c: char| c.is_ascii_uppercase() || c.is_ascii_control())));
        let Some(shown) = &part.shown_name else { continue };
        assert!((1..=255).contains(&shown.len()) && shown != "." && shown != "..", "{shown:?}");
        assert!(!shown.contains(|c: char| c.is_control() || c == '/' || c == '\\'), "{shown:?}");
    }
}

fn check_round_trip(form: Form) {
    // Names that decoding has made of a `filename*` or of encoded words have no other form.
    if form.parts.iter().filter_map(|part| part.file_name.as_deref()).any(has_escape) {
        return;
    }
    let mut body = Vec::new();
    for part in &form.parts {
        body.extend_from_slice(&write_head(&form.boundary, part));
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(&[b"--", &form.boundary[..], b"--\r\n"].concat());
    let boundary = std::str::from_utf8(&form.boundary).expect("a boundary in ASCII");
    let again = read_form(&format!("multipart/form-data; boundary=\"{boundary}\""), &body, 4096);
    assert_eq!(again, Some(form));
}

fn write_head(boundary: &[u8], part: &FormPart) -> Vec<u8> {
    let mut head = [b"--", boundary, b"\r\nContent-Disposition: form-data; name=\""].concat();
    head.extend_from_slice(&escaped(part.name.as_bytes()));
    if let Some(name) = &part.file_name {
        head.extend_from_slice(b"\"; filename=\"");
        head.extend_from_slice(&escaped(name));
    }
    head.extend_from_slice(b"\"\r\n");
    if let Some(content_type) = &part.content_type {
        head.extend_from_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn escaped(name: &[u8]) -> Vec<u8> {
    let escape = |&byte: &u8| match byte {
        b'"' => b"%22".to_vec(),
        b'\r' => b"%0D".to_vec(),
        b'\n' => b"%0A".to_vec(),
        b'\\' => b"\\\\".to_vec(),
        other => vec![other],
    };
    name.iter().flat_map(escape).collect()
}

fn has_escape(name: &[u8]) -> bool {
    let is_escape =
        |three: &[u8]| [&b"%22"[..], b"%0d", b"%0a"].contains(&&three.to_ascii_lowercase()[..]);
    name.windows(2).any(|two| two == b"=?") || name.windows(3).any(is_escape)
}
