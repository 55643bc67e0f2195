//! When to try again: a delivery by its schedule, a host by its breaker. Pure: the time and the
//! dice are passed in.

use std::time::{Duration, Instant};

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

    /// The wait after the first failed attempt; a breaker begins with it, too.
    pub(crate) fn first_wait(&self) -> Duration {
        self.waits.first().copied().unwrap_or(DEFAULT_WAITS[0])
    }
}

/// Failures in a row after which a host is parked.
const FAILURES_TO_PARK: u32 = 5;
/// A parked host's time doubles with each failed probe up to this many times the first, which
/// makes 5 s grow to 320 s.
const LONGEST_PARK_FACTOR: u32 = 64;

/// What is known of one host's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    first_park: Duration,
    /// Failures in a row; those of POSTs that were in flight when it was parked do not count.
    failures: u32,
    parked_until: Option<Instant>,
}

/// How many deliveries may be in flight to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// As many as to any host.
    Full,
    /// One, to see whether it is back.
    Probe,
    /// None until then.
    Parked(Instant),
}

impl Breaker {
    /// A host of which nothing bad is known.
    pub(crate) fn new(first_park: Duration) -> Breaker {
        Breaker { first_park, failures: 0, parked_until: None }
    }

    pub(crate) fn allowance(&self, now: Instant) -> Allowance {
        match self.parked_until {
            None => Allowance::Full,
            Some(until) if now < until => Allowance::Parked(until),
            Some(_) => Allowance::Probe,
        }
    }

    /// The host answered.
    pub(crate) fn succeeded(&mut self) {
        *self = Breaker::new(self.first_park);
    }

    /// The host did not answer, or said that it cannot.
    pub(crate) fn failed(&mut self, now: Instant) {
        if matches!(self.allowance(now), Allowance::Parked(_)) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(probes) = self.failures.checked_sub(FAILURES_TO_PARK) {
            let factor = 2u32.saturating_pow(probes).min(LONGEST_PARK_FACTOR);
            self.parked_until = Some(now + self.first_park.saturating_mul(factor));
        }
    }

    /// The end of its latest time out, past or to come.
    pub(crate) fn parked_until(&self) -> Option<Instant> {
        self.parked_until
    }

    /// Whether there is nothing to remember about the host.
    pub(crate) fn is_healthy(&self) -> bool {
        self.failures == 0
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

    #[test]
    fn a_host_is_parked_after_five_failures_for_a_growing_time() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(5 * SECOND);
        for _ in 0..FAILURES_TO_PARK {
            assert_eq!(breaker.allowance(now), Allowance::Full);
            breaker.failed(now);
        }
        for seconds in [5, 10, 20, 40, 80, 160, 320, 320] {
            let until = now + seconds * SECOND;
            assert_eq!(breaker.allowance(now), Allowance::Parked(until));
            // A POST that was in flight when the host was parked changes nothing.
            breaker.failed(now);
            now = until;
            assert_eq!(breaker.allowance(now), Allowance::Probe);
            breaker.failed(now);
        }
    }

    #[test]
    fn one_answer_forgives_everything() {
        let now = Instant::now();
        let mut breaker = Breaker::new(SECOND);
        (0..4).for_each(|_| breaker.failed(now));
        breaker.succeeded();
        (0..4).for_each(|_| breaker.failed(now));
        assert_eq!(breaker.allowance(now), Allowance::Full);
        breaker.failed(now);
        breaker.succeeded();
        assert_eq!(breaker, Breaker::new(SECOND));
        assert!(breaker.is_healthy());
    }
}
