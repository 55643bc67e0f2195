//! What an honest client notices of clients that are slow in every way there is. One thread is all of
//! the slow ones, so that it is the server that they cost something.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::connection::Connection;
use crate::measure::{percentile, percentiles};
use crate::scenarios::{Target, input};
use crate::{Failed, Plan};

/// Connections of the honest client.
const HONEST: usize = 4;
/// What it leaves between an answer and its next poll.
const PAUSE: Duration = Duration::from_millis(1);
/// How often each of the slow clients does something.
const BEAT: Duration = Duration::from_secs(1);
/// What the slow clients get to be all there and do their worst.
const SETTLING: Duration = Duration::from_secs(5);
/// How long the server may take to forget them.
const RECOVERY: Duration = Duration::from_secs(30);

/// Polls beside nobody, then beside the slow ones, then beside nobody again.
pub fn slow(plan: &Plan) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let busy = Plan { work: Duration::from_secs(3600), ..plan.clone() };
    let target = Target::new(&busy, &folder)?;
    let mut connection = Connection::open(target.addr)?;
    let sent = connection.send("/send", &input(plan.bytes, 0), "http://127.0.0.1:9/")?;
    let job = sent.location.ok_or("the job was not taken")?;
    let measured = Duration::from_secs(plan.seconds);
    honest(target.addr, &job, Duration::from_secs(1))?;
    println!("idle               {}", target.state());
    let quiet = honest(target.addr, &job, measured)?;
    println!("alone              {}", percentiles(quiet.clone()));
    let count = plan.connections.unwrap_or(500);
    let done = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        let crowd = scope.spawn(|| Crowd::new(target.addr, &job, count).run(&done));
        let beside = honest(target.addr, &job, SETTLING)
            .inspect(|first| println!("while they come    {}", percentiles(first.clone())))
            .and_then(|_| honest(target.addr, &job, measured));
        println!("with {count} slow ones  {}", target.state());
        done.store(true, Ordering::Relaxed);
        crowd.join().expect("the crowd panicked")?;
        beside
    })?;
    println!("beside {count}         {}", percentiles(beside.clone()));
    println!("p99, to that alone {:.2}", p99(beside).as_secs_f64() / p99(quiet).as_secs_f64());
    honest(target.addr, &job, RECOVERY.min(measured))?;
    println!("afterwards         {}", target.state());
    Ok(())
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    percentile(&times, 0.99)
}

/// Polls on a few connections at once. What each poll took.
fn honest(addr: SocketAddr, job: &str, time: Duration) -> Result<Vec<Duration>, Failed> {
    let until = Instant::now() + time;
    let poll = || -> Result<Vec<Duration>, Failed> {
        let mut connection = Connection::in_use(addr)?;
        let mut polls = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            connection.get(job)?;
            polls.push(began.elapsed());
            std::thread::sleep(PAUSE);
        }
        Ok(polls)
    };
    let polls: Result<Vec<_>, _> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..HONEST).map(|_| scope.spawn(poll)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a poller panicked")).collect()
    });
    Ok(polls?.concat())
}

/// All of the slow clients.
struct Crowd {
    addr: SocketAddr,
    job: String,
    clients: Vec<SlowClient>,
}

struct SlowClient {
    kind: Kind,
    stream: Option<TcpStream>,
    /// When it came.
    since: Instant,
    /// How much of its request it has sent.
    sent: usize,
}

/// The ways to be slow.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Sends a head, a byte at a time.
    Head,
    /// Sends part of a body that the gate takes in.
    ShortBody,
    /// Sends part of a body that is relayed, and a little more with each beat.
    LongBody,
    /// Asks and asks, and never reads.
    Deaf,
    /// Does nothing.
    Idle,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Head, Kind::ShortBody, Kind::LongBody, Kind::Deaf, Kind::Idle];

    /// All that it would send.
    fn request(self, job: &str) -> Vec<u8> {
        let post = |length: usize| {
            let head = format!(
                "POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {length}\r\n\r\n"
            );
            [head.as_bytes(), &vec![b'x'; length]].concat()
        };
        match self {
            Kind::Head => format!("GET {job} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(),
            Kind::ShortBody => post(10_000),
            Kind::LongBody => post(1_000_000),
            Kind::Deaf => format!("GET {job} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(10_000).into(),
            Kind::Idle => Vec::new(),
        }
    }

    /// What of its request it has sent by so many beats after the first.
    fn sent_by(self, beats: usize, length: usize) -> usize {
        match self {
            Kind::Head => (1 + beats).min(length - 1),
            Kind::ShortBody => (length / 2).min(9_000),
            Kind::LongBody => (100_000 + beats * 1_500).min(length - 1),
            Kind::Deaf | Kind::Idle => length,
        }
    }
}

impl Crowd {
    fn new(addr: SocketAddr, job: &str, count: usize) -> Crowd {
        let kinds = Kind::ALL.into_iter().cycle().take(count);
        let clients =
            kinds.map(|kind| SlowClient { kind, stream: None, since: Instant::now(), sent: 0 });
        Crowd { addr, job: job.to_owned(), clients: clients.collect() }
    }

    /// Goes around until it is told that all is done. Who was turned away comes again.
    fn run(mut self, done: &AtomicBool) -> Result<(), Failed> {
        let requests = Kind::ALL.map(|kind| kind.request(&self.job));
        let pause = BEAT / u32::try_from(self.clients.len().max(1))?;
        while !done.load(Ordering::Relaxed) {
            for client in &mut self.clients {
                let request = &requests[client.kind as usize];
                client.step(self.addr, request)?;
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }
}

impl SlowClient {
    /// Comes, or sends a little more.
    fn step(&mut self, addr: SocketAddr, request: &[u8]) -> Result<(), Failed> {
        if self.stream.as_ref().is_none_or(|stream| self.is_over(stream)) {
            self.stream = Some(connect(addr)?);
            (self.since, self.sent) = (Instant::now(), 0);
        }
        let Some(mut stream) = self.stream.as_ref() else { return Ok(()) };
        let beats = self.since.elapsed().as_secs() as usize;
        let due = self.kind.sent_by(beats, request.len());
        match stream.write(request.get(self.sent..due).unwrap_or(&[])) {
            Ok(sent) => self.sent += sent,
            // More is sent when it fits; that it was turned away is seen next time.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.stream = None,
        }
        Ok(())
    }

    /// Whether the server has ended this connection, or given an answer to what it took long for.
    fn is_over(&self, mut stream: &TcpStream) -> bool {
        match self.kind {
            Kind::Deaf => !matches!(stream.take_error(), Ok(None)),
            Kind::Head | Kind::ShortBody | Kind::LongBody | Kind::Idle => {
                !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
            }
        }
    }
}

/// From another address than the honest client's, where the system has one to give.
fn connect(addr: SocketAddr) -> Result<TcpStream, Failed> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // Where it cannot be had they share the other's.
    let _ = socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into());
    socket.connect(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
