//! An answer's way from tiny_http to the client.

use rustix::fd::AsFd;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::{Connection, Ending, out_of_reach};
use crate::http::gate::answer::{Answer, AnswerBody, NotAnAnswer};
use crate::http::gate::head::{Head, Persistence};
use crate::http::gate::inbox::{readable, retried};
use crate::http::gate::inner::Inner;
use crate::http::gate::rate::Rate;
use crate::http::gate::vigil::{Seen, Vigil};
use crate::http::problem::{Code, Problem};

/// What of an answer is read, and written to the client, at a time.
const ANSWER_PIECE: usize = 32 * 1024;
/// What is read at first: most answers are whole then.
const ANSWER_FIRST: usize = 4 * 1024;
/// How often it is said that a client has gone, until its request has.
const REMINDER: Duration = Duration::from_secs(1);

impl Connection<'_> {
    /// Brings the client its answer. Where it goes before that has begun, so does the request.
    pub(super) fn relay(
        &mut self,
        mut inner: Inner,
        head: &Head,
        persistence: Persistence,
    ) -> Result<Persistence, Ending> {
        let mut received = Vec::new();
        let received_head = self.receive_head(&mut inner, &mut received, head);
        // How long the client takes to read is its own affair.
        self.turn = None;
        match received_head {
            Ok(answer) => self.pass_on(inner, &answer, &received, head, persistence),
            Err(Ending::Gone) => {
                self.recall(inner);
                Err(Ending::Gone)
            }
            Err(Ending::Refused(problem)) => {
                // A client that refuses what it is told is not told more.
                drop(self.refuse(&problem));
                self.recall(inner);
                Err(Ending::Gone)
            }
            Err(Ending::Unanswered) => Err(Ending::Unanswered),
        }
    }

    /// Waits for the head of tiny_http's answer. What came with it is in `received`, too.
    pub(super) fn receive_head(
        &self,
        inner: &mut Inner,
        received: &mut Vec<u8>,
        head: &Head,
    ) -> Result<Answer, Ending> {
        let limits = &self.premises.limits;
        let answer_by = head.is_probe.then(|| Instant::now() + limits.probe);
        let mut vigil = Vigil::new(self.client, limits.half_closed, answer_by);
        loop {
            let seen = vigil.wait(&inner.stream).map_err(|error| {
                log::debug!("an answer cannot be waited for: {error}");
                out_of_reach()
            })?;
            match seen {
                Seen::Answer => {}
                Seen::Departure => return Err(Ending::Gone),
                Seen::Silence => return Err(stalled().into()),
            }
            match inner.receive(received, ANSWER_FIRST) {
                Ok(0) if received.is_empty() => return Err(Ending::Unanswered),
                Ok(0) => return Err(Problem::internal("an answer was cut off").into()),
                Ok(_) => {}
                Err(error) => return Err(Problem::internal(error).into()),
            }
            match Answer::parse(received, head.is_head) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(NotAnAnswer) => {
                    return Err(Problem::internal("no answer that can be read").into());
                }
            }
        }
    }

    /// Takes back the request of a client that has gone: one that waits for its job would be there for
    /// a minute. This ends when it has: there are never more requests behind the gate than
    /// connections.
    fn recall(&self, mut inner: Inner) {
        inner.end_body();
        loop {
            // Where there is no room, it is said again.
            let _ = self.premises.departures.try_send(self.caller.connection);
            match readable([inner.stream.as_fd()], REMINDER) {
                Ok([false]) => {}
                Ok([true]) | Err(_) => return,
            }
        }
    }

    /// Brings the client an answer, the beginning of which was `received`.
    pub(super) fn pass_on(
        &self,
        mut inner: Inner,
        answer: &Answer,
        received: &[u8],
        head: &Head,
        persistence: Persistence,
    ) -> Result<Persistence, Ending> {
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
    pub(super) fn write(&self, rate: &mut Rate, bytes: &[u8]) -> io::Result<()> {
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
}

/// The answer to a probe that nobody behind the gate has answered in time.
fn stalled() -> Problem {
    let detail = "The threads behind the gate do not answer. Look at the log, or start it again.";
    Problem::new(Code::Stalled, detail).retry_after(5)
}
