//! Long uploads that wait for each other, and clients that go while they wait.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{Fixture, GET, PATIENCE, limits};
use crate::http::gate::Limits;
use crate::http::gate::passage::place;
use crate::http::gate::turns::Bounds;

const LONG: usize = 100_000;

/// A long upload's head, and as much of its body as lets it wait for its turn.
fn begun(fields: &str) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {LONG}\r\n{fields}\r\n"
    );
    let body = if fields.is_empty() { BEGUN } else { 0 };
    [head.as_bytes(), &vec![b'x'; body]].concat()
}

const BEGUN: usize = 20_000;
const ASKED: &str = "Expect: 100-continue\r\n";

fn upload(gate: &Fixture, fields: &str) -> TcpStream {
    let mut stream = gate.connect();
    stream.write_all(&begun(fields)).unwrap();
    stream
}

/// Another client than the rest of the test is.
fn neighbor(gate: &Fixture) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&gate.addr.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn rest(stream: &mut TcpStream, bytes: usize) -> String {
    stream.write_all(&vec![b'x'; bytes]).unwrap();
    read(stream)
}

fn read(stream: &mut TcpStream) -> String {
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// Nobody is too slow.
fn patient(places: usize, share: usize, waiting: usize) -> Limits {
    let uploads = Bounds { places, share, waiting };
    Limits { uploads, grace: PATIENCE, stall: PATIENCE, turn: PATIENCE, ..limits() }
}

#[cfg(target_os = "linux")]
#[test]
fn a_clients_uploads_wait_for_each_other_and_for_nobody_elses() {
    let gate = Fixture::start(place, patient(2, 1, 1));
    let mut first = upload(&gate, "");
    gate.wait_for_uploads(1, 0);
    let mut second = upload(&gate, ASKED);
    gate.wait_for_uploads(1, 1);
    let refused = read(&mut upload(&gate, ""));
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: "), "{refused}");
    let mut other = neighbor(&gate);
    other.write_all(&begun("")).unwrap();
    assert!(rest(&mut other, LONG - BEGUN).starts_with("HTTP/1.1 200 "));
    assert!(gate.exchange(b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert!(rest(&mut first, LONG - BEGUN).starts_with("HTTP/1.1 200 "));
    let mut asked = [0; 25];
    second.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n", "not before its turn");
    assert!(rest(&mut second, LONG).starts_with("HTTP/1.1 200 "));
    gate.wait_for_uploads(0, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_slow_upload_makes_way_for_another_clients() {
    let gate = Fixture::start(
        place,
        Limits { brisk_grace: Duration::from_millis(100), ..patient(1, 1, 1) },
    );
    let mut slow = upload(&gate, "");
    gate.wait_for_uploads(1, 0);
    let mut other = neighbor(&gate);
    other.write_all(&begun("")).unwrap();
    let told = read(&mut slow);
    assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("others wait"), "{told}");
    assert!(rest(&mut other, LONG - BEGUN).starts_with("HTTP/1.1 200 "));
    assert_eq!(gate.bodies.recv_timeout(PATIENCE), Ok(BEGUN));
    assert_eq!(gate.bodies.recv_timeout(PATIENCE), Ok(LONG));
}

#[test]
fn a_turn_is_not_waited_for_for_ever() {
    let gate =
        Fixture::start(place, Limits { turn: Duration::from_millis(50), ..patient(1, 1, 9) });
    let _first = upload(&gate, "");
    gate.wait_for_uploads(1, 0);
    let told = read(&mut upload(&gate, ASKED));
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("\"busy\""), "{told}");
    gate.wait_for_uploads(1, 0);
}

#[test]
fn who_is_reset_waits_for_no_turn() {
    let gate = Fixture::start(place, patient(1, 1, 9));
    let _first = upload(&gate, "");
    gate.wait_for_uploads(1, 0);
    let second = upload(&gate, "");
    gate.wait_for_uploads(1, 1);
    reset(second);
    gate.wait_for_uploads(1, 0);
}

#[test]
fn an_upload_that_is_reset_gives_its_place_back() {
    let gate = Fixture::start(place, patient(1, 1, 9));
    let first = upload(&gate, "");
    gate.wait_for_uploads(1, 0);
    reset(first);
    gate.wait_for_uploads(0, 0);
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn the_request_of_a_client_that_has_gone_is_recalled() {
    let gate = Fixture::start(place, limits());
    for (connection, hang_up) in (0..).zip([reset, drop]) {
        let mut stream = gate.connect();
        // What comes behind it is not looked at, and hides nothing.
        stream.write_all(&[WAIT, GET].concat()).unwrap();
        gate.wait_until_busy(1);
        hang_up(stream);
        assert_eq!(gate.departed.recv_timeout(PATIENCE), Ok(connection));
        assert_eq!(gate.departed.recv_timeout(PATIENCE), Ok(connection), "until it is over");
        gate.go.send(()).unwrap();
        gate.wait_until_open(0);
        while gate.departed.try_recv().is_ok() {}
    }
}

#[test]
fn a_client_that_only_ends_its_side_is_answered() {
    let gate = Fixture::start(place, Limits { half_closed: PATIENCE, ..limits() });
    let mut stream = gate.connect();
    stream.write_all(&[WAIT, GET].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    gate.wait_until_busy(1);
    gate.go.send(()).unwrap();
    let reply = read(&mut stream);
    assert_eq!(reply.matches("HTTP/1.1 200 ").count(), 2, "{reply}");
    assert!(gate.departed.try_recv().is_err());
}
