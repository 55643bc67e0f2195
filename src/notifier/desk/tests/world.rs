//! The desk beside a store and a clock of the test's own.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::queue::RECENT;

/// A store and a clock of the test's own, driven as the thread `notifier` drives them.
struct World {
    now: Instant,
    desk: Desk,
    store: Vec<(Instant, Due)>,
    out: Vec<Due>,
}

impl World {
    fn dispatch(&mut self) {
        for round in 0.. {
            assert!(round < 100, "the desk looks without end");
            if !self.desk.wants_to_look(self.now) {
                return;
            }
            let query = self.desk.query(self.now);
            for delivery in self.desk.admit(self.look(&query), self.now) {
                let at = self.store.iter().find(|(_, due)| due.delivery.id == delivery.id);
                self.out.push(at.expect("stored").1.clone());
            }
            assert!(self.out.len() <= self.desk.couriers);
            for due in &self.out {
                let there = self.out.iter().filter(|other| other.host == due.host);
                assert!(there.count() <= PER_HOST, "{}", due.host);
            }
            if self.desk.has_seen_all() {
                let next = self.store.iter().map(|(at, _)| *at).filter(|at| *at > self.now).min();
                self.desk.wait_until(next, self.now);
            }
        }
    }

    /// A few of each sender from either end, as the store finds them.
    fn look(&self, query: &DueQuery) -> DueFound {
        let may_go = |due: &Due| {
            let closed = if due.failures == 0 { &query.no_firsts } else { &query.no_repeats };
            !query.busy.contains(&due.delivery.id)
                && !query.full_hosts.contains(&due.host)
                && (!closed.contains(&due.sender) || query.trusted.contains(&due.host))
                && (due.is_recent
                    || due.failures > 0
                    || !query.recent_only.contains(&due.sender)
                    || query.trusted.contains(&due.host))
        };
        let ready: Vec<(Instant, Due)> = (self.store.iter())
            .filter(|(at, _)| *at <= self.now)
            .map(|(at, due)| (*at, Due { is_recent: *at + RECENT >= self.now, ..due.clone() }))
            .filter(|(_, due)| may_go(due))
            .collect();
        let senders: BTreeSet<&str> = ready.iter().map(|(_, due)| due.sender.as_str()).collect();
        let mut found = Vec::new();
        for sender in senders {
            let own = ready.iter().filter(|(_, due)| due.sender == sender);
            let (mut firsts, repeats): (Vec<_>, Vec<_>) =
                own.partition(|(_, due)| due.failures == 0);
            firsts.sort_by_key(|(at, _)| *at);
            if query.latest_first.contains(sender) {
                firsts.reverse();
            }
            let ends = firsts.iter().take(2).chain(firsts.iter().rev().take(2));
            found.extend(ends.chain(repeats.iter().take(2)).map(|(_, due)| due.clone()));
        }
        let go_on_after = (found.len() < ready.len()).then(|| "x".to_owned());
        DueFound { due: found, go_on_after }
    }

    /// A courier comes back; what failed is due again in a while.
    fn settle(&mut self, index: usize, health: Health) {
        let Due { delivery: Delivery { id, .. }, host, .. } = self.out.swap_remove(index);
        let at = self.store.iter().position(|(_, due)| due.delivery.id == id).expect("stored");
        match health {
            Health::Well => drop(self.store.remove(at)),
            Health::Failing | Health::Unknown => self.store[at].0 = self.now + SECOND,
        }
        for (_, due) in self.store.iter_mut().filter(|(_, due)| due.host == host) {
            match health {
                Health::Well => due.failures = 0,
                Health::Failing => due.failures += 1,
                Health::Unknown => {}
            }
        }
        self.desk.settle(id, health, self.now);
    }
}

#[test]
fn a_new_host_waited_behind_its_senders_failures() {
    let now = Instant::now();
    let store = strangers("", 600).due.into_iter().map(|due| (now, due)).collect();
    let mut world = World { now, desk: desk(), store, out: Vec::new() };
    let (mut attempts, mut arrived, mut waits) = (0, None, Vec::new());
    while world.now < now + 5 * SECOND {
        if arrived.is_none() {
            world.store.push((world.now, due(&format!("new-{}.example", waits.len()))));
            arrived = Some(world.now);
            world.desk.ring();
        }
        world.dispatch();
        attempts += world.out.len();
        if world.out.iter().any(|due| due.host.starts_with("new-")) {
            waits.extend(arrived.take().map(|at| world.now - at));
        }
        // A dead port refuses at once, and each new host turns out to be dead, too.
        world.now = match world.desk.look_at() {
            Some(at) if world.out.is_empty() => at,
            _ => world.now + Duration::from_millis(1),
        };
        while !world.out.is_empty() {
            world.settle(0, Health::Failing);
        }
    }
    let longest = waits.iter().max().expect("new hosts");
    assert!(waits.len() > 100 && *longest < SECOND / 20, "{} waited {longest:?}", waits.len());
    let most = 2.0 * FAILURES_AT_ONCE + 5.0 * (200.0 + 20.0);
    assert!((attempts as f64) <= most, "{attempts} attempts in 5 s");
}

#[test]
fn a_new_host_that_answers_waits_for_no_turn_behind_those_that_hang() {
    let now = Instant::now();
    let store = strangers("", 500).due.into_iter().map(|due| (now, due)).collect();
    let mut world = World { now, desk: Desk::new(128, PATIENCE), store, out: Vec::new() };
    let mut hanging: Vec<(Instant, DeliveryId)> = Vec::new();
    for tick in 0..300 {
        world.now += SECOND / 10;
        world.dispatch();
        for due in &world.out {
            if !hanging.iter().any(|(_, id)| *id == due.delivery.id) {
                hanging.push((world.now + PATIENCE, due.delivery.id));
            }
        }
        assert!(hanging.len() <= 48, "{} of 96", hanging.len());
        while let Some(at) = hanging.iter().position(|(end, _)| *end <= world.now) {
            let (_, id) = hanging.swap_remove(at);
            let at = world.out.iter().position(|due| due.delivery.id == id).expect("it is out");
            world.settle(at, Health::Failing);
        }
        // By then there are turns again: those that hang came together and took all.
        if tick >= 60 {
            world.store.push((world.now, due(&format!("new-{tick}.example"))));
            world.desk.ring();
            world.dispatch();
            let at = world.out.iter().position(|due| due.host.starts_with("new-"));
            world.settle(at.unwrap_or_else(|| panic!("it waits at {tick}")), Health::Well);
        }
    }
}

proptest! {
    /// Whatever happens in whatever order, every delivery arrives: no look is ever missed.
    #[test]
    fn nothing_is_ever_left_behind(
        hosts in prop::collection::vec((0u8..7, 0u8..40), 1..80),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0u8..10, 0u64..3000), 0..160),
    ) {
        let now = Instant::now();
        let store = hosts
            .iter()
            .map(|(sender, host)| (now, due_from(&sender.to_string(), &format!("host-{host}"))))
            .collect();
        let mut world = World { now, desk: desk(), store, out: Vec::new() };
        let mut steps = steps.into_iter();
        for round in 0.. {
            prop_assert!(round < 10_000, "the deliveries do not end");
            world.dispatch();
            if world.store.is_empty() {
                break;
            }
            let step = steps.next();
            if world.out.is_empty() {
                let wake = world.desk.look_at();
                prop_assert!(wake.is_some(), "deliveries wait and nobody will look");
                world.now = world.now.max(wake.expect("checked above"));
                continue;
            }
            // When the dice are used up, everything goes well.
            let (index, health, took) = step.map_or((0, Health::Well, 1), |(index, dice, took)| {
                let health = match dice {
                    0..6 => Health::Failing,
                    6 => Health::Unknown,
                    _ => Health::Well,
                };
                (index.index(world.out.len()), health, took)
            });
            world.now += Duration::from_millis(took);
            world.settle(index, health);
        }
    }
}
