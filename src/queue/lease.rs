//! The right to end one attempt. A lease cannot get lost: one that is dropped before its attempt has
//! ended in the store is given back, and the next sweep takes its job back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::job::JobId;

/// Names one attempt of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseId {
    pub(crate) job: JobId,
    /// Grows with every claim of the job; a lower one than the job's is stale.
    pub(crate) fence: u64,
}

/// The right to end one attempt, once. One that is no longer current changes nothing. Dropping it
/// gives it back to the queue.
#[must_use = "an attempt ends by `finish`, `retry` or `release`"]
#[derive(Debug)]
pub(crate) struct Lease {
    id: LeaseId,
    /// Where it goes when it is dropped; `None` once the attempt has ended in the store.
    leases: Option<Arc<Leases>>,
}

impl Lease {
    /// The attempt that it ends.
    pub(crate) fn id(&self) -> LeaseId {
        self.id
    }

    /// The store has the end of the attempt.
    pub(super) fn end(mut self) {
        self.leases = None;
    }

    /// A second lease of the same attempt, as no queue hands one out.
    #[cfg(test)]
    pub(crate) fn copy_of(id: LeaseId) -> Lease {
        Lease { id, leases: None }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(leases) = self.leases.take() {
            leases.lock().push(self.id);
            // A full channel means that the janitor is called already.
            let _ = leases.lost.try_send(());
        }
    }
}

/// Hands out the leases of one queue, and keeps those that were dropped until the next sweep.
#[derive(Debug)]
pub(crate) struct Leases {
    /// At most one for each attempt that has run since the last sweep.
    dropped: Mutex<Vec<LeaseId>>,
    lost: Sender<()>,
    hear_lost: Receiver<()>,
}

impl Leases {
    pub(super) fn new() -> Arc<Leases> {
        let (lost, hear_lost) = bounded(1);
        Arc::new(Leases { dropped: Mutex::default(), lost, hear_lost })
    }

    /// The lease of an attempt that the store has begun.
    pub(super) fn lease(self: &Arc<Leases>, id: LeaseId) -> Lease {
        Lease { id, leases: Some(Arc::clone(self)) }
    }

    /// The leases that were dropped. Those that are dropped again come back here.
    pub(super) fn take_dropped(self: &Arc<Leases>) -> Vec<Lease> {
        let dropped = std::mem::take(&mut *self.lock());
        dropped.into_iter().map(|id| self.lease(id)).collect()
    }

    /// Rings when a lease was dropped.
    pub(super) fn lost(&self) -> Receiver<()> {
        self.hear_lost.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LeaseId>> {
        // The list is whole whatever panicked while it was held.
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
