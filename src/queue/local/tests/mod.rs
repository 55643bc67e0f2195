use super::*;
use crate::queue::conformance::{ask, conformance_tests, failure, in_secs, succeeded};

mod damage;
pub(super) mod depth;
mod faults;
mod kill;
mod loss;
mod opening;
mod timeline;
mod transitions;

fn open(folder: &Path, spool: Arc<Spool>, limits: Limits) -> Arc<dyn Queue> {
    let (queue, _) = LocalQueue::open(folder, spool, limits).unwrap();
    Arc::new(queue)
}

conformance_tests!(open);

const LIMITS: Limits = Limits {
    max_queued: 1000,
    per_client: usize::MAX,
    max_attempts: 3,
    keep: std::time::Duration::from_secs(24 * 3600),
    parking: Parking { first: std::time::Duration::from_secs(5) },
};

/// Opens the queue in `folder`, with its own files beside it.
fn open_here(folder: &Path) -> LocalQueue {
    try_open(folder).unwrap().0
}

fn try_open(folder: &Path) -> Result<(LocalQueue, Recovered), QueueError> {
    let spool = Arc::new(Spool::open(&folder.join("spool")).unwrap());
    LocalQueue::open(folder, spool, LIMITS)
}
