//! How fast work gets done here, measured, for `eta_s` and `Retry-After`.

use std::sync::Mutex;
use std::time::Duration;

use crate::queue::Ahead;

/// The weight of the newest attempt in the averages: about the last ten count.
const NEWEST: f64 = 0.2;
/// The shortest and longest wait that a client is told, in seconds.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=60;

/// Seconds per input byte, averaged over the latest attempts.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Option<Averages>>);

#[derive(Debug, Clone, Copy)]
struct Averages {
    seconds: f64,
    bytes: f64,
}

impl Pace {
    /// Takes in one finished attempt.
    pub(crate) fn measured(&self, bytes: u64, took: Duration) {
        let (seconds, bytes) = (took.as_secs_f64(), bytes.max(1) as f64);
        let mut averages = self.0.lock().expect("invariant: no panic under this lock");
        *averages = Some(match *averages {
            None => Averages { seconds, bytes },
            Some(old) => Averages {
                seconds: old.seconds + NEWEST * (seconds - old.seconds),
                bytes: old.bytes + NEWEST * (bytes - old.bytes),
            },
        });
    }

    /// Seconds until a job of `bytes` behind `ahead` will have finished on `workers` workers; `None`
    /// before anything was measured.
    pub(crate) fn eta(&self, ahead: Ahead, bytes: u64, workers: usize) -> Option<f64> {
        let averages = (*self.0.lock().expect("invariant: no panic under this lock"))?;
        let per_byte = averages.seconds / averages.bytes;
        let waiting = ahead.bytes as f64 * per_byte / workers.max(1) as f64;
        Some(waiting + bytes as f64 * per_byte)
    }

    /// Seconds until one of `workers` busy workers will have ended an average attempt; `None` before
    /// anything was measured.
    pub(crate) fn until_one_ends(&self, workers: usize) -> Option<f64> {
        let averages = (*self.0.lock().expect("invariant: no panic under this lock"))?;
        Some(averages.seconds / workers.max(1) as f64)
    }

    /// Whole seconds after which asking again makes sense, from an estimate; 1 without one.
    pub(crate) fn retry_after(eta: Option<f64>) -> u64 {
        let seconds = eta.map_or(1, |eta| eta.ceil() as u64);
        seconds.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_estimated_before_anything_was_measured() {
        let pace = Pace::default();
        assert_eq!(pace.eta(Ahead::default(), 1000, 1), None);
        assert_eq!(Pace::retry_after(None), 1);
    }

    #[test]
    fn what_waits_is_shared_among_the_workers_and_ones_own_work_is_not() {
        let pace = Pace::default();
        pace.measured(1000, Duration::from_secs(10));
        let ahead = Ahead { jobs: 2, bytes: 2000 };
        assert_eq!(pace.eta(ahead, 1000, 1), Some(30.0));
        assert_eq!(pace.eta(ahead, 1000, 2), Some(20.0));
    }

    #[test]
    fn the_latest_attempts_count_most() {
        let pace = Pace::default();
        pace.measured(1000, Duration::from_secs(10));
        (0..50).for_each(|_| pace.measured(1000, Duration::from_secs(1)));
        let eta = pace.eta(Ahead::default(), 1000, 1).unwrap();
        assert!((1.0..1.1).contains(&eta), "{eta}");
    }

    #[test]
    fn a_client_is_told_whole_seconds_within_bounds() {
        let told = [0.0, 0.2, 3.1, 1e9, f64::INFINITY].map(|eta| Pace::retry_after(Some(eta)));
        assert_eq!(told, [1, 1, 4, 60, 60]);
    }
}
