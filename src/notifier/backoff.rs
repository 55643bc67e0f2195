//! When to try a delivery again. Pure: the dice are passed in.

use std::time::Duration;

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// The waits between one attempt of a delivery and the next; there is one attempt more than there
/// are waits. Ten attempts in about three days, as Standard Webhooks 1.0 recommends.
pub(crate) const DEFAULT_WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    minutes(5),
    minutes(30),
    minutes(2 * 60),
    minutes(5 * 60),
    minutes(10 * 60),
    minutes(14 * 60),
    minutes(20 * 60),
    minutes(24 * 60),
];

/// The longest `Retry-After` that is honoured; a longer one counts as this.
const LONGEST_RETRY_AFTER: Duration = minutes(24 * 60);
/// A wait is longer than the schedule says by at most this part of it, so that deliveries that
/// failed together do not come back together.
const JITTER: f64 = 0.1;

/// Which wait follows which attempt.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    waits: Vec<Duration>,
}

impl Schedule {
    pub(crate) fn new(waits: Vec<Duration>) -> Schedule {
        Schedule { waits }
    }

    /// How long to wait after `attempts` failed ones, or `None` when they were all there are.
    ///
    /// A receiver's `Retry-After` makes the wait longer, never shorter: the attempts are few, and
    /// one that asks to be called again at once would soon have used them up. `dice` is from 0
    /// to 1 and decides the jitter.
    pub(crate) fn wait_after(
        &self,
        attempts: u32,
        retry_after: Option<Duration>,
        dice: f64,
    ) -> Option<Duration> {
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let wait = (*self.waits.get(index)?).max(asked);
        Some(wait.mul_f64(1.0 + JITTER * dice.clamp(0.0, 1.0)))
    }

    /// The wait after the first failed attempt; a host that is parked begins with it, too.
    pub(crate) fn first_wait(&self) -> Duration {
        self.waits.first().copied().unwrap_or(DEFAULT_WAITS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn default_schedule() -> Schedule {
        Schedule::new(DEFAULT_WAITS.to_vec())
    }

    #[test]
    fn ten_attempts_at_the_waits_of_the_contract() {
        let schedule = default_schedule();
        let waits: Vec<_> =
            (1..=10).map(|attempts| schedule.wait_after(attempts, None, 0.0)).collect();
        let expected = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
        let expected: Vec<_> = expected.iter().map(|&s| Some(s * SECOND)).chain([None]).collect();
        assert_eq!(waits, expected);
        assert_eq!(schedule.wait_after(u32::MAX, None, 0.0), None);
    }

    #[test]
    fn retry_after_makes_a_wait_longer_and_is_bounded() {
        let schedule = default_schedule();
        let wait =
            |attempts, asked| schedule.wait_after(attempts, Some(Duration::from_secs(asked)), 0.0);
        assert_eq!(wait(1, 60), Some(60 * SECOND));
        assert_eq!(wait(1, 1), Some(5 * SECOND));
        assert_eq!(wait(1, u64::MAX), Some(LONGEST_RETRY_AFTER));
        assert_eq!(wait(10, 60), None, "asking for more does not add an attempt");
    }

    proptest::proptest! {
        #[test]
        fn jitter_stays_within_a_tenth(attempts in 1u32..=9, dice in 0.0f64..=1.0) {
            let schedule = default_schedule();
            let least = schedule.wait_after(attempts, None, 0.0).expect("a wait");
            let wait = schedule.wait_after(attempts, None, dice).expect("a wait");
            proptest::prop_assert!(wait >= least && wait <= least.mul_f64(1.1 + 1e-9));
        }
    }
}
