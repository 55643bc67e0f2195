//! When a worker comes to a job: each takes the next one as soon as it is free.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The seconds after which each worker is free.
#[derive(Debug)]
pub(super) struct Line {
    free_after: BinaryHeap<Reverse<Seconds>>,
    /// Work of which only the sum is known: many jobs, of which each worker takes its part.
    shared: f64,
}

impl Line {
    /// So many workers, of which some are busy. A worker that is about to end its thread may be listed
    /// beyond their number.
    pub(super) fn new(workers: usize, busy: Vec<f64>) -> Line {
        let idle = workers.max(1).saturating_sub(busy.len());
        let free_after = busy.into_iter().chain(std::iter::repeat_n(0.0, idle));
        Line { free_after: free_after.map(|s| Reverse(Seconds(s))).collect(), shared: 0.0 }
    }

    /// The next free worker takes a job of so many seconds.
    pub(super) fn take(&mut self, seconds: f64) {
        if let Some(mut next) = self.free_after.peek_mut() {
            next.0.0 += seconds;
        }
    }

    /// All workers share jobs of so many seconds together.
    pub(super) fn share(&mut self, seconds: f64) {
        self.shared += seconds;
    }

    /// The seconds after which a worker is free for the next job.
    pub(super) fn next_free(self) -> f64 {
        let free: Vec<f64> =
            self.free_after.into_sorted_vec().into_iter().rev().map(|Reverse(s)| s.0).collect();
        // The shared work fills up the time from the first free worker on, until it is used up.
        let mut at = free.first().copied().unwrap_or(0.0);
        let mut left = self.shared;
        for (workers, until) in (1..).zip(free.iter().skip(1)) {
            let room = f64::from(workers) * (until - at);
            if left <= room {
                return at + left / f64::from(workers);
            }
            left -= room;
            at = *until;
        }
        at + left / free.len().max(1) as f64
    }
}

/// Seconds in their order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seconds(f64);

impl Eq for Seconds {}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Seconds) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Seconds {
    fn cmp(&self, other: &Seconds) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
