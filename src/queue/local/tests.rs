use super::*;
use crate::queue::conformance::conformance_tests;

fn open(folder: &Path, spool: Arc<Spool>, limits: Limits) -> Arc<dyn Queue> {
    let (queue, _) = LocalQueue::open(folder, spool, limits).unwrap();
    Arc::new(queue)
}

conformance_tests!(open);
