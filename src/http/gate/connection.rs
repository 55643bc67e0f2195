//! One client's connection: request after request, each read whole or piece by piece, taken to
//! tiny_http, and its answer brought back before the next one is looked at.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use super::Premises;
use super::answer::{Answer, AnswerBody, NotAnAnswer};
use super::body::{Body, Piece};
use super::head::{self, Framing, HEAD_MAX, Head, InnerFraming, Parsed, Persistence};
use super::inbox::{Inbox, readable, retried};
use super::inner::Inner;
use super::rate::Rate;
use super::roster::Guest;
use crate::http::admission::Cors;
use crate::http::problem::{Code, Problem};
use crate::http::reply::Reply;

/// A body is taken in up to here, in bytes, before tiny_http hears of the request: a slow client
/// with a short body holds up nobody who works.
const TAKEN_IN: usize = 64 * 1024;
/// What of an answer is read, and written to the client, at a time.
const ANSWER_PIECE: usize = 32 * 1024;
/// What is read at first: most answers are whole then.
const ANSWER_FIRST: usize = 4 * 1024;

/// A client, and what the gate knows of it.
struct Connection<'a> {
    client: &'a TcpStream,
    peer: SocketAddr,
    guest: &'a Guest,
    premises: &'a Premises,
    inbox: Inbox,
    /// What goes with the answer to the request at hand, whatever that is.
    cors: Cors,
}

/// Why a connection ends before its request is answered.
enum Ending {
    /// The client is told why.
    Refused(Problem),
    /// There is nobody to tell.
    Gone,
}

impl From<Problem> for Ending {
    fn from(problem: Problem) -> Ending {
        Ending::Refused(problem)
    }
}

/// Of the client: it went away, or took too long to read.
impl From<io::Error> for Ending {
    fn from(_: io::Error) -> Ending {
        Ending::Gone
    }
}

/// How far a body was taken to tiny_http.
enum Pumped {
    Whole,
    /// The client ended before.
    CutOff,
    /// Nobody reads it any more: there is an answer already.
    Answered,
}

/// Serves a client until its connection ends.
pub(super) fn serve(guest: &Guest, peer: SocketAddr, premises: &Premises) {
    let client = &guest.seat.client;
    let mut connection =
        Connection { client, peer, guest, premises, inbox: Inbox::new(), cors: Cors::default() };
    match connection.run() {
        // A client that refuses what it is told is not told more.
        Err(Ending::Refused(problem)) => drop(connection.refuse(&problem)),
        Ok(()) | Err(Ending::Gone) => {}
    }
}

impl Connection<'_> {
    fn run(&mut self) -> Result<(), Ending> {
        let limits = &self.premises.limits;
        self.client.set_write_timeout(Some(limits.stall))?;
        self.client.set_read_timeout(Some(limits.head))?;
        let mut is_first = true;
        while let Some(head) = self.read_head()? {
            self.guest.begin();
            let persistence = match head {
                Parsed::Request(head) => self.exchange(&head)?,
                Parsed::Answered(reply) => self.answer(&reply)?,
            };
            if persistence == Persistence::Close || !self.guest.rest() {
                self.linger()?;
                break;
            }
            self.inbox.narrow();
            if is_first {
                self.client.set_read_timeout(Some(limits.idle))?;
                is_first = false;
            }
        }
        Ok(())
    }

    /// The next head; `None` where the client sends no more.
    fn read_head(&mut self) -> Result<Option<Parsed>, Ending> {
        self.cors = Cors::default();
        let mut deadline = None;
        let mut scanned = 0;
        loop {
            // Line ends before a request are what some clients put after the body before it.
            while scanned == 0 && self.inbox.unread().starts_with(b"\r\n") {
                self.inbox.consume(2);
            }
            let unread = self.inbox.unread();
            let seen = &unread[..unread.len().min(HEAD_MAX)];
            if seen != b"\r" {
                if let Some(end) = head::end_of_head(seen, scanned)? {
                    let head = Head::parse(&seen[..end], self.peer, |knock| {
                        let judgement = (self.premises.judge)(knock);
                        self.cors = judgement.cors;
                        judgement.verdict
                    })?;
                    self.inbox.consume(end);
                    return Ok(Some(head));
                }
                scanned = seen.len();
            }
            if seen.len() == HEAD_MAX {
                return Err(head::too_large(seen).into());
            }
            let filled = match deadline {
                None if unread.is_empty() => self.inbox.fill(self.client)?,
                _ => {
                    let by =
                        *deadline.get_or_insert_with(|| Instant::now() + self.premises.limits.head);
                    self.inbox.fill_by(self.client, by).map_err(|error| slow_head(&error))?
                }
            };
            if filled == 0 {
                return Ok(None);
            }
            deadline.get_or_insert_with(|| Instant::now() + self.premises.limits.head);
        }
    }

    /// Answers one request.
    fn exchange(&mut self, head: &Head) -> Result<Persistence, Ending> {
        let mut body = Body::new(head.framing, self.premises.limits.max_body)?;
        if head.framing == Framing::None {
            let inner = self.ask(&[&head.for_inner(InnerFraming::None)])?;
            return self.relay(inner, Vec::new(), head, head.persistence);
        }
        let length = match head.framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked => None,
        };
        if head.expects_continue && self.inbox.unread().is_empty() {
            return self.exchange_on_demand(head, body, length);
        }
        let mut rate = Rate::new(&self.premises.limits);
        let taken = self.take_in(&mut body, &mut rate, length)?;
        if body.is_whole() {
            let framing = InnerFraming::Whole(taken.len());
            let inner = self.ask(&[&head.for_inner(framing), &taken])?;
            return self.relay(inner, Vec::new(), head, head.persistence);
        }
        let mut inner = self.ask(&[&head.for_inner(InnerFraming::Pieces(length))])?;
        let pumped = match inner.send_chunk(&taken) {
            Ok(()) => {
                drop(taken);
                self.pump(&mut inner, &mut body, &mut rate)
            }
            Err(_) => Ok(Pumped::Answered),
        };
        self.finish(inner, pumped, head)
    }

    /// Answers a request whose client sends the body when it is asked to: tiny_http says when, or
    /// answers without it.
    fn exchange_on_demand(
        &mut self,
        head: &Head,
        mut body: Body,
        length: Option<u64>,
    ) -> Result<Persistence, Ending> {
        let mut inner = self.ask(&[&head.for_inner(InnerFraming::OnDemand(length))])?;
        let mut received = Vec::new();
        let answer = receive_head(&mut inner, &mut received, head.is_head)?;
        if answer.status != 100 {
            return self.relay(inner, received, head, Persistence::Close);
        }
        let mut rate = Rate::new(&self.premises.limits);
        let asked = self.write(&mut rate, b"HTTP/1.1 100 Continue\r\n\r\n");
        let pumped = match asked {
            Ok(()) => self.pump(&mut inner, &mut body, &mut rate),
            Err(error) => Err(error.into()),
        };
        self.finish(inner, pumped, head)
    }

    /// Brings the answer to a request whose body was taken to tiny_http as far as it went.
    fn finish(
        &mut self,
        mut inner: Inner,
        pumped: Result<Pumped, Ending>,
        head: &Head,
    ) -> Result<Persistence, Ending> {
        match pumped {
            Ok(Pumped::Whole) => self.relay(inner, Vec::new(), head, head.persistence),
            Ok(Pumped::CutOff | Pumped::Answered) => {
                inner.end_body();
                self.relay(inner, Vec::new(), head, Persistence::Close)
            }
            Err(ending) => {
                inner.abandon();
                Err(ending)
            }
        }
    }

    /// Opens a connection to tiny_http and sends what it begins with.
    fn ask(&self, parts: &[&[u8]]) -> Result<Inner, Ending> {
        let mut inner = self.premises.passage.connect().map_err(Problem::internal)?;
        match inner.send(parts) {
            Ok(()) => Ok(inner),
            // There may be an answer: what was wrong is said in it.
            Err(error) => {
                log::debug!("a request was not taken whole: {error}");
                Ok(inner)
            }
        }
    }

    /// The beginning of a body, or all of a short one.
    fn take_in(
        &mut self,
        body: &mut Body,
        rate: &mut Rate,
        length: Option<u64>,
    ) -> Result<Vec<u8>, Ending> {
        let expected = length.map_or(TAKEN_IN, |length| length.min(TAKEN_IN as u64) as usize);
        let mut taken = Vec::with_capacity(if length.is_some() { expected } else { 0 });
        while taken.len() < TAKEN_IN {
            match body.piece(&mut self.inbox)? {
                Piece::Bytes(bytes) => {
                    taken.extend_from_slice(&self.inbox.unread()[..bytes]);
                    self.inbox.consume(bytes);
                }
                Piece::End => break,
                Piece::Missing => {
                    self.inbox.widen(expected);
                    let patience = rate.patience().ok_or_else(too_slow)?;
                    let began = Instant::now();
                    let filled = self.inbox.fill_by(self.client, began + patience);
                    let filled = filled.map_err(|error| slow_body(&error))?;
                    if filled == 0 {
                        return Err(truncated(taken.len()).into());
                    }
                    rate.record(began.elapsed(), filled);
                }
            }
        }
        Ok(taken)
    }

    /// Takes a body to tiny_http piece by piece, while somebody there reads it.
    fn pump(
        &mut self,
        inner: &mut Inner,
        body: &mut Body,
        rate: &mut Rate,
    ) -> Result<Pumped, Ending> {
        self.inbox.widen(TAKEN_IN);
        loop {
            match body.piece(&mut self.inbox)? {
                Piece::Bytes(bytes) => {
                    if inner.send_chunk(&self.inbox.unread()[..bytes]).is_err() {
                        return Ok(Pumped::Answered);
                    }
                    self.inbox.consume(bytes);
                }
                Piece::End => {
                    // That it was answered before its end does no harm: the client has sent it.
                    let _ = inner.send(&[b"0\r\n\r\n"]);
                    return Ok(Pumped::Whole);
                }
                Piece::Missing => {
                    let patience = rate.patience().ok_or_else(too_slow)?;
                    let began = Instant::now();
                    match readable([inner.stream.as_fd(), self.client.as_fd()], patience)? {
                        [true, _] => return Ok(Pumped::Answered),
                        [false, false] => return Err(too_slow().into()),
                        [false, true] => {}
                    }
                    match self.inbox.fill(self.client)? {
                        0 => return Ok(Pumped::CutOff),
                        filled => rate.record(began.elapsed(), filled),
                    }
                }
            }
        }
    }

    /// Brings the client its answer, of which `received` has come already.
    fn relay(
        &mut self,
        mut inner: Inner,
        mut received: Vec<u8>,
        head: &Head,
        persistence: Persistence,
    ) -> Result<Persistence, Ending> {
        let answer = receive_head(&mut inner, &mut received, head.is_head)?;
        let persistence = match answer.body {
            AnswerBody::Length(_) if !self.guest.is_last() => persistence,
            AnswerBody::Length(_) | AnswerBody::UntilEnd => Persistence::Close,
        };
        let mut out = Vec::with_capacity(ANSWER_FIRST);
        answer.write_head(&mut out, &self.cors.fields(), persistence, head.minor);
        let mut left = match answer.body {
            AnswerBody::Length(length) => length,
            AnswerBody::UntilEnd => u64::MAX,
        };
        let begun = &received[answer.length..];
        let begun = &begun[..begun.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        out.extend_from_slice(begun);
        left -= begun.len() as u64;
        let mut rate = Rate::new(&self.premises.limits);
        while left > 0 {
            if out.len() >= ANSWER_PIECE {
                self.write(&mut rate, &out)?;
                out.clear();
            }
            let most = left.min(ANSWER_PIECE as u64) as usize;
            match inner.receive(&mut out, most)? {
                0 if answer.body == AnswerBody::UntilEnd => break,
                0 => return Err(Ending::Gone),
                read => left -= read as u64,
            }
        }
        self.write(&mut rate, &out)?;
        Ok(persistence)
    }

    /// Writes to the client, at no less than the least speed.
    fn write(&self, rate: &mut Rate, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            rate.patience().ok_or(io::ErrorKind::TimedOut)?;
            let began = Instant::now();
            // The socket's own timeout ends a wait for a client that reads nothing at all.
            match retried(|| (&mut &*self.client).write(left))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    rate.record(began.elapsed(), written);
                    left = &left[written..];
                }
            }
        }
        Ok(())
    }

    /// Tells the client why its connection ends.
    fn refuse(&mut self, problem: &Problem) -> io::Result<()> {
        self.answer(&problem.reply())?;
        self.linger()
    }

    /// Answers from here, as the last thing on this connection.
    fn answer(&mut self, reply: &Reply) -> io::Result<Persistence> {
        let bytes = reply.closing_bytes(&self.cors.fields());
        self.write(&mut Rate::new(&self.premises.limits), &bytes)?;
        Ok(Persistence::Close)
    }

    /// Ends the connection so that the client can still read what it was sent: one that is closed
    /// with something unread is reset.
    fn linger(&mut self) -> io::Result<()> {
        self.client.shutdown(Shutdown::Write)?;
        let limits = &self.premises.limits;
        let deadline = Instant::now() + limits.linger;
        self.inbox.widen(TAKEN_IN);
        loop {
            let patience = deadline.saturating_duration_since(Instant::now()).min(limits.quiet);
            self.inbox.consume(self.inbox.unread().len());
            if readable([self.client.as_fd()], patience)? == [false]
                || self.inbox.fill(self.client)? == 0
            {
                return Ok(());
            }
        }
    }
}

/// Waits for the head of tiny_http's answer. What came with it is in `received`, too.
fn receive_head(
    inner: &mut Inner,
    received: &mut Vec<u8>,
    bodiless: bool,
) -> Result<Answer, Ending> {
    loop {
        match Answer::parse(received, bodiless) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(NotAnAnswer) => return Err(Problem::internal("no answer that can be read").into()),
        }
        match inner.receive(received, ANSWER_FIRST) {
            Ok(0) => return Err(Problem::internal("tiny_http gave no answer").into()),
            Ok(_) => {}
            Err(error) => return Err(Problem::internal(error).into()),
        }
    }
}

fn slow_head(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            Problem::new(Code::Timeout, "The head did not come in time. Send it at once.").into()
        }
        _ => Ending::Gone,
    }
}

fn slow_body(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::TimedOut => too_slow().into(),
        _ => Ending::Gone,
    }
}

fn too_slow() -> Problem {
    Problem::new(Code::Timeout, "The body comes too slowly, or not at all. Send it again.")
}

fn truncated(bytes: usize) -> Problem {
    let detail = format!("The body ended after {bytes} bytes. Send it again.");
    Problem::new(Code::TruncatedBody, detail)
}
