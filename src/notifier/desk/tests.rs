use proptest::prelude::*;

use super::*;
use crate::job::JobId;

const COURIERS: usize = 8;
const PARK: Duration = Duration::from_secs(5);
const BATCH: usize = 4;

fn desk() -> Desk {
    Desk::new(COURIERS, PARK)
}

fn delivery(host: &str) -> Delivery {
    Delivery {
        id: DeliveryId::new(),
        job: JobId::new(),
        url: format!("http://{host}/hook"),
        attempts: 0,
    }
}

fn deliveries(host: &str, count: usize) -> Vec<Delivery> {
    (0..count).map(|_| delivery(host)).collect()
}

fn take_all(desk: &mut Desk, now: Instant) -> Vec<Delivery> {
    std::iter::from_fn(|| desk.take(now)).collect()
}

/// Lets `host` fail until it is parked, with no other delivery about.
fn park(desk: &mut Desk, host: &str, now: Instant) {
    for _ in 0..5 {
        desk.add(deliveries(host, 1));
        let taken = desk.take(now).expect("room");
        desk.settle(taken.id, Health::Failing, now);
    }
}

#[test]
fn two_go_to_one_host_and_the_rest_wait() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.add(deliveries("a", 5));
    let out = take_all(&mut desk, now);
    assert_eq!(out.len(), PER_HOST);
    assert_eq!(desk.skip(now).hosts, ["a"]);
    assert_eq!(desk.skip(now).busy.len(), 5);
    desk.add(deliveries("b", 1));
    assert_eq!(take_all(&mut desk, now).len(), 1, "another host has room");
    desk.settle(out[0].id, Health::Well, now);
    assert_eq!(take_all(&mut desk, now).len(), 1);
}

#[test]
fn no_more_go_out_than_there_are_couriers() {
    let (mut desk, now) = (desk(), Instant::now());
    for n in 0..COURIERS {
        desk.add(deliveries(&format!("host-{n}"), 2));
    }
    let out = take_all(&mut desk, now);
    assert_eq!(out.len(), COURIERS);
    assert!(!desk.wants_to_look(now), "nobody is free");
    assert_eq!(desk.look_at(), None);
    desk.settle(out[0].id, Health::Well, now);
    assert!(desk.take(now).is_some());
    assert!(desk.take(now).is_none());
}

#[test]
fn a_look_is_wanted_only_when_it_may_find_something() {
    let (mut desk, now) = (desk(), Instant::now());
    assert!(desk.wants_to_look(now), "at the start");
    desk.add(deliveries("a", 3));
    desk.has_seen_all(None, now);
    let out = take_all(&mut desk, now);
    assert!(!desk.wants_to_look(now));
    assert_eq!(desk.look_at(), None, "idle costs nothing");
    desk.settle(out[0].id, Health::Well, now);
    assert!(!desk.wants_to_look(now), "the host's own next one waits here");
    take_all(&mut desk, now);
    desk.settle(out[1].id, Health::Well, now);
    assert!(desk.wants_to_look(now), "the host has room and nothing waits here");
    desk.has_seen_all(Some(now + PARK), now);
    assert!(!desk.wants_to_look(now));
    assert_eq!(desk.look_at(), Some(now + PARK));
    assert!(desk.wants_to_look(now + PARK));
    desk.ring();
    assert!(desk.wants_to_look(now));
}

#[test]
fn a_parked_host_gets_one_probe_when_its_time_is_up() {
    let (mut desk, now) = (desk(), Instant::now());
    park(&mut desk, "dead", now);
    desk.has_seen_all(Some(now + 100 * PARK), now);
    assert_eq!(desk.skip(now).hosts, ["dead"]);
    assert_eq!(desk.look_at(), Some(now + PARK));
    let later = now + PARK;
    assert!(desk.skip(later).hosts.is_empty());
    desk.add(deliveries("dead", 3));
    let out = take_all(&mut desk, later);
    assert_eq!(out.len(), 1, "a probe");
    desk.settle(out[0].id, Health::Failing, later);
    assert!(desk.skip(later).busy.is_empty(), "the others are back in the store");
    let later = later + 2 * PARK;
    desk.add(deliveries("dead", 3));
    let out = take_all(&mut desk, later);
    desk.settle(out[0].id, Health::Well, later);
    assert_eq!(take_all(&mut desk, later).len(), PER_HOST, "it is back");
}

#[test]
fn a_host_that_is_parked_in_between_is_looked_for_in_time() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.add(deliveries("dead", 6));
    desk.has_seen_all(None, now);
    for _ in 0..5 {
        let taken = desk.take(now).expect("room");
        desk.settle(taken.id, Health::Failing, now);
    }
    assert!(desk.wants_to_look(now), "for the other hosts");
    desk.has_seen_all(None, now);
    assert_eq!(desk.look_at(), Some(now + PARK));
}

#[test]
fn ailing_hosts_leave_half_of_the_couriers_to_the_others() {
    let (mut desk, now) = (desk(), Instant::now());
    for n in 0..6 {
        let host = format!("ailing-{n}");
        desk.add(deliveries(&host, 1));
        let taken = desk.take(now).expect("room");
        desk.settle(taken.id, Health::Failing, now);
    }
    for n in 0..6 {
        desk.add(deliveries(&format!("ailing-{n}"), 3));
    }
    let out = take_all(&mut desk, now);
    assert_eq!(out.len(), COURIERS / 2);
    desk.add(deliveries("well", 2));
    assert_eq!(take_all(&mut desk, now).len(), 2);
    desk.has_seen_all(None, now);
    desk.settle(out[0].id, Health::Well, now);
    assert!(desk.wants_to_look(now), "for the ailing ones that were left out");
}

#[test]
fn healthy_hosts_are_forgotten_and_the_others_are_bounded() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.add(deliveries("a", 1));
    let out = take_all(&mut desk, now);
    desk.settle(out[0].id, Health::Well, now);
    assert!(desk.hosts.is_empty());
    for n in 0..MOST_HOSTS + 10 {
        park(&mut desk, &format!("dead-{n}"), now + Duration::from_millis(n as u64));
    }
    assert_eq!(desk.hosts.len(), MOST_HOSTS);
    assert!(!desk.hosts.contains_key("dead-0"), "the one that is free first");
}

#[test]
fn a_report_about_nothing_changes_nothing() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.has_seen_all(None, now);
    desk.settle(DeliveryId::new(), Health::Failing, now);
    assert!(desk.hosts.is_empty() && !desk.wants_to_look(now));
}

/// A store and a clock of the test's own, driven as the thread `notifier` drives them.
struct World {
    now: Instant,
    desk: Desk,
    store: Vec<(Instant, Delivery)>,
    out: Vec<Delivery>,
}

impl World {
    fn due(&self, skip: &Skip) -> impl Iterator<Item = &(Instant, Delivery)> {
        self.store.iter().filter(|(_, delivery)| {
            !skip.busy.contains(&delivery.id) && !skip.hosts.contains(&delivery_host(&delivery.url))
        })
    }

    fn dispatch(&mut self) {
        for round in 0.. {
            assert!(round < 100, "the desk looks without end");
            while let Some(delivery) = self.desk.take(self.now) {
                self.out.push(delivery);
                self.check();
            }
            if !self.desk.wants_to_look(self.now) {
                return;
            }
            let skip = self.desk.skip(self.now);
            let found: Vec<Delivery> = self
                .due(&skip)
                .filter(|(due, _)| *due <= self.now)
                .take(BATCH)
                .map(|(_, delivery)| delivery.clone())
                .collect();
            if found.is_empty() {
                let next = self.due(&skip).map(|(due, _)| *due).min();
                self.desk.has_seen_all(next, self.now);
            } else {
                self.desk.add(found);
            }
        }
    }

    fn check(&self) {
        assert!(self.out.len() <= COURIERS);
        for delivery in &self.out {
            let host = delivery_host(&delivery.url);
            let there = self.out.iter().filter(|other| delivery_host(&other.url) == host);
            assert!(there.count() <= PER_HOST, "{host}");
        }
        assert!(self.desk.waiting.len() <= COURIERS * BATCH);
    }

    /// A courier comes back; what failed is due again in a while.
    fn settle(&mut self, index: usize, health: Health) {
        let delivery = self.out.swap_remove(index);
        let at = self.store.iter().position(|(_, other)| other.id == delivery.id).expect("stored");
        match health {
            Health::Well => drop(self.store.swap_remove(at)),
            Health::Failing | Health::Unknown => self.store[at].0 = self.now + PARK / 2,
        }
        self.desk.settle(delivery.id, health, self.now);
    }
}

proptest! {
    /// Whatever happens in whatever order, every delivery arrives: no look is ever missed.
    #[test]
    fn nothing_is_ever_left_behind(
        hosts in prop::collection::vec(0u8..7, 1..60),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0u8..10), 0..120),
    ) {
        let now = Instant::now();
        let store = hosts.iter().map(|host| (now, delivery(&format!("host-{host}")))).collect();
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
            let (index, health) = step.map_or((0, Health::Well), |(index, dice)| {
                let health = match dice {
                    0..6 => Health::Failing,
                    6 => Health::Unknown,
                    _ => Health::Well,
                };
                (index.index(world.out.len()), health)
            });
            world.settle(index, health);
            world.now += Duration::from_millis(10);
        }
    }
}
