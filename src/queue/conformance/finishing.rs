//! How attempts and jobs end.

use super::*;
use crate::job::Transition;
use crate::task::Format;
use crate::warning::Warning;

pub(in crate::queue) fn outputs_come_back_as_they_were_given(bed: &Bed) {
    let queue = bed.open();
    let formats = vec![Format {
        name: "srt".into(),
        content_type: "application/x-subrip".into(),
        body: "1\n".into(),
    }];
    let json = serde_json::json!({"text": "hola", "words": [1, 2.5, null]});
    let warnings =
        vec![Warning::new("clipped", "a"), Warning::new("x", "b").at(Duration::from_millis(1500))];
    let given =
        [(StoredData::Text("hola\0".into()), Vec::new()), (StoredData::Json(json), warnings)];
    for (data, warnings) in given {
        let id = queue.add(ask("one")).id;
        let claim = queue.take();
        let output = StoredOutput { data, formats: formats.clone(), warnings };
        assert_eq!(queue.output(id).unwrap(), None);
        let outcome = Outcome { result: Ok(output.clone()), duration_s: Some(1.5) };
        queue.finish(claim.lease, outcome).unwrap();
        assert_eq!(queue.output(id).unwrap().as_ref(), Some(&output));
        let job = queue.job(id);
        assert_eq!(job.warnings, output.warnings);
        let page = Page { state: None, after: None, limit: 1 };
        assert_eq!(queue.list(&page).unwrap()[0].warnings, output.warnings);
        assert_eq!((job.state, job.error), (State::Succeeded, None));
        assert_eq!(job.input.duration_s, Some(1.5));
        assert!(job.finished_at >= job.started_at);
        assert_eq!(job.expires_at, job.finished_at.map(|at| at.after(LIMITS.keep)));
    }
    let id = queue.add(ask("one")).id;
    let claim = queue.take();
    let output = bed.keep_output(id, "a file");
    queue.finish(claim.lease, Outcome { result: Ok(output.clone()), duration_s: None }).unwrap();
    let stored = queue.output(id).unwrap().unwrap();
    assert_eq!(stored, output);
    match stored.data {
        StoredData::File { path, bytes, .. } => {
            assert_eq!((fs::read_to_string(path).unwrap().as_str(), bytes), ("a file", 6));
        }
        other => panic!("not a file: {other:?}"),
    }
    assert_eq!(queue.depth(), Depth { queued: 0, running: 0, bound: 100 });
}

pub(in crate::queue) fn a_failure_is_kept(bed: &Bed) {
    let queue = bed.open();
    let id = queue.add(ask("one")).id;
    queue.finish(queue.take().lease, failed("undecodable")).unwrap();
    let job = queue.job(id);
    assert_eq!((job.state, job.error), (State::Failed, Some(failure("undecodable"))));
    assert_eq!(queue.output(id).unwrap(), None);
}

pub(in crate::queue) fn a_retry_waits_for_its_time(bed: &Bed) {
    let queue = bed.open();
    let first = queue.add(ask("one")).id;
    let claim = queue.take();
    let ready_at = in_secs(1000);
    assert_eq!(queue.retry(claim.lease, failure("busy"), ready_at).unwrap(), Recorded::Yes);
    let job = queue.job(first);
    assert_eq!((job.state, job.attempt), (State::Queued, 1));
    assert_eq!(job.error, Some(failure("busy")));
    assert_eq!(queue.depth(), Depth { queued: 1, running: 0, bound: 100 });

    // A younger job is not kept waiting by it.
    let second = queue.add(ask("two")).id;
    let claim = queue.take();
    assert_eq!(claim.job.id, second);
    queue.end(claim, "done");
    let early = queue.sweep(in_secs(0)).unwrap();
    assert_eq!((early.readied, early.next), (0, Some(ready_at)));
    assert_eq!(queue.sweep(ready_at).unwrap().readied, 1);
    let claim = queue.take();
    assert_eq!((claim.job.id, claim.job.attempt, claim.job.error.clone()), (first, 2, None));
    assert_eq!(text_of(&claim), "one");
    queue.end(claim, "done");
}

pub(in crate::queue) fn a_release_does_not_count(bed: &Bed) {
    let queue = bed.open();
    let id = queue.add(ask("one")).id;
    queue.add(ask("two"));
    let claim = queue.take();
    let old = Lease::copy_of(LeaseId { job: id, fence: claim.lease.id().fence });
    assert_eq!(queue.release(claim.lease).unwrap(), Recorded::Yes);
    let job = queue.job(id);
    assert_eq!((job.state, job.attempt), (State::Queued, 0));
    // It is the oldest still.
    let claim = queue.take();
    assert_eq!((claim.job.id, claim.job.attempt), (id, 1));
    assert_eq!(queue.finish(old, succeeded("late")).unwrap(), Recorded::Stale);
    queue.end(claim, "in time");
    assert_eq!(queue.take().job.attempt, 1);
}

pub(in crate::queue) fn all_leases_are_given_back_at_once(bed: &Bed) {
    let queue = bed.open();
    let ids: Vec<JobId> = (0..3).map(|n| queue.add(ask(&format!("{n}"))).id).collect();
    let leases: Vec<Lease> = (0..2).map(|_| queue.take().lease).collect();
    assert_eq!(queue.release_all().unwrap(), 2);
    assert_eq!(queue.depth(), Depth { queued: 3, running: 0, bound: 100 });
    for lease in leases {
        assert_eq!(queue.finish(lease, succeeded("late")).unwrap(), Recorded::Stale);
    }
    for id in ids {
        let claim = queue.take();
        assert_eq!((claim.job.id, claim.job.attempt), (id, 1));
        queue.end(claim, "done");
    }
    assert_eq!(queue.release_all().unwrap(), 0);
}

pub(in crate::queue) fn a_stale_lease_changes_nothing(bed: &Bed) {
    let queue = bed.open();
    let id = queue.add(ask("one")).id;
    let fence = queue.take().lease.id().fence;
    let lease = || Lease::copy_of(LeaseId { job: id, fence });
    queue.release(lease()).unwrap();
    let current = queue.take();
    let before = queue.job(id);
    assert_eq!(queue.finish(lease(), succeeded("late")).unwrap(), Recorded::Stale);
    assert_eq!(queue.finish(lease(), failed("late")).unwrap(), Recorded::Stale);
    assert_eq!(queue.retry(lease(), failure("late"), in_secs(0)).unwrap(), Recorded::Stale);
    assert_eq!(queue.release(lease()).unwrap(), Recorded::Stale);
    assert_eq!(queue.job(id), before);
    assert_eq!(queue.depth(), Depth { queued: 0, running: 1, bound: 100 });
    queue.end(current, "in time");
    let unknown = Lease::copy_of(LeaseId { job: JobId::new(), fence: 1 });
    assert_eq!(queue.finish(unknown, succeeded("of nobody")).unwrap(), Recorded::Stale);
}

pub(in crate::queue) fn a_stale_output_file_is_deleted(bed: &Bed) {
    let queue = bed.open();
    let id = queue.add(ask("one")).id;
    let late = queue.take();
    queue.release(Lease::copy_of(LeaseId { job: id, fence: late.lease.id().fence })).unwrap();
    let in_time = queue.take();
    let output = bed.keep_output(id, "in time");
    queue.finish(in_time.lease, Outcome { result: Ok(output.clone()), duration_s: None }).unwrap();
    let stale = bed.keep_output(id, "late");
    assert_eq!(bed.files("outputs").len(), 2);
    let outcome = Outcome { result: Ok(stale), duration_s: None };
    assert_eq!(queue.finish(late.lease, outcome).unwrap(), Recorded::Stale);
    assert_eq!(queue.output(id).unwrap(), Some(output));
    let left = bed.files("outputs");
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read_to_string(&left[0]).unwrap(), "in time");
}

pub(in crate::queue) fn a_canceled_job_stays_canceled(bed: &Bed) {
    let queue = bed.open();
    let running = queue.add(ask("one")).id;
    let claim = queue.take();
    let queued = queue.add(ask("two")).id;
    let waiting = queue.add(ask("three")).id;
    let retried = queue.take();
    assert_eq!(retried.job.id, queued);
    queue.retry(retried.lease, failure("busy"), in_secs(0)).unwrap();

    assert_eq!(queue.cancel(running).unwrap(), Some(Canceled::Running));
    assert_eq!(queue.cancel(queued).unwrap(), Some(Canceled::Queued));
    assert_eq!(queue.cancel(waiting).unwrap(), Some(Canceled::Queued));
    assert_eq!(queue.cancel(JobId::new()).unwrap(), None);
    assert_eq!(queue.depth(), Depth { queued: 0, running: 0, bound: 100 });
    assert_eq!(queue.finish(claim.lease, succeeded("late")).unwrap(), Recorded::Stale);
    assert_eq!(queue.sweep(in_secs(1)).unwrap().readied, 0);
    for id in [running, queued, waiting] {
        let job = queue.job(id);
        assert_eq!((job.state, job.error), (State::Canceled, None));
        assert!(job.finished_at.is_some() && job.expires_at.is_some());
        assert_eq!(queue.output(id).unwrap(), None);
    }
    // Their ids may still be on the way to a worker, who must not get them.
    let next = queue.add(ask("four")).id;
    assert_eq!(queue.take().job.id, next);
}

pub(in crate::queue) fn a_finished_job_is_forgotten(bed: &Bed) {
    let queue = bed.open();
    let id = queue.add(ask("one").calling("http://localhost/").with_key("k")).id;
    let claim = queue.take();
    let output = bed.keep_output(id, "a file");
    queue.finish(claim.lease, Outcome { result: Ok(output), duration_s: None }).unwrap();
    let delivery = queue.due(in_secs(1), &DueQuery::default(), 10).unwrap().due.remove(0).delivery;
    assert_eq!(queue.cancel(id).unwrap(), Some(Canceled::Forgotten));
    assert_eq!(queue.get(id).unwrap(), None);
    assert_eq!(queue.output(id).unwrap(), None);
    assert_eq!(queue.deliveries(id).unwrap(), None);
    assert_eq!(queue.due(in_secs(1), &DueQuery::default(), 10).unwrap().due, []);
    assert_eq!(bed.files("outputs"), Vec::<PathBuf>::new());
    let attempt = deliveries::attempt(1, Some(200));
    queue.record(delivery.id, attempt, NextDelivery::Delivered, Health::Well).unwrap();
    assert_eq!(queue.cancel(id).unwrap(), None);
}

pub(in crate::queue) fn every_illegal_transition_is_refused(bed: &Bed) {
    let queue = bed.open();
    let reach = |state: State| -> (JobId, u64) {
        let id = queue.add(ask(state.as_str())).id;
        if state == State::Queued {
            // Held back, so that it is not the next to be claimed.
            let lease = queue.take().lease;
            let fence = lease.id().fence;
            queue.retry(lease, failure("busy"), in_secs(1000)).unwrap();
            return (id, fence);
        }
        let lease = queue.take().lease;
        let fence = lease.id().fence;
        match state {
            State::Queued | State::Running => {}
            State::Succeeded => drop(queue.finish(lease, succeeded("x")).unwrap()),
            State::Failed => drop(queue.finish(lease, failed("x")).unwrap()),
            State::Canceled => drop(queue.cancel(id).unwrap()),
        }
        (id, fence)
    };
    type End = fn(&dyn Queue, Lease) -> Recorded;
    let transitions: [(Transition, End); 4] = [
        (Transition::Succeed, |queue, lease| queue.finish(lease, succeeded("y")).unwrap()),
        (Transition::Fail, |queue, lease| queue.finish(lease, failed("y")).unwrap()),
        (Transition::Retry, |queue, lease| {
            queue.retry(lease, failure("y"), in_secs(1000)).unwrap()
        }),
        (Transition::Release, |queue, lease| queue.release(lease).unwrap()),
    ];
    for state in State::ALL {
        for (transition, apply) in transitions {
            let (job, fence) = reach(state);
            assert_eq!(queue.job(job).state, state);
            let recorded = apply(&*queue, Lease::copy_of(LeaseId { job, fence }));
            let expected = match state.after(transition) {
                Some(next) => (Recorded::Yes, next),
                None => (Recorded::Stale, state),
            };
            assert_eq!((recorded, queue.job(job).state), expected, "{state} {transition:?}");
            // Whatever is ready would be claimed in place of the next job.
            queue.cancel(job).unwrap();
        }
    }
}

pub(in crate::queue) fn a_closed_queue_hands_nothing_out(bed: &Bed) {
    let queue = bed.open();
    let (ended, has_ended) = mpsc::channel();
    let sleepers: Vec<_> = (0..3)
        .map(|_| {
            let (queue, ended) = (Arc::clone(&queue), ended.clone());
            thread::spawn(move || ended.send(queue.claim().unwrap().is_none()).unwrap())
        })
        .collect();
    queue.close();
    for _ in &sleepers {
        assert!(has_ended.recv_timeout(SOON).unwrap(), "a closed queue gave a job");
    }
    sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    let id = queue.add(ask("one")).id;
    assert!(queue.claim().unwrap().is_none());
    queue.close();
    assert_eq!(queue.job(id).state, State::Queued);
    assert_eq!(queue.cancel(id).unwrap(), Some(Canceled::Queued));
}

pub(in crate::queue) fn expired_jobs_are_swept(bed: &Bed) {
    let keep = Duration::from_secs(100);
    let queue = bed.open_with(Limits { keep, max_queued: 2000, ..LIMITS });
    let output = {
        let id = queue.add(ask("file")).id;
        let claim = queue.take();
        let output = bed.keep_output(id, "a file");
        queue.finish(claim.lease, Outcome { result: Ok(output), duration_s: None }).unwrap();
        id
    };
    // More than one transaction may want to delete at once.
    let canceled: Vec<JobId> = (0..700).map(|n| queue.add(ask(&format!("{n}"))).id).collect();
    for id in &canceled {
        queue.cancel(*id).unwrap();
    }
    let waiting = queue.add(ask("waiting")).id;
    assert_eq!(queue.sweep(in_secs(0)).unwrap().forgotten, 0);
    let swept = queue.sweep(in_secs(101)).unwrap();
    assert_eq!((swept.forgotten, swept.next), (701, None));
    assert_eq!(queue.get(output).unwrap(), None);
    assert_eq!(queue.get(canceled[0]).unwrap(), None);
    assert_eq!(queue.job(waiting).state, State::Queued);
    assert_eq!(bed.files("outputs"), Vec::<PathBuf>::new());
}

pub(in crate::queue) fn a_sweep_says_when_to_come_again(bed: &Bed) {
    let queue = bed.open();
    assert_eq!(
        queue.sweep(in_secs(0)).unwrap(),
        Swept { failed: vec![], readied: 0, forgotten: 0, next: None }
    );
    let finished = queue.work_off(ask("one"));
    let expires_at = queue.job(finished).expires_at;
    assert_eq!(queue.sweep(in_secs(0)).unwrap().next, expires_at);
    queue.add(ask("two"));
    let ready_at = in_secs(50);
    queue.retry(queue.take().lease, failure("busy"), ready_at).unwrap();
    assert_eq!(queue.sweep(in_secs(0)).unwrap().next, Some(ready_at));
    assert_eq!(queue.sweep(ready_at).unwrap().next, expires_at);
}
