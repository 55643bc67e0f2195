//! Deliveries: what is due, in which order, and how they end.

use super::*;
use std::collections::HashSet;

use crate::job::{Delivery, DeliveryState};

/// A POST that was answered with `status`, or not at all.
pub(in crate::queue) fn attempt(number: u32, status: Option<u16>) -> DeliveryAttempt {
    let answered = status.is_some_and(|status| (200..300).contains(&status));
    DeliveryAttempt {
        attempt: number,
        at: Timestamp::now(),
        status,
        latency_ms: 12,
        error: (!answered).then(|| "no luck".into()),
        next_attempt_at: None,
    }
}

fn due_at(queue: &Arc<dyn Queue>, now: Timestamp, query: &DueQuery) -> Vec<Delivery> {
    let found = queue.due(now, query, 100).unwrap();
    found.due.into_iter().map(|due| due.delivery).collect()
}

/// What is due, in the order of its jobs.
fn due(queue: &Arc<dyn Queue>, query: &DueQuery) -> Vec<Delivery> {
    let mut found = due_at(queue, in_secs(1), query);
    found.sort_by_key(|delivery| delivery.job);
    found
}

fn all(queue: &Arc<dyn Queue>) -> Vec<Delivery> {
    due(queue, &DueQuery::default())
}

/// When the first is due, whenever that is.
fn first_due(queue: &Arc<dyn Queue>) -> Option<Timestamp> {
    queue.next_delivery(Timestamp::from_micros(0)).unwrap()
}

pub(in crate::queue) fn an_outcome_sets_its_delivery_due(bed: &Bed) {
    let queue = bed.open();
    let id = queue.add(ask("one").calling("http://localhost/ring")).id;
    let callback = queue.job(id).callback.unwrap();
    assert_eq!(callback.url, "http://localhost/ring");
    assert_eq!((callback.state, callback.attempts), (DeliveryState::Pending, 0));
    assert_eq!(callback.next_attempt_at, None);
    assert_eq!(all(&queue), []);
    assert_eq!(first_due(&queue), None);
    assert_eq!(queue.deliveries(id).unwrap(), Some(vec![]));

    queue.end(queue.take(), "done");
    let found = all(&queue);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].job, found[0].attempts), (id, 0));
    assert_eq!(found[0].url, "http://localhost/ring");
    let at = first_due(&queue);
    assert_eq!(at, queue.job(id).finished_at);
    assert_eq!(queue.job(id).callback.unwrap().next_attempt_at, at);
    // No callback, no delivery.
    queue.work_off(ask("two"));
    assert_eq!(all(&queue), found);
    assert_eq!(queue.deliveries(JobId::new()).unwrap(), None);
}

pub(in crate::queue) fn a_canceled_job_is_told_of(bed: &Bed) {
    let queue = bed.open();
    let running = queue.add(ask("one").calling("http://a/")).id;
    let queued = queue.add(ask("two").calling("http://b/")).id;
    let _lease = queue.take();
    queue.cancel(running).unwrap();
    queue.cancel(queued).unwrap();
    let told: Vec<JobId> = all(&queue).into_iter().map(|d| d.job).collect();
    assert_eq!(told, [running, queued]);
}

pub(in crate::queue) fn deliveries_move_on_by_their_record(bed: &Bed) {
    let queue = bed.open();
    let id = queue.work_off(ask("one").calling("http://localhost/ring"));
    let delivery = all(&queue).remove(0);
    let later = in_secs(60);
    let first = DeliveryAttempt { next_attempt_at: Some(later), ..attempt(1, Some(500)) };
    queue.record(delivery.id, first.clone(), NextDelivery::At(later), Health::Well).unwrap();
    assert_eq!(all(&queue), []);
    assert_eq!(first_due(&queue), Some(later));
    let callback = queue.job(id).callback.unwrap();
    assert_eq!((callback.state, callback.attempts), (DeliveryState::Pending, 1));
    assert_eq!(callback.next_attempt_at, Some(later));
    assert_eq!(callback.last_error.as_deref(), Some("no luck"));

    let again = due_at(&queue, later, &DueQuery::default());
    assert_eq!(again, [Delivery { attempts: 1, ..delivery.clone() }]);
    let second = attempt(2, Some(204));
    queue.record(delivery.id, second.clone(), NextDelivery::Delivered, Health::Well).unwrap();
    assert_eq!(first_due(&queue), None);
    let callback = queue.job(id).callback.unwrap();
    assert_eq!((callback.state, callback.attempts), (DeliveryState::Delivered, 2));
    assert_eq!((callback.next_attempt_at, callback.last_error), (None, None));
    assert_eq!(queue.deliveries(id).unwrap(), Some(vec![first, second]));
}

pub(in crate::queue) fn an_ended_delivery_stays_as_it_is(bed: &Bed) {
    let queue = bed.open();
    let id = queue.work_off(ask("one").calling("http://localhost/ring"));
    let delivery = all(&queue).remove(0).id;
    let gone = attempt(1, Some(410));
    queue.record(delivery, gone.clone(), NextDelivery::Dead, Health::Well).unwrap();
    let callback = queue.job(id).callback.unwrap();
    assert_eq!(callback.state, DeliveryState::Dead);
    assert_eq!(callback.last_error.as_deref(), Some("no luck"));
    queue.record(delivery, attempt(2, None), NextDelivery::At(in_secs(0)), Health::Well).unwrap();
    assert_eq!(queue.job(id).callback.unwrap(), callback);
    assert_eq!(queue.deliveries(id).unwrap(), Some(vec![gone]));
    queue.record(DeliveryId::new(), attempt(1, None), NextDelivery::Dead, Health::Well).unwrap();
}

pub(in crate::queue) fn one_receiver_hides_no_other(bed: &Bed) {
    let queue = bed.open();
    for n in 0..30 {
        queue.work_off(ask(&format!("{n}")).calling(&format!("http://busy:80/{n}")));
    }
    queue.work_off(ask("a").calling("http://other/a"));
    let urls = |query: &DueQuery| -> Vec<String> {
        due(&queue, query).into_iter().map(|delivery| delivery.url).collect()
    };
    let found = urls(&DueQuery::default());
    assert_eq!(found, ["http://busy:80/0", "http://busy:80/1", "http://other/a"]);
    let full = DueQuery { full_hosts: ["busy:80".to_owned()].into(), ..DueQuery::default() };
    assert_eq!(urls(&full), ["http://other/a"]);
}

pub(in crate::queue) fn deliveries_in_flight_are_left_out(bed: &Bed) {
    let queue = bed.open();
    let ids: Vec<JobId> =
        ["one", "two", "three"].map(|text| queue.work_off(ask(text).calling("http://a/"))).into();
    let found = all(&queue);
    assert_eq!(found.iter().map(|delivery| delivery.job).collect::<Vec<_>>(), ids[..2]);
    let busy = |found: &[Delivery]| DueQuery {
        busy: found.iter().map(|delivery| delivery.id).collect(),
        ..DueQuery::default()
    };
    let jobs = due(&queue, &busy(&found[..1])).into_iter().map(|delivery| delivery.job);
    assert_eq!(jobs.collect::<Vec<_>>(), ids[1..]);
    let all_three = [&found[..], &due(&queue, &busy(&found))].concat();
    assert_eq!(due(&queue, &busy(&all_three)), []);
}

pub(in crate::queue) fn many_hosts_of_one_sender_hide_no_other_sender(bed: &Bed) {
    let queue = bed.open();
    for n in 0..90 {
        queue.work_off(ask(&format!("{n}")).from("many").calling(&format!("http://host-{n}/")));
    }
    let others = ["b", "n"].map(|sender| {
        queue.work_off(ask(sender).from(sender).calling(&format!("http://{sender}/")))
    });
    let found = all(&queue);
    assert!(others.iter().all(|id| found.iter().any(|delivery| delivery.job == *id)));
    assert!(found.len() < 40, "{}", found.len());
    // Neither its oldest nor its latest waits for the others of one sender.
    for url in ["http://host-0/", "http://host-89/"] {
        assert!(found.iter().any(|delivery| delivery.url == url), "{url}");
    }
    // One look after the other comes to all of it.
    let mut query = DueQuery::default();
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let found = queue.due(in_secs(1), &query, 10).unwrap();
        query.busy.extend(found.due.iter().map(|due| due.delivery.id));
        seen.extend(found.due.iter().map(|due| due.delivery.job));
        let Some(after) = found.go_on_after else { break };
        query.after = after;
    }
    assert_eq!(seen.len(), 92);
    let closed = DueQuery { no_firsts: ["many".to_owned()].into(), ..DueQuery::default() };
    assert_eq!(due(&queue, &closed).len(), 2);
    let trusted = vec!["host-45".to_owned()];
    let query = DueQuery { trusted: trusted.clone(), ..closed };
    assert_eq!(due(&queue, &query).len(), 3);
    let query = DueQuery { trusted, trusted_only: true, ..DueQuery::default() };
    assert_eq!(due(&queue, &query)[0].url, "http://host-45/");
    let latest = DueQuery { latest_first: ["many".to_owned()].into(), ..DueQuery::default() };
    let found = due_at(&queue, in_secs(1), &latest);
    let at = |url: &str| found.iter().position(|delivery| delivery.url == url);
    assert!(at("http://host-89/").is_some());
    assert!(at("http://host-89/") < at("http://host-0/"));
}

pub(in crate::queue) fn hosts_that_fail_are_left_out_apart_from_others(bed: &Bed) {
    let queue = bed.open();
    for host in ["dead", "new"] {
        queue.work_off(ask(host).from("ann").calling(&format!("http://{host}/")));
    }
    let dead = all(&queue).remove(0);
    let attempt = attempt(1, Some(500));
    queue.record(dead.id, attempt, NextDelivery::At(in_secs(0)), Health::Failing).unwrap();
    let ann = || -> HashSet<String> { ["ann".to_owned()].into() };
    let urls = |query: DueQuery| -> Vec<String> {
        due_at(&queue, in_secs(2), &query).into_iter().map(|delivery| delivery.url).collect()
    };
    assert_eq!(urls(DueQuery::default()), ["http://new/", "http://dead/"]);
    assert_eq!(urls(DueQuery { no_repeats: ann(), ..DueQuery::default() }), ["http://new/"]);
    assert_eq!(urls(DueQuery { no_firsts: ann(), ..DueQuery::default() }), ["http://dead/"]);
    let neither = DueQuery { no_firsts: ann(), no_repeats: ann(), ..DueQuery::default() };
    assert!(urls(neither).is_empty());
    let recent_only = DueQuery { recent_only: ann(), ..DueQuery::default() };
    assert_eq!(urls(recent_only), ["http://dead/"], "the other waits for two seconds");
}

pub(in crate::queue) fn a_host_that_fails_is_parked_for_all_its_senders(bed: &Bed) {
    let mut queue = bed.open();
    for sender in ["a", "b"] {
        for n in 0..3 {
            let url = format!("http://dead/{n}");
            queue.work_off(ask(&format!("{sender}{n}")).from(sender).calling(&url));
        }
    }
    let fail = |queue: &Arc<dyn Queue>| {
        let id = all(queue)[0].id;
        let next = NextDelivery::At(in_secs(0));
        queue.record(id, attempt(1, None), next, Health::Failing).unwrap()
    };
    assert_eq!(fail(&queue), HostChange::Fails);
    for _ in 2..5 {
        assert_eq!(fail(&queue), HostChange::Same);
    }
    assert!(matches!(fail(&queue), HostChange::Parked { failures: 5, .. }));
    let parked_until = first_due(&queue).unwrap();
    assert!(parked_until > in_secs(3) && parked_until <= in_secs(5), "{parked_until}");
    assert_eq!(all(&queue), [], "for both senders");
    queue.work_off(ask("late").from("c").calling("http://dead/"));
    let whole = queue.work_off(ask("whole").from("a").calling("http://well/"));
    assert_eq!(all(&queue).iter().map(|delivery| delivery.job).collect::<Vec<_>>(), [whole]);
    let well = all(&queue)[0].id;
    queue.record(well, attempt(1, Some(200)), NextDelivery::Delivered, Health::Well).unwrap();

    drop(queue);
    queue = bed.open();
    assert_eq!(all(&queue), [], "after a restart");
    let back = due_at(&queue, in_secs(6), &DueQuery::default());
    let (id, next) = (back[0].id, NextDelivery::Delivered);
    let change = queue.record(id, attempt(2, Some(200)), next, Health::Well).unwrap();
    assert_eq!(change, HostChange::Back { failures: 5 });
    assert!(!all(&queue).is_empty(), "one answer forgives everything");
}

pub(in crate::queue) fn pending_deliveries_are_counted(bed: &Bed) {
    let queue = bed.open();
    let now = in_secs(30);
    let pending = |queue: &Arc<dyn Queue>| {
        let Pending { deliveries, next_due } = queue.pending(now).unwrap();
        (deliveries, next_due)
    };
    assert_eq!(pending(&queue), (0, None));
    queue.add(ask("nobody asks").calling("http://a/"));
    assert_eq!(pending(&queue), (0, None), "its outcome is still to come");
    queue.end(queue.take(), "done");
    let fails = queue.work_off(ask("fails").calling("http://b/"));
    queue.work_off(ask("without a callback"));
    queue.work_off(ask("forgotten").calling("http://c/"));
    let forgotten = all(&queue)[2].job;
    assert_eq!(pending(&queue), (3, None), "all are due already");

    let found = all(&queue);
    queue
        .record(found[0].id, attempt(1, Some(204)), NextDelivery::Delivered, Health::Well)
        .unwrap();
    let later = in_secs(60);
    queue.record(found[1].id, attempt(1, None), NextDelivery::At(later), Health::Well).unwrap();
    assert_eq!(pending(&queue), (2, Some(later)));
    assert_eq!(queue.cancel(forgotten).unwrap(), Some(Canceled::Forgotten));
    assert_eq!(pending(&queue), (1, Some(later)));

    drop(queue);
    let queue = bed.open();
    assert_eq!(pending(&queue), (1, Some(later)), "after a restart");
    queue.record(found[1].id, attempt(2, Some(410)), NextDelivery::Dead, Health::Well).unwrap();
    queue.record(found[1].id, attempt(3, Some(410)), NextDelivery::Dead, Health::Well).unwrap();
    assert_eq!(pending(&queue), (0, None));
    assert_eq!(queue.job(fails).callback.unwrap().state, DeliveryState::Dead);
}

pub(in crate::queue) fn a_pending_delivery_keeps_its_job(bed: &Bed) {
    let queue = bed.open();
    let id = queue.work_off(ask("one").calling("http://a/"));
    let late = in_secs(2 * 3600);
    let swept = queue.sweep(late).unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    let given_up_at = queue.job(id).expires_at.map(|at| at.after(week));
    assert_eq!((swept.forgotten, swept.next), (0, given_up_at));
    let delivery = all(&queue).remove(0);
    queue
        .record(delivery.id, attempt(1, Some(200)), NextDelivery::Delivered, Health::Well)
        .unwrap();
    assert_eq!(queue.sweep(in_secs(0)).unwrap().next, queue.job(id).expires_at);
    assert_eq!(queue.sweep(late).unwrap().forgotten, 1);
    assert_eq!(queue.get(id).unwrap(), None);
}

pub(in crate::queue) fn a_delivery_that_never_ends_keeps_its_job_a_week_longer(bed: &Bed) {
    let queue = bed.open();
    let id = queue.work_off(ask("one").calling("http://a/"));
    let expires_at = queue.job(id).expires_at.unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    let almost = expires_at.after(week - Duration::from_secs(1));
    assert_eq!(queue.sweep(almost).unwrap().forgotten, 0);
    assert_eq!(queue.sweep(expires_at.after(week)).unwrap().forgotten, 1);
    assert_eq!(all(&queue), []);
}
