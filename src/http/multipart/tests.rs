//! What goes in comes out, however it is cut; what is cut off, or was never a form, is an error.

use std::io::{self, Read};

use proptest::prelude::*;

use super::head::NAME_MAX;
use super::*;

/// Gives out at most `step` bytes at a time.
struct Stepwise<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Stepwise<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.step.max(1).min(buffer.len());
        self.rest.take(length as u64).read(buffer).inspect(|&read| self.rest = &self.rest[read..])
    }
}

type Part = (PartHead, Vec<u8>);

fn read_all(source: impl Read, boundary: &str) -> Result<Vec<Part>, MultipartError> {
    let boundary = Boundary::new(boundary.as_bytes()).expect("a boundary");
    let mut reader = Multipart::new(source, &boundary, None);
    let mut parts = Vec::new();
    while let Some(head) = reader.next_part()? {
        let mut content = Vec::new();
        while let Some(piece) = reader.next_piece()? {
            assert!(!piece.is_empty());
            content.extend_from_slice(piece);
        }
        parts.push((head, content));
    }
    Ok(parts)
}

fn write_all(boundary: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in parts {
        let file_name = file_name.map_or(String::new(), |name| format!("; filename=\"{name}\""));
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

fn head(name: &str, file_name: Option<&str>, content_type: Option<&str>) -> PartHead {
    PartHead {
        name: name.to_owned(),
        file_name: file_name.map(str::to_owned),
        content_type: content_type.map(str::to_owned),
    }
}

#[test]
fn reads_what_a_browser_sends() {
    let body = b"------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"callback\"\r\n\r\nhttp://h/\r\n\
        ------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a%22b.wav\"\r\n\
        Content-Type: Audio/Wav; x=y\r\n\r\nRIFF\r\n\r\n--\r\n\
        ------WebKitFormBoundaryX--\r\n";
    let parts = read_all(&body[..], "----WebKitFormBoundaryX").expect("well-formed");
    assert_eq!(
        parts,
        [
            (head("callback", None, None), b"http://h/".to_vec()),
            (head("file", Some("a\"b.wav"), Some("audio/wav")), b"RIFF\r\n\r\n--".to_vec()),
        ]
    );
}

#[test]
fn takes_what_the_standard_allows() {
    let body = b"preamble\r\n--b \t \r\n\
        content-disposition:form-data;\r\n  name=file;\r\n\tfilename=x\r\nX-Other: 1\r\n\r\n\
        \r\n--b--  \r\nepilogue";
    let parts = read_all(&body[..], "b").expect("well-formed");
    assert_eq!(parts, [(head("file", Some("x"), None), Vec::new())]);
    assert_eq!(read_all(&b"--b--"[..], "b").expect("a form without parts"), []);
}

#[test]
fn knows_the_names_that_old_clients_send() {
    let body = b"--b\r\nContent-Disposition: form-data; name=\"file\"; \
        filename*=utf-8\'\'l%C3%ADnea%20%22.wav\r\n\r\n\r\n--b--";
    let parts = read_all(&body[..], "b").expect("well-formed");
    assert_eq!(parts[0].0, head("file", Some("línea \".wav"), None));
}

#[test]
fn keeps_content_that_looks_like_a_boundary() {
    let content = b"\r\n--b\r\r\n--bb\r\n--b \tx\r\n--b-\r\n--b-x--b--\r\n-";
    let body = write_all("b", &[("file", Some("f"), content)]);
    for step in 1..20 {
        let parts = read_all(Stepwise { rest: &body, step }, "b").expect("well-formed");
        assert_eq!(parts, [(head("file", Some("f"), None), content.to_vec())]);
    }
}

#[test]
fn refuses_what_has_no_bound() {
    let part = |name: &str| write_all("b", &[(name, None, b"")]);
    let long_head = [
        &b"--b\r\nContent-Disposition: form-data; name=x\r\nX: "[..],
        &vec![b'x'; HEAD_MAX],
        b"\r\n\r\n\r\n--b--",
    ]
    .concat();
    let many = write_all("b", &vec![("x", None, &b""[..]); PARTS_MAX + 1]);
    let preamble = [&vec![b'x'; AROUND_MAX + 1], &b"\r\n"[..], &part("x")].concat();
    let epilogue = [&part("x")[..], &vec![b'x'; AROUND_MAX]].concat();
    let long_name = part(&"x".repeat(NAME_MAX + 1));
    for body in [long_head, many, preamble, epilogue, long_name] {
        let error = read_all(&body[..], "b").expect_err("out of bounds");
        assert!(matches!(error, MultipartError::Malformed(_)), "{error}");
    }
    assert!(read_all(&part(&"x".repeat(NAME_MAX))[..], "b").is_ok());
}

#[test]
fn refuses_a_part_without_a_name() {
    for line in [
        "Content-Type: text/plain",
        "Content-Disposition: form-data",
        "Content-Disposition: form-data; name=\"open",
        "Content-Disposition: attachment; name=x",
        "no colon",
        "",
    ] {
        let body = format!("--b\r\n{line}\r\n\r\n\r\n--b--\r\n");
        let error = read_all(body.as_bytes(), "b").expect_err(line);
        assert!(matches!(error, MultipartError::Malformed(_)), "{line}: {error}");
    }
}

#[test]
fn knows_a_boundary() {
    let longest = "x".repeat(200);
    for good in
        ["b", "----WebKit", "a b", "'()+_,-./:=?", "*****x*****", "#{a}|~@!", longest.as_str()]
    {
        assert!(Boundary::new(good.as_bytes()).is_some(), "{good:?}");
    }
    let too_long = "x".repeat(201);
    for bad in ["", "b ", "a\r\nb", "a\"b", "ä", too_long.as_str()] {
        assert!(Boundary::new(bad.as_bytes()).is_none(), "{bad:?}");
    }
}

/// Content made of the pieces that could be taken for a boundary, and of anything.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            &b"\r"[..],
            b"\n",
            b"\r\n",
            b"-",
            b"--",
            b"\r\n--",
            b"\r\n--b",
            b"\r\n--bo",
            b"bo",
            b" ",
        ])
        .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..40)
        .prop_map(|pieces| pieces.concat())
        // What is a boundary by the standard cannot be content.
        .prop_filter("holds no boundary", |content| {
            let framed = [b"\r\n", &content[..], b"\r\n"].concat();
            memmem::find(&framed, b"\r\n--bou").is_none()
        })
}

proptest! {
    #[test]
    fn any_content_comes_out_as_it_went_in(
        contents in prop::collection::vec(content(), 0..5),
        step in 1usize..200,
    ) {
        let parts: Vec<_> =
            contents.iter().map(|content| ("field", Some("name"), &content[..])).collect();
        let body = write_all("bou", &parts);
        let read = read_all(Stepwise { rest: &body, step }, "bou").expect("well-formed");
        let read: Vec<_> = read.into_iter().map(|(_, content)| content).collect();
        prop_assert_eq!(read, contents);
    }

    #[test]
    fn a_body_longer_than_the_window_comes_out_whole(
        length in 60_000usize..300_000,
        step in 1_000usize..70_000,
        filling in prop::sample::select(vec![&b"\r\n--bo"[..], b"\r", b"x"]),
    ) {
        let content: Vec<u8> = filling.iter().copied().cycle().take(length).collect();
        let body = write_all("bou", &[("file", Some("f"), &content)]);
        let read = read_all(Stepwise { rest: &body, step }, "bou").expect("well-formed");
        prop_assert!(read[0].1 == content);
    }

    #[test]
    fn every_truncation_is_an_error(contents in prop::collection::vec(content(), 1..3)) {
        let parts: Vec<_> =
            contents.iter().map(|content| ("field", Some("name"), &content[..])).collect();
        let body = write_all("bou", &parts);
        // The body is whole once its closing boundary is; the line end behind that is extra.
        for end in 0..body.len() - 2 {
            let error = read_all(&body[..end], "bou").expect_err("cut off");
            prop_assert!(matches!(error, MultipartError::Truncated), "{} at {}", error, end);
        }
    }

    #[test]
    fn anything_ends_without_a_panic(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    &b"\r\n--b"[..], b"--b", b"--", b"\r\n", b"\r\n\r\n", b"\"", b"\\", b";", b"=",
                    b"Content-Disposition: form-data; name=\"", b"Content-Type: ", b"filename=",
                ]).prop_map(<[u8]>::to_vec),
                prop::collection::vec(any::<u8>(), 0..20),
            ],
            0..60,
        ),
        step in 1usize..50,
    ) {
        let body = pieces.concat();
        // An error or parts: which of them does not matter here.
        drop(read_all(Stepwise { rest: &body, step }, "b"));
    }
}
