//! What the desk keeps of each sender: when it last got a courier out of turn, and how many more of
//! its attempts may fail.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::queue::Due;

/// Failed attempts of one sender that go on at once.
pub(super) const FAILURES_AT_ONCE: f64 = 100.0;
/// Failures a second after that, at hosts that had not failed before. A new host shares them with
/// those that wait: they are many enough that it waits for some 10 ms.
pub(super) const FIRST_FAILURES_PER_SECOND: f64 = 200.0;
/// Failures a second at hosts that had failed before.
pub(super) const REPEATED_FAILURES_PER_SECOND: f64 = 20.0;
/// Senders that are kept though they have nothing out, while attempts of theirs failed lately.
const MOST_IDLE: usize = 1024;

/// An attempt, by how its host stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The host has not failed since it last answered.
    First,
    /// The host failed last time.
    Repeat,
}

impl Attempt {
    pub(super) const ALL: [Attempt; 2] = [Attempt::First, Attempt::Repeat];

    pub(super) fn of(due: &Due) -> Attempt {
        if due.failures == 0 { Attempt::First } else { Attempt::Repeat }
    }

    fn failures_per_second(self) -> f64 {
        match self {
            Attempt::First => FIRST_FAILURES_PER_SECOND,
            Attempt::Repeat => REPEATED_FAILURES_PER_SECOND,
        }
    }
}

/// The senders with POSTs out, and those whose attempts failed lately.
#[derive(Default)]
pub(super) struct Accounts(HashMap<String, Account>);

pub(super) struct Account {
    sent_at: Option<Instant>,
    /// The next first attempt goes to the host that came last, not to the one that waited longest.
    is_latest_next: bool,
    firsts: Budget,
    repeats: Budget,
}

/// Attempts that may fail: a token bucket.
struct Budget {
    left: f64,
    /// When `left` was counted.
    at: Instant,
    per_second: f64,
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
            is_latest_next: false,
            firsts: Budget::full(Attempt::First, now),
            repeats: Budget::full(Attempt::Repeat, now),
        })
    }

    /// The senders whose latest host is next.
    pub(super) fn latest_first(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|(_, account)| account.is_latest_next).map(|(sender, _)| sender)
    }

    /// Forgets senders of which there is nothing to know.
    pub(super) fn tidy(&mut self, now: Instant, has_one_out: impl Fn(&str) -> bool) {
        self.0.retain(|sender, account| {
            Attempt::ALL.iter().any(|attempt| !account.budget(*attempt).is_full(now))
                || has_one_out(sender)
        });
        if self.0.len() > MOST_IDLE {
            self.0.retain(|sender, account| {
                Attempt::ALL.iter().any(|attempt| !account.may_fail(*attempt, 0, now))
                    || has_one_out(sender)
            });
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

    /// The host that waited longest and the one that came last take turns.
    pub(super) fn turn_to_the_other_end(&mut self) {
        self.is_latest_next = !self.is_latest_next;
    }

    pub(super) fn failed(&mut self, attempt: Attempt, now: Instant) {
        let budget = match attempt {
            Attempt::First => &mut self.firsts,
            Attempt::Repeat => &mut self.repeats,
        };
        budget.left = (budget.left(now) - 1.0).max(0.0);
        budget.at = now;
    }

    /// Whether one more such attempt may fail beside those that are `out`.
    pub(super) fn may_fail(&self, attempt: Attempt, out: usize, now: Instant) -> bool {
        self.budget(attempt).left(now) >= out as f64 + 1.0
    }

    /// When time lets the sender go on with such attempts, where it is time that they wait for.
    /// With a `pace` its POSTs are handed out one by one.
    pub(super) fn opens_at(
        &self,
        attempt: Attempt,
        out: usize,
        pace: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        let in_turn = self.sent_at.zip(pace).map(|(at, pace)| at + pace);
        let may_fail = (!self.may_fail(attempt, out, now)).then(|| {
            let budget = self.budget(attempt);
            let missing = (out as f64 + 1.0 - budget.left(now)) / budget.per_second;
            // A little more, so that rounding does not wake the notifier in vain.
            now + Duration::from_secs_f64(missing) + Duration::from_millis(1)
        });
        in_turn.into_iter().chain(may_fail).filter(|time| *time > now).max()
    }

    fn budget(&self, attempt: Attempt) -> &Budget {
        match attempt {
            Attempt::First => &self.firsts,
            Attempt::Repeat => &self.repeats,
        }
    }
}

impl Budget {
    fn full(attempt: Attempt, now: Instant) -> Budget {
        Budget { left: FAILURES_AT_ONCE, at: now, per_second: attempt.failures_per_second() }
    }

    fn left(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + passed * self.per_second).min(FAILURES_AT_ONCE)
    }

    fn is_full(&self, now: Instant) -> bool {
        self.left(now) >= FAILURES_AT_ONCE
    }
}
