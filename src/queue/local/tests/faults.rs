//! A disk that is full, a commit that fails: whoever waits is told, and nothing is half done.

use std::io::Write;
use std::thread;

use super::*;

/// Lets the file grow by no more than `pages`.
fn limit_growth(queue: &LocalQueue, pages: u32) {
    queue
        .change(Survives::Kill, move |tx| {
            let now: u32 = tx.conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            tx.conn.execute_batch(&format!("PRAGMA max_page_count = {}", now + pages))
        })
        .unwrap();
}

fn lift_limit(queue: &LocalQueue) {
    limit_growth(queue, 1_000_000);
}

fn add(queue: &LocalQueue, request: Submission) -> JobId {
    match queue.submit(request).unwrap() {
        Submitted::New(job) => job.id,
        other => panic!("not a new job: {other:?}"),
    }
}

#[test]
fn a_full_disk_refuses_and_leaves_everything_usable() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let first = add(&queue, ask("one"));
    limit_growth(&queue, 0);
    let filler = "x".repeat(60_000);
    assert!(matches!(queue.submit(ask(&filler)), Err(SubmitError::DiskFull)));
    assert_eq!(queue.depth(), Depth { queued: 1, running: 0, bound: 1000 });
    assert_eq!(queue.get(first).unwrap().unwrap().state, State::Queued);
    assert_eq!(queue.list(&Page { state: None, after: None, limit: 10 }).unwrap().len(), 1);
    lift_limit(&queue);
    let second = add(&queue, ask(&filler));
    for id in [first, second] {
        let claim = queue.claim().unwrap().unwrap();
        assert_eq!(claim.job.id, id);
        assert_eq!(queue.finish(claim.lease, succeeded("done")).unwrap(), Recorded::Yes);
    }
}

#[test]
fn a_refused_file_does_not_stay_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    limit_growth(&queue, 0);
    // The rows of some requests fit into pages that are there; one of them does not.
    let refused = (0..1000).any(|_| {
        let mut receiving = queue.spool.receive(None).unwrap();
        receiving.write_all(&vec![0; crate::spool::INLINE_MAX + 1]).unwrap();
        let mut request = ask("large");
        request.body = receiving.finish().unwrap().body;
        matches!(queue.submit(request), Err(SubmitError::DiskFull))
    });
    assert!(refused);
    let inputs = std::fs::read_dir(folder.path().join("spool").join("inputs")).unwrap();
    assert_eq!(inputs.count(), queue.depth().queued);
}

#[test]
fn an_attempt_whose_end_finds_no_room_is_taken_back_and_does_not_count() {
    const UNCOUNTED: u32 = 10;
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let id = add(&queue, ask("one"));
    let mut now = in_secs(0);
    for attempt in 1..=UNCOUNTED + LIMITS.max_attempts {
        let claim = queue.claim().unwrap().unwrap();
        let counted = attempt.saturating_sub(UNCOUNTED).max(1);
        assert_eq!((claim.job.id, claim.job.attempt), (id, counted));
        limit_growth(&queue, 0);
        let huge = "x".repeat(1_000_000);
        assert!(queue.finish(claim.lease, succeeded(&huge)).is_err());
        assert_eq!(queue.get(id).unwrap().unwrap().state, State::Running);
        lift_limit(&queue);
        let swept = queue.sweep(now).unwrap();
        assert_eq!(swept.failed.contains(&id), attempt == UNCOUNTED + LIMITS.max_attempts);
        // It waits as after any other failure: the disk may be full still.
        assert_eq!(swept.readied, 0);
        now = now.after(std::time::Duration::from_secs(2000));
        queue.sweep(now).unwrap();
    }
    let job = queue.get(id).unwrap().unwrap();
    assert_eq!(job.state, State::Failed);
    assert_eq!(job.error.unwrap().code, "disk_full");
    assert_eq!(queue.depth(), Depth { queued: 0, running: 0, bound: 1000 });
}

/// Holds the writer until the returned sender is dropped, so that what is asked for meanwhile
/// becomes one batch.
fn hold_the_writer<'s>(scope: &'s thread::Scope<'s, '_>, queue: &'s LocalQueue) -> Sender<Never> {
    let (hold, held) = bounded::<Never>(0);
    let (busy, is_busy) = bounded(1);
    scope.spawn(move || {
        queue
            .change(Survives::Kill, move |_| {
                busy.send(()).expect("the test waits for this");
                // It closes: nothing can come of it.
                drop(held.recv());
                Ok(())
            })
            .unwrap();
    });
    is_busy.recv().unwrap();
    hold
}

#[test]
fn one_that_fails_takes_nothing_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    thread::scope(|scope| {
        let hold = hold_the_writer(scope, &queue);
        let good: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let queue = &queue;
                    move || add(queue, ask(&format!("{n}")))
                })
            })
            .collect();
        let bad = scope.spawn(|| {
            queue.change(Survives::Kill, |tx| {
                tx.counts.queued += 100;
                tx.announce(JobId::new());
                tx.conn.execute("DELETE FROM jobs", [])?;
                tx.conn.execute("DELETE FROM nothing_of_this_name", [])
            })
        });
        drop(hold);
        assert!(bad.join().unwrap().is_err());
        for job in good {
            let id = job.join().unwrap();
            // Where the bad one came last, it was rolled back over the others.
            assert!(queue.get(id).unwrap().is_some());
        }
    });
    assert_eq!(queue.depth().queued, 4);
}

#[test]
fn a_commit_that_fails_is_told_to_all_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let before = add(&queue, ask("before"));
    let (waiting, is_waiting) = bounded(8);
    thread::scope(|scope| {
        let hold = hold_the_writer(scope, &queue);
        let submits: Vec<_> = (0..4)
            .map(|n| {
                let (queue, waiting) = (&queue, waiting.clone());
                scope.spawn(move || {
                    let request = ask(&format!("{n}"));
                    let id = request.id;
                    waiting.send(()).unwrap();
                    (id, queue.submit(request))
                })
            })
            .collect();
        // A row without its job is found out at the commit only.
        let bad = scope.spawn(|| {
            waiting.send(()).unwrap();
            queue.change(Survives::Kill, |tx| {
                tx.conn.execute_batch("PRAGMA defer_foreign_keys = ON")?;
                tx.conn.execute("INSERT INTO inputs (job, body) VALUES (987654321, x'00')", [])
            })
        });
        for _ in 0..5 {
            is_waiting.recv().unwrap();
        }
        // All five are in the channel when it holds five: the writer takes them at once.
        while queue.writer.waiting() < 5 {
            thread::yield_now();
        }
        drop(hold);
        assert!(bad.join().unwrap().is_err());
        for submit in submits {
            let (id, submitted) = submit.join().unwrap();
            assert!(matches!(submitted, Err(SubmitError::Store(_))), "{submitted:?}");
            assert_eq!(queue.get(id).unwrap(), None);
        }
    });
    assert_eq!(queue.depth(), Depth { queued: 1, running: 0, bound: 1000 });
    assert_eq!(queue.claim().unwrap().unwrap().job.id, before);
    add(&queue, ask("after"));
}

#[test]
fn a_lease_that_nobody_ends_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let id = add(&queue, ask("one"));
    let lost = queue.lost_leases();
    assert!(lost.try_recv().is_err());
    drop(queue.claim().unwrap());
    assert!(lost.try_recv().is_ok(), "the janitor is not called");
    let swept = queue.sweep(in_secs(0)).unwrap();
    assert_eq!((swept.readied, swept.next.is_some()), (0, true));
    assert_eq!(queue.sweep(in_secs(2)).unwrap().readied, 1);
    let claim = queue.claim().unwrap().unwrap();
    assert_eq!((claim.job.id, claim.job.attempt), (id, 2));
    let stale = Lease::copy_of(LeaseId { job: id, fence: claim.lease.id().fence - 1 });
    assert_eq!(queue.finish(stale, succeeded("late")).unwrap(), Recorded::Stale);
    assert_eq!(queue.finish(claim.lease, succeeded("done")).unwrap(), Recorded::Yes);
    assert!(lost.try_recv().is_err(), "an ended lease is no lost one");
    assert_eq!(queue.sweep(in_secs(2000)).unwrap().failed, []);
    assert_eq!(queue.get(id).unwrap().unwrap().state, State::Succeeded);
}

#[test]
fn leases_that_cannot_be_taken_back_yet_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let ids = [add(&queue, ask("one")), add(&queue, ask("two"))];
    for _ in ids {
        drop(queue.claim().unwrap());
    }
    let set_trigger = |sql: &'static str| {
        queue.change(Survives::Kill, move |tx| tx.conn.execute_batch(sql)).unwrap();
    };
    set_trigger(
        "CREATE TEMP TRIGGER fault BEFORE UPDATE OF state ON jobs
         BEGIN SELECT raise(ABORT, 'a fault of the test'); END",
    );
    for _ in 0..3 {
        assert!(queue.sweep(in_secs(0)).is_err());
    }
    set_trigger("DROP TRIGGER fault");
    queue.sweep(in_secs(0)).unwrap();
    assert_eq!(queue.sweep(in_secs(2)).unwrap().readied, 2);
    assert_eq!(queue.depth(), Depth { queued: 2, running: 0, bound: 1000 });
}
