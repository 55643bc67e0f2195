//! Long uploads on their way behind the gate, each on a connection's thread: the rule is in
//! [`turns`](super::turns), the waiting here.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::turns::{Bounds, Number, Pace, Turns};
use crate::http::client_id::ClientId;

/// All of them.
#[derive(Debug)]
pub(super) struct Uploads {
    turns: Mutex<Turns>,
}

/// The wish for a place. It is given up when this is dropped.
pub(super) struct Ticket {
    stay: Stay,
    /// Says that there is one.
    rung: Receiver<()>,
}

/// A place behind the gate, until this is dropped.
pub(super) struct Place {
    stay: Stay,
    pace: Pace,
}

/// An upload is to make way for another one.
#[derive(Debug)]
pub(super) struct MakeWay;

struct Stay {
    number: Number,
    uploads: Arc<Uploads>,
}

impl Uploads {
    pub(super) fn new(bounds: Bounds) -> Uploads {
        Uploads { turns: Mutex::new(Turns::new(bounds)) }
    }

    /// Asks for a place; `None` where the client has asked for too many.
    pub(super) fn ask(self: &Arc<Uploads>, client: ClientId) -> Option<Ticket> {
        let (bell, rung) = bounded(1);
        let number = self.lock().come(client, bell)?;
        Some(Ticket { stay: Stay { number, uploads: Arc::clone(self) }, rung })
    }

    /// How many have a place, and how many wait for one.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        self.lock().counts()
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().expect("invariant: no panic under this lock")
    }
}

impl Ticket {
    /// Waits for the place, so long. Where there is none then, the wish is given back.
    pub(super) fn wait(self, patience: Duration) -> Result<Place, Ticket> {
        // The bell's other end is kept until it has rung: an error is the end of the time.
        match self.rung.recv_timeout(patience) {
            Ok(()) => Ok(Place { stay: self.stay, pace: Pace::Brisk }),
            Err(_) => Err(self),
        }
    }
}

impl Place {
    /// Notes how the upload goes. An error when it is to end: it is slow, and others wait.
    pub(super) fn goes(&mut self, pace: Pace) -> Result<(), MakeWay> {
        if (self.pace, pace) == (Pace::Brisk, Pace::Brisk) {
            return Ok(());
        }
        let mut turns = self.stay.uploads.lock();
        if self.pace != pace {
            turns.goes(self.stay.number, pace);
            self.pace = pace;
        }
        if turns.must_leave(self.stay.number) { Err(MakeWay) } else { Ok(()) }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.uploads.lock().leave(self.number);
    }
}
