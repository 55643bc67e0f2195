//! A connection's bytes: heads, lengths and chunks, one request after the other.
//!
//! The last two bytes say where the rest is cut in two. However it is cut, the same comes of it. Of
//! whatever is taken, tiny_http gets a head that other readers read as the gate did, with one framing
//! and nothing of the client's that is about the connection or in the gate's own name; and a body that
//! a simpler reader of chunks finds, too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringback::fuzzing::{Exchange, Framing, converse};

/// The longest body, in bytes.
const MAX_BODY: u64 = 1000;
/// What is fed byte by byte is not longer: each byte costs a look at what is there.
const BYTEWISE_MAX: usize = 2048;
/// Fields that go no further than the gate, and `Connection`, which is the gate's own behind it.
const HOP_BY_HOP: [&str; 11] = [
    "authorization",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "cookie",
    "connection",
    "expect",
];

/// What the gate says of itself and of the client.
const GATES: [&str; 4] =
    ["Ringback-Connection", "Ringback-Client", "Ringback-Secret", "Ringback-Length"];

fuzz_target!(|bytes: &[u8]| {
    let Some((sent, cut)) = bytes.split_last_chunk::<2>() else { return };
    let exchanges = converse(&[sent], MAX_BODY);
    let (first, second) = sent.split_at(usize::from(u16::from_le_bytes(*cut)) % (sent.len() + 1));
    assert_eq!(converse(&[first, second], MAX_BODY), exchanges, "cut in two");
    if sent.len() <= BYTEWISE_MAX {
        let bytewise: Vec<&[u8]> = sent.chunks(1).collect();
        assert_eq!(converse(&bytewise, MAX_BODY), exchanges, "byte by byte");
    }
    let mut rest = sent;
    for exchange in &exchanges {
        match exchange {
            Exchange::Request { framing, heads, body, is_whole } => {
                rest = check(rest, *framing, heads, body, *is_whole);
            }
            Exchange::Refused(status) => assert!((400..=505).contains(status), "{status}"),
            Exchange::Waiting => {}
        }
    }
});

/// Checks one request, which `sent` begins with; returns what is behind it.
fn check<'a>(
    sent: &'a [u8],
    framing: Framing,
    heads: &[Vec<u8>; 4],
    body: &[u8],
    is_whole: bool,
) -> &'a [u8] {
    let client = ClientHead::read(sent);
    let rest = &sent[client.length..];
    assert!(body.len() as u64 <= MAX_BODY);
    for (head, kind) in heads.iter().zip(["none", "whole", "pieces", "on demand"]) {
        check_inner(head, kind, &client, body.len());
    }
    match (client.all("content-length")[..].as_ref(), client.all("transfer-encoding")[..].as_ref())
    {
        ([], []) => {
            assert_eq!((framing, body.len(), is_whole), (Framing::None, 0, true));
            rest
        }
        ([length], []) => {
            assert!(!length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()));
            let length: u64 = length.parse().expect("digits that fit");
            assert_eq!(framing, Framing::Length(length));
            let here = (length as usize).min(rest.len());
            assert_eq!((body, is_whole), (&rest[..here], here as u64 == length));
            &rest[here..]
        }
        ([], [encoding]) => {
            assert!(encoding.eq_ignore_ascii_case("chunked"));
            assert_eq!(framing, Framing::Chunked);
            let (chunks, behind) = read_chunks(rest);
            assert_eq!((body, is_whole), (&chunks[..], behind.is_some()));
            behind.unwrap_or_default()
        }
        (lengths, encodings) => panic!("taken with {lengths:?} and {encodings:?}"),
    }
}

/// What the client said, read line by line as RFC 9112 has it and no other way.
struct ClientHead<'a> {
    length: usize,
    request_line: &'a str,
    fields: Vec<(String, String)>,
}

impl<'a> ClientHead<'a> {
    fn read(sent: &'a [u8]) -> ClientHead<'a> {
        let blank = sent.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2;
        let end = sent[blank..].windows(4).position(|four| four == b"\r\n\r\n").expect("an end");
        let text = &sent[blank..blank + end];
        // Fields that go no further may hold what is not ASCII.
        let mut lines = text.split(|&byte| byte == b'\n').map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            assert!(!line.contains(&b'\r') && !line.contains(&0), "{line:?}");
            line
        });
        let request_line = lines.next().expect("split gives one at least");
        let request_line = std::str::from_utf8(request_line).expect("a request line in ASCII");
        let fields = lines.map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').expect("a field has a colon");
            let name = std::str::from_utf8(&line[..colon]).expect("a name in ASCII");
            let token =
                |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert!(!name.is_empty() && name.bytes().all(token), "a field's name: {name:?}");
            let value = String::from_utf8_lossy(&line[colon + 1..]);
            (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
        });
        ClientHead { length: blank + end + 4, request_line, fields: fields.collect() }
    }

    fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// Checks the head that tiny_http gets.
fn check_inner(head: &[u8], kind: &str, client: &ClientHead<'_>, body: usize) {
    let text = std::str::from_utf8(head).expect("nothing but ASCII");
    let body_of_head = text.strip_suffix("\r\n\r\n").expect("an end");
    assert!(body_of_head.split("\r\n").all(|line| !line.is_empty()
        && line.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))));
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(parsed.parse(head), Ok(httparse::Status::Complete(head.len())));

    let mut lines = body_of_head.split("\r\n");
    let words: Vec<&str> = lines.next().expect("a request line").split(' ').collect();
    let sent: Vec<&str> = client.request_line.split(' ').collect();
    assert!(sent.len() == 3 && words[..2] == sent[..2] && words[2..] == ["HTTP/1.1"], "{words:?}");
    // As tiny_http reads them.
    let read: Vec<tiny_http::Header> =
        lines.map(|line| line.parse().expect("a field that tiny_http reads")).collect();
    assert_eq!(read.len(), parsed.headers.len());
    for (field, other) in read.iter().zip(parsed.headers.iter()) {
        assert_eq!(
            (field.field.as_str().as_str(), field.value.as_str().as_bytes()),
            (other.name, other.value)
        );
    }
    let all = |name: &str| -> Vec<&str> {
        let named =
            read.iter().filter(|field| field.field.as_str().as_str().eq_ignore_ascii_case(name));
        named.map(|field| field.value.as_str()).collect()
    };
    let length = body.to_string();
    let (lengths, encodings, expectations): (&[&str], &[&str], &[&str]) = match kind {
        "none" => (&[], &[], &[]),
        "whole" => (&[&length], &[], &[]),
        "pieces" => (&[], &["chunked"], &[]),
        _ => (&[], &["chunked"], &["100-continue"]),
    };
    assert_eq!(all("Content-Length"), lengths);
    assert_eq!(all("Transfer-Encoding"), encodings);
    assert_eq!(all("Expect"), expectations);
    assert_eq!(all("Connection"), ["close"]);
    assert_eq!(all("Ringback-Connection"), ["7"]);
    assert_eq!(all("Ringback-Client"), ["127.0.0.1"]);
    assert!(matches!(all("Ringback-Secret")[..], [secret] if secret.len() == 64));

    assert_eq!(all("Host"), client.all("host"));
    let own = |name: &str| {
        let own = name.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("ringback-"));
        own && !GATES.contains(&name)
    };
    let lists = client.all("connection");
    let nominated: Vec<&str> =
        lists.iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    for field in &read {
        let name = field.field.as_str().as_str();
        assert!(!own(name), "{name}");
        let is_gates = name.eq_ignore_ascii_case("host")
            || ["Connection", "Expect", "Content-Length", "Transfer-Encoding"].contains(&name);
        assert!(is_gates || !HOP_BY_HOP.contains(&name.to_ascii_lowercase().as_str()), "{name}");
        let is_nominated = nominated.iter().any(|other| other.eq_ignore_ascii_case(name));
        assert!(is_gates || name.starts_with("Ringback-") || !is_nominated, "{name}");
    }
}

/// The bytes of all chunks that are here, and what is behind the last one, if that is here. What is
/// sent was taken, so that nothing is wrong with it.
fn read_chunks(mut rest: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut body = Vec::new();
    while let Some(line) = take_line(&mut rest) {
        let digits: String = line.chars().take_while(|digit| digit.is_ascii_hexdigit()).collect();
        let size = usize::from_str_radix(&digits, 16).expect("a chunk's size");
        let extension = line[digits.len()..].trim_start();
        assert!(extension.is_empty() || extension.starts_with(';'), "{line:?}");
        if size == 0 {
            while let Some(line) = take_line(&mut rest) {
                if line.is_empty() {
                    return (body, Some(rest));
                }
            }
            break;
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(behind) = rest.get(size..) else { break };
        let Some(behind) = behind.strip_prefix(b"\r\n") else {
            assert!(b"\r".starts_with(behind), "a chunk ends where its size says");
            break;
        };
        rest = behind;
    }
    (body, None)
}

fn take_line(rest: &mut &[u8]) -> Option<String> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let line = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = &rest[end + 2..];
    Some(line)
}
