//! The gate with small bounds, in front of a tiny_http that does as the address says. Every test goes
//! through each kind of private socket.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;

use crossbeam_channel::unbounded;
use tiny_http::{Request, Response};

use super::passage::{self, Place};
use super::*;
use crate::http::admission::{Admitted, Cors};
use crate::http::client_id::ClientId;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(30);
/// What `/large` answers, in bytes.
const LARGE: usize = 64 * 1024 * 1024;

/// Lets every request in.
fn everybody(knock: &Knock<'_>) -> Judgement {
    // Clients on this machine have no share, so these count as clients elsewhere.
    let IpAddr::V4(peer) = knock.peer else { unreachable!("the gate listens on IPv4") };
    let client = ClientId::of_address([10, 0, 0, peer.octets()[3]].into());
    Judgement { cors: Cors::default(), verdict: Ok(Admitted::As(client)) }
}

/// A kind of private socket.
type Way = fn(&Path) -> io::Result<Box<dyn Place>>;

/// Each test through one kind.
macro_rules! through {
    ($way:expr; $($test:ident)*) => {
        $(#[test] fn $test() { super::$test($way) })*
    };
}

/// Each test through every kind.
macro_rules! tests {
    ($($test:ident)*) => {
        mod through_what_this_system_has {
            through!(super::passage::place; $($test)*);
        }
        mod through_a_port {
            through!(|_| super::passage::ports(); $($test)*);
        }
    };
}

tests! {
    a_head_that_takes_too_long_is_refused
    an_idle_connection_ends
    a_body_that_stalls_is_refused_and_seen_to_be_cut_off
    a_body_comes_through_however_it_is_framed
    a_long_body_is_not_read_to_its_end_when_it_is_refused
    who_does_not_read_is_left
    a_long_answer_comes_whole
    who_finds_no_place_is_told_so_and_finds_one_later
    a_stop_ends_who_is_idle_at_once_and_the_others_after_their_answer
    a_stop_does_not_wait_beyond_its_deadline
    who_comes_past_the_gate_is_turned_away
    a_probe_that_nobody_answers_is_told_that
}

struct Fixture {
    gate: Option<Gate>,
    addr: SocketAddr,
    upstream: Arc<Upstream>,
    thread: Option<JoinHandle<()>>,
    /// How many bytes of each body were read.
    bodies: Receiver<usize>,
    /// Who has gone.
    departed: Receiver<ConnectionNumber>,
    /// Each of these lets a request for `/wait` go on.
    go: Sender<()>,
    _data: tempfile::TempDir,
}

fn answer(mut request: Request, tell: &Sender<usize>, goes: &Receiver<()>) {
    let path = request.url().to_owned();
    // Whether it reached its client is what the tests are about.
    let _ = match path.as_str() {
        "/large" => {
            let response = Response::from_data(vec![7; LARGE]);
            request.respond(response.with_chunked_threshold(usize::MAX))
        }
        "/wait" | "/livez?wait" => {
            let _ = goes.recv();
            request.respond(Response::from_string("waited"))
        }
        "/refuse" => request.respond(Response::empty(422)),
        _ => {
            let mut body = Vec::new();
            let read = request.as_reader().read_to_end(&mut body);
            tell.send(read.map_or(body.len(), |_| body.len())).unwrap();
            request.respond(Response::from_string("read"))
        }
    };
}

impl Fixture {
    fn start(way: Way, limits: Limits) -> Fixture {
        let data = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let upstream = Arc::new(Upstream::start_in(way(data.path()).unwrap()).unwrap());
        let (departures, departed) = bounded(64);
        let in_front = Arc::clone(&upstream);
        let gate = Gate::open(listener, in_front, limits, everybody, departures).unwrap();
        let (tell, bodies) = unbounded();
        let (go, goes) = unbounded();
        let thread = std::thread::spawn({
            let upstream = Arc::clone(&upstream);
            move || {
                std::thread::scope(|scope| {
                    upstream.run(|request| {
                        let (tell, goes) = (tell.clone(), goes.clone());
                        scope.spawn(move || answer(request, &tell, &goes));
                    });
                });
            }
        });
        let (gate, thread) = (Some(gate), Some(thread));
        Fixture { gate, addr, upstream, thread, bodies, departed, go, _data: data }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends this and reads until the gate ends the connection.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn premises(&self) -> &Premises {
        &self.gate.as_ref().unwrap().premises
    }

    /// Uploads behind the gate, and those that wait.
    fn wait_for_uploads(&self, placed: usize, waiting: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.premises().uploads.counts() != (placed, waiting) {
            assert!(Instant::now() < deadline, "{:?}", self.premises().uploads.counts());
            std::thread::yield_now();
        }
    }

    fn open(&self) -> usize {
        self.premises().roster.len()
    }

    fn wait_until_busy(&self, connections: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.premises().roster.busy() != connections {
            assert!(Instant::now() < deadline, "not so many are busy");
            std::thread::yield_now();
        }
    }

    fn wait_until_open(&self, connections: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.open() != connections {
            assert!(Instant::now() < deadline, "{} connections stay open", self.open());
            std::thread::yield_now();
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let all_gone = self.gate.take().is_none_or(|gate| gate.stop(Instant::now() + PATIENCE));
        self.upstream.close();
        self.thread.take().unwrap().join().unwrap();
        assert!(all_gone);
    }
}

fn limits() -> Limits {
    Limits {
        connections: 8,
        head: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        grace: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        half_closed: Duration::from_millis(300),
        quiet: Duration::from_millis(300),
        probe: Duration::from_millis(300),
        ..Limits::new(1024 * 1024, 1)
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn a_head_that_takes_too_long_is_refused(way: Way) {
    let gate = Fixture::start(way, limits());
    let reply = gate.exchange(b"\r\nGET / HT");
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    assert!(reply.contains("Connection: close") && reply.contains("\"timeout\""), "{reply}");
    assert_eq!(gate.exchange(b""), "", "who says nothing is told nothing");
}

fn an_idle_connection_ends(way: Way) {
    let gate = Fixture::start(way, limits());
    let reply = gate.exchange(&GET.repeat(3));
    assert_eq!(reply.matches("HTTP/1.1 200 ").count(), 3, "{reply}");
    gate.wait_until_open(0);
}

fn a_body_that_stalls_is_refused_and_seen_to_be_cut_off(way: Way) {
    let gate = Fixture::start(way, limits());
    let stalled = |head: &str, sent: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
        gate.exchange(&[head.as_bytes(), &vec![b'x'; sent]].concat())
    };
    let short = stalled("Content-Length: 100", 99);
    assert!(short.starts_with("HTTP/1.1 408 "), "{short}");
    assert!(gate.bodies.try_recv().is_err(), "nobody was bothered with it");
    let long = stalled("Content-Length: 300000", 200_000);
    assert!(long.starts_with("HTTP/1.1 408 "), "{long}");
    assert_eq!(gate.bodies.recv_timeout(PATIENCE), Ok(200_000));
    let asked = stalled("Expect: 100-continue\r\nContent-Length: 300000", 0);
    assert!(asked.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 "), "{asked}");
}

fn a_body_comes_through_however_it_is_framed(way: Way) {
    let gate = Fixture::start(way, limits());
    for bytes in [0, 1, 1023, 1025, 64 * 1024, 64 * 1024 + 1, 1024 * 1024] {
        let body = vec![b'x'; bytes];
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
        let reply = gate.exchange(&[head.as_bytes(), &body, GET].concat());
        assert_eq!(reply.matches("HTTP/1.1 200 ").count(), 2, "{bytes}: {reply}");
        assert_eq!(gate.bodies.recv_timeout(PATIENCE), Ok(bytes));
        assert_eq!(gate.bodies.recv_timeout(PATIENCE), Ok(0));
        let mut chunked = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data\r\n\
                            Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
        for chunk in body.chunks(5000) {
            chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        let reply = gate.exchange(&[&chunked[..], b"0\r\n\r\n", GET].concat());
        assert_eq!(reply.matches("HTTP/1.1 200 ").count(), 2, "{bytes}: {reply}");
        assert_eq!(gate.bodies.recv_timeout(PATIENCE), Ok(bytes));
        assert_eq!(gate.bodies.recv_timeout(PATIENCE), Ok(0));
    }
}

fn a_long_body_is_not_read_to_its_end_when_it_is_refused(way: Way) {
    let gate = Fixture::start(way, limits());
    let head = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n";
    let reply = gate.exchange(&[&head[..], &[b'x'; 100_000]].concat());
    assert!(reply.starts_with("HTTP/1.1 422 "), "{reply}");
    assert!(reply.contains("Connection: close"), "{reply}");
}

fn who_does_not_read_is_left(way: Way) {
    let gate = Fixture::start(way, limits());
    let mut stream = gate.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    gate.wait_until_open(1);
    gate.wait_until_open(0);
    let reply = gate.exchange(b"GET / HTTP/1.0\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 200 "), "the next one is served: {reply}");
}

fn a_long_answer_comes_whole(way: Way) {
    let gate = Fixture::start(way, limits());
    let mut stream = gate.connect();
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let head = reply.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert_eq!(reply.len() - head - 4, LARGE);
}

fn who_finds_no_place_is_told_so_and_finds_one_later(way: Way) {
    let gate = Fixture::start(way, Limits { head: PATIENCE, connections: 2, ..limits() });
    let mut idle = [gate.connect(), gate.connect()];
    gate.wait_until_open(2);
    assert!(gate.exchange(GET).starts_with("HTTP/1.1 200 "), "who does nothing makes room");
    assert_eq!(idle[0].read(&mut [0]).unwrap(), 0);
    drop(idle);
    gate.wait_until_open(0);
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    let mut busy = [gate.connect(), gate.connect()];
    // This one has its place for certain, and the thread behind the gate waits for its body.
    busy[0].write_all(head).unwrap();
    busy[0].read_exact(&mut [0; 25]).unwrap();
    busy[1].write_all(head).unwrap();
    gate.wait_until_busy(2);
    let reply = gate.exchange(b"");
    assert!(reply.starts_with("HTTP/1.1 503 ") && reply.contains("Retry-After: 2\r\n"), "{reply}");
    drop(busy);
    gate.wait_until_open(0);
    assert!(gate.exchange(GET).starts_with("HTTP/1.1 200 "));
}

fn a_stop_ends_who_is_idle_at_once_and_the_others_after_their_answer(way: Way) {
    let mut gate = Fixture::start(way, Limits { head: PATIENCE, idle: PATIENCE, ..limits() });
    let mut idle = gate.connect();
    let mut busy = gate.connect();
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    gate.wait_until_open(2);
    // The request is with tiny_http's side once this one, which comes after it, is counted.
    let closing = gate.gate.take().unwrap();
    let premises = Arc::clone(&closing.premises);
    let stopping = std::thread::spawn(move || closing.stop(Instant::now() + PATIENCE));
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    gate.go.send(()).unwrap();
    let mut reply = String::new();
    busy.read_to_string(&mut reply).unwrap();
    assert!(reply.is_empty() || reply.contains("Connection: close"), "{reply}");
    drop(busy);
    assert!(stopping.join().unwrap());
    assert_eq!(premises.roster.len(), 0);
    assert!(TcpStream::connect(gate.addr).is_err(), "nobody listens any more");
}

fn a_stop_does_not_wait_beyond_its_deadline(way: Way) {
    let mut gate = Fixture::start(way, limits());
    let mut stream = gate.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let began = Instant::now();
    assert!(gate.gate.take().unwrap().stop(began));
    assert!(began.elapsed() < Duration::from_secs(5));
}

fn who_comes_past_the_gate_is_turned_away(way: Way) {
    let gate = Fixture::start(way, limits());
    let past = |head: &str| {
        let mut past = gate.upstream.connect().unwrap();
        past.send(&[format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n").as_bytes()]).unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(past.receive(&mut answer, 1024).unwrap(), 0);
        }
        String::from_utf8(answer).unwrap()
    };
    for head in [
        "",
        "Ringback-Secret: \r\n",
        "Ringback-Secret: 0000000000000000000000000000000000000000000000000000000000000000\r\n",
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n",
        // Either would end the process if it was dropped.
        "Content-Length: 9000000000000000000\r\n",
        "Expect: 100-continue\r\nContent-Length: 20000000000000\r\n",
    ] {
        let answer = past(head);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{head:?}: {answer}");
    }
    assert!(gate.bodies.try_recv().is_err(), "nobody looked at any of them");
    let told = gate.exchange(b"POST / HTTP/1.0\r\nRingback-Secret: x\r\nContent-Length: 0\r\n\r\n");
    assert!(told.starts_with("HTTP/1.1 200 "), "what clients say of it is left out: {told}");
}

fn a_probe_that_nobody_answers_is_told_that(way: Way) {
    let gate = Fixture::start(way, limits());
    let reply = gate.exchange(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    let mut probe = gate.connect();
    probe.write_all(b"GET /livez?wait HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut reply = String::new();
    probe.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 503 ") && reply.contains("\"stalled\""), "{reply}");
    gate.go.send(()).unwrap();
    gate.wait_until_open(0);
}

/// What is about turns and departures.
mod turns;
