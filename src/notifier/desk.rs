//! Which delivery goes out next. The desk knows the POSTs that are out, how each host answered lately,
//! and when a look into the store is worth its cost. It does no I/O and reads no clock.
//!
//! A POST to a receiver that hangs holds a courier until its time is up, so couriers are what
//! receivers compete for. A host that answered its last POST within [`SLOW`] is *trusted*. POSTs to
//! other hosts, and those that are out for longer than [`SLOW`], are *untrusted*:
//!
//! - untrusted POSTs never hold the last quarter of the couriers;
//! - those of one sender hold at most as many couriers as they leave free, so that there is room for
//!   the next sender, and two thirds of that where their host failed last time;
//! - one sender gets the first third of them at once, and the rest one by one. The time between two
//!   is long enough that some are free again before the last one is taken. A few of these turns are
//!   kept for hosts that came due just now, and a prompt POST gives its turn back: a new host that
//!   answers waits for nothing, however many hosts hang;
//! - one sender's attempts may fail at most so often a second. Hosts that failed before and hosts that
//!   did not are counted apart, so that no new host waits for the retries of others.

mod sender;
mod standing;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use self::sender::{Account, Accounts, Attempt};
use self::standing::Standings;
use crate::job::{Delivery, DeliveryId};
use crate::queue::{Due, DueFound, DueQuery, FAILURES_TO_PARK, Health, PER_HOST};

/// A POST that is out for longer counts as untrusted, whatever its host did before.
const SLOW: Duration = Duration::from_secs(1);
/// Answers in a row after which a host may have the very last couriers.
const LONG_TRUSTED: u32 = 10;
/// Couriers that are kept for such hosts: one part in so many.
const PART_FOR_LONG_TRUSTED: usize = 16;
/// Looks in a row that find something of which nothing may go.
const LOOKS_IN_VAIN: u32 = 8;
/// How long to rest after them.
const REST: Duration = Duration::from_millis(100);

pub(super) struct Desk {
    couriers: usize,
    in_flight: HashMap<DeliveryId, Flight>,
    standings: Standings,
    accounts: Accounts,
    /// The sender whose turn it was last.
    after: String,
    look: Look,
    in_vain: u32,
}

/// A POST that is out.
struct Flight {
    host: String,
    sender: String,
    since: Instant,
    is_trusted: bool,
    attempt: Attempt,
    /// It was handed out one by one.
    took_turn: bool,
}

impl Flight {
    fn is_untrusted(&self, now: Instant) -> bool {
        !self.is_trusted || now.saturating_duration_since(self.since) > SLOW
    }
}

/// When to look into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// As soon as a courier is free.
    Soon,
    /// At this time, or when something happens.
    At(Instant),
    /// When something happens.
    OnEvent,
}

impl Desk {
    /// A desk that wants to look at once. No POST takes longer than `patience`, but for those that
    /// carry a large file.
    pub(super) fn new(couriers: usize, patience: Duration) -> Desk {
        // One by one, half a sender's share lasts for longer than one POST can take.
        let one_by_one = untrusted(couriers) / 2 - at_once(couriers);
        Desk {
            couriers,
            in_flight: HashMap::new(),
            standings: Standings::default(),
            accounts: Accounts::new(one_by_one, patience),
            after: String::new(),
            look: Look::Soon,
            in_vain: 0,
        }
    }

    /// Something may have become due.
    pub(super) fn ring(&mut self) {
        self.look = Look::Soon;
    }

    /// POSTs that are out.
    pub(super) fn out(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether to look into the store now: a courier is free, and there may be something.
    pub(super) fn wants_to_look(&self, now: Instant) -> bool {
        let due = match self.look {
            Look::Soon => true,
            Look::At(time) => time <= now,
            Look::OnEvent => false,
        };
        due && !self.all_out()
    }

    /// When to look into the store even if nothing happens. `None` while all couriers are out:
    /// one that comes back is what happens next.
    pub(super) fn look_at(&self) -> Option<Instant> {
        match self.look {
            Look::At(time) if !self.all_out() => Some(time),
            Look::At(_) | Look::Soon | Look::OnEvent => None,
        }
    }

    /// What a look has to leave out, and where it begins.
    pub(super) fn query(&self, now: Instant) -> DueQuery {
        let places = self.places(now);
        let mut full_hosts = HashSet::new();
        for (host, out) in &places.at_host {
            // One that is not known may get one only; found twice does no harm.
            if *out >= PER_HOST || self.standings.answers(host).is_none() {
                full_hosts.insert((*host).to_owned());
            }
        }
        let no_firsts = self.closed_senders(&places, Attempt::Recent, now);
        let recent_only = self.closed_senders(&places, Attempt::Waiting, now);
        let no_repeats = self.closed_senders(&places, Attempt::Repeat, now);
        let trusted_only = places.untrusted >= untrusted(self.couriers);
        let is_crowded = trusted_only || !recent_only.is_empty() || self.in_vain > 0;
        let trusted = if is_crowded { self.standings.latest(&full_hosts) } else { Vec::new() };
        DueQuery {
            busy: self.in_flight.keys().copied().collect(),
            full_hosts,
            no_firsts,
            recent_only,
            no_repeats,
            trusted_only,
            trusted,
            latest_first: self.accounts.latest_first().map(str::to_owned).collect(),
            after: self.after.clone(),
        }
    }

    /// Takes what may go of what a look has found: a courier is to make each POST.
    pub(super) fn admit(&mut self, found: DueFound, now: Instant) -> Vec<Delivery> {
        let mut admitted = Vec::new();
        let mut last = None;
        let mut senders_of_firsts = HashSet::new();
        for due in found.due {
            if self.admits(&due, now) {
                last = Some(due.sender.clone());
                if due.failures == 0 && !self.is_trusted(&due) {
                    senders_of_firsts.insert(due.sender.clone());
                }
                self.send_out(&due, now);
                admitted.push(due.delivery);
            }
        }
        for sender in senders_of_firsts {
            self.accounts.of(&sender, now).turn_to_the_other_end();
        }
        self.look = match (found.go_on_after.is_some(), admitted.is_empty()) {
            (false, _) => Look::OnEvent,
            (true, false) => Look::Soon,
            (true, true) if self.in_vain < LOOKS_IN_VAIN => Look::Soon,
            (true, true) => Look::At(now + REST),
        };
        self.in_vain =
            if admitted.is_empty() && self.look == Look::Soon { self.in_vain + 1 } else { 0 };
        if let Some(after) = last.or(found.go_on_after) {
            self.after = after;
        }
        admitted
    }

    /// Whether the last look has seen all there is.
    pub(super) fn has_seen_all(&self) -> bool {
        self.look == Look::OnEvent
    }

    /// The next delivery comes due at `next`.
    pub(super) fn wait_until(&mut self, next: Option<Instant>, now: Instant) {
        let places = self.places(now);
        let opens = self.accounts.iter().flat_map(|(name, account)| {
            let own = places.of_sender(name);
            let in_turn = own.in_all() >= at_once(self.couriers);
            Attempt::ALL
                .into_iter()
                .filter_map(move |attempt| account.opens_at(attempt, own.of(attempt), in_turn, now))
        });
        self.look = opens.chain(next).min().map_or(Look::OnEvent, Look::At);
    }

    /// A courier is back.
    pub(super) fn settle(&mut self, delivery: DeliveryId, health: Health, now: Instant) {
        let Some(flight) = self.in_flight.remove(&delivery) else { return };
        self.look = Look::Soon;
        if flight.took_turn && now.saturating_duration_since(flight.since) <= SLOW {
            self.accounts.of(&flight.sender, now).give_turn_back(now);
        }
        match health {
            Health::Well if now.saturating_duration_since(flight.since) <= SLOW => {
                self.standings.answered(flight.host, now);
            }
            Health::Well => self.standings.answered_late(flight.host, now),
            Health::Failing => {
                self.standings.failed(&flight.host);
                self.accounts.of(&flight.sender, now).failed(flight.attempt, now);
            }
            Health::Unknown => {}
        }
        let in_flight = &self.in_flight;
        self.accounts.tidy(now, |sender| in_flight.values().any(|flight| flight.sender == sender));
    }

    fn send_out(&mut self, due: &Due, now: Instant) {
        let is_trusted = self.is_trusted(due);
        let own = self.places(now).of_sender(&due.sender).in_all();
        let account = self.accounts.of(&due.sender, now);
        let took_turn = !is_trusted && own >= at_once(self.couriers);
        if took_turn {
            account.take_turn(now);
        }
        let (host, sender) = (due.host.clone(), due.sender.clone());
        let attempt = Attempt::of(due);
        let flight = Flight { host, sender, since: now, is_trusted, attempt, took_turn };
        self.in_flight.insert(due.delivery.id, flight);
    }

    fn admits(&self, due: &Due, now: Instant) -> bool {
        let places = self.places(now);
        let answers = self.standings.answers(&due.host);
        let most = if due.failures >= FAILURES_TO_PARK || answers.is_none() { 1 } else { PER_HOST };
        let out = places.at_host.get(due.host.as_str()).copied().unwrap_or(0);
        if out >= most || self.in_flight.contains_key(&due.delivery.id) {
            return false;
        }
        if self.is_trusted(due) {
            let kept = match answers {
                Some(LONG_TRUSTED..) => 0,
                _ => self.couriers / PART_FOR_LONG_TRUSTED,
            };
            return self.in_flight.len() + kept < self.couriers;
        }
        let is_open = match self.accounts.get(&due.sender) {
            Some(account) => {
                let own = places.of_sender(&due.sender);
                self.is_open(&places, own, account, Attempt::of(due), now)
            }
            None => places.untrusted < untrusted(self.couriers),
        };
        is_open && self.in_flight.len() < self.couriers
    }

    fn closed_senders(
        &self,
        places: &Places<'_>,
        attempt: Attempt,
        now: Instant,
    ) -> HashSet<String> {
        self.accounts
            .iter()
            .filter(|(name, account)| {
                !self.is_open(places, places.of_sender(name), account, attempt, now)
            })
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Whether a sender, with its `own` couriers out, may make such an attempt at a host that is not
    /// trusted.
    fn is_open(
        &self,
        places: &Places<'_>,
        own: Own,
        account: &Account,
        attempt: Attempt,
        now: Instant,
    ) -> bool {
        let free = untrusted(self.couriers).saturating_sub(places.untrusted);
        let is_within = match attempt {
            Attempt::Recent | Attempt::Waiting => own.in_all() < free,
            Attempt::Repeat => 2 * own.in_all() < free,
        };
        let in_turn = own.in_all() < at_once(self.couriers) || account.has_turn(attempt, now);
        is_within && in_turn && account.may_fail(attempt, own.of(attempt), now)
    }

    fn is_trusted(&self, due: &Due) -> bool {
        due.failures == 0 && self.standings.answers(&due.host).is_some_and(|answers| answers > 0)
    }

    fn places(&self, now: Instant) -> Places<'_> {
        let mut places = Places::default();
        for flight in self.in_flight.values() {
            *places.at_host.entry(flight.host.as_str()).or_default() += 1;
            if flight.is_untrusted(now) {
                places.untrusted += 1;
                places.untrusted_of.entry(flight.sender.as_str()).or_default().add(flight.attempt);
            }
        }
        places
    }

    fn all_out(&self) -> bool {
        self.in_flight.len() >= self.couriers
    }
}

/// Who holds the couriers that are out.
#[derive(Default)]
struct Places<'a> {
    at_host: HashMap<&'a str, usize>,
    untrusted: usize,
    untrusted_of: HashMap<&'a str, Own>,
}

impl Places<'_> {
    fn of_sender(&self, sender: &str) -> Own {
        self.untrusted_of.get(sender).copied().unwrap_or_default()
    }
}

/// Untrusted POSTs of one sender that are out.
#[derive(Clone, Copy, Default)]
struct Own {
    firsts: usize,
    repeats: usize,
}

impl Own {
    fn add(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Recent | Attempt::Waiting => self.firsts += 1,
            Attempt::Repeat => self.repeats += 1,
        }
    }

    fn of(self, attempt: Attempt) -> usize {
        match attempt {
            Attempt::Recent | Attempt::Waiting => self.firsts,
            Attempt::Repeat => self.repeats,
        }
    }

    fn in_all(self) -> usize {
        self.firsts + self.repeats
    }
}

/// Couriers that untrusted POSTs may hold together.
fn untrusted(couriers: usize) -> usize {
    couriers - couriers / 4
}

/// Untrusted POSTs of one sender that are handed out without a pause.
fn at_once(couriers: usize) -> usize {
    untrusted(couriers) / 3
}

#[cfg(test)]
mod tests;
