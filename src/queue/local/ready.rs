//! The channel between the writer and the workers. An id in it says that a job has become ready; which
//! job a worker then gets is the store's word: the oldest ready one.
//!
//! Ids may be lost (the channel is full of ids of jobs that were canceled meanwhile), so that
//! there can be more ready jobs than ids. `behind` says so, and this protocol keeps a worker from
//! sleeping beside a ready job: the writer sets `behind` and then finds the channel full; whoever
//! takes an id and leaves the channel empty looks at `behind` and asks for a refill. Of the two one
//! always sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

use crate::job::JobId;
use crate::repeated::Repeated;

/// Looks for ready jobs that failed.
static NOT_READ: Repeated = Repeated::new(log::Level::Error);

/// The writer's end.
pub(super) struct Announcer {
    ids: Sender<JobId>,
    behind: Arc<AtomicBool>,
}

/// The workers' end.
pub(super) struct Ready {
    pub(super) ids: Receiver<JobId>,
    behind: Arc<AtomicBool>,
}

/// Ids that the channel holds. Of more ready jobs the oldest are announced, and the next when those are
/// claimed: what waits takes no room here, and one refill does not hold the writer up for long.
const ANNOUNCED: usize = 1024;

/// A channel of ids, of at most `max_queued` ready jobs.
pub(super) fn channel(max_queued: usize) -> (Announcer, Ready) {
    let (sender, receiver) = bounded(max_queued.min(ANNOUNCED));
    let behind = Arc::new(AtomicBool::new(false));
    (Announcer { ids: sender, behind: Arc::clone(&behind) }, Ready { ids: receiver, behind })
}

impl Ready {
    /// Whether there are ready jobs without an id in the channel, and nothing else will bring them to
    /// a worker's mind.
    pub(super) fn wants_refill(&self) -> bool {
        self.behind.load(Ordering::SeqCst) && self.ids.is_empty()
    }

    /// An id was taken and its job was not: somebody has to look again.
    pub(super) fn lost_one(&self) {
        self.behind.store(true, Ordering::SeqCst);
    }
}

impl Announcer {
    /// Tells the workers of jobs that have become ready; called when that is committed.
    pub(super) fn announce(&self, ids: &[JobId], conn: &Connection) {
        if ids.is_empty() {
            return;
        }
        if self.behind.load(Ordering::SeqCst) {
            // Older jobs come first: these are found by the refill.
            self.refill(conn);
        } else {
            self.offer_all(ids);
        }
    }

    /// Fills the channel from the store: now if it is empty, else as soon as it is. Ids that workers have
    /// taken and not claimed yet are in it twice then, which costs the second worker one look.
    pub(super) fn refill(&self, conn: &Connection) {
        self.behind.store(true, Ordering::SeqCst);
        if !self.ids.is_empty() {
            return;
        }
        self.behind.store(false, Ordering::SeqCst);
        match self.oldest_ready(conn) {
            Ok(ids) => self.offer_all(&ids),
            Err(error) => {
                self.behind.store(true, Ordering::SeqCst);
                NOT_READ.say(format_args!("the ready jobs could not be read: {error}"));
            }
        }
    }

    fn offer_all(&self, ids: &[JobId]) {
        for id in ids {
            if self.ids.try_send(*id).is_ok() {
                continue;
            }
            self.behind.store(true, Ordering::SeqCst);
            // A worker may have emptied the channel before it could see the flag.
            if self.ids.try_send(*id).is_err() {
                return;
            }
        }
    }

    /// One more than the channel holds, where there are so many: so that it is known to be behind.
    fn oldest_ready(&self, conn: &Connection) -> rusqlite::Result<Vec<JobId>> {
        let most = self.ids.capacity().unwrap_or(0).saturating_add(1);
        conn.prepare_cached(
            "SELECT id FROM jobs INDEXED BY jobs_ready
             WHERE state = 'queued' AND ready_at IS NULL ORDER BY seq LIMIT ?1",
        )?
        .query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| super::rows::parsed(row, 0))?
        .filter_map(super::rows::undamaged)
        .collect()
    }
}
