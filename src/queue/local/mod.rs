//! The queue in a folder: SQLite for the rows, the spool for the files.
//!
//! Every change goes through one thread ([`writer`]), which commits what many ask for at once; looks
//! go past it, through a few connections of their own ([`readers`]). A worker sleeps at a channel
//! ([`ready`]) that the writer fills. See `schema.sql` for what the file holds.

use std::collections::HashSet;
#[cfg(test)]
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select_biased};

use self::backlog::SharedBacklog;
use self::claim::{Claimed, ClaimedBody, Claiming};
use self::condition::Condition;
use self::readers::Readers;
use self::ready::Ready;
use self::recovery::Cause;
use self::submit::Body;
use self::unstored::Unstored;
use self::writer::{Leftover, Purpose, SharedCounts, Survives, Tx, Writer};
use super::lease::Leases;
use super::*;
use crate::clock::Clock;
use crate::crew::Never;
use crate::spool::{NewInput, Spool};

mod backlog;
mod claim;
mod condition;
mod deliveries;
mod disk;
mod due;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod hosts;
mod jobs;
mod look;
mod opening;
mod readers;
mod ready;
mod recovery;
mod rows;
mod schema;
mod submit;
mod sweep;
#[cfg(test)]
mod tests;
mod timeline;
mod unstored;
mod upkeep;
mod wal;
mod writer;

/// Time between two looks at a disk that is short or a store that fails.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// How a [`LocalQueue`] is set up.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Jobs that may wait.
    pub(crate) max_queued: usize,
    /// Jobs of one sender that may wait.
    pub(crate) per_client: usize,
    /// Attempts after which a job whose attempts the process did not survive is given up.
    pub(crate) max_attempts: u32,
    /// How long a finished job is kept.
    pub(crate) keep: Duration,
    /// How long a host that keeps failing gets no callbacks.
    pub(crate) parking: Parking,
}

/// What the last process left, taken back at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Jobs that waited.
    pub(crate) queued: usize,
    /// Jobs that ran and wait again.
    pub(crate) interrupted: usize,
    /// Jobs given up: the process died during their last attempt, which ran alone.
    pub(crate) given_up: usize,
    /// Deliveries still to be made.
    pub(crate) deliveries: usize,
}

impl Recovered {
    /// Whether the last process left nothing to do.
    pub(crate) fn is_empty(self) -> bool {
        self == Recovered { queued: 0, interrupted: 0, given_up: 0, deliveries: 0 }
    }
}

impl std::fmt::Display for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recovered { queued, interrupted, given_up, deliveries } = self;
        write!(
            f,
            "{queued} queued jobs, {interrupted} interrupted ones ({given_up} more given up), \
             {deliveries} deliveries"
        )
    }
}

/// How far the clock may have come since its time was stored, at the next sweep.
const REMEMBER: Duration = Duration::from_secs(300);

/// A queue in a folder of this machine.
pub(crate) struct LocalQueue {
    clock: Clock,
    /// When the clock's time was stored last.
    remembered: Mutex<Timestamp>,
    limits: Limits,
    spool: Arc<Spool>,
    counts: Arc<SharedCounts>,
    backlog: Arc<SharedBacklog>,
    ready: Ready,
    leases: Arc<Leases>,
    /// Given up by [`Queue::close`], which closes `closed`.
    open: Mutex<Option<Sender<Never>>>,
    closed: Receiver<Never>,
    /// Dropped before the writer, so that the writer's connection is the last and leaves one file.
    readers: Readers,
    writer: Writer,
    condition: Arc<Condition>,
    /// Dropped leases of attempts whose end found no room.
    without_room: Mutex<HashSet<LeaseId>>,
    /// When the disk was looked after last.
    looked: Mutex<Option<std::time::Instant>>,
}

impl LocalQueue {
    /// Has a change committed, and deletes the files that it made needless.
    fn change<T: Send + 'static>(
        &self,
        survives: Survives,
        work: impl FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unstored> {
        let done = self.writer.ask(Purpose::Work, survives, work)?;
        for leftover in done.leftovers {
            match leftover {
                Leftover::Input(id) => self.spool.discard_input(id),
                Leftover::Output(name) => self.spool.discard_output(&name),
            }
        }
        Ok(done.value)
    }

    /// Repeats a change that does up to [`sweep::PORTION`] at a time until there is no more to do, so that
    /// other changes get their turn in between. Returns how many it did.
    fn in_portions(
        &self,
        work: impl Fn(&mut Tx<'_>) -> rusqlite::Result<usize> + Copy + Send + 'static,
    ) -> Result<usize, Unstored> {
        let mut done = 0;
        loop {
            let portion = self.change(Survives::Kill, work)?;
            done += portion;
            if portion < sweep::PORTION {
                return Ok(done);
            }
        }
    }

    /// Ends an attempt. Where that cannot be stored the lease is dropped, which keeps it for the next
    /// sweep.
    fn end<T: Send + 'static>(
        &self,
        survives: Survives,
        lease: Lease,
        mut work: impl FnMut(&mut Tx<'_>, LeaseId) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, QueueError> {
        let id = lease.id();
        let ended = self.change(survives, move |tx| work(tx, id)).inspect_err(|error| {
            if error.is_disk_full() {
                self.without_room().insert(id);
            }
        })?;
        lease.end();
        self.without_room().remove(&id);
        Ok(ended)
    }

    /// Takes back the jobs whose attempts ended without the store having it. Returns those that
    /// have failed by that.
    fn take_back_dropped(&self, now: Timestamp) -> Result<Vec<JobId>, QueueError> {
        let take_back = |lease: Lease| {
            let (id, limits) = (lease.id(), self.limits.clone());
            let no_room = self.without_room().contains(&id);
            let cause = if no_room { Cause::no_room() } else { Cause::Lost };
            let taken_back = self.end(Survives::PowerCut, lease, move |tx, lease| {
                recovery::take_back(tx, lease, &cause, &limits, now)
            })?;
            Ok((taken_back == TakenBack::Failed).then_some(id.job))
        };
        // Each is tried, and kept if it fails, before the first failure is told.
        let results: Vec<_> = self.leases.take_dropped().into_iter().map(take_back).collect();
        results.into_iter().filter_map(Result::transpose).collect()
    }

    fn without_room(&self) -> MutexGuard<'_, HashSet<LeaseId>> {
        self.without_room.lock().expect("invariant: no panic under this lock")
    }

    /// Waits for word of a ready job; `None` when the queue is closed, though ids be left.
    fn next_ready(&self) -> Result<Option<JobId>, QueueError> {
        select_biased! {
            recv(self.closed) -> _ => Ok(None),
            recv(self.ready.ids) -> id => match id {
                Ok(id) => Ok(Some(id)),
                Err(_) => Err(Unstored::no_writer().into()),
            },
        }
    }

    /// Stores how far the clock has come, now and then, for a restart of the machine.
    fn remember_clock(&self, now: Timestamp) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(*remembered) < REMEMBER {
            return;
        }
        *remembered = now;
        drop(remembered);
        let seen = self.clock.seen();
        let kept = self.change(Survives::Kill, move |tx| timeline::remember(tx.conn, &seen));
        if let Err(error) = kept {
            // Should the machine be restarted now, everything waits a little longer.
            log::debug!("the clock's time could not be stored: {error}");
        }
    }

    fn refill_if_wanted(&self) -> Result<(), QueueError> {
        if self.ready.wants_refill() {
            self.writer.refill()?;
        }
        Ok(())
    }

    /// The claim as a worker gets it.
    fn hand_out(&self, claimed: Claimed) -> Claim {
        let Claimed { job, fence, body, slot } = claimed;
        let job = self.clock.told_job(job);
        let lease = Lease::new(LeaseId { job: job.id, fence }, slot);
        let body = match body {
            ClaimedBody::Inline(bytes) => Ok(InputBody::Inline(bytes.into())),
            ClaimedBody::InFile => self.input_file(job.id),
        };
        Claim { lease, job, body }
    }

    fn input_file(&self, id: JobId) -> Result<InputBody, Failure> {
        let path = self.spool.input_path(id);
        match path.metadata() {
            Ok(_) => Ok(InputBody::File(path)),
            Err(error) => {
                log::error!("the input of job {id} cannot be used: {error}");
                Err(Failure {
                    code: "input_lost".into(),
                    message: "the server no longer has the input".into(),
                })
            }
        }
    }
}

impl Queue for LocalQueue {
    fn submit(&self, mut request: Submission) -> Result<Submitted, SubmitError> {
        let none = NewInput::Inline(Vec::new());
        let (body, placed) = match std::mem::replace(&mut request.body, none) {
            NewInput::Inline(bytes) => (Body::Inline(bytes), None),
            NewInput::File(file) => {
                let placed = self.spool.place_input(request.id, file).map_err(Unstored::from)?;
                (Body::InFile, Some(placed))
            }
        };
        let bounds = submit::Bounds::of(&self.limits);
        let mut request = Some((request, body));
        let submitted = self.writer.ask(Purpose::Intake, Survives::PowerCut, move |tx| {
            let (request, body) = request.take().expect("invariant: intake is done once");
            submit::submit(tx, request, body, bounds)
        });
        let submitted = submitted?.value?;
        if let (Submitted::New(_), Some(placed)) = (&submitted, placed) {
            placed.keep();
        }
        Ok(match submitted {
            Submitted::New(job) => Submitted::New(Box::new(self.clock.told_job(*job))),
            Submitted::Replayed(_) | Submitted::Coalesced(_) => submitted,
        })
    }

    fn claim(&self) -> Result<Option<Claim>, QueueError> {
        loop {
            self.refill_if_wanted()?;
            if self.next_ready()?.is_none() {
                return Ok(None);
            }
            self.refill_if_wanted()?;
            let (leases, now) = (Arc::clone(&self.leases), self.clock.now());
            let Limits { max_attempts, keep, .. } = self.limits;
            let bounds = claim::Bounds { max_attempts, keep };
            match self.change(Survives::Kill, move |tx| claim::claim(tx, &leases, bounds, now)) {
                Ok(Claiming::Taken(claimed)) => return Ok(Some(self.hand_out(*claimed))),
                // The job that was announced is canceled by now.
                Ok(Claiming::NoneReady) => {}
                Ok(Claiming::HeldBack(held_back)) => {
                    self.ready.lost_one();
                    if !self.leases.wait(held_back) {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    self.ready.lost_one();
                    return Err(error.into());
                }
            }
        }
    }

    fn finish(&self, lease: Lease, outcome: Outcome) -> Result<Recorded, QueueError> {
        let (now, keep) = (self.clock.now(), self.limits.keep);
        let file = outcome.result.as_ref().ok().and_then(jobs::output_file);
        let bytes = outcome.result.as_ref().map_or(0, StoredOutput::inline_bytes);
        let finished = if self.spool.room().fits_work(bytes) {
            self.end(Survives::PowerCut, lease, move |tx, lease| {
                jobs::finish(tx, lease, &outcome, now, keep)
            })
        } else {
            // To try would use up what other jobs can end with. The next sweep takes the lease back.
            self.without_room().insert(lease.id());
            Err(QueueError("there is no room for an outcome".into()))
        };
        if let (Err(_), Some(name)) = (&finished, file) {
            self.spool.discard_output(&name);
        }
        finished
    }

    fn retry(
        &self,
        lease: Lease,
        failure: Failure,
        ready_at: Timestamp,
    ) -> Result<Recorded, QueueError> {
        self.end(Survives::Kill, lease, move |tx, lease| jobs::retry(tx, lease, &failure, ready_at))
    }

    fn put_off(&self, lease: Lease, failure: Failure) -> Result<TakenBack, QueueError> {
        let (cause, limits) = (Cause::NoRoom(failure), self.limits.clone());
        let now = self.clock.now();
        self.end(Survives::Kill, lease, move |tx, lease| {
            recovery::take_back(tx, lease, &cause, &limits, now)
        })
    }

    fn release(&self, lease: Lease) -> Result<Recorded, QueueError> {
        self.end(Survives::Kill, lease, jobs::release)
    }

    fn release_all(&self) -> Result<usize, QueueError> {
        Ok(self.change(Survives::Kill, jobs::release_all)?)
    }

    fn cancel(&self, id: JobId) -> Result<Option<Canceled>, QueueError> {
        let (now, keep) = (self.clock.now(), self.limits.keep);
        Ok(self.change(Survives::PowerCut, move |tx| jobs::cancel(tx, id, now, keep))?)
    }

    fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        let job = look::get(&self.readers.get(), id)?;
        Ok(job.map(|job| self.clock.told_job(job)))
    }

    fn output(&self, id: JobId) -> Result<Option<StoredOutput>, QueueError> {
        Ok(look::output(&self.readers.get(), id, &self.spool)?)
    }

    fn list(&self, page: &Page) -> Result<Vec<Job>, QueueError> {
        let jobs = look::list(&self.readers.get(), page)?;
        Ok(jobs.into_iter().map(|job| self.clock.told_job(job)).collect())
    }

    fn ahead(&self, id: JobId) -> Result<Option<Ahead>, QueueError> {
        let place = look::place(&self.readers.get(), id)?;
        // The job may have been claimed between the two looks.
        Ok(place.and_then(|(seq, ready_at)| Some(Ahead { ready_at, ..self.backlog.ahead(seq)? })))
    }

    fn has_its_share(&self, sender: &str) -> bool {
        let share = submit::Bounds::of(&self.limits).sender;
        share.is_some_and(|share| self.backlog.queued_by(sender) >= share)
    }

    fn depth(&self) -> Depth {
        let counts = self.counts.load();
        Depth { queued: counts.queued, running: counts.running, bound: self.limits.max_queued }
    }

    fn due(&self, now: Timestamp, query: &DueQuery, limit: usize) -> Result<DueFound, QueueError> {
        Ok(due::due(&self.readers.get(), now, query, limit)?)
    }

    fn next_delivery(&self, now: Timestamp) -> Result<Option<Timestamp>, QueueError> {
        Ok(due::next_delivery(&self.readers.get(), now)?)
    }

    fn pending(&self, now: Timestamp) -> Result<Pending, QueueError> {
        let deliveries = self.counts.load().deliveries;
        let next_due = match deliveries {
            0 => None,
            _ => deliveries::next_after(&self.readers.get(), now)?,
        };
        Ok(Pending { deliveries, next_due })
    }

    fn record(
        &self,
        delivery: DeliveryId,
        attempt: DeliveryAttempt,
        next: NextDelivery,
        health: Health,
    ) -> Result<HostChange, QueueError> {
        let (parking, now) = (self.limits.parking, self.clock.now());
        Ok(self.change(Survives::Kill, move |tx| {
            let host = deliveries::record(tx, delivery, &attempt, next)?;
            host.map_or(Ok(HostChange::Same), |host| hosts::judge(tx, &host, health, parking, now))
        })?)
    }

    fn deliveries(&self, id: JobId) -> Result<Option<Vec<DeliveryAttempt>>, QueueError> {
        let told = |attempt: DeliveryAttempt| DeliveryAttempt {
            at: self.clock.told(attempt.at),
            next_attempt_at: attempt.next_attempt_at.map(|at| self.clock.told(at)),
            ..attempt
        };
        let ledger = deliveries::ledger(&self.readers.get(), id)?;
        Ok(ledger.map(|ledger| ledger.into_iter().map(told).collect()))
    }

    fn trouble(&self) -> Option<Trouble> {
        self.condition.trouble()
    }

    fn sweep(&self, now: Timestamp) -> Result<Swept, QueueError> {
        let look_again = self.tend_disk();
        let failed = self.take_back_dropped(now)?;
        let readied = self.in_portions(move |tx| sweep::ready(tx, now))?;
        let forgotten = self.in_portions(move |tx| sweep::forget_expired(tx, now))?;
        self.remember_clock(now);
        let next = [sweep::next(&self.readers.get())?, look_again.then(|| now.after(LOOK_AGAIN))];
        let next = next.into_iter().flatten().min();
        Ok(Swept { failed, readied, forgotten, next })
    }

    fn lost_leases(&self) -> Receiver<()> {
        self.leases.lost()
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn close(&self) {
        self.open.lock().expect("invariant: no panic under this lock").take();
        self.leases.close();
    }

    fn wait_closed(&self, time: Duration) -> bool {
        match self.closed.recv_timeout(time) {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        }
    }
}
