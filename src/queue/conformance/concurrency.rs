//! Many threads at once.

use super::*;
use std::collections::HashSet;

pub(in crate::queue) fn waiting_workers_are_woken(bed: &Bed) {
    let queue = bed.open();
    let (claimed, claims) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..3 {
            let (queue, claimed) = (Arc::clone(&queue), claimed.clone());
            scope.spawn(move || {
                while let Some(claim) = queue.claim().unwrap() {
                    claimed.send(claim.job.id).unwrap();
                    queue.end(claim, "done");
                }
            });
        }
        for n in 0..20 {
            let id = queue.add(ask(&format!("{n}"))).id;
            assert_eq!(claims.recv_timeout(SOON).unwrap(), id);
        }
        queue.close();
    });
}

/// Eight threads submit, claim and cancel 2,000 jobs between them.
pub(in crate::queue) fn nothing_is_lost_and_nothing_is_done_twice(bed: &Bed) {
    const SUBMITTERS: usize = 4;
    const EACH: usize = 500;
    let queue = bed.open_with(Limits { max_queued: 50, ..LIMITS });
    let (finished, finishes) = mpsc::channel();
    let (canceled, cancels) = mpsc::channel();
    let submitted: HashSet<JobId> = thread::scope(|scope| {
        for _ in 0..4 {
            let (queue, finished) = (Arc::clone(&queue), finished.clone());
            scope.spawn(move || {
                while let Some(claim) = queue.claim().unwrap() {
                    let id = claim.job.id;
                    match queue.finish(claim.lease, succeeded("done")).unwrap() {
                        Recorded::Yes => finished.send(id).unwrap(),
                        Recorded::Stale => {}
                    }
                }
            });
        }
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|part| {
                let (queue, canceled) = (Arc::clone(&queue), canceled.clone());
                scope.spawn(move || submit_and_cancel(&queue, part * EACH, EACH, &canceled))
            })
            .collect();
        let ids = submitters.into_iter().flat_map(|s| s.join().unwrap()).collect();
        // Every one of them is ended now or will be; the last is waited for by its count.
        let ended = || queue.depth().queued + queue.depth().running == 0;
        let deadline = std::time::Instant::now() + SOON;
        while !ended() {
            assert!(std::time::Instant::now() < deadline, "{:?} for ever", queue.depth());
            thread::yield_now();
        }
        queue.close();
        ids
    });
    drop((finished, canceled));
    let finishes: Vec<JobId> = finishes.iter().collect();
    let cancels: Vec<JobId> = cancels.iter().collect();
    let ended: HashSet<JobId> = finishes.iter().chain(&cancels).copied().collect();
    assert_eq!(finishes.len() + cancels.len(), ended.len(), "something ended twice");
    assert_eq!(ended, submitted);
    for (ids, state) in [(finishes, State::Succeeded), (cancels, State::Canceled)] {
        for id in ids {
            assert!(queue.get(id).unwrap().is_none_or(|job| job.state == state));
        }
    }
}

/// Submits, and cancels every third of them while it is on its way; goes on where the queue is full.
fn submit_and_cancel(
    queue: &Arc<dyn Queue>,
    first: usize,
    count: usize,
    canceled: &mpsc::Sender<JobId>,
) -> Vec<JobId> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let number = first + ids.len();
        let id = match queue.submit(ask(&format!("{number}"))) {
            Ok(Submitted::New(job)) => job.id,
            Err(SubmitError::Full) => {
                thread::yield_now();
                continue;
            }
            other => panic!("not a new job: {other:?}"),
        };
        ids.push(id);
        if number.is_multiple_of(3) {
            match queue.cancel(id).unwrap() {
                Some(Canceled::Queued | Canceled::Running) => canceled.send(id).unwrap(),
                // A worker was faster and said so; the job is forgotten now.
                Some(Canceled::Forgotten) => {}
                None => panic!("job {id} is lost"),
            }
        }
    }
    ids
}

/// The ids of canceled jobs may fill the channel to the workers; the jobs behind them must come through.
pub(in crate::queue) fn canceled_jobs_leave_no_worker_asleep(bed: &Bed) {
    let queue = bed.open_with(Limits { max_queued: 2, ..LIMITS });
    let (claimed, claims) = mpsc::channel();
    thread::scope(|scope| {
        for round in 0..100 {
            // Nobody takes the ids of these.
            for n in 0..2 {
                let id = queue.add(ask(&format!("{round} {n}"))).id;
                queue.cancel(id).unwrap();
            }
            let ids: HashSet<JobId> =
                (2..4).map(|n| queue.add(ask(&format!("{round} {n}"))).id).collect();
            // Each worker holds its job until both have one: no worker comes back to look again.
            for _ in 0..2 {
                let (queue, claimed) = (Arc::clone(&queue), claimed.clone());
                scope.spawn(move || claimed.send(queue.take()).unwrap());
            }
            let held: Vec<Claim> = (0..2).map(|_| claims.recv_timeout(SOON).unwrap()).collect();
            assert_eq!(held.iter().map(|claim| claim.job.id).collect::<HashSet<_>>(), ids);
            held.into_iter().for_each(|claim| queue.end(claim, "done"));
        }
        queue.close();
    });
}
