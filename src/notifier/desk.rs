//! Which delivery goes out next. The desk knows the couriers that are out, the hosts they are out
//! to, and when a look into the store is worth its cost. It does no I/O and reads no clock.
//!
//! A look finds some of what is due and leaves out the hosts that may get nothing now. It is
//! repeated until it finds nothing. Whatever the store holds then is due later, or goes to a host
//! that was left out: the next look is for when the doorbell rings, the next delivery is due, a
//! parked host's time is up, or a host has room and nothing of its own waits here.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::backoff::{Allowance, Breaker};
use super::courier::Health;
use crate::job::{Delivery, DeliveryId};
use crate::queue::{PER_HOST, Skip, delivery_host};

/// Hosts that are remembered for their failures; beyond it the one longest known is forgotten.
const MOST_HOSTS: usize = 256;

pub(super) struct Desk {
    couriers: usize,
    first_park: Duration,
    in_flight: HashMap<DeliveryId, String>,
    /// Found in the store, waiting for room at their host: at most one batch for each host that
    /// couriers are out to.
    waiting: VecDeque<Waiting>,
    /// Hosts that couriers are out to, and hosts that failed.
    hosts: HashMap<String, Host>,
    look: Look,
}

struct Waiting {
    host: String,
    delivery: Delivery,
}

struct Host {
    in_flight: usize,
    breaker: Breaker,
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
    /// A desk that wants to look at once. A host that fails is parked for `first_park` at first.
    pub(super) fn new(couriers: usize, first_park: Duration) -> Desk {
        Desk {
            couriers,
            first_park,
            in_flight: HashMap::new(),
            waiting: VecDeque::new(),
            hosts: HashMap::new(),
            look: Look::Soon,
        }
    }

    /// Something may have become due.
    pub(super) fn ring(&mut self) {
        self.look = Look::Soon;
    }

    /// A delivery to hand to a courier, or `None` when no courier is free or nothing here may go.
    pub(super) fn take(&mut self, now: Instant) -> Option<Delivery> {
        if self.all_out() {
            return None;
        }
        let index = self.waiting.iter().position(|waiting| self.has_room(&waiting.host, now))?;
        let Waiting { host, delivery } = self.waiting.remove(index)?;
        self.make_place(&host);
        let first_park = self.first_park;
        let known = self
            .hosts
            .entry(host.clone())
            .or_insert_with(|| Host { in_flight: 0, breaker: Breaker::new(first_park) });
        known.in_flight += 1;
        self.in_flight.insert(delivery.id, host);
        Some(delivery)
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

    /// What a look has to leave out.
    pub(super) fn skip(&self, now: Instant) -> Skip {
        let waiting = self.waiting.iter().map(|waiting| waiting.delivery.id);
        let full = self.hosts.keys().filter(|host| !self.has_room(host, now));
        Skip {
            busy: self.in_flight.keys().copied().chain(waiting).collect(),
            hosts: full.cloned().collect(),
        }
    }

    /// Takes in what a look has found.
    pub(super) fn add(&mut self, found: Vec<Delivery>) {
        self.waiting.extend(found.into_iter().map(|delivery| {
            let host = delivery_host(&delivery.url);
            Waiting { host, delivery }
        }));
    }

    /// A look has found nothing more but for what was left out; the next of the rest is due at
    /// `next_due`.
    pub(super) fn has_seen_all(&mut self, next_due: Option<Instant>, now: Instant) {
        let unparked = self.hosts.values().filter_map(|host| match host.breaker.allowance(now) {
            Allowance::Parked(until) => Some(until),
            Allowance::Full | Allowance::Probe => None,
        });
        self.look = unparked.chain(next_due).min().map_or(Look::OnEvent, Look::At);
    }

    /// A courier is back.
    pub(super) fn settle(&mut self, delivery: DeliveryId, health: Health, now: Instant) {
        let Some(name) = self.in_flight.remove(&delivery) else { return };
        let Some(host) = self.hosts.get_mut(&name) else { return };
        host.in_flight -= 1;
        let was_healthy = host.breaker.is_healthy();
        match health {
            Health::Well => host.breaker.succeeded(),
            Health::Failing => host.breaker.failed(now),
            Health::Unknown => {}
        }
        let (is_healthy, is_idle) = (host.breaker.is_healthy(), host.in_flight == 0);
        if matches!(host.breaker.allowance(now), Allowance::Parked(_)) {
            // They stay in the store, and are found again when its time is up.
            self.waiting.retain(|waiting| waiting.host != name);
        }
        if is_healthy && is_idle {
            self.hosts.remove(&name);
        }
        // An ailing host that is done makes room for the other ailing ones.
        let ailing = !(was_healthy && is_healthy);
        if ailing || !self.waiting.iter().any(|waiting| waiting.host == name) {
            self.look = Look::Soon;
        }
    }

    /// When to look into the store even if nothing happens. `None` while all couriers are out:
    /// one that comes back is what happens next.
    pub(super) fn look_at(&self) -> Option<Instant> {
        match self.look {
            Look::At(time) if !self.all_out() => Some(time),
            Look::At(_) | Look::Soon | Look::OnEvent => None,
        }
    }

    fn all_out(&self) -> bool {
        self.in_flight.len() >= self.couriers
    }

    fn has_room(&self, host: &str, now: Instant) -> bool {
        let Some(host) = self.hosts.get(host) else { return true };
        let most = match host.breaker.allowance(now) {
            Allowance::Full => PER_HOST,
            Allowance::Probe => 1,
            Allowance::Parked(_) => 0,
        };
        let ailing_may = host.breaker.is_healthy() || self.out_to_ailing() < self.couriers / 2;
        host.in_flight < most && ailing_may
    }

    /// Couriers out to hosts that failed last time. Half of them are kept for the others: however
    /// many hosts hang, the healthy ones do not wait for them.
    fn out_to_ailing(&self) -> usize {
        let ailing = self.hosts.values().filter(|host| !host.breaker.is_healthy());
        ailing.map(|host| host.in_flight).sum()
    }

    /// Forgets a host where as many are known as may be and `host` is not among them.
    fn make_place(&mut self, host: &str) {
        if self.hosts.len() < MOST_HOSTS || self.hosts.contains_key(host) {
            return;
        }
        let idle = self.hosts.iter().filter(|(_, host)| host.in_flight == 0);
        let oldest = idle.min_by_key(|(_, host)| host.breaker.parked_until());
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.hosts.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests;
