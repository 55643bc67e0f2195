//! The queue in a folder: SQLite for the rows, the spool for the files.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::spool::Spool;

/// How a [`LocalQueue`] is set up.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Jobs that may wait.
    pub(crate) max_queued: usize,
    /// Attempts after which a job whose attempts the process did not survive is given up.
    pub(crate) max_attempts: u32,
    /// How long a finished job is kept.
    pub(crate) keep: std::time::Duration,
}

/// What the last process left, taken back at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Jobs that waited.
    pub(crate) queued: usize,
    /// Jobs that ran and wait again.
    pub(crate) interrupted: usize,
    /// Jobs given up because the process died during each of their attempts.
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
            "{queued} queued jobs, {interrupted} interrupted ones ({given_up} given up), \
             {deliveries} deliveries"
        )
    }
}

pub(crate) struct LocalQueue {}

impl LocalQueue {
    /// Opens the store in `folder`, or makes it, and takes back what was queued or running.
    ///
    /// # Errors
    /// When another process uses it, or it cannot be read.
    pub(crate) fn open(
        folder: &Path,
        spool: Arc<Spool>,
        limits: Limits,
    ) -> Result<(LocalQueue, Recovered), QueueError> {
        todo!()
    }
}

impl Queue for LocalQueue {
    fn submit(&self, request: Submission) -> Result<Submitted, SubmitError> {
        todo!()
    }
    fn claim(&self) -> Result<Option<Claim>, QueueError> {
        todo!()
    }
    fn finish(&self, lease: Lease, outcome: Outcome) -> Result<Recorded, QueueError> {
        todo!()
    }
    fn retry(
        &self,
        lease: Lease,
        failure: Failure,
        ready_at: Timestamp,
    ) -> Result<Recorded, QueueError> {
        todo!()
    }
    fn release(&self, lease: Lease) -> Result<Recorded, QueueError> {
        todo!()
    }
    fn release_all(&self) -> Result<usize, QueueError> {
        todo!()
    }
    fn cancel(&self, id: JobId) -> Result<Option<Canceled>, QueueError> {
        todo!()
    }
    fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        todo!()
    }
    fn output(&self, id: JobId) -> Result<Option<StoredOutput>, QueueError> {
        todo!()
    }
    fn list(&self, page: &Page) -> Result<Vec<Job>, QueueError> {
        todo!()
    }
    fn ahead(&self, id: JobId) -> Result<Option<Ahead>, QueueError> {
        todo!()
    }
    fn depth(&self) -> Depth {
        todo!()
    }
    fn due(&self, now: Timestamp, skip: &Skip, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        todo!()
    }
    fn next_due(&self, skip: &Skip) -> Result<Option<Timestamp>, QueueError> {
        todo!()
    }
    fn record(
        &self,
        delivery: DeliveryId,
        attempt: DeliveryAttempt,
        next: NextDelivery,
    ) -> Result<(), QueueError> {
        todo!()
    }
    fn deliveries(&self, id: JobId) -> Result<Option<Vec<DeliveryAttempt>>, QueueError> {
        todo!()
    }
    fn sweep(&self, now: Timestamp) -> Result<Swept, QueueError> {
        todo!()
    }
    fn close(&self) {
        todo!()
    }
}
