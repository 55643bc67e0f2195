//! What the desk keeps of each sender: when it last got a courier out of turn, and how many more of
//! its attempts may fail.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{FAILURES_AT_ONCE, FAILURES_PER_SECOND};

/// Senders that are kept though they have nothing out, while attempts of theirs failed lately.
const MOST_IDLE: usize = 1024;

/// The senders with POSTs out, and those whose attempts failed lately.
#[derive(Default)]
pub(super) struct Accounts(HashMap<String, Account>);

pub(super) struct Account {
    sent_at: Option<Instant>,
    /// Attempts that may fail, as of `counted_at`.
    failures_left: f64,
    counted_at: Instant,
}

impl Accounts {
    pub(super) fn get(&self, sender: &str) -> Option<&Account> {
        self.0.get(sender)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.0.iter().map(|(sender, account)| (sender.as_str(), account))
    }

    pub(super) fn of(&mut self, sender: &str, now: Instant) -> &mut Account {
        self.0.entry(sender.to_owned()).or_insert_with(|| Account {
            sent_at: None,
            failures_left: FAILURES_AT_ONCE,
            counted_at: now,
        })
    }

    /// Forgets senders of which there is nothing to know.
    pub(super) fn tidy(&mut self, now: Instant, has_one_out: impl Fn(&str) -> bool) {
        self.0.retain(|sender, account| {
            account.failures_left(now) < FAILURES_AT_ONCE || has_one_out(sender)
        });
        if self.0.len() > MOST_IDLE {
            self.0.retain(|sender, account| !account.may_fail(0, now) || has_one_out(sender));
        }
    }
}

impl Account {
    pub(super) fn sent_one_by_one(&mut self, now: Instant) {
        self.sent_at = Some(now);
    }

    pub(super) fn may_send_one(&self, pace: Duration, now: Instant) -> bool {
        self.sent_at.is_none_or(|at| at + pace <= now)
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures_left = (self.failures_left(now) - 1.0).max(0.0);
        self.counted_at = now;
    }

    /// Whether one more attempt may fail beside those that are `out`.
    pub(super) fn may_fail(&self, out: usize, now: Instant) -> bool {
        self.failures_left(now) >= out as f64 + 1.0
    }

    /// When time lets the sender go on, where it is time that it waits for. With a `pace` its POSTs
    /// are handed out one by one.
    pub(super) fn opens_at(
        &self,
        out: usize,
        pace: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        let in_turn = self.sent_at.zip(pace).map(|(at, pace)| at + pace);
        let may_fail = (!self.may_fail(out, now)).then(|| {
            let missing = (out as f64 + 1.0 - self.failures_left(now)) / FAILURES_PER_SECOND;
            // A little more, so that rounding does not wake the notifier in vain.
            now + Duration::from_secs_f64(missing) + Duration::from_millis(1)
        });
        in_turn.into_iter().chain(may_fail).filter(|time| *time > now).max()
    }

    fn failures_left(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        (self.failures_left + passed * FAILURES_PER_SECOND).min(FAILURES_AT_ONCE)
    }
}
