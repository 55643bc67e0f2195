//! Requests, the order of jobs, what stands ahead, lists.

use super::*;

pub(in crate::queue) fn a_new_job_is_queued_as_it_was_asked_for(bed: &Bed) {
    let queue = bed.open();
    let mut request = ask("one").calling("http://localhost/ring");
    request.parameters.push("language", "es");
    request.parameters.push("language", "en");
    let (id, created_at, input) = (request.id, request.created_at, request.input.clone());
    let parameters = request.parameters.clone();
    let job = queue.add(request);
    assert_eq!((job.id, job.task.as_str(), job.created_at), (id, "shout", created_at));
    assert_eq!((job.state, job.attempt), (State::Queued, 0));
    assert_eq!((&job.input, &job.parameters), (&input, &parameters));
    assert_eq!((job.started_at, job.finished_at, job.expires_at), (None, None, None));
    assert_eq!(queue.job(id), job);
    assert_eq!(queue.depth(), Depth { queued: 1, running: 0, bound: 100 });

    let claim = queue.take();
    assert_eq!(text_of(&claim), "one");
    assert_eq!((claim.job.state, claim.job.attempt), (State::Running, 1));
    assert!(claim.job.started_at >= Some(created_at));
    assert_eq!(queue.job(id), claim.job);
    assert_eq!(queue.depth(), Depth { queued: 0, running: 1, bound: 100 });
    assert_eq!(queue.get(JobId::new()).unwrap(), None);
}

pub(in crate::queue) fn the_oldest_is_claimed_first(bed: &Bed) {
    let queue = bed.open();
    let ids: Vec<JobId> = (0..20).map(|n| queue.add(ask(&format!("{n}"))).id).collect();
    let claimed: Vec<JobId> = (0..20).map(|_| queue.take().job.id).collect();
    assert_eq!(claimed, ids);
}

pub(in crate::queue) fn no_more_are_queued_than_may_be(bed: &Bed) {
    let queue = bed.open_with(Limits { max_queued: 2, ..LIMITS });
    queue.add(ask("one").with_key("k"));
    queue.add(ask("two"));
    assert!(matches!(queue.submit(ask("three")), Err(SubmitError::Full)));
    // A repeated request adds nothing.
    let replayed = queue.submit(ask("one").with_key("k")).unwrap();
    assert!(matches!(replayed, Submitted::Replayed(_)));
    let coalesced = queue.submit(ask("two").coalescing()).unwrap();
    assert!(matches!(coalesced, Submitted::Coalesced(_)));
    // A running job is not queued.
    let claim = queue.take();
    queue.add(ask("three"));
    assert!(matches!(queue.submit(ask("four")), Err(SubmitError::Full)));
    queue.end(claim, "done");
    assert!(matches!(queue.submit(ask("four")), Err(SubmitError::Full)));
}

pub(in crate::queue) fn one_sender_has_its_share_and_no_more(bed: &Bed) {
    let queue = bed.open_with(Limits { max_queued: 4, per_client: 2, ..LIMITS });
    queue.add(ask("one").from("ann").with_key("k"));
    assert!(!queue.has_its_share("ann"));
    queue.add(ask("two").from("ann"));
    assert!(queue.has_its_share("ann"));
    assert!(matches!(queue.submit(ask("three").from("ann")), Err(SubmitError::ShareTaken)));
    let replayed = queue.submit(ask("one").from("ann").with_key("k")).unwrap();
    assert!(matches!(replayed, Submitted::Replayed(_)), "a repeated request adds nothing");
    queue.add(ask("three").from("bob"));
    // Those that run, or have been called off, do not wait.
    let running = queue.take();
    queue.add(ask("four").from("ann"));
    assert!(matches!(queue.submit(ask("five").from("ann")), Err(SubmitError::ShareTaken)));
    queue.end(running, "done");
    // A full queue is full for everybody.
    queue.add(ask("six").from("bob"));
    assert!(matches!(queue.submit(ask("seven").from("cid")), Err(SubmitError::Full)));
}

pub(in crate::queue) fn a_key_finds_its_job(bed: &Bed) {
    let queue = bed.open();
    let first = queue.add(ask("one").with_key("k").of("ann"));
    let again = queue.submit(ask("one").with_key("k").of("ann")).unwrap();
    assert_eq!(again, Submitted::Replayed(first.id));
    // The name of the file is not part of the request's meaning.
    let mut renamed = ask("one").with_key("k").of("ann");
    renamed.input.name = None;
    assert_eq!(queue.submit(renamed).unwrap(), Submitted::Replayed(first.id));

    let other_input = ask("two").with_key("k").of("ann");
    let other_callback = ask("one").with_key("k").of("ann").calling("http://localhost/");
    let mut other_task = ask("one").with_key("k").of("ann");
    other_task.task = "whisper".into();
    let mut other_parameters = ask("one").with_key("k").of("ann");
    other_parameters.parameters.push("loud", "yes");
    for other in [other_input, other_callback, other_task, other_parameters] {
        assert!(matches!(queue.submit(other), Err(SubmitError::KeyReused)));
    }
    queue.add(ask("one").with_key("k").of("bob"));
}

pub(in crate::queue) fn a_key_lives_as_long_as_its_job(bed: &Bed) {
    let queue = bed.open();
    let id = queue.work_off(ask("one").with_key("k"));
    assert_eq!(queue.submit(ask("one").with_key("k")).unwrap(), Submitted::Replayed(id));
    assert_eq!(queue.cancel(id).unwrap(), Some(Canceled::Forgotten));
    queue.add(ask("one").with_key("k"));
}

pub(in crate::queue) fn the_same_work_is_done_once(bed: &Bed) {
    let queue = bed.open();
    let first = queue.add(ask("one"));
    let again = || queue.submit(ask("one").coalescing()).unwrap();
    assert_eq!(again(), Submitted::Coalesced(first.id), "while queued");
    let claim = queue.take();
    assert_eq!(again(), Submitted::Coalesced(first.id), "while running");
    queue.end(claim, "done");
    queue.add(ask("one").coalescing());
}

pub(in crate::queue) fn other_work_is_not_coalesced(bed: &Bed) {
    let queue = bed.open();
    queue.add(ask("one").coalescing());
    queue.add(ask("one"));
    queue.add(ask("two").coalescing());
    queue.add(ask("one").coalescing().of("ann"));
    queue.add(ask("one").coalescing().calling("http://localhost/"));
    let mut other_parameters = ask("one").coalescing();
    other_parameters.parameters.push("loud", "yes");
    queue.add(other_parameters);
    assert_eq!(queue.depth().queued, 6);
}

pub(in crate::queue) fn a_coalesced_request_is_replayed_by_its_key(bed: &Bed) {
    let queue = bed.open();
    let first = queue.add(ask("one").with_key("first"));
    let coalesced = queue.submit(ask("one").coalescing().with_key("second")).unwrap();
    assert_eq!(coalesced, Submitted::Coalesced(first.id));
    queue.end(queue.take(), "done");
    let again = queue.submit(ask("one").coalescing().with_key("second")).unwrap();
    assert_eq!(again, Submitted::Replayed(first.id));
}

pub(in crate::queue) fn a_refused_file_is_deleted(bed: &Bed) {
    let queue = bed.open_with(Limits { max_queued: 1, ..LIMITS });
    let id = queue.add(bed.ask_large("one").with_key("k")).id;
    let one_file = bed.files("inputs");
    assert_eq!(one_file.len(), 1);
    assert!(matches!(queue.submit(bed.ask_large("two")), Err(SubmitError::Full)));
    let reused = queue.submit(bed.ask_large("two").with_key("k"));
    assert!(matches!(reused, Err(SubmitError::KeyReused)));
    let coalesced = queue.submit(bed.ask_large("one").coalescing()).unwrap();
    assert_eq!(coalesced, Submitted::Coalesced(id));
    let replayed = queue.submit(bed.ask_large("one").with_key("k")).unwrap();
    assert_eq!(replayed, Submitted::Replayed(id));
    assert_eq!(bed.files("inputs"), one_file);
    assert_eq!(bed.files("incoming"), Vec::<PathBuf>::new());
}

pub(in crate::queue) fn a_large_input_is_a_file_until_its_job_ends(bed: &Bed) {
    let queue = bed.open();
    type End = fn(&Arc<dyn Queue>, Claim);
    let ends: [End; 3] = [
        |queue, claim| queue.end(claim, "done"),
        |queue, claim| {
            assert_eq!(queue.finish(claim.lease, failed("bad")).unwrap(), Recorded::Yes);
        },
        |queue, claim| {
            assert_eq!(queue.cancel(claim.job.id).unwrap(), Some(Canceled::Running));
        },
    ];
    for end in ends {
        queue.add(bed.ask_large("one"));
        let claim = queue.take();
        assert!(matches!(claim.body, Ok(InputBody::File(_))));
        assert_eq!(text_of(&claim).trim_start(), "one");
        assert_eq!(bed.files("inputs").len(), 1);
        end(&queue, claim);
        assert_eq!(bed.files("inputs").len(), 0);
    }
}

pub(in crate::queue) fn a_lost_input_fails_its_job(bed: &Bed) {
    let queue = bed.open();
    queue.add(bed.ask_large("one"));
    for file in bed.files("inputs") {
        fs::remove_file(file).unwrap();
    }
    let claim = queue.take();
    let lost = claim.body.unwrap_err();
    assert_eq!(lost.code, "input_lost");
    let outcome = Outcome { result: Err(lost), duration_s: None };
    assert_eq!(queue.finish(claim.lease, outcome).unwrap(), Recorded::Yes);
}

pub(in crate::queue) fn ahead_counts_older_ready_jobs(bed: &Bed) {
    let queue = bed.open();
    let ids: Vec<JobId> = ["a", "bb", "ccc"].map(|text| queue.add(ask(text)).id).into();
    // The lengths of the inputs ahead, in the order of their claims.
    let ahead = |n: usize| {
        let ahead = queue.ahead(ids[n]).unwrap()?;
        assert_eq!(ahead.jobs, ahead.work.len() as u64);
        Some(ahead.work.into_iter().map(|load| load.amount).collect::<Vec<_>>())
    };
    assert_eq!(ahead(0), Some(vec![]));
    assert_eq!(ahead(2), Some(vec![1, 2]));
    let first = queue.take();
    assert_eq!(ahead(0), None);
    assert_eq!(ahead(2), Some(vec![2]));
    queue.release(first.lease).unwrap();
    assert_eq!(ahead(2), Some(vec![1, 2]));
    // A job that waits for its next attempt stands in nobody's way.
    let first = queue.take();
    let again_at = in_secs(1000);
    queue.retry(first.lease, failure("busy"), again_at).unwrap();
    assert_eq!(ahead(2), Some(vec![2]));
    assert_eq!(queue.ahead(ids[0]).unwrap().unwrap().ready_at, Some(again_at));
    queue.cancel(ids[1]).unwrap();
    assert_eq!(ahead(1), None);
    assert_eq!(ahead(2), Some(vec![]));
    assert_eq!(queue.ahead(JobId::new()).unwrap(), None);
    drop(queue);
    let queue = bed.open();
    let ahead = |n: usize| queue.ahead(ids[n]).unwrap().map(|ahead| ahead.jobs);
    assert_eq!([0, 1, 2].map(ahead), [Some(0), None, Some(0)], "after a restart");
    queue.sweep(again_at).unwrap();
    assert_eq!([0, 1, 2].map(ahead), [Some(0), None, Some(1)], "its time has come");
}

pub(in crate::queue) fn lists_are_paged_newest_first(bed: &Bed) {
    let queue = bed.open();
    let mut newest_first: Vec<JobId> = (0..7).map(|n| queue.add(ask(&format!("{n}"))).id).collect();
    newest_first.reverse();
    let list = |state, after, limit| -> Vec<JobId> {
        let page = Page { state, after, limit };
        queue.list(&page).unwrap().into_iter().map(|job| job.id).collect()
    };
    assert_eq!(list(None, None, 100), newest_first);
    assert_eq!(list(None, None, 3), newest_first[..3]);
    assert_eq!(list(None, Some(newest_first[2]), 3), newest_first[3..6]);
    assert_eq!(list(None, Some(newest_first[6]), 3), []);
    assert_eq!(list(None, Some(JobId::new()), 2), newest_first[..2], "after an unknown job");

    let running = queue.take().job.id;
    assert_eq!(list(Some(State::Running), None, 9), [running]);
    assert_eq!(list(Some(State::Queued), None, 9), newest_first[..6]);
    assert_eq!(list(Some(State::Queued), Some(newest_first[3]), 9), newest_first[4..6]);
    assert_eq!(list(Some(State::Failed), None, 9), []);
}
