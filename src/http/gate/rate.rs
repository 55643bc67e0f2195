//! The least speed at which a client must send or read a body. Only the time in which it is waited
//! for counts: what this side takes is not its fault.

use std::time::Duration;

use super::limits::Limits;

/// One body's speed so far, as the time that the client may still be waited for: it begins with the
/// grace, grows with each byte, and is never more than what one stall may take.
#[derive(Debug)]
pub(super) struct Rate {
    credit: Duration,
    most: Duration,
    bytes_per_second: u64,
}

impl Rate {
    pub(super) fn new(limits: &Limits) -> Rate {
        Rate { credit: limits.grace, most: limits.stall, bytes_per_second: limits.bytes_per_second }
    }

    /// What is asked of an upload that others wait for.
    pub(super) fn brisk(limits: &Limits) -> Rate {
        Rate {
            credit: limits.brisk_grace,
            most: limits.brisk_time,
            bytes_per_second: limits.brisk_bytes_per_second,
        }
    }

    /// How much longer the client may be waited for; `None` when it is too slow.
    pub(super) fn patience(&self) -> Option<Duration> {
        Some(self.credit).filter(|left| !left.is_zero())
    }

    /// It was waited for this long, and these bytes came of it.
    pub(super) fn record(&mut self, waited: Duration, bytes: usize) {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_second;
        let earned = self.credit.saturating_sub(waited) + Duration::from_nanos(nanos);
        self.credit = earned.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_brisk_may_pause() {
        let second = Duration::from_secs(1);
        let limits = Limits {
            brisk_grace: second,
            brisk_time: 3 * second,
            brisk_bytes_per_second: 1000,
            ..Limits::new(1, 1)
        };
        let mut rate = Rate::brisk(&limits);
        rate.record(second / 2, 900);
        assert_eq!(rate.patience(), Some(Duration::from_millis(1400)));
        rate.record(second, 9000);
        assert_eq!(rate.patience(), Some(3 * second));
        rate.record(3 * second, 0);
        assert_eq!(rate.patience(), None);
    }

    #[test]
    fn who_is_slow_runs_out_of_patience() {
        let limits = Limits {
            grace: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            bytes_per_second: 1000,
            ..Limits::new(1, 1)
        };
        let mut rate = Rate::new(&limits);
        assert_eq!(rate.patience(), Some(Duration::from_secs(10)));
        rate.record(Duration::from_secs(9), 0);
        assert_eq!(rate.patience(), Some(Duration::from_secs(1)));
        rate.record(Duration::from_secs(1), 2500);
        assert_eq!(rate.patience(), Some(Duration::from_millis(2500)));
        rate.record(Duration::from_secs(3), 0);
        assert_eq!(rate.patience(), None);
        rate.record(Duration::ZERO, 1 << 30);
        assert_eq!(rate.patience(), Some(Duration::from_secs(30)), "nobody saves up for hours");
    }
}
