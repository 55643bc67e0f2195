//! A reply before it is on the wire. Headers are made here only, so that no text of a client can
//! end a header line.

use std::fs::File;
use std::io::{self, Cursor, Read};

use serde::Serialize;
use tiny_http::{Header, Request, Response, StatusCode};

/// More bytes than this may have to wait for the client to read them.
const LONG: u64 = 64 * 1024;

/// A status, headers and a body.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<Header>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Memory(Vec<u8>),
    File { file: File, bytes: u64 },
}

impl Reply {
    /// No body.
    pub(crate) fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Memory(Vec::new()) }
    }

    /// A body of this content type.
    pub(crate) fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Memory(body.into()) }
            .with("Content-Type", content_type)
            .with("Cache-Control", "no-store")
    }

    /// A JSON body, ended by a line feed for the sake of terminals.
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Reply {
        Reply::bytes(status, "application/json", json_line(body))
    }

    /// A file of this content type and length.
    pub(crate) fn file(content_type: &str, file: File, bytes: u64) -> Reply {
        Reply { status: 200, headers: Vec::new(), body: Body::File { file, bytes } }
            .with("Content-Type", content_type)
            .with("Cache-Control", "no-store")
    }

    /// Adds a header. Everything but visible ASCII and the space is left out of the value.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Reply {
        let value: Vec<u8> =
            value.as_ref().bytes().filter(|byte| (b' '..=b'~').contains(byte)).collect();
        let header = Header::from_bytes(name, value)
            .expect("invariant: names are ASCII, and values were reduced to it");
        self.headers.push(header);
        self
    }

    /// The same reply with another status.
    #[must_use]
    pub(crate) fn with_status(mut self, status: u16) -> Reply {
        self.status = status;
        self
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether writing it may take as long as the client likes.
    pub(crate) fn is_long(&self) -> bool {
        match &self.body {
            Body::Memory(body) => body.len() as u64 > LONG,
            Body::File { file: _, bytes } => *bytes > LONG,
        }
    }

    /// As it is on the wire of a connection that ends with it. For replies that are in memory.
    /// `fields` are further ones, with their line ends.
    pub(crate) fn closing_bytes(&self, fields: &str) -> Vec<u8> {
        let body: &[u8] = match &self.body {
            Body::Memory(body) => body,
            Body::File { .. } => &[],
        };
        let reason = StatusCode(self.status).default_reason_phrase();
        let mut head = format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n", self.status);
        for header in &self.headers {
            head.push_str(&format!("{}: {}\r\n", header.field, header.value));
        }
        head.push_str(fields);
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        [head.as_bytes(), body].concat()
    }

    /// Writes it to the client, and waits for as long as that takes.
    pub(crate) fn send(self, request: Request) {
        let Reply { status, headers, body } = self;
        let sent = match body {
            Body::Memory(body) => {
                let length = body.len() as u64;
                respond(request, status, headers, Cursor::new(body), length)
            }
            Body::File { file, bytes } => {
                respond(request, status, headers, file.take(bytes), bytes)
            }
        };
        if let Err(error) = sent {
            log::debug!("a reply did not reach its client: {error}");
        }
    }
}

fn respond(
    request: Request,
    status: u16,
    headers: Vec<Header>,
    body: impl Read,
    length: u64,
) -> io::Result<()> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    // Lengths are always known here: chunking would only hide them.
    let response = Response::new(StatusCode(status), headers, body, Some(length), None)
        .with_chunked_threshold(usize::MAX);
    request.respond(response)
}

/// One line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value)
        .expect("invariant: no type of the wire has a map key that is not text");
    line.push(b'\n');
    line
}
