//! A queue that fails once: at one call of an attempt's methods, in one of three ways.

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing was done.
    Refused,
    /// It was done, and the caller is told that it was not.
    AnswerLost,
    /// It was not done, and the caller's thread panics.
    Panic,
}

/// A queue one of whose calls fails.
pub(crate) struct Faulty {
    queue: Arc<dyn Queue>,
    fault: Fault,
    /// Calls that go well before the one that fails.
    before: AtomicUsize,
    /// Calls of `finish` that stored an end.
    pub(crate) finished: AtomicUsize,
}

impl Faulty {
    /// Lets the call number `n` fail, counted from 0.
    pub(crate) fn new(queue: Arc<dyn Queue>, n: usize, fault: Fault) -> Faulty {
        Faulty { queue, fault, before: AtomicUsize::new(n), finished: AtomicUsize::new(0) }
    }

    fn call<T>(&self, call: impl FnOnce() -> Result<T, QueueError>) -> Result<T, QueueError> {
        // Only a worker has a lease to lose by a panic.
        if self.fault == Fault::Panic && !is_worker() {
            return call();
        }
        let counted = self.before.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            (left != usize::MAX).then(|| left.wrapping_sub(1))
        });
        let failure = || QueueError("a fault of the test".into());
        match (counted, self.fault) {
            (Ok(0), Fault::Refused) => Err(failure()),
            (Ok(0), Fault::AnswerLost) => call().and_then(|_| Err(failure())),
            (Ok(0), Fault::Panic) => panic_any("a fault of the test"),
            _ => call(),
        }
    }
}

fn is_worker() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("worker-"))
}

impl Queue for Faulty {
    fn claim(&self) -> Result<Option<Claim>, QueueError> {
        self.call(|| self.queue.claim())
    }

    fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        self.call(|| self.queue.get(id))
    }

    fn finish(&self, lease: Lease, outcome: Outcome) -> Result<Recorded, QueueError> {
        self.call(|| {
            let recorded = self.queue.finish(lease, outcome)?;
            if recorded == Recorded::Yes {
                self.finished.fetch_add(1, Ordering::SeqCst);
            }
            Ok(recorded)
        })
    }

    fn retry(
        &self,
        lease: Lease,
        failure: Failure,
        ready_at: Timestamp,
    ) -> Result<Recorded, QueueError> {
        self.call(|| self.queue.retry(lease, failure, ready_at))
    }

    fn put_off(&self, lease: Lease, failure: Failure) -> Result<TakenBack, QueueError> {
        self.queue.put_off(lease, failure)
    }

    fn release(&self, lease: Lease) -> Result<Recorded, QueueError> {
        self.call(|| self.queue.release(lease))
    }

    fn sweep(&self, now: Timestamp) -> Result<Swept, QueueError> {
        self.call(|| self.queue.sweep(now))
    }

    fn clock(&self) -> &Clock {
        self.queue.clock()
    }

    fn submit(&self, request: Submission) -> Result<Submitted, SubmitError> {
        self.queue.submit(request)
    }

    fn release_all(&self) -> Result<usize, QueueError> {
        self.queue.release_all()
    }

    fn cancel(&self, id: JobId) -> Result<Option<Canceled>, QueueError> {
        self.queue.cancel(id)
    }

    fn output(&self, id: JobId) -> Result<Option<StoredOutput>, QueueError> {
        self.queue.output(id)
    }

    fn list(&self, page: &Page) -> Result<Vec<Job>, QueueError> {
        self.queue.list(page)
    }

    fn ahead(&self, id: JobId) -> Result<Option<Ahead>, QueueError> {
        self.queue.ahead(id)
    }

    fn has_its_share(&self, sender: &str) -> bool {
        self.queue.has_its_share(sender)
    }

    fn trouble(&self) -> Option<Trouble> {
        self.queue.trouble()
    }

    fn depth(&self) -> Depth {
        self.queue.depth()
    }

    fn due(&self, now: Timestamp, query: &DueQuery, limit: usize) -> Result<DueFound, QueueError> {
        self.queue.due(now, query, limit)
    }

    fn next_delivery(&self, now: Timestamp) -> Result<Option<Timestamp>, QueueError> {
        self.queue.next_delivery(now)
    }

    fn pending(&self, now: Timestamp) -> Result<Pending, QueueError> {
        self.queue.pending(now)
    }

    fn record(
        &self,
        delivery: DeliveryId,
        attempt: DeliveryAttempt,
        next: NextDelivery,
        health: Health,
    ) -> Result<HostChange, QueueError> {
        self.queue.record(delivery, attempt, next, health)
    }

    fn deliveries(&self, id: JobId) -> Result<Option<Vec<DeliveryAttempt>>, QueueError> {
        self.queue.deliveries(id)
    }

    fn lost_leases(&self) -> Receiver<()> {
        self.queue.lost_leases()
    }

    fn close(&self) {
        self.queue.close();
    }

    fn wait_closed(&self, time: Duration) -> bool {
        self.queue.wait_closed(time)
    }
}
