//! A body's way from the client to tiny_http: what is short is taken in first; what is long waits for its
//! turn, and goes on piece by piece.

use rustix::fd::AsFd;
use std::time::{Duration, Instant};

use super::{Connection, Ending};
use crate::http::client_id::ClientId;
use crate::http::gate::body::{Body, Piece};
use crate::http::gate::inbox::{read_onto, readable};
use crate::http::gate::inner::Inner;
use crate::http::gate::rate::Rate;
use crate::http::gate::turns::Pace;
use crate::http::gate::uploads::{MakeWay, Place};
use crate::http::gate::vigil::is_gone;
use crate::http::problem::{Code, Problem};

/// A body is taken in up to here, in bytes, before tiny_http hears of the request: a slow client
/// with a short body holds up nobody who works.
pub(super) const TAKEN_IN: usize = 64 * 1024;
/// What is taken in of one that is longer: who sends nothing needs no place.
const TAKEN_IN_OF_LONG: usize = 16 * 1024;
/// What is read at a time of a body that is taken in: memory is taken for what has come.
const TAKEN_PIECE: usize = 16 * 1024;
/// How often it is looked whether a client that waits for its turn is still there, and whether
/// somebody waits for a slow one's place.
const LOOK: Duration = Duration::from_secs(1);

/// How far a body was taken to tiny_http.
pub(super) enum Pumped {
    Whole,
    /// The client ended before.
    CutOff,
    /// Nobody reads it any more: there is an answer already.
    Answered,
}

impl Connection<'_> {
    /// The beginning of a body, or all of a short one.
    pub(super) fn take_in(
        &mut self,
        body: &mut Body,
        rate: &mut Rate,
        length: Option<u64>,
    ) -> Result<Vec<u8>, Ending> {
        let most = match length {
            Some(length) if length > TAKEN_IN as u64 => TAKEN_IN_OF_LONG,
            Some(_) | None => TAKEN_IN,
        };
        let mut taken = Vec::new();
        while taken.len() < most {
            match body.piece(&mut self.inbox)? {
                Piece::Bytes(bytes) => {
                    taken.extend_from_slice(&self.inbox.unread()[..bytes]);
                    self.inbox.consume(bytes);
                }
                Piece::End => break,
                Piece::Missing => {
                    let patience = rate.patience().ok_or_else(too_slow)?;
                    let began = Instant::now();
                    if readable([self.client.as_fd()], patience)? == [false] {
                        return Err(too_slow().into());
                    }
                    let room = (most - taken.len()).min(TAKEN_PIECE);
                    match self.take_more(body, &mut taken, room)? {
                        0 => return Err(truncated(taken.len()).into()),
                        filled => rate.record(began.elapsed(), filled),
                    }
                }
            }
        }
        Ok(taken)
    }

    /// Reads what comes next: as it is where it is nothing but body, else into the inbox.
    fn take_more(
        &mut self,
        body: &mut Body,
        taken: &mut Vec<u8>,
        room: usize,
    ) -> Result<usize, Ending> {
        let Some(bare) = body.bare() else {
            self.inbox.widen(TAKEN_PIECE);
            return Ok(self.inbox.fill(self.client)?);
        };
        let most = usize::try_from(bare).map_or(room, |bare| bare.min(room));
        let read = read_onto(&mut &*self.client, taken, most)?;
        body.pass(read);
        Ok(read)
    }

    /// Waits for a place behind the gate; not for ever, and not for a client that was reset.
    pub(super) fn await_turn(&self, client: ClientId) -> Result<Place, Ending> {
        let until = Instant::now() + self.premises.limits.turn;
        let mut ticket = self.premises.uploads.ask(client).ok_or_else(no_turn)?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            ticket = match ticket.wait(left.min(LOOK)) {
                Ok(place) => return Ok(place),
                Err(_) if left.is_zero() => return Err(no_turn().into()),
                Err(_) if is_gone(self.client)? => return Err(Ending::Gone),
                Err(ticket) => ticket,
            };
        }
    }

    /// Takes a body to tiny_http piece by piece, while somebody there reads it.
    pub(super) fn pump(
        &mut self,
        inner: &mut Inner,
        body: &mut Body,
        rate: &mut Rate,
        place: &mut Place,
    ) -> Result<Pumped, Ending> {
        self.inbox.widen(TAKEN_IN);
        let mut brisk = Rate::brisk(&self.premises.limits);
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
                    let unhurried = brisk.patience();
                    let pace = if unhurried.is_some() { Pace::Brisk } else { Pace::Slow };
                    place.goes(pace).map_err(|MakeWay| in_the_way())?;
                    let began = Instant::now();
                    let sockets = [inner.stream.as_fd(), self.client.as_fd()];
                    let filled = match readable(sockets, patience.min(unhurried.unwrap_or(LOOK)))? {
                        [true, _] => return Ok(Pumped::Answered),
                        [false, false] => 0,
                        [false, true] => match self.inbox.fill(self.client)? {
                            0 => return Ok(Pumped::CutOff),
                            filled => filled,
                        },
                    };
                    rate.record(began.elapsed(), filled);
                    brisk.record(began.elapsed(), filled);
                }
            }
        }
    }
}

fn too_slow() -> Problem {
    Problem::new(Code::Timeout, "The body comes too slowly, or not at all. Send it again.")
}

fn in_the_way() -> Problem {
    let detail = "The body comes slowly, and others wait for their turn. Send it again.";
    Problem::new(Code::Timeout, detail).retry_after(5)
}

fn no_turn() -> Problem {
    let detail =
        "The server takes in as many uploads as it can, or as one client may have. Try again soon.";
    Problem::new(Code::Busy, detail).retry_after(5)
}

fn truncated(bytes: usize) -> Problem {
    let detail = format!("The body ended after {bytes} bytes. Send it again.");
    Problem::new(Code::TruncatedBody, detail)
}
