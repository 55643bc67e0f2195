//! Whether the store can be written and read, as far as the last tries tell.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::unstored::Unstored;
use crate::queue::Trouble;

/// How long a failure that no later write disproves counts.
const RECENT: Duration = Duration::from_secs(5);

/// The last failure. A commit that failed counts until another one has written; any other failure
/// counts for [`RECENT`], since it may come back with the next request of its kind.
#[derive(Debug, Default)]
pub(super) struct Condition(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, Trouble)>,
    /// Whether the last commit failed.
    stuck: bool,
}

impl Condition {
    /// What is wrong now.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let state = self.state();
        let (at, trouble) = state.last?;
        (state.stuck || at.elapsed() < RECENT).then_some(trouble)
    }

    /// Whether only a write can tell that the store works again.
    pub(super) fn is_stuck(&self) -> bool {
        self.state().stuck
    }

    /// A commit wrote something.
    pub(super) fn wrote(&self) {
        self.state().stuck = false;
    }

    /// A commit ended so.
    pub(super) fn committed(&self, result: &Result<(), Unstored>) {
        if let Err(why) = result {
            let mut state = self.state();
            state.last = Some((Instant::now(), trouble(why)));
            state.stuck = true;
        }
    }

    /// A statement failed. One that only its own request is to blame for does not count.
    pub(super) fn refused(&self, conn: &Connection, error: &rusqlite::Error) {
        use rusqlite::ErrorCode;

        let Some(code) = error.sqlite_error_code() else { return };
        if matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TooBig) {
            return;
        }
        self.state().last = Some((Instant::now(), trouble(&Unstored::of(conn, error))));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("invariant: no panic under this lock")
    }
}

fn trouble(why: &Unstored) -> Trouble {
    match why {
        Unstored::DiskFull(_) => Trouble::DiskFull,
        Unstored::Broken(_) => Trouble::Failing,
    }
}
