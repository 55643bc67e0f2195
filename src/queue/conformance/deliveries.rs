//! Deliveries: what is due, in which order, and how they end.

use super::*;
use crate::job::DeliveryState;

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

fn due(queue: &Arc<dyn Queue>, skip: &Skip) -> Vec<Delivery> {
    queue.due(in_secs(1), skip, 100).unwrap()
}

pub(in crate::queue) fn an_outcome_sets_its_delivery_due(bed: &Bed) {
    let queue = bed.open();
    let id = queue.add(ask("one").calling("http://localhost/ring")).id;
    let callback = queue.job(id).callback.unwrap();
    assert_eq!(callback.url, "http://localhost/ring");
    assert_eq!((callback.state, callback.attempts), (DeliveryState::Pending, 0));
    assert_eq!(callback.next_attempt_at, None);
    assert_eq!(due(&queue, &Skip::default()), []);
    assert_eq!(queue.next_due(&Skip::default()).unwrap(), None);
    assert_eq!(queue.deliveries(id).unwrap(), Some(vec![]));

    queue.end(queue.take(), "done");
    let found = due(&queue, &Skip::default());
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].job, found[0].attempts), (id, 0));
    assert_eq!(found[0].url, "http://localhost/ring");
    let at = queue.next_due(&Skip::default()).unwrap();
    assert_eq!(at, queue.job(id).finished_at);
    assert_eq!(queue.job(id).callback.unwrap().next_attempt_at, at);
    // No callback, no delivery.
    queue.work_off(ask("two"));
    assert_eq!(due(&queue, &Skip::default()), found);
    assert_eq!(queue.deliveries(JobId::new()).unwrap(), None);
}

pub(in crate::queue) fn a_canceled_job_is_told_of(bed: &Bed) {
    let queue = bed.open();
    let running = queue.add(ask("one").calling("http://a/")).id;
    let queued = queue.add(ask("two").calling("http://b/")).id;
    let _lease = queue.take();
    queue.cancel(running).unwrap();
    queue.cancel(queued).unwrap();
    let told: Vec<JobId> = due(&queue, &Skip::default()).into_iter().map(|d| d.job).collect();
    assert_eq!(told, [running, queued]);
}

pub(in crate::queue) fn deliveries_move_on_by_their_record(bed: &Bed) {
    let queue = bed.open();
    let id = queue.work_off(ask("one").calling("http://localhost/ring"));
    let delivery = due(&queue, &Skip::default()).remove(0);
    let later = in_secs(60);
    let first = DeliveryAttempt { next_attempt_at: Some(later), ..attempt(1, Some(500)) };
    queue.record(delivery.id, first.clone(), NextDelivery::At(later)).unwrap();
    assert_eq!(due(&queue, &Skip::default()), []);
    assert_eq!(queue.next_due(&Skip::default()).unwrap(), Some(later));
    let callback = queue.job(id).callback.unwrap();
    assert_eq!((callback.state, callback.attempts), (DeliveryState::Pending, 1));
    assert_eq!(callback.next_attempt_at, Some(later));
    assert_eq!(callback.last_error.as_deref(), Some("no luck"));

    let again = queue.due(later, &Skip::default(), 100).unwrap();
    assert_eq!(again, [Delivery { attempts: 1, ..delivery.clone() }]);
    let second = attempt(2, Some(204));
    queue.record(delivery.id, second.clone(), NextDelivery::Delivered).unwrap();
    assert_eq!(queue.next_due(&Skip::default()).unwrap(), None);
    let callback = queue.job(id).callback.unwrap();
    assert_eq!((callback.state, callback.attempts), (DeliveryState::Delivered, 2));
    assert_eq!((callback.next_attempt_at, callback.last_error), (None, None));
    assert_eq!(queue.deliveries(id).unwrap(), Some(vec![first, second]));
}

pub(in crate::queue) fn an_ended_delivery_stays_as_it_is(bed: &Bed) {
    let queue = bed.open();
    let id = queue.work_off(ask("one").calling("http://localhost/ring"));
    let delivery = due(&queue, &Skip::default()).remove(0).id;
    let gone = attempt(1, Some(410));
    queue.record(delivery, gone.clone(), NextDelivery::Dead).unwrap();
    let callback = queue.job(id).callback.unwrap();
    assert_eq!(callback.state, DeliveryState::Dead);
    assert_eq!(callback.last_error.as_deref(), Some("no luck"));
    queue.record(delivery, attempt(2, None), NextDelivery::At(in_secs(0))).unwrap();
    assert_eq!(queue.job(id).callback.unwrap(), callback);
    assert_eq!(queue.deliveries(id).unwrap(), Some(vec![gone]));
    queue.record(DeliveryId::new(), attempt(1, None), NextDelivery::Dead).unwrap();
}

pub(in crate::queue) fn one_receiver_hides_no_other(bed: &Bed) {
    let queue = bed.open();
    for n in 0..30 {
        queue.work_off(ask(&format!("{n}")).calling(&format!("http://busy:80/{n}")));
    }
    queue.work_off(ask("a").calling("http://other/a"));
    let urls = |skip: &Skip, limit| -> Vec<String> {
        let due = queue.due(in_secs(1), skip, limit).unwrap();
        due.into_iter().map(|delivery| delivery.url).collect()
    };
    let all = urls(&Skip::default(), 100);
    assert_eq!(all, ["http://busy:80/0", "http://busy:80/1", "http://other/a"]);
    assert_eq!(urls(&Skip::default(), 1), ["http://busy:80/0"], "longest due first");
    let parked = Skip { hosts: vec!["busy:80".into()], ..Skip::default() };
    assert_eq!(urls(&parked, 100), ["http://other/a"]);
}

pub(in crate::queue) fn skipped_deliveries_are_left_out(bed: &Bed) {
    let queue = bed.open();
    let first = queue.work_off(ask("one").calling("http://a/"));
    let second = queue.work_off(ask("two").calling("http://a/"));
    let other = queue.work_off(ask("three").calling("http://b/"));
    let found = due(&queue, &Skip::default());
    let jobs: Vec<JobId> = found.iter().map(|delivery| delivery.job).collect();
    assert_eq!(jobs, [first, second, other]);

    let skip = Skip { busy: vec![found[0].id], hosts: Vec::new() };
    assert_eq!(due(&queue, &skip), found[1..]);
    assert_eq!(queue.next_due(&skip).unwrap(), queue.job(second).finished_at);
    let skip = Skip { busy: vec![found[0].id], hosts: vec!["b".into()] };
    assert_eq!(due(&queue, &skip), found[1..2]);
    let skip = Skip { busy: found.iter().map(|delivery| delivery.id).collect(), hosts: vec![] };
    assert_eq!(due(&queue, &skip), []);
    assert_eq!(queue.next_due(&skip).unwrap(), None);
}

pub(in crate::queue) fn pending_deliveries_are_counted(bed: &Bed) {
    let queue = bed.open();
    let now = in_secs(1);
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
    let forgotten = due(&queue, &Skip::default())[2].job;
    assert_eq!(pending(&queue), (3, None), "all are due already");

    let found = due(&queue, &Skip::default());
    queue.record(found[0].id, attempt(1, Some(204)), NextDelivery::Delivered).unwrap();
    let later = in_secs(60);
    queue.record(found[1].id, attempt(1, None), NextDelivery::At(later)).unwrap();
    assert_eq!(pending(&queue), (2, Some(later)));
    assert_eq!(queue.cancel(forgotten).unwrap(), Some(Canceled::Forgotten));
    assert_eq!(pending(&queue), (1, Some(later)));

    drop(queue);
    let queue = bed.open();
    assert_eq!(pending(&queue), (1, Some(later)), "after a restart");
    queue.record(found[1].id, attempt(2, Some(410)), NextDelivery::Dead).unwrap();
    queue.record(found[1].id, attempt(3, Some(410)), NextDelivery::Dead).unwrap();
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
    let delivery = due(&queue, &Skip::default()).remove(0);
    queue.record(delivery.id, attempt(1, Some(200)), NextDelivery::Delivered).unwrap();
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
    assert_eq!(due(&queue, &Skip::default()), []);
}
