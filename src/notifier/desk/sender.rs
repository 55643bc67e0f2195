//! What the desk keeps of each sender: how many more couriers it may get one by one, and how many more
//! of its attempts may fail.

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
/// Turns that are kept for recent attempts: one part in so many.
const PART_KEPT: usize = 4;
/// Senders that are kept though they have nothing out, while attempts of theirs failed lately.
const MOST_IDLE: usize = 1024;

/// An attempt, by how its host stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The host has not failed since it last answered, and its POST came due just now.
    Recent,
    /// The host has not failed since it last answered, and its POST waits.
    Waiting,
    /// The host failed last time.
    Repeat,
}

impl Attempt {
    pub(super) const ALL: [Attempt; 3] = [Attempt::Recent, Attempt::Waiting, Attempt::Repeat];

    pub(super) fn of(due: &Due) -> Attempt {
        match due.failures {
            0 if due.is_recent => Attempt::Recent,
            0 => Attempt::Waiting,
            _ => Attempt::Repeat,
        }
    }
}

/// The senders with POSTs out, and those whose attempts failed lately.
pub(super) struct Accounts {
    by_sender: HashMap<String, Account>,
    /// The most turns of a sender that add up. Only recent attempts take one while there are fewer.
    turns: f64,
    /// Until a sender has one turn more.
    pub(super) pace: Duration,
}

pub(super) struct Account {
    /// POSTs that may be handed out one by one.
    turns: Budget,
    /// The next first attempt goes to the host that came last, not to the one that waited longest.
    is_latest_next: bool,
    firsts: Budget,
    repeats: Budget,
}

/// A token bucket.
struct Budget {
    left: f64,
    most: f64,
    /// When `left` was counted.
    at: Instant,
    per_second: f64,
}

impl Accounts {
    /// No sender may hold more than `one_by_one` couriers by turns, for `patience` each.
    pub(super) fn new(one_by_one: usize, patience: Duration) -> Accounts {
        let kept = (one_by_one / PART_KEPT).max(1);
        let others = (one_by_one + 1).saturating_sub(kept).max(1);
        let pace = patience / u32::try_from(others).unwrap_or(1);
        Accounts { by_sender: HashMap::new(), turns: kept as f64, pace }
    }

    pub(super) fn get(&self, sender: &str) -> Option<&Account> {
        self.by_sender.get(sender)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.by_sender.iter().map(|(sender, account)| (sender.as_str(), account))
    }

    pub(super) fn of(&mut self, sender: &str, now: Instant) -> &mut Account {
        let a_second = 1.0 / self.pace.as_secs_f64().max(f64::MIN_POSITIVE);
        self.by_sender.entry(sender.to_owned()).or_insert_with(|| Account {
            turns: Budget::full(self.turns, a_second, now),
            is_latest_next: false,
            firsts: Budget::full(FAILURES_AT_ONCE, FIRST_FAILURES_PER_SECOND, now),
            repeats: Budget::full(FAILURES_AT_ONCE, REPEATED_FAILURES_PER_SECOND, now),
        })
    }

    /// The senders whose latest host is next.
    pub(super) fn latest_first(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|(_, account)| account.is_latest_next).map(|(sender, _)| sender)
    }

    /// Forgets senders of which there is nothing to know.
    pub(super) fn tidy(&mut self, now: Instant, has_one_out: impl Fn(&str) -> bool) {
        self.by_sender.retain(|sender, account| {
            let budgets = [&account.turns, &account.firsts, &account.repeats];
            budgets.into_iter().any(|budget| !budget.is_full(now)) || has_one_out(sender)
        });
        if self.by_sender.len() > MOST_IDLE {
            self.by_sender.retain(|sender, account| {
                Attempt::ALL.iter().any(|attempt| !account.may_fail(*attempt, 0, now))
                    || has_one_out(sender)
            });
        }
    }
}

impl Account {
    pub(super) fn take_turn(&mut self, now: Instant) {
        self.turns.add(-1.0, now);
    }

    /// The POST that took it holds no courier any more.
    pub(super) fn give_turn_back(&mut self, now: Instant) {
        self.turns.add(1.0, now);
    }

    pub(super) fn has_turn(&self, attempt: Attempt, now: Instant) -> bool {
        self.turns.left(now) >= self.turns_for(attempt)
    }

    fn turns_for(&self, attempt: Attempt) -> f64 {
        match attempt {
            Attempt::Recent => 1.0,
            Attempt::Waiting | Attempt::Repeat => self.turns.most,
        }
    }

    /// The host that waited longest and the one that came last take turns.
    pub(super) fn turn_to_the_other_end(&mut self) {
        self.is_latest_next = !self.is_latest_next;
    }

    pub(super) fn failed(&mut self, attempt: Attempt, now: Instant) {
        match attempt {
            Attempt::Recent | Attempt::Waiting => self.firsts.add(-1.0, now),
            Attempt::Repeat => self.repeats.add(-1.0, now),
        }
    }

    /// Whether one more such attempt may fail beside those that are `out`.
    pub(super) fn may_fail(&self, attempt: Attempt, out: usize, now: Instant) -> bool {
        self.budget(attempt).left(now) >= out as f64 + 1.0
    }

    /// When time lets the sender go on with such attempts, where it is time that they wait for.
    /// Those `in_turn` are handed out one by one.
    pub(super) fn opens_at(
        &self,
        attempt: Attempt,
        out: usize,
        in_turn: bool,
        now: Instant,
    ) -> Option<Instant> {
        let turn = in_turn.then(|| self.turns.has_at(self.turns_for(attempt), now)).flatten();
        let may_fail = self.budget(attempt).has_at(out as f64 + 1.0, now);
        turn.max(may_fail)
    }

    fn budget(&self, attempt: Attempt) -> &Budget {
        match attempt {
            Attempt::Recent | Attempt::Waiting => &self.firsts,
            Attempt::Repeat => &self.repeats,
        }
    }
}

impl Budget {
    fn full(most: f64, per_second: f64, now: Instant) -> Budget {
        Budget { left: most, most, at: now, per_second }
    }

    fn add(&mut self, count: f64, now: Instant) {
        self.left = (self.left(now) + count).clamp(0.0, self.most);
        self.at = now;
    }

    /// When so many are left, if they are not now.
    fn has_at(&self, count: f64, now: Instant) -> Option<Instant> {
        let missing = (count - self.left(now)) / self.per_second;
        // A little more, so that rounding does not wake the notifier in vain.
        (missing > 0.0).then(|| now + Duration::from_secs_f64(missing) + Duration::from_millis(1))
    }

    fn left(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + passed * self.per_second).min(self.most)
    }

    fn is_full(&self, now: Instant) -> bool {
        self.left(now) >= self.most
    }
}
