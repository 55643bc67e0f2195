//! The head of a request: where it ends, whether it can be taken (RFC 9112), and what tiny_http is
//! given of it. Nothing but what was understood here goes on: the head is written anew.

use std::io::Write;
use std::net::IpAddr;

use httparse::Header;
use memchr::{memchr, memchr_iter};

use super::inbox::Inbox;
use super::passage::Secret;
use crate::http::admission::{Admitted, Knock};
use crate::http::client_id::{CLIENT_FIELD, ClientId};
use crate::http::header::is_token;
use crate::http::problem::{Code, Problem, quoted};
use crate::http::reply::Reply;
use crate::http::routes::is_probe;
use crate::http::upload::LENGTH_FIELD;
use crate::http::waiting::{CONNECTION_FIELD, ConnectionNumber};

/// The longest head, in bytes.
pub(super) const HEAD_MAX: usize = 16 * 1024;
/// The most header fields.
const FIELDS_MAX: usize = 100;
/// What the names of the gate's own fields begin with; a client's are left out.
const OWN_PREFIX: &str = "ringback-";
/// Fields that are about this connection, or about the body's framing, or that nobody behind the
/// gate reads (cookies belong to other programs on the same host, keys are looked at here).
const NOT_PASSED: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "expect",
    "cookie",
    "authorization",
];

/// Fields that decide what a request may do or how it is read. Bytes beyond ASCII in one of these cannot be
/// left out of account.
const STRICT: [&str; 9] = [
    "host",
    "origin",
    "sec-fetch-site",
    "sec-fetch-mode",
    "access-control-request-method",
    "access-control-request-headers",
    "content-type",
    "content-encoding",
    "idempotency-key",
];

/// How the end of a request's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// By its length in bytes.
    Length(u64),
    /// By its last chunk.
    Chunked,
}

/// Whether the connection outlives the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    KeepAlive,
    Close,
}

/// Who sends a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) address: IpAddr,
    pub(super) connection: ConnectionNumber,
}

/// A head that can be taken.
#[derive(Debug)]
pub(super) struct Head {
    /// The request line and the fields that are passed on, each with its line end.
    passed: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
    /// The version's minor number.
    pub(super) minor: u8,
    /// Its answer has no body, whatever the answer's head says.
    pub(super) is_head: bool,
    /// It asks whether the server lives: an answer that does not come is one, too.
    pub(super) is_probe: bool,
    /// The client waits to be asked for the body.
    pub(super) expects_continue: bool,
    /// Whose it is.
    pub(super) client: ClientId,
}

/// What comes of a head that can be read.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A request to be answered behind the gate.
    Request(Head),
    /// It is answered by this.
    Answered(Box<Reply>),
}

/// What tiny_http is told of the body.
#[derive(Clone, Copy, Debug)]
pub(super) enum InnerFraming {
    None,
    /// It follows whole.
    Whole(usize),
    /// It follows in chunks; its length, where the client has said it.
    Pieces(Option<u64>),
    /// As `Pieces`, once tiny_http has asked for it.
    OnDemand(Option<u64>),
}

/// Where the head in `bytes` ends, if it does; the first `scanned` bytes are known not to hold the
/// end.
///
/// # Errors
/// When a line does not end in CR LF, or something is there that no head contains.
pub(super) fn end_of_head(bytes: &[u8], scanned: usize) -> Result<Option<usize>, Problem> {
    if bytes.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
        return Err(bad("This is not an HTTP request"));
    }
    for at in memchr_iter(b'\n', &bytes[scanned..]).map(|at| scanned + at) {
        match bytes[..at].strip_suffix(b"\r") {
            None => return Err(bad("A line of the head does not end in CR LF")),
            Some(line) if line.ends_with(b"\n") => return Ok(Some(at + 1)),
            Some(_) => {}
        }
    }
    Ok(None)
}

/// The refusal of a head that is longer than [`HEAD_MAX`], of which this is the beginning.
pub(super) fn too_large(bytes: &[u8]) -> Problem {
    match memchr(b'\n', bytes) {
        None => {
            let detail = "The address is longer than 16 KiB. Send parameters in a form.";
            Problem::new(Code::UriTooLong, detail)
        }
        Some(_) => Problem::new(
            Code::HeadTooLarge,
            "A head has at most 16 KiB and 100 fields. Send parameters in a form.",
        ),
    }
}

impl Head {
    /// Takes the head that is unread out of `inbox`, if all of it is there; the first `scanned`
    /// bytes are known not to hold its end. The rest as in [`parse`](Head::parse).
    pub(super) fn take(
        inbox: &mut Inbox,
        scanned: &mut usize,
        caller: Caller,
        judge: impl FnOnce(&Knock<'_>) -> Result<Admitted, Problem>,
    ) -> Result<Option<Parsed>, Problem> {
        // Line ends before a request are what some clients put after the body before it.
        while *scanned == 0 && inbox.unread().starts_with(b"\r\n") {
            inbox.consume(2);
        }
        let unread = inbox.unread();
        let seen = &unread[..unread.len().min(HEAD_MAX)];
        if seen != b"\r" {
            if let Some(end) = end_of_head(seen, *scanned)? {
                let head = Head::parse(&seen[..end], caller, judge)?;
                inbox.consume(end);
                return Ok(Some(head));
            }
            *scanned = seen.len();
        }
        if seen.len() == HEAD_MAX { Err(too_large(seen)) } else { Ok(None) }
    }

    /// Reads a head that is all here; `caller` is whom it came from. `judge` is asked about one that
    /// can be read.
    pub(super) fn parse(
        bytes: &[u8],
        caller: Caller,
        judge: impl FnOnce(&Knock<'_>) -> Result<Admitted, Problem>,
    ) -> Result<Parsed, Problem> {
        if memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n')) {
            return Err(bad("There is a CR in the head that ends no line"));
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(bad("The head is not whole")),
            Err(httparse::Error::TooManyHeaders) => return Err(too_large(b"\n")),
            Err(httparse::Error::Version) => return Err(bad_version(bytes)),
            Err(error) => return Err(bad(&format!("The head cannot be read ({error})"))),
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(bad("The head is not whole"));
        };
        let fields = Fields(request.headers);
        fields.check(target, minor)?;
        let framing = fields.framing(minor)?;
        let expects_continue = fields.expects_continue(minor)? && framing != Framing::Length(0);
        let knock = Knock { peer: caller.address, method, target, fields: fields.0 };
        let client = match judge(&knock)? {
            Admitted::As(client) => client,
            Admitted::Answered(reply) => return Ok(Parsed::Answered(reply)),
        };
        Ok(Parsed::Request(Head {
            framing,
            persistence: fields.persistence(minor),
            minor,
            is_head: method == "HEAD",
            is_probe: is_probe(target),
            expects_continue,
            passed: fields.passed(method, target, caller, &client),
            client,
        }))
    }

    /// The head for tiny_http.
    pub(super) fn for_inner(&self, framing: InnerFraming, secret: &Secret) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.passed.len() + 256);
        head.extend_from_slice(&self.passed);
        let mut add = |line: std::fmt::Arguments<'_>| {
            head.write_fmt(line).expect("invariant: writing to memory does not fail");
        };
        match framing {
            InnerFraming::None => {}
            InnerFraming::Whole(length) => add(format_args!("Content-Length: {length}\r\n")),
            InnerFraming::Pieces(length) | InnerFraming::OnDemand(length) => {
                add(format_args!("Transfer-Encoding: chunked\r\n"));
                if let Some(length) = length {
                    add(format_args!("{LENGTH_FIELD}: {length}\r\n"));
                }
            }
        }
        if let InnerFraming::OnDemand(_) = framing {
            add(format_args!("Expect: 100-continue\r\n"));
        }
        add(format_args!("{}\r\n", secret.line()));
        head
    }
}

struct Fields<'a>(&'a [Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }

    /// The elements of a list, in all fields of this name.
    fn listed(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(name).flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
    }

    fn lists(&self, name: &'static str, element: &str) -> bool {
        self.listed(name).any(|listed| listed.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// What is asked of every head.
    fn check(&self, target: &str, minor: u8) -> Result<(), Problem> {
        if !target.is_ascii() {
            return Err(bad("The address is not ASCII. Percent-encode it"));
        }
        match (self.all("host").count(), minor) {
            (1, _) | (0, 0) => {}
            (0, _) => return Err(bad("The field `Host` is missing")),
            (_, _) => return Err(bad("The field `Host` was given twice")),
        }
        let is_control = |&byte: &u8| byte != b'\t' && (byte < b' ' || byte == 0x7f);
        for field in self.0.iter().filter(|field| !is_dropped(field.name)) {
            if field.value.iter().any(is_control) {
                let name = quoted(field.name);
                return Err(bad(&format!("There is a control character in the field {name}")));
            }
            if !field.value.is_ascii() && is_strict(field.name) {
                return Err(bad(&format!("The field {} is not ASCII", quoted(field.name))));
            }
        }
        Ok(())
    }

    fn framing(&self, minor: u8) -> Result<Framing, Problem> {
        let mut lengths = self.all("content-length");
        let mut encodings = self.all("transfer-encoding");
        let (length, encoding) = (lengths.next(), encodings.next());
        if lengths.next().is_some() || encodings.next().is_some() {
            return Err(bad("`Content-Length` or `Transfer-Encoding` was given twice"));
        }
        match (length, encoding) {
            (None, None) => Ok(Framing::None),
            (Some(_), Some(_)) => {
                Err(bad("Give `Content-Length` or `Transfer-Encoding`, not both"))
            }
            (Some(length), None) => content_length(length)
                .map(Framing::Length)
                .ok_or_else(|| bad("`Content-Length` is not a number of bytes")),
            (None, Some(_)) if minor == 0 => Err(bad("HTTP/1.0 has no `Transfer-Encoding`")),
            (None, Some(encoding)) if !encoding.eq_ignore_ascii_case(b"chunked") => {
                Err(bad("The only `Transfer-Encoding` taken is `chunked`"))
            }
            (None, Some(_)) if self.is_form() => Ok(Framing::Chunked),
            (None, Some(_)) => Err(Problem::new(
                Code::LengthRequired,
                "Send a `Content-Length`: without one a body that was cut off looks whole.",
            )),
        }
    }

    /// A form's end is seen from its closing boundary, too.
    fn is_form(&self) -> bool {
        const FORM: &[u8] = b"multipart/form-data";
        self.all("content-type")
            .all(|value| value.get(..FORM.len()).is_some_and(|v| v.eq_ignore_ascii_case(FORM)))
            && self.all("content-type").count() == 1
    }

    fn persistence(&self, minor: u8) -> Persistence {
        let stays = match minor {
            0 => self.lists("connection", "keep-alive"),
            _ => true,
        };
        if stays && !self.lists("connection", "close") {
            Persistence::KeepAlive
        } else {
            Persistence::Close
        }
    }

    fn expects_continue(&self, minor: u8) -> Result<bool, Problem> {
        let mut expects = false;
        for expectation in self.listed("expect").filter(|_| minor > 0) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                let detail = "The only expectation met here is `100-continue`.";
                return Err(Problem::new(Code::ExpectationFailed, detail));
            }
            expects = true;
        }
        Ok(expects)
    }

    /// The head without its framing, as it goes on.
    fn passed(&self, method: &str, target: &str, caller: Caller, client: &ClientId) -> Vec<u8> {
        let mut passed = Vec::with_capacity(512);
        for part in [method, " ", target, " HTTP/1.1\r\n"] {
            passed.extend_from_slice(part.as_bytes());
        }
        let is_nominated =
            |name: &str| self.listed("connection").any(|n| n.eq_ignore_ascii_case(name.as_bytes()));
        // tiny_http takes ASCII alone. Others' fields may have more: places, names, addresses of pages.
        let is_passed = |field: &&Header<'_>| !is_dropped(field.name) && field.value.is_ascii();
        for field in self.0.iter().filter(is_passed) {
            // Whom the request is for is no matter of this connection, whatever the client says.
            if field.name.eq_ignore_ascii_case("host") || !is_nominated(field.name) {
                for part in [field.name.as_bytes(), b": ", field.value.trim_ascii(), b"\r\n"] {
                    passed.extend_from_slice(part);
                }
            }
        }
        let number = caller.connection;
        write!(passed, "{CONNECTION_FIELD}: {number}\r\n{CLIENT_FIELD}: {client}\r\n")
            .and_then(|()| passed.write_all(b"Connection: close\r\n"))
            .expect("invariant: writing to memory does not fail");
        passed
    }
}

/// Digits alone, as many as fit.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit());
    // No digits at all do not parse.
    digits.parse().ok().filter(|_| valid)
}

fn is_strict(name: &str) -> bool {
    STRICT.iter().any(|strict| name.eq_ignore_ascii_case(strict))
}

fn is_dropped(name: &str) -> bool {
    NOT_PASSED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))
        || name.get(..OWN_PREFIX.len()).is_some_and(|own| own.eq_ignore_ascii_case(OWN_PREFIX))
        || !is_token(name)
}

fn bad(what: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("{what}."))
}

/// A version that HTTP may have one day, or none at all.
fn bad_version(bytes: &[u8]) -> Problem {
    let line = &bytes[..memchr(b'\r', bytes).unwrap_or(bytes.len())];
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    match words[..] {
        [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Problem::new(Code::UnsupportedVersion, "HTTP/1.1 and HTTP/1.0 are spoken here.")
        }
        _ => bad("The request line has no version of HTTP"),
    }
}

#[cfg(test)]
mod tests;
