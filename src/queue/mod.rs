//! The queue: every job and delivery, durably, and the only ways to change one. Whoever holds a
//! [`Queue`] holds ids and leases, never the state itself. [`local`] keeps it in a folder.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::Serialize;

use crate::clock::Clock;
use crate::estimator::Load;
use crate::job::{
    DeliveryAttempt, DeliveryId, Failure, InputInfo, Job, JobId, Parameters, State, Timestamp,
};
use crate::spool::NewInput;
use crate::task::{Format, InputBody};
use crate::warning::Warning;

#[cfg(test)]
mod conformance;
mod dispatch;
#[cfg(test)]
pub(crate) mod faulty;
mod lease;
pub(crate) mod local;

pub(crate) use dispatch::*;
pub(crate) use lease::{Company, Lease, LeaseId};

/// The state transitions of jobs and deliveries, one transaction each. The times that are passed in and
/// out are those of the queue's [`clock`](Queue::clock); only those inside a job and in a ledger are
/// as the outside is told them. When a method has returned
/// `Ok`, what it did survives a kill; what [`submit`](Queue::submit), [`finish`](Queue::finish) and
/// [`cancel`](Queue::cancel) did also survives a power cut.
pub(crate) trait Queue: Send + Sync {
    /// The clock that everything in the queue waits by.
    fn clock(&self) -> &Clock;

    /// Stores a new job, or finds the one this request repeats.
    fn submit(&self, request: Submission) -> Result<Submitted, SubmitError>;

    /// Waits for a queued job, oldest first, and takes it. Wakes at once when one comes; `None` when
    /// the queue was closed.
    fn claim(&self) -> Result<Option<Claim>, QueueError>;

    /// Ends the attempt and the job, and sets its delivery due, in one commit.
    fn finish(&self, lease: Lease, outcome: Outcome) -> Result<Recorded, QueueError>;

    /// Ends the attempt; the job waits for its next one until `ready_at`.
    fn retry(
        &self,
        lease: Lease,
        failure: Failure,
        ready_at: Timestamp,
    ) -> Result<Recorded, QueueError>;

    /// Ends an attempt that failed for want of room on the disk. It does not count, and the job waits a
    /// time that grows with each attempt that has ended so; after ten of them they count.
    fn put_off(&self, lease: Lease, failure: Failure) -> Result<TakenBack, QueueError>;

    /// Gives the lease back as if the attempt had not begun: it does not count.
    fn release(&self, lease: Lease) -> Result<Recorded, QueueError>;

    /// Gives every lease back, as [`release`](Queue::release) does: for a stop whose time is up.
    /// Returns how many.
    fn release_all(&self) -> Result<usize, QueueError>;

    /// Ends a queued or running job, and sets its delivery due; deletes a finished one with
    /// its output and ledger.
    fn cancel(&self, id: JobId) -> Result<Option<Canceled>, QueueError>;

    /// The job, without its output.
    fn get(&self, id: JobId) -> Result<Option<Job>, QueueError>;

    /// What a succeeded job gave.
    fn output(&self, id: JobId) -> Result<Option<StoredOutput>, QueueError>;

    /// Jobs without their outputs, newest first.
    fn list(&self, page: &Page) -> Result<Vec<Job>, QueueError>;

    /// What stands before a queued job; `None` for any other.
    fn ahead(&self, id: JobId) -> Result<Option<Ahead>, QueueError>;

    /// Whether as many of this sender's jobs wait as may: a look, which [`submit`](Queue::submit)
    /// does not rely on.
    fn has_its_share(&self, sender: &str) -> bool;

    /// How full the queue is. Costs no I/O.
    fn depth(&self) -> Depth;

    /// Why changes are not stored now, as far as the last ones tell. Costs no I/O.
    fn trouble(&self) -> Option<Trouble>;

    /// Up to `limit` pending deliveries that may go at `now`: the hosts that `query` trusts come
    /// first, then one sender after the other, a few of each and at most [`PER_HOST`] to one host.
    /// The cost does not grow with what is pending.
    fn due(&self, now: Timestamp, query: &DueQuery, limit: usize) -> Result<DueFound, QueueError>;

    /// When the next delivery may go that may not at `now`: it is due then, or its host's time out
    /// is over.
    fn next_delivery(&self, now: Timestamp) -> Result<Option<Timestamp>, QueueError>;

    /// How many deliveries are pending, and when the next of them comes due. Costs the same however
    /// many there are.
    fn pending(&self, now: Timestamp) -> Result<Pending, QueueError>;

    /// Writes one POST into the ledger, with times of the queue's clock, moves its delivery on, and parks
    /// its host where that keeps failing. A delivery that has ended, or was deleted with its job,
    /// stays as it is.
    fn record(
        &self,
        delivery: DeliveryId,
        attempt: DeliveryAttempt,
        next: NextDelivery,
        health: Health,
    ) -> Result<HostChange, QueueError>;

    /// The ledger of a job's delivery, oldest first; `None` for an unknown job.
    fn deliveries(&self, id: JobId) -> Result<Option<Vec<DeliveryAttempt>>, QueueError>;

    /// Rings when a lease was dropped before its attempt had ended in the store: a sweep is due.
    fn lost_leases(&self) -> Receiver<()>;

    /// Looks after the disk, takes back the jobs whose leases were dropped, queues what waited for
    /// `now`, and deletes finished jobs past their time; those with a pending delivery are kept for a
    /// week more. Says when to come again.
    fn sweep(&self, now: Timestamp) -> Result<Swept, QueueError>;

    /// Lets every waiting and later [`claim`](Queue::claim) return `None`. Everything else goes on.
    fn close(&self);

    /// Waits until the queue is closed, but no longer than `time`. True when it is closed.
    fn wait_closed(&self, time: Duration) -> bool;
}

/// A request for a new job.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) id: JobId,
    pub(crate) task: String,
    pub(crate) parameters: Parameters,
    pub(crate) input: InputInfo,
    /// The bytes; a file among them is deleted unless the job is stored.
    pub(crate) body: NewInput,
    pub(crate) callback: Option<String>,
    /// By the queue's clock.
    pub(crate) created_at: Timestamp,
    /// Whose request it is; repeats are looked for among the same client's jobs. Empty without keys.
    pub(crate) client: String,
    /// Whose share of the queue it takes up: the client, or where it came from.
    pub(crate) sender: String,
    /// From `Idempotency-Key`.
    pub(crate) idempotency_key: Option<String>,
    /// Whether a queued or running job with the same input, task, parameters, callback and client
    /// may stand for this one.
    pub(crate) coalesce: bool,
}

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Submitted {
    /// It is a job of its own.
    New(Box<Job>),
    /// The same key came with the same request before.
    Replayed(JobId),
    /// The same work is queued or running already.
    Coalesced(JobId),
}

/// Why there is no job.
#[derive(Debug)]
pub(crate) enum SubmitError {
    /// As many jobs wait as may.
    Full,
    /// As many jobs of this sender wait as may.
    ShareTaken,
    /// The idempotency key came before, with another request.
    KeyReused,
    /// The disk is full; nothing was stored.
    DiskFull,
    /// The store failed; nothing was stored.
    Store(QueueError),
}

/// A job taken from the queue, and the right to end its attempt.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) lease: Lease,
    pub(crate) job: Job,
    /// The bytes; an error, with which the attempt is to end, where the store has lost them.
    pub(crate) body: Result<InputBody, Failure>,
}

/// What an attempt ended in.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<StoredOutput, Failure>,
    /// The input's playing time, where the attempt found it out.
    pub(crate) duration_s: Option<f64>,
}

/// An output as the queue keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredOutput {
    pub(crate) data: StoredData,
    pub(crate) formats: Vec<Format>,
    /// The job shows them without the output, too.
    pub(crate) warnings: Vec<Warning>,
}

impl StoredOutput {
    /// About as many bytes as it takes up in the store.
    fn inline_bytes(&self) -> u64 {
        let data = match &self.data {
            StoredData::Text(text) => text.len() as u64,
            StoredData::Json(value) => json_bytes(value),
            StoredData::File { .. } => 0,
        };
        let formats = self.formats.iter().map(|format| format.body.len() as u64);
        formats.fold(data, u64::saturating_add)
    }
}

/// The length of a value's JSON.
fn json_bytes(value: &serde_json::Value) -> u64 {
    /// Counts what is written.
    struct Count(u64);

    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("invariant: nothing of it can fail");
    count.0
}

/// The output proper.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoredData {
    Text(String),
    Json(serde_json::Value),
    /// A file that the spool keeps under the job's id.
    File {
        path: PathBuf,
        name: String,
        content_type: String,
        bytes: u64,
    },
}

/// Whether the lease was still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// The job changed.
    Yes,
    /// The job had been canceled or taken back; nothing changed.
    Stale,
}

/// What became of a job whose attempt had no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenBack {
    /// It waits for its next attempt.
    Queued,
    /// That was its last attempt.
    Failed,
    /// It had ended, or is another attempt's by now.
    Stale,
}

/// What [`Queue::cancel`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Canceled {
    /// A job that was waiting is canceled.
    Queued,
    /// A job that was running is canceled; its lease is stale now.
    Running,
    /// A finished job is deleted.
    Forgotten,
}

/// Which jobs to list.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) state: Option<State>,
    /// Only jobs older than this one, known or not.
    pub(crate) after: Option<JobId>,
    pub(crate) limit: usize,
}

/// What stands before a queued job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ahead {
    pub(crate) jobs: u64,
    /// Their work: of up to [`FEW`] jobs each one's, in the order of their claims; of more, a sum for
    /// each kind.
    pub(crate) work: Vec<Load>,
    /// The time before which the job itself is not claimed, where it waits for one.
    pub(crate) ready_at: Option<Timestamp>,
}

/// Jobs whose work is told one by one.
pub(crate) const FEW: u64 = 64;

/// How full the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Depth {
    pub(crate) queued: usize,
    pub(crate) running: usize,
    /// The most that may be queued.
    pub(crate) bound: usize,
}

/// Why the store does not take changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no room.
    DiskFull,
    /// The disk or the store is broken, or may not be written.
    Failing,
}

/// Deliveries that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) deliveries: usize,
    /// When the first of those that are not due yet will be.
    pub(crate) next_due: Option<Timestamp>,
}

/// Where a delivery goes from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextDelivery {
    /// The receiver has it.
    Delivered,
    /// It is tried again then.
    At(Timestamp),
    /// It is given up.
    Dead,
}

/// What [`Queue::sweep`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Jobs that failed because the end of their last attempt could not be stored.
    pub(crate) failed: Vec<JobId>,
    /// Jobs whose next attempt's time had come.
    pub(crate) readied: usize,
    /// Jobs deleted.
    pub(crate) forgotten: usize,
    /// When there will be something to do again, as far as is known now.
    pub(crate) next: Option<Timestamp>,
}

/// The store failed: a broken disk, a file that is not a store of ours. The text is for the log,
/// never for a client.
#[derive(Debug, Clone)]
pub struct QueueError(pub(crate) String);

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the job store failed: {}", self.0)
    }
}

impl std::error::Error for QueueError {}

impl From<rusqlite::Error> for QueueError {
    fn from(error: rusqlite::Error) -> QueueError {
        QueueError(error.to_string())
    }
}
