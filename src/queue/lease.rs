//! The right to end one attempt. A lease cannot get lost: one that is dropped before its attempt has
//! ended in the store is given back, and the next sweep takes its job back.
//!
//! A lease also holds the slot that its attempt runs in. The slots say how many attempts run in this
//! process, canceled ones included, which is how one can be made to run alone.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::job::JobId;

/// Names one attempt of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LeaseId {
    pub(crate) job: JobId,
    /// Grows with every claim of the job; a lower one than the job's is stale.
    pub(crate) fence: u64,
}

/// The company in which an attempt runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Other attempts may run beside it.
    Others,
    /// No other attempt runs in this process.
    Alone,
}

/// The right to end one attempt, once. One that is no longer current changes nothing. Dropping it
/// gives it back to the queue.
#[must_use = "an attempt ends by `finish`, `retry` or `release`"]
#[derive(Debug)]
pub(crate) struct Lease {
    id: LeaseId,
    /// Where it goes when it is dropped; `None` once the attempt has ended in the store.
    leases: Option<Arc<Leases>>,
    /// The slot of the attempt; `None` after it.
    slot: Option<Slot>,
}

impl Lease {
    /// The lease of an attempt that the store has begun.
    pub(super) fn new(id: LeaseId, slot: Slot) -> Lease {
        Lease { id, leases: Some(Arc::clone(&slot.leases)), slot: Some(slot) }
    }

    /// The attempt that it ends.
    pub(crate) fn id(&self) -> LeaseId {
        self.id
    }

    /// The company in which the attempt runs.
    pub(crate) fn company(&self) -> Company {
        self.slot.as_ref().map_or(Company::Others, |slot| slot.company)
    }

    /// The store has the end of the attempt.
    pub(super) fn end(mut self) {
        self.leases = None;
    }

    /// A second lease of the same attempt, as no queue hands one out.
    #[cfg(test)]
    pub(crate) fn copy_of(id: LeaseId) -> Lease {
        Lease { id, leases: None, slot: None }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(leases) = self.leases.take() {
            leases.lock().dropped.push(self.id);
            // A full channel means that the janitor is called already.
            let _ = leases.lost.try_send(());
        }
    }
}

/// One running attempt, for as long as this lives.
#[derive(Debug)]
pub(super) struct Slot {
    leases: Arc<Leases>,
    company: Company,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.leases.lock();
        state.running -= 1;
        state.alone &= self.company != Company::Alone;
        state.changes += 1;
        drop(state);
        self.leases.changed.notify_all();
    }
}

/// The attempts that run, by their slots, and the leases that were dropped.
#[derive(Debug)]
pub(super) struct Leases {
    state: Mutex<State>,
    /// Rings with each change of `changes` and `closed`.
    changed: Condvar,
    lost: Sender<()>,
    hear_lost: Receiver<()>,
}

#[derive(Debug, Default)]
struct State {
    /// At most one for each attempt that has run since the last sweep.
    dropped: Vec<LeaseId>,
    /// Slots that are taken.
    running: usize,
    /// Whether one of them is taken by an attempt that is to be alone.
    alone: bool,
    /// How often a slot was left.
    changes: u64,
    closed: bool,
}

/// What keeps an attempt from beginning: it can begin at the earliest after another change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldBack(u64);

impl Leases {
    pub(super) fn new() -> Arc<Leases> {
        let (lost, hear_lost) = bounded(1);
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Leases { state, changed, lost, hear_lost })
    }

    /// The company that an attempt can have now.
    ///
    /// # Errors
    /// When none can begin, since one is to be alone.
    pub(super) fn company(&self) -> Result<Vacancy, HeldBack> {
        let state = self.lock();
        let now = HeldBack(state.changes);
        match (state.alone, state.running) {
            (true, _) => Err(now),
            (false, 0) => Ok(Vacancy::Any),
            (false, _) => Ok(Vacancy::WithOthers(now)),
        }
    }

    /// Takes a slot. Only one thread does: what [`company`](Leases::company) said holds until then.
    pub(super) fn begin(self: &Arc<Leases>, company: Company) -> Slot {
        let mut state = self.lock();
        state.running += 1;
        state.alone |= company == Company::Alone;
        drop(state);
        Slot { leases: Arc::clone(self), company }
    }

    /// Waits until a slot was left. False when the queue is closed.
    pub(super) fn wait(&self, held_back: HeldBack) -> bool {
        let state = self.lock();
        let is_held = |state: &mut State| !state.closed && state.changes == held_back.0;
        let woken = self.changed.wait_while(state, is_held);
        !woken.unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Ends every wait.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The leases that were dropped. Those that are dropped again come back here.
    pub(super) fn take_dropped(self: &Arc<Leases>) -> Vec<Lease> {
        let dropped = std::mem::take(&mut self.lock().dropped);
        let again = |id| Lease { id, leases: Some(Arc::clone(self)), slot: None };
        dropped.into_iter().map(again).collect()
    }

    /// Rings when a lease was dropped.
    pub(super) fn lost(&self) -> Receiver<()> {
        self.hear_lost.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Its parts do not depend on each other: they are right whatever panicked meanwhile.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vacancy {
    /// No other one runs.
    Any,
    /// Others run: one that is to be alone is held back.
    WithOthers(HeldBack),
}
