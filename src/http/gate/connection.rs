//! One client's connection: request after request, each read whole or piece by piece, taken to
//! tiny_http, and its answer brought back before the next one is looked at.

mod intake;
mod relay;

use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::Instant;

use rustix::fd::AsFd;

use self::intake::Pumped;
use super::Premises;
use super::ahead::Turn;
use super::body::Body;
use super::head::{Caller, Framing, Head, InnerFraming, Parsed, Persistence};
use super::idle;
use super::inbox::{Inbox, readable};
use super::inner::Inner;
use super::rate::Rate;
use super::roster::Guest;
use super::uploads::Place;
use crate::http::admission::{Cors, Knock};
use crate::http::problem::{Code, Problem};
use crate::http::reply::Reply;

/// How often a request that was handed to nobody is taken to tiny_http.
const TRIES: u32 = 3;

/// A client, and what the gate knows of it.
struct Connection<'a> {
    client: &'a TcpStream,
    caller: Caller,
    guest: &'a Guest,
    premises: &'a Premises,
    inbox: Inbox,
    /// What goes with the answer to the request at hand, whatever that is.
    cors: Cors,
    /// The request at hand came before the answer to the one before was there.
    sent_ahead: bool,
    /// While such a request is worked on.
    turn: Option<Turn<'a>>,
}

/// Why a connection ends before its request is answered.
enum Ending {
    /// The client is told why.
    Refused(Problem),
    /// There is nobody to tell.
    Gone,
    /// tiny_http closed the request's connection without a word: it handed the request to nobody.
    Unanswered,
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

/// Serves a client until its connection ends.
pub(super) fn serve(guest: &Guest, address: IpAddr, premises: &Premises) {
    let client = &guest.seat.client;
    let mut connection = Connection {
        client,
        caller: Caller { address, connection: guest.number },
        guest,
        premises,
        inbox: Inbox::new(),
        cors: Cors::default(),
        sent_ahead: false,
        turn: None,
    };
    match connection.run() {
        // A client that refuses what it is told is not told more.
        Err(Ending::Refused(problem)) => drop(connection.refuse(&problem)),
        Err(Ending::Unanswered) => drop(connection.refuse(&out_of_reach())),
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
            self.sent_ahead = !self.inbox.unread().is_empty();
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
            let judge = |knock: &Knock<'_>| {
                let judgement = (self.premises.judge)(knock);
                self.cors = judgement.cors;
                judgement.verdict
            };
            if let Some(head) = Head::take(&mut self.inbox, &mut scanned, self.caller, judge)? {
                return Ok(Some(head));
            }
            let filled = match deadline {
                None if self.inbox.unread().is_empty() => {
                    idle::wait(self.client, self.guest)?;
                    self.inbox.fill(self.client)?
                }
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
            self.turn = self.sent_ahead.then(|| self.premises.ahead.turn()).flatten();
            return self.exchange_whole(head, InnerFraming::None, &[]);
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
            return self.exchange_whole(head, InnerFraming::Whole(taken.len()), &taken);
        }
        let mut place = self.await_turn(head.client.clone())?;
        let mut inner = self.ask(head, InnerFraming::Pieces(length), &[])?;
        let pumped = match inner.send_chunk(&taken) {
            Ok(()) => {
                drop(taken);
                self.pump(&mut inner, &mut body, &mut rate, &mut place)
            }
            Err(_) => Ok(Pumped::Answered),
        };
        self.finish(inner, pumped, place, head)
    }

    /// Answers a request that is all here. Asks again where tiny_http handed the request to nobody.
    fn exchange_whole(
        &mut self,
        head: &Head,
        framing: InnerFraming,
        body: &[u8],
    ) -> Result<Persistence, Ending> {
        for _ in 0..TRIES {
            let inner = self.ask(head, framing, body)?;
            match self.relay(inner, head, head.persistence) {
                Err(Ending::Unanswered) => {}
                answered => return answered,
            }
        }
        Err(Ending::Unanswered)
    }

    /// Answers a request whose client sends the body when it is asked to: tiny_http says when, or
    /// answers without it.
    fn exchange_on_demand(
        &mut self,
        head: &Head,
        mut body: Body,
        length: Option<u64>,
    ) -> Result<Persistence, Ending> {
        let mut place = self.await_turn(head.client.clone())?;
        let mut inner = self.ask(head, InnerFraming::OnDemand(length), &[])?;
        let mut received = Vec::new();
        let answer = match self.receive_head(&mut inner, &mut received, head) {
            Ok(answer) => answer,
            Err(ending) => return self.finish(inner, Err(ending), place, head),
        };
        if answer.status != 100 {
            return self.pass_on(inner, &answer, &received, head, Persistence::Close);
        }
        let mut rate = Rate::new(&self.premises.limits);
        let asked = self.write(&mut rate, b"HTTP/1.1 100 Continue\r\n\r\n");
        let pumped = match asked {
            Ok(()) => self.pump(&mut inner, &mut body, &mut rate, &mut place),
            Err(error) => Err(error.into()),
        };
        self.finish(inner, pumped, place, head)
    }

    /// Brings the answer to a request whose body was taken to tiny_http as far as it went. Its place
    /// is free once nobody waits for more of it.
    fn finish(
        &mut self,
        mut inner: Inner,
        pumped: Result<Pumped, Ending>,
        place: Place,
        head: &Head,
    ) -> Result<Persistence, Ending> {
        match pumped {
            Ok(Pumped::Whole) => {
                drop(place);
                self.relay(inner, head, head.persistence)
            }
            Ok(Pumped::CutOff | Pumped::Answered) => {
                inner.end_body();
                self.relay(inner, head, Persistence::Close)
            }
            Err(ending) => {
                inner.abandon();
                Err(ending)
            }
        }
    }

    /// Opens a connection to tiny_http and sends what it begins with.
    fn ask(&self, head: &Head, framing: InnerFraming, body: &[u8]) -> Result<Inner, Ending> {
        let upstream = &self.premises.upstream;
        let send = || {
            let mut inner = upstream.connect()?;
            // There may be an answer all the same: what was wrong is said in it.
            if let Err(error) = inner.send(&[&head.for_inner(framing, &upstream.secret), body]) {
                log::debug!("a request was not taken whole: {error}");
            }
            Ok(inner)
        };
        let handed_over = match framing {
            InnerFraming::None | InnerFraming::Whole(_) => upstream.handover.beside_others(send),
            InnerFraming::Pieces(_) | InnerFraming::OnDemand(_) => upstream.handover.alone(send),
        };
        handed_over.map_err(|error: io::Error| {
            log::debug!("a request could not be taken to tiny_http: {error}");
            out_of_reach().into()
        })
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
        self.inbox.widen(intake::TAKEN_IN);
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

/// The system has no file or no thread for a request.
fn out_of_reach() -> Problem {
    let detail = "The server is short of files or threads for a moment. Try again soon.";
    Problem::new(Code::Busy, detail).retry_after(1)
}

fn slow_head(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            Problem::new(Code::Timeout, "The head did not come in time. Send it at once.").into()
        }
        _ => Ending::Gone,
    }
}
