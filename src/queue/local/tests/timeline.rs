//! The queue's clock after the machine was started again.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A store that another start of the machine has left an hour ago.
fn leave_to_another_boot(queue: LocalQueue, ago: Duration) {
    let ago = i64::try_from(ago.as_micros()).unwrap();
    let changed = queue.change(Survives::PowerCut, move |tx| {
        tx.conn.execute("UPDATE clock SET boot = 'another', wall = wall - ?1", [ago])
    });
    assert_eq!(changed.unwrap(), 1);
}

#[test]
fn a_machine_that_was_off_brings_retries_forward_and_keeps_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let [told, soon, late] = ["told", "soon", "late"].map(|text| {
        let Submitted::New(job) = queue.submit(ask(text)).unwrap() else { panic!("a new job") };
        job.id
    });
    let claim = queue.claim().unwrap().unwrap();
    queue.finish(claim.lease, succeeded("done")).unwrap();
    let began = queue.clock().now();
    for wait in [HOUR / 2, 3 * HOUR] {
        let claim = queue.claim().unwrap().unwrap();
        queue.retry(claim.lease, failure("busy"), began.after(wait)).unwrap();
    }
    let kept = queue.get(told).unwrap().unwrap();
    leave_to_another_boot(queue, HOUR);

    let queue = open_here(folder.path());
    let now = queue.clock().now();
    assert!(now.since(began) < HOUR / 2, "the clock stood still");
    assert_eq!(queue.sweep(now).unwrap().readied, 1);
    assert_eq!(queue.claim().unwrap().unwrap().job.id, soon);
    assert_eq!(queue.sweep(began.after(2 * HOUR)).unwrap().readied, 1);
    assert_eq!(queue.claim().unwrap().unwrap().job.id, late);
    // Told by the system's clock, an hour later: a whole `--keep` is left of the running time.
    let left = |job: &Job, at: Timestamp| job.expires_at.unwrap().since(at);
    let job = queue.get(told).unwrap().unwrap();
    assert!(left(&job, queue.clock().told_now()) + HOUR / 2 > LIMITS.keep);
    assert_eq!(left(&job, job.finished_at.unwrap()), left(&kept, kept.finished_at.unwrap()));
}

#[test]
fn a_clock_that_went_back_while_the_machine_was_off_changes_no_wait() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    assert!(matches!(queue.submit(ask("one")), Ok(Submitted::New(_))));
    let claim = queue.claim().unwrap().unwrap();
    let began = queue.clock().now();
    queue.retry(claim.lease, failure("busy"), began.after(HOUR)).unwrap();
    // The store was left in a year that has not come yet.
    let changed = queue.change(Survives::PowerCut, |tx| {
        let year = 365 * 24 * 3600 * 1_000_000_i64;
        tx.conn.execute("UPDATE clock SET boot = 'another', wall = wall + ?1", [year])
    });
    assert_eq!(changed.unwrap(), 1);
    drop(queue);
    let queue = open_here(folder.path());
    assert!(queue.clock().now().since(began) < HOUR / 2);
    assert_eq!(queue.sweep(began.after(HOUR / 2)).unwrap().readied, 0);
    assert_eq!(queue.sweep(began.after(HOUR)).unwrap().readied, 1);
}
