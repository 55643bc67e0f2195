//! What a stranger may send, held against the real program. While each attack lasts another client
//! is served within a second, and afterwards the process is as it was: see [`siege`].
//!
//! | module | attacks with |
//! |---|---|
//! | `framing` | bodies of no clear length, chunks that are none |
//! | `heads` | endless lines and fields, heads that are none |
//! | `slow` | heads and bodies that never come, readers that never read |
//! | `crowds` | more connections and requests than there is room for, resets at every stage |
//! | `forms` | parts without number or end, boundaries that are none |
//! | `audio` | tiny files that claim to be hours long or gigabytes large |
//! | `text` | line ends, NUL, paths, SQL and lines of a log in every field |
//!
//! The attackers come from another address than the honest client, as another client would.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

use crate::support::{PATIENCE, Target};
use siege::Siege;

mod audio;
mod crowds;
mod forms;
mod framing;
mod heads;
mod recordings;
mod siege;
mod slow;
mod text;

/// Where the attackers are.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// A whole request.
const NEXT: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection of an attacker.
fn connect(server: &impl Target) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.bind(&SocketAddr::from((ELSEWHERE, 0)).into()).expect("an address");
    socket.connect(&server.addr().into()).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    socket.set_tcp_nodelay(true).expect("an option");
    socket.into()
}

/// Sends as much of this as is taken, and reads until the server ends the connection.
fn told(stream: &mut TcpStream, bytes: &[u8]) -> String {
    // A server that has heard enough need not hear the rest.
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => reply.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server leaves the connection open: {error}"),
        }
    }
    String::from_utf8(reply).expect("UTF-8")
}

/// Sends this on a connection of its own; it must be refused with `status`, and the connection end.
#[track_caller]
fn assert_refused(siege: &Siege, what: &str, bytes: &[u8], status: u16) {
    let reply = told(&mut connect(siege), bytes);
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {reply}");
    assert_eq!(reply.matches("\r\n\r\n").count(), 1, "one answer, {what}: {reply}");
    assert!(reply.contains("Connection: close"), "{what}: {reply}");
    assert!(reply.contains("application/problem+json"), "{what}: {reply}");
    siege.assert_served();
}

/// The head of an upload with these fields.
fn post(fields: &str) -> String {
    format!("POST /jobs HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n")
}
