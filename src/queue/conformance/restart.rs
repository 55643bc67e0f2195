//! What is still there when a queue is opened again.

use super::*;

pub(in crate::queue) fn queued_and_running_jobs_are_taken_back(bed: &Bed) {
    let queue = bed.open();
    let ids: Vec<JobId> = ["one", "two", "three"].map(|text| queue.add(ask(text)).id).into();
    let large = queue.add(bed.ask_large("four")).id;
    let lost = queue.take();
    let retried = queue.take();
    queue.retry(retried.lease, failure("busy"), in_secs(1000)).unwrap();
    drop(queue);

    let queue = bed.open();
    assert_eq!(queue.depth(), Depth { queued: 4, running: 0, bound: 100 });
    assert_eq!(queue.finish(lost.lease, succeeded("late")).unwrap(), Recorded::Stale);
    let claim = queue.take();
    assert_eq!((claim.job.id, claim.job.attempt), (ids[0], 2));
    assert_eq!(text_of(&claim), "one");
    queue.end(claim, "done");
    let claim = queue.take();
    assert_eq!((claim.job.id, claim.job.attempt), (ids[2], 1));
    queue.end(claim, "done");
    let claim = queue.take();
    assert_eq!(claim.job.id, large);
    assert_eq!(text_of(&claim).trim_start(), "four");
    queue.end(claim, "done");
    // The time of the retry holds on.
    assert_eq!(queue.sweep(in_secs(999)).unwrap().readied, 0);
    assert_eq!(queue.sweep(in_secs(1001)).unwrap().readied, 1);
    assert_eq!(queue.take().job.id, ids[1]);
}

pub(in crate::queue) fn a_job_that_ends_the_process_is_given_up(bed: &Bed) {
    let limits = Limits { max_attempts: 2, ..LIMITS };
    let queue = bed.open_with(limits.clone());
    let id = queue.add(bed.ask_large("poison").calling("http://localhost/")).id;
    let queue = {
        let _lost = queue.take();
        drop(queue);
        bed.open_with(limits.clone())
    };
    assert_eq!(queue.take().job.attempt, 2);
    let next = queue.add(ask("next")).id;
    drop(queue);
    let queue = bed.open_with(limits);
    let job = queue.job(id);
    assert_eq!(job.state, State::Failed);
    assert_eq!(job.error.unwrap().code, "gave_up");
    assert!(job.finished_at.is_some() && job.expires_at.is_some());
    let due = queue.due(in_secs(1), &DueQuery::default(), 10).unwrap().due;
    assert_eq!(due.into_iter().map(|due| due.delivery.job).collect::<Vec<_>>(), [id]);
    assert_eq!(queue.take().job.id, next);
    assert_eq!(bed.files("inputs"), Vec::<PathBuf>::new());
}

/// Two workers' jobs: whichever of them ends the process, the other is not given up for it.
pub(in crate::queue) fn a_job_that_died_beside_others_is_not_given_up(bed: &Bed) {
    let ids = {
        let queue = bed.open();
        ["innocent", "poison"].map(|text| queue.add(ask(text)).id)
    };
    for attempt in 1..LIMITS.max_attempts {
        let queue = bed.open();
        for id in ids {
            let claim = queue.take();
            assert_eq!((claim.job.id, claim.job.attempt), (id, attempt));
            assert_eq!(claim.lease.company(), Company::Others);
            std::mem::forget(claim);
        }
    }
    let queue = bed.open();
    queue.add(ask("later"));
    let claim = queue.take();
    assert_eq!((claim.job.id, claim.job.attempt), (ids[0], LIMITS.max_attempts));
    assert_eq!(claim.lease.company(), Company::Alone);
    thread::scope(|scope| {
        // Two more workers wait: neither the poison nor the job behind it may begin yet.
        let (claimed, claims) = mpsc::channel();
        for _ in 0..2 {
            let (queue, claimed) = (&queue, claimed.clone());
            scope.spawn(move || claimed.send(queue.claim().unwrap().unwrap()).unwrap());
        }
        queue.end(claim, "done");
        let poison = claims.recv_timeout(SOON).unwrap();
        assert_eq!((poison.job.id, poison.lease.company()), (ids[1], Company::Alone));
        assert_eq!(queue.depth().running, 1);
        assert_eq!(queue.finish(poison.lease, failed("after all")).unwrap(), Recorded::Yes);
        let later = claims.recv_timeout(SOON).unwrap();
        assert_eq!((later.job.attempt, later.lease.company()), (1, Company::Others));
        std::mem::forget(later);
    });
}

/// A canceled attempt may run on, and be what ends the process.
pub(in crate::queue) fn a_canceled_attempt_is_company(bed: &Bed) {
    let limits = Limits { max_attempts: 1, ..LIMITS };
    let queue = bed.open_with(limits.clone());
    let innocent = queue.add(ask("innocent")).id;
    std::mem::forget(queue.take());
    drop(queue);
    let queue = bed.open_with(limits);
    let poison = queue.add(ask("poison")).id;
    let alone = queue.take();
    assert_eq!((alone.job.id, alone.lease.company()), (innocent, Company::Alone));
    assert_eq!(queue.release(alone.lease).unwrap(), Recorded::Yes);
    let other = queue.add(ask("other")).id;
    queue.cancel(innocent).unwrap();
    let canceled = queue.take();
    assert_eq!(canceled.job.id, poison);
    queue.cancel(poison).unwrap();
    assert_eq!(queue.take().job.id, other);
    drop(canceled);
}

/// A stop, or a worker that gives its job back, says nothing against the job.
pub(in crate::queue) fn a_release_is_no_crash(bed: &Bed) {
    let id = {
        let queue = bed.open();
        queue.add(ask("one")).id
    };
    for _ in 0..2 * LIMITS.max_attempts {
        let queue = bed.open();
        let claim = queue.take();
        assert_eq!((claim.job.id, claim.job.attempt), (id, 1));
        assert_eq!(claim.lease.company(), Company::Others);
        std::mem::forget(claim);
        assert_eq!(queue.release_all().unwrap(), 1);
    }
}

pub(in crate::queue) fn everything_finished_is_as_before(bed: &Bed) {
    let queue = bed.open();
    let text = queue.work_off(ask("one").with_key("k"));
    let file = queue.add(ask("two").calling("http://localhost/")).id;
    let output = bed.keep_output(file, "a file");
    queue.finish(queue.take().lease, Outcome { result: Ok(output), duration_s: None }).unwrap();
    let canceled = queue.add(ask("three")).id;
    queue.cancel(canceled).unwrap();
    let delivery = queue.due(in_secs(1), &DueQuery::default(), 10).unwrap().due.remove(0).delivery;
    let later = in_secs(300);
    queue
        .record(
            delivery.id,
            super::deliveries::attempt(1, None),
            NextDelivery::At(later),
            Health::Well,
        )
        .unwrap();
    let look = |queue: &Arc<dyn Queue>| {
        let of =
            |id| (queue.job(id), queue.output(id).unwrap(), queue.deliveries(id).unwrap().unwrap());
        let due = queue.due(later, &DueQuery::default(), 10).unwrap().due;
        (
            [text, file, canceled].map(of),
            due,
            queue.next_delivery(Timestamp::from_micros(0)).unwrap(),
        )
    };
    let before = look(&queue);
    drop(queue);
    let queue = bed.open();
    assert_eq!(look(&queue), before);
    assert_eq!(queue.depth(), Depth { queued: 0, running: 0, bound: 100 });
    let replayed = queue.submit(ask("one").with_key("k")).unwrap();
    assert_eq!(replayed, Submitted::Replayed(text));
    assert_eq!(bed.files("outputs").len(), 1);
}

/// The bound may have been lowered, and jobs that ran were not counted by it.
pub(in crate::queue) fn more_than_may_be_queued_are_all_taken_back(bed: &Bed) {
    let queue = bed.open();
    let ids: Vec<JobId> = (0..20).map(|n| queue.add(ask(&format!("{n}"))).id).collect();
    drop(queue);
    let queue = bed.open_with(Limits { max_queued: 3, ..LIMITS });
    assert_eq!(queue.depth(), Depth { queued: 20, running: 0, bound: 3 });
    assert!(matches!(queue.submit(ask("more")), Err(SubmitError::Full)));
    let claimed: Vec<JobId> = (0..20).map(|_| queue.take().job.id).collect();
    assert_eq!(claimed, ids);
    queue.add(ask("more"));
}

pub(in crate::queue) fn what_the_last_process_left_is_cleared(bed: &Bed) {
    drop(bed.open());
    let spool = bed.spool();
    let mut receiving = spool.receive(None).unwrap();
    receiving.write_all(&vec![0; 2 * crate::spool::INLINE_MAX + 1]).unwrap();
    let half = receiving.finish().unwrap();
    if let NewInput::File(path) = half.body {
        path.keep().unwrap();
    }
    bed.keep_output(JobId::new(), "of an attempt that was not finished");
    fs::write(spool.input_path(JobId::new()), "of a job that was not stored").unwrap();
    let queue = bed.open();
    queue.add(bed.ask_large("kept"));
    drop(queue);
    for folder in ["incoming", "outputs", "scratch"] {
        assert_eq!(bed.files(folder), Vec::<PathBuf>::new());
    }
    assert_eq!(bed.files("inputs").len(), 1);
    let queue = bed.open();
    assert_eq!(text_of(&queue.take()).trim_start(), "kept");
}
