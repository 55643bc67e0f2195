//! The socket that the world reaches. tiny_http, which falls to much that a stranger can send,
//! stands behind it on a private socket, and sees nothing but heads that were written here and bodies that
//! were measured here.
//!
//! The gate accepts, and keeps accepting; has a thread for each connection, and not more of them than
//! there are files for; reads one head at a time, within bounds of size and time; refuses what cannot
//! be framed, is too large or is not let in, before the body; and opens one connection to tiny_http for each request.

mod ahead;
mod answer;
mod bell;
mod body;
mod connection;
mod entrance;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod handover;
mod head;
mod idle;
mod inbox;
mod inner;
mod limits;
mod passage;
mod rate;
mod roster;
mod turns;
mod uploads;
mod upstream;
mod vigil;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use self::ahead::Ahead;
use self::bell::Bell;
use self::entrance::Entrance;
pub(crate) use self::limits::{Limits, TooFewFiles, check_open_files};
use self::roster::Roster;
use self::uploads::Uploads;
pub(crate) use self::upstream::Upstream;
use super::admission::{Judgement, Knock};
use super::waiting::ConnectionNumber;
use crate::crew::{Crew, Never};

/// What the gate's threads share.
struct Premises {
    limits: Limits,
    upstream: Arc<Upstream>,
    roster: Arc<Roster>,
    uploads: Arc<Uploads>,
    ahead: Ahead,
    departures: Sender<ConnectionNumber>,
    judge: Box<Judge>,
    /// Rings when no more are to be accepted.
    stop: Bell,
}

/// Says of a head whether it may come in.
type Judge = dyn Fn(&Knock<'_>) -> Judgement + Send + Sync;

/// The gate's threads.
pub(crate) struct Gate {
    premises: Arc<Premises>,
    gone: Receiver<Never>,
    crew: Crew,
}

impl Gate {
    /// Begins to accept from `listener`. `judge` is asked about every head that can be read.
    /// `departures` brings the connections whose clients have gone while their request was behind the
    /// gate; again and again, until it is there no more.
    pub(crate) fn open(
        listener: TcpListener,
        upstream: Arc<Upstream>,
        limits: Limits,
        judge: impl Fn(&Knock<'_>) -> Judgement + Send + Sync + 'static,
        departures: Sender<ConnectionNumber>,
    ) -> io::Result<Gate> {
        let stop = Bell::new()?;
        let premises = Arc::new(Premises {
            stop,
            upstream,
            roster: Arc::new(Roster::new(limits.connections)),
            uploads: Arc::new(Uploads::new(limits.uploads)),
            ahead: Ahead::new(),
            departures,
            judge: Box::new(judge),
            limits,
        });
        let (present, gone) = bounded(0);
        let entrance = Entrance::new(listener, Arc::clone(&premises), present)?;
        let mut crew = Crew::new();
        crew.hire("http-gate", move || entrance.run())?;
        Ok(Gate { premises, gone, crew })
    }

    /// Accepts no more, ends idle connections at once and the others after their request, or at
    /// `deadline`. True when every thread has ended.
    pub(crate) fn stop(self, deadline: Instant) -> bool {
        /// What a connection that was cut has left to do.
        const LAST_STEPS: Duration = Duration::from_millis(500);
        let Gate { premises, gone, crew } = self;
        premises.stop.ring();
        premises.roster.close();
        let mut all_gone = is_closed(&gone, deadline);
        if !all_gone {
            log::info!("{} connections are cut in their requests", premises.roster.len());
            premises.roster.cut();
            all_gone = is_closed(&gone, Instant::now() + LAST_STEPS);
        }
        crew.join_by(deadline + LAST_STEPS) && all_gone
    }
}

fn is_closed(gone: &Receiver<Never>, deadline: Instant) -> bool {
    match gone.recv_deadline(deadline) {
        Ok(never) => match never {},
        Err(RecvTimeoutError::Disconnected) => true,
        Err(RecvTimeoutError::Timeout) => false,
    }
}

#[cfg(test)]
mod tests;
