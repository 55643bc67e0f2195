//! A real receiver of callbacks: it records what comes and answers what a test tells it to. No
//! sleeps and no fixed ports; whoever waits is woken when the sink goes.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use socket2::{Domain, Protocol, Socket, Type};

/// What the sink does with a request once it has it.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status, and an empty body.
    Status(u16),
    /// This status with these headers and this body.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// That answer, after this long.
    Late(Duration, Box<Answer>),
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, and the connection stays open.
    RawOpen(Vec<u8>),
    /// None; the connection stays open.
    Hang,
    /// None; the connection is closed.
    Close,
}

impl Answer {
    /// `status` with `Retry-After: value`.
    pub fn retry_after(status: u16, value: impl ToString) -> Answer {
        let headers = vec![("Retry-After", value.to_string())];
        Answer::Full { status, headers, body: Vec::new() }
    }

    /// 302 to `location`.
    pub fn redirect(location: impl ToString) -> Answer {
        let headers = vec![("Location", location.to_string())];
        Answer::Full { status: 302, headers, body: Vec::new() }
    }
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    /// Which connection it came over, counted from 1 in the order they were taken.
    pub connection: usize,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    /// The value of a header that must be there, once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let values = self.all_headers(name);
        assert_eq!(values.len(), 1, "{name} in {:?}", self.headers);
        values[0]
    }

    pub fn all_headers(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body))
        })
    }
}

/// The receiver. Dropping it closes everything and ends its threads.
pub struct CallbackSink {
    addr: SocketAddr,
    calls: Receiver<Call>,
    desk: Arc<Desk>,
    side: Side,
}

/// What the sink's threads share.
struct Desk {
    record: Sender<Call>,
    /// What comes next, and what comes when nothing is next.
    answers: Mutex<(std::collections::VecDeque<Answer>, Answer)>,
}

enum Side {
    Up(Listening),
    /// The port is taken and nobody listens: connections are refused.
    Down(Socket),
    /// Between two of the others.
    Moving,
}

impl CallbackSink {
    /// Listens on a port of its own and answers 200.
    pub fn start() -> CallbackSink {
        let mut sink = CallbackSink::start_down();
        sink.up();
        sink
    }

    /// Has a port of its own on which connections are refused until [`up`](CallbackSink::up).
    pub fn start_down() -> CallbackSink {
        let socket = reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let addr = socket.local_addr().expect("an address").as_socket().expect("an IP address");
        let (record, calls) = unbounded();
        let answers = Mutex::new((Default::default(), Answer::Status(200)));
        CallbackSink {
            addr,
            calls,
            desk: Arc::new(Desk { record, answers }),
            side: Side::Down(socket),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A callback URL that leads here.
    pub fn url(&self) -> String {
        self.url_to("/hook")
    }

    pub fn url_to(&self, target: &str) -> String {
        format!("http://{}{target}", self.addr)
    }

    /// Answers the next requests with these, in the order they come.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.desk.answers.lock().expect("a lock").0.extend(answers);
    }

    /// Answers every request for which nothing else is set with this.
    pub fn answer_always(&self, answer: Answer) {
        self.desk.answers.lock().expect("a lock").1 = answer;
    }

    /// The next request, or a panic after `time`.
    #[track_caller]
    pub fn recv_timeout(&self, time: Duration) -> Call {
        match self.calls.recv_timeout(time) {
            Ok(call) => call,
            Err(error) => panic!("no callback within {time:?} ({error})"),
        }
    }

    /// Panics when a request comes within `time`.
    #[track_caller]
    pub fn expect_none(&self, time: Duration) {
        if let Ok(call) = self.calls.recv_timeout(time) {
            panic!("an unexpected callback: {call:?}");
        }
    }

    /// Refuses connections from now on, and breaks those there are. The port stays this sink's.
    pub fn down(&mut self) {
        if let Side::Up(listening) = std::mem::replace(&mut self.side, Side::Moving) {
            listening.end();
        }
        self.side = Side::Down(reserve(self.addr));
    }

    /// Takes connections again, on the same port.
    pub fn up(&mut self) {
        if let Side::Down(socket) = std::mem::replace(&mut self.side, Side::Moving) {
            socket.listen(128).expect("listening");
            self.side = Side::Up(Listening::start(socket.into(), Arc::clone(&self.desk)));
        }
    }
}

impl Drop for CallbackSink {
    fn drop(&mut self) {
        if let Side::Up(listening) = std::mem::replace(&mut self.side, Side::Moving) {
            listening.end();
        }
    }
}

/// A socket that has an address and does not listen.
fn reserve(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))
        .expect("a socket");
    #[cfg(unix)]
    socket.set_reuse_address(true).expect("an option");
    socket.set_tcp_nodelay(true).expect("an option");
    socket.bind(&addr.into()).expect("an address");
    socket
}

/// The acceptor and its connections.
struct Listening {
    addr: SocketAddr,
    ending: Arc<AtomicBool>,
    /// Closed when the sink goes: wakes whoever delays an answer.
    stay: Sender<()>,
    acceptor: JoinHandle<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Listening {
    fn start(listener: TcpListener, desk: Arc<Desk>) -> Listening {
        let addr = listener.local_addr().expect("an address");
        let ending = Arc::new(AtomicBool::new(false));
        let (stay, gone) = bounded::<()>(0);
        let acceptor = {
            let ending = Arc::clone(&ending);
            spawn("sink", move || accept(&listener, &ending, &desk, &gone))
        };
        Listening { addr, ending, stay, acceptor }
    }

    fn end(self) {
        self.ending.store(true, Ordering::Release);
        // Wakes the acceptor; an error means that it is gone already.
        let _ = TcpStream::connect(self.addr);
        let connections = self.acceptor.join().expect("the acceptor's end");
        drop(self.stay);
        for (stream, thread) in connections {
            // An error means that the other side closed it first.
            let _ = stream.shutdown(Shutdown::Both);
            thread.join().expect("a connection's end");
        }
    }
}

fn accept(
    listener: &TcpListener,
    ending: &AtomicBool,
    desk: &Arc<Desk>,
    gone: &Receiver<()>,
) -> Vec<(TcpStream, JoinHandle<()>)> {
    let mut connections: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
    let mut number = 0;
    loop {
        let (stream, _) = listener.accept().expect("a connection");
        if ending.load(Ordering::Acquire) {
            return connections;
        }
        number += 1;
        let serving = stream.try_clone().expect("a second handle");
        let (desk, gone) = (Arc::clone(desk), gone.clone());
        let thread = spawn("sink-connection", move || {
            // An error means that the other side hung up, or the sink did.
            let _ = serve(&serving, number, &desk, &gone);
            let _ = serving.shutdown(Shutdown::Both);
        });
        connections.retain(|(_, thread)| !thread.is_finished());
        connections.push((stream, thread));
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread")
}

fn serve(stream: &TcpStream, number: usize, desk: &Desk, gone: &Receiver<()>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(call) = read_call(&mut reader, number)? {
        let answer = {
            let (next, always) = &mut *desk.answers.lock().expect("a lock");
            next.pop_front().unwrap_or_else(|| always.clone())
        };
        // A closed channel means that the test looks no more.
        let _ = desk.record.send(call);
        if !give(stream, answer, gone)? {
            return Ok(());
        }
    }
    Ok(())
}

/// False when the connection is to be closed.
fn give(mut stream: &TcpStream, answer: Answer, gone: &Receiver<()>) -> io::Result<bool> {
    match answer {
        Answer::Status(status) => {
            give(stream, Answer::Full { status, headers: Vec::new(), body: Vec::new() }, gone)
        }
        Answer::Full { status, headers, body } => {
            let mut text = format!("HTTP/1.1 {status} Told\r\n");
            for (name, value) in headers {
                text += &format!("{name}: {value}\r\n");
            }
            if status != 204 {
                text += &format!("Content-Length: {}\r\n", body.len());
            }
            stream.write_all(&[text.as_bytes(), b"\r\n", &body].concat())?;
            Ok(true)
        }
        Answer::Raw(bytes) => {
            stream.write_all(&bytes)?;
            Ok(false)
        }
        Answer::RawOpen(bytes) => {
            stream.write_all(&bytes)?;
            Ok(true)
        }
        Answer::Late(time, answer) => match gone.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => give(stream, *answer, gone),
            _ => Ok(false),
        },
        Answer::Hang => {
            // Waits for the channel to close: nothing is ever sent.
            let _ = gone.recv();
            Ok(false)
        }
        Answer::Close => Ok(false),
    }
}

/// The next request of a connection, `None` at its end.
fn read_call(reader: &mut impl BufRead, connection: usize) -> io::Result<Option<Call>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let at = Instant::now();
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Call { at, connection, method, target, headers, body }))
}
