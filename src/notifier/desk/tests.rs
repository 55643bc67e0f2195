mod world;

use super::sender::{FAILURES_AT_ONCE, REPEATED_FAILURES_PER_SECOND};
use super::*;
use crate::job::JobId;

const COURIERS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);
/// Of 32 couriers untrusted POSTs may hold 24, and one sender gets 8 of these at once.
const AT_ONCE: usize = 8;
const UNTRUSTED: usize = 24;

fn desk() -> Desk {
    Desk::new(COURIERS, PATIENCE)
}

fn due_from(sender: &str, host: &str) -> Due {
    let url = format!("http://{host}/hook");
    let delivery = Delivery { id: DeliveryId::new(), job: JobId::new(), url, attempts: 0 };
    Due { delivery, host: host.to_owned(), sender: sender.to_owned(), failures: 0, is_recent: true }
}

fn due(host: &str) -> Due {
    due_from("", host)
}

fn all(due: impl IntoIterator<Item = Due>) -> DueFound {
    DueFound { due: due.into_iter().collect(), go_on_after: None }
}

/// One to each of so many hosts that nobody knows.
fn strangers(sender: &str, count: usize) -> DueFound {
    all((0..count).map(|n| due_from(sender, &format!("{sender}-{n}.example"))))
}

/// The same, where each of the hosts failed before.
fn failing(count: usize) -> DueFound {
    all(strangers("", count).due.into_iter().map(|due| Due { failures: 1, ..due }))
}

/// Lets a host answer so often.
fn trust(desk: &mut Desk, host: &str, answers: u32, now: Instant) {
    for _ in 0..answers {
        let out = desk.admit(all([due(host)]), now);
        desk.settle(out[0].id, Health::Well, now);
    }
}

#[test]
fn two_go_to_a_host_that_answers_and_one_to_a_stranger() {
    let (mut desk, now) = (desk(), Instant::now());
    let out = desk.admit(all((0..5).map(|_| due("a"))), now);
    assert_eq!(out.len(), 1);
    assert!(desk.query(now).full_hosts.contains("a"));
    assert!(desk.query(now).busy.contains(&out[0].id));
    desk.settle(out[0].id, Health::Well, now);
    assert!(desk.query(now).full_hosts.is_empty());
    assert_eq!(desk.admit(all((0..5).map(|_| due("a"))), now).len(), PER_HOST);
    assert_eq!(desk.admit(all([due("b")]), now).len(), 1, "another host has room");
    let failing = Due { failures: FAILURES_TO_PARK, ..due("probed") };
    assert_eq!(
        desk.admit(all([failing.clone(), Due { failures: 5, ..due("probed") }]), now).len(),
        1
    );
}

#[test]
fn a_delivery_that_is_found_twice_goes_once() {
    let (mut desk, now) = (desk(), Instant::now());
    trust(&mut desk, "a", 1, now);
    let twice = due("a");
    assert_eq!(desk.admit(all([twice.clone(), twice]), now).len(), 1);
}

#[test]
fn four_new_receivers_that_hang_stalled_all_callbacks() {
    let (mut desk, mut now) = (desk(), Instant::now());
    trust(&mut desk, "live", LONG_TRUSTED, now);
    // A thousand hosts that nobody knows hang, and their sender tries for as long as it may.
    let mut out = 0;
    for _ in 0..100 {
        out += desk.admit(strangers("", 1000), now).len();
        let live = desk.admit(all([due("live")]), now);
        assert_eq!(live.len(), 1, "with {out} out that hang");
        desk.settle(live[0].id, Health::Well, now);
        now += SECOND / 10;
    }
    assert!(out > AT_ONCE && out <= UNTRUSTED / 2, "{out}");
    // There are still places for another sender, known or not.
    assert_eq!(desk.admit(strangers("other", 1), now).len(), 1);
}

#[test]
fn a_stranger_waits_for_less_than_the_time_of_a_post_however_many_hang() {
    let (mut desk, mut now) = (desk(), Instant::now());
    let mut out: Vec<(Instant, DeliveryId)> = Vec::new();
    let mut last = now;
    // One sender's hosts hang for 15 s each, for two minutes.
    for _ in 0..1200 {
        let admitted = desk.admit(strangers("", 50), now);
        if !admitted.is_empty() {
            last = now;
        }
        out.extend(admitted.into_iter().map(|delivery| (now + PATIENCE, delivery.id)));
        assert!(now - last < desk.accounts.pace + SECOND / 2, "nobody went for {:?}", now - last);
        now += SECOND / 10;
        for (end, id) in std::mem::take(&mut out) {
            if end <= now {
                desk.settle(id, Health::Unknown, now);
            } else {
                out.push((end, id));
            }
        }
    }
}

#[test]
fn a_post_that_is_out_for_a_second_counts_as_untrusted() {
    let (mut desk, now) = (desk(), Instant::now());
    for n in 0..20 {
        trust(&mut desk, &format!("host-{n}"), 2, now);
    }
    let found = (0..20).map(|n| due(&format!("host-{n}")));
    assert_eq!(desk.admit(all(found), now).len(), 20);
    assert_eq!(desk.places(now).untrusted, 0);
    assert_eq!(desk.places(now + 2 * SECOND).untrusted, 20);
    assert!(desk.admit(strangers("", 10), now + 2 * SECOND).is_empty(), "they have their share");
    // Hosts that answered twice and hang now leave couriers to one that always answers.
    for n in 20..40 {
        desk.standings.answered(format!("host-{n}"), now);
    }
    desk.admit(all((20..40).map(|n| due(&format!("host-{n}")))), now);
    assert_eq!(desk.out(), COURIERS - COURIERS / PART_FOR_LONG_TRUSTED);
    (0..LONG_TRUSTED).for_each(|_| desk.standings.answered("live".to_owned(), now));
    assert_eq!(desk.admit(all([due("live"), due("live")]), now).len(), 2);
    assert!(!desk.wants_to_look(now), "no courier is free");
    assert_eq!(desk.look_at(), None);
}

#[test]
fn hosts_that_fail_leave_places_to_those_that_nobody_knows() {
    let (mut desk, mut now) = (desk(), Instant::now());
    let mut out = 0;
    for _ in 0..1000 {
        out += desk.admit(failing(50), now).len();
        now += SECOND;
    }
    assert!(out < UNTRUSTED / 2, "{out}");
    assert_eq!(desk.admit(strangers("new", 1), now).len(), 1);
}

#[test]
fn one_client_with_five_hundred_dead_ports_kept_a_core_busy() {
    let (mut desk, began) = (desk(), Instant::now());
    let (mut now, mut attempts) = (began, 0);
    // Refused at once, so that no courier is ever short.
    while now < began + 60 * SECOND {
        for delivery in desk.admit(failing(64), now) {
            desk.settle(delivery.id, Health::Failing, now);
            attempts += 1;
        }
        if !desk.query(now).no_repeats.is_empty() {
            desk.wait_until(None, now);
            let at = desk.look_at().expect("a time to go on");
            assert!(at > now && at < now + SECOND, "{:?}", at - now);
            now = at;
        }
    }
    let most = FAILURES_AT_ONCE + 60.0 * REPEATED_FAILURES_PER_SECOND;
    assert!(f64::from(attempts) <= most + 1.0, "{attempts} attempts in a minute");
    // Another sender is none the worse, nor is a trusted host of this one.
    assert_eq!(desk.admit(strangers("other", 1), now).len(), 1);
    desk.standings.answered("live".to_owned(), now);
    while desk.query(now).no_firsts.is_empty() {
        for delivery in desk.admit(strangers("", 64), now) {
            desk.settle(delivery.id, Health::Failing, now);
        }
    }
    assert_eq!(desk.query(now).trusted, ["live"], "it is asked for by name");
    assert_eq!(desk.admit(all([due("live")]), now).len(), 1);
}

#[test]
fn a_look_is_wanted_only_when_it_may_find_something() {
    let (mut desk, now) = (desk(), Instant::now());
    assert!(desk.wants_to_look(now), "at the start");
    let out = desk.admit(all([due("a")]), now);
    assert!(desk.has_seen_all());
    desk.wait_until(None, now);
    assert!(!desk.wants_to_look(now));
    assert_eq!(desk.look_at(), None, "idle costs nothing");
    desk.settle(out[0].id, Health::Well, now);
    assert!(desk.wants_to_look(now), "the host has room");
    desk.admit(DueFound::default(), now);
    desk.wait_until(Some(now + SECOND), now);
    assert!(!desk.wants_to_look(now));
    assert_eq!(desk.look_at(), Some(now + SECOND));
    assert!(desk.wants_to_look(now + SECOND));
    desk.ring();
    assert!(desk.wants_to_look(now));
}

#[test]
fn looks_in_vain_come_to_an_end() {
    let (mut desk, now) = (desk(), Instant::now());
    let mut looks = 0;
    while desk.wants_to_look(now) {
        assert!(!desk.has_seen_all());
        desk.admit(DueFound { due: Vec::new(), go_on_after: Some("z".into()) }, now);
        looks += 1;
    }
    assert_eq!((looks, desk.look_at()), (LOOKS_IN_VAIN + 1, Some(now + REST)));
}

#[test]
fn a_report_about_nothing_changes_nothing() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.admit(DueFound::default(), now);
    desk.settle(DeliveryId::new(), Health::Failing, now);
    assert!(!desk.wants_to_look(now));
}
