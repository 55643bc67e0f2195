//! A web server with a script: each connection gets the next reply.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(super) struct Mirror {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

/// What one connection gets.
#[derive(Clone)]
pub(super) struct Reply {
    kind: Kind,
    body: Vec<u8>,
    tag: Option<&'static str>,
    /// Whether the length is told.
    told: bool,
    /// After how many bytes of the body the connection is closed.
    cut: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Whole,
    /// From where the request says.
    Rest,
    RangeFrom(usize),
    Status(u16),
    Redirect(&'static str),
    Endless,
    /// A head, and no body until the other side leaves.
    Silence,
}

impl Reply {
    fn of(kind: Kind, body: &[u8]) -> Reply {
        Reply { kind, body: body.to_vec(), tag: None, told: true, cut: None }
    }

    pub(super) fn whole(body: &[u8]) -> Reply {
        Reply::of(Kind::Whole, body)
    }

    pub(super) fn rest(body: &[u8]) -> Reply {
        Reply::of(Kind::Rest, body)
    }

    pub(super) fn range_from(body: &[u8], from: usize) -> Reply {
        Reply::of(Kind::RangeFrom(from), body)
    }

    pub(super) fn status(status: u16) -> Reply {
        Reply::of(Kind::Status(status), b"")
    }

    pub(super) fn redirect(to: &'static str) -> Reply {
        Reply::of(Kind::Redirect(to), b"")
    }

    pub(super) fn endless() -> Reply {
        Reply::of(Kind::Endless, b"")
    }

    pub(super) fn silence() -> Reply {
        Reply::of(Kind::Silence, b"")
    }

    pub(super) fn tagged(self, tag: &'static str) -> Reply {
        Reply { tag: Some(tag), ..self }
    }

    pub(super) fn untold(self) -> Reply {
        Reply { told: false, ..self }
    }

    pub(super) fn cut(self, after: usize) -> Reply {
        Reply { cut: Some(after), ..self }
    }

    fn send(&self, request: &str, stream: &mut TcpStream) -> std::io::Result<()> {
        let len = self.body.len();
        let (head, from) = match self.kind {
            Kind::Whole => ("HTTP/1.1 200 OK\r\n".to_owned(), 0),
            Kind::Rest | Kind::RangeFrom(_) => {
                let from =
                    if let Kind::RangeFrom(from) = self.kind { from } else { asked_from(request) };
                let range = format!("Content-Range: bytes {from}-{}/{len}", len - 1);
                (format!("HTTP/1.1 206 Partial Content\r\n{range}\r\n"), from)
            }
            Kind::Status(status) => (format!("HTTP/1.1 {status} So\r\n"), 0),
            Kind::Redirect(to) => (format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n"), 0),
            Kind::Endless | Kind::Silence => ("HTTP/1.1 200 OK\r\n".to_owned(), 0),
        };
        let mut head = head + "Connection: close\r\n";
        let is_told = self.told && !matches!(self.kind, Kind::Endless | Kind::Silence);
        if is_told {
            head += &format!("Content-Length: {}\r\n", len - from);
        }
        if let Some(tag) = self.tag {
            head += &format!("ETag: {tag}\r\n");
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"\r\n")?;
        match self.kind {
            Kind::Endless => loop {
                stream.write_all(&[0; 65_536])?;
            },
            Kind::Silence => stream.read(&mut [0]).map(drop),
            _ => {
                let body = &self.body[from..];
                stream.write_all(&body[..self.cut.unwrap_or(body.len())])
            }
        }
    }
}

/// The first byte that a request asks for.
fn asked_from(request: &str) -> usize {
    let range = request.split("range: bytes=").nth(1).expect("a range is asked for");
    range.split('-').next().and_then(|from| from.parse().ok()).expect("a number")
}

impl Mirror {
    pub(super) fn new(script: Vec<Reply>) -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let serve = move || {
            let mut script = script.into_iter();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                // Without a request it is the one that ends this thread.
                let Some(request) = read_head(&mut stream) else { return };
                heard.lock().expect("no panic under this lock").push(request.clone());
                let Some(reply) = script.next() else { continue };
                match reply.send(&request, &mut stream) {
                    // The client leaves early where it is meant to.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                        ) => {}
                    sent => sent.expect("a reply is sent"),
                }
            }
        };
        let thread = std::thread::Builder::new().name("mirror".to_owned()).spawn(serve);
        Mirror { addr, asked, thread: Some(thread.expect("a thread")) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }

    /// The heads of the requests so far, in lower case.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic under this lock").clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // A connection without a request; when it fails the thread has ended.
        let _ = TcpStream::connect(self.addr);
        let joined = self.thread.take().map(JoinHandle::join);
        if matches!(joined, Some(Err(_))) && !std::thread::panicking() {
            panic!("the mirror failed");
        }
    }
}

/// A request's head in lower case; `None` when the connection ends before it.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).to_lowercase())
}
