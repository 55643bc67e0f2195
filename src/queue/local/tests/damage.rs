//! One row that cannot be read, and the others go on.

use std::fs;

use super::*;

/// A queue in a folder of its own.
fn queue() -> (tempfile::TempDir, LocalQueue) {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    (folder, queue)
}

fn add(queue: &LocalQueue, text: &str) -> JobId {
    add_request(queue, ask(text))
}

fn add_request(queue: &LocalQueue, request: Submission) -> JobId {
    match queue.submit(request).unwrap() {
        Submitted::New(job) => job.id,
        other => panic!("not a new job: {other:?}"),
    }
}

/// Works off a job that calls `url`.
fn add_done(queue: &LocalQueue, url: &str) -> JobId {
    let mut request = ask(url);
    request.callback = Some(url.to_owned());
    let id = add_request(queue, request);
    let claim = queue.claim().unwrap().unwrap();
    assert_eq!(claim.job.id, id);
    assert_eq!(queue.finish(claim.lease, succeeded("done")).unwrap(), Recorded::Yes);
    id
}

/// Writes into one row, past all that the tables check.
fn tamper(queue: &LocalQueue, sql: &'static str, id: JobId) {
    let changed = queue.change(Survives::Kill, move |tx| {
        tx.conn.execute_batch("PRAGMA ignore_check_constraints = ON")?;
        let job = "(SELECT seq FROM jobs WHERE id = ?1)";
        tx.conn.execute(&sql.replace("$job", job), [id.to_string()])
    });
    assert_eq!(changed.unwrap(), 1, "{sql}");
}

#[test]
fn a_damaged_job_stood_before_all_others_for_ever() {
    for sql in [
        "UPDATE jobs SET parameters = '{' WHERE seq = $job",
        "UPDATE jobs SET id = 'none' WHERE seq = $job",
        "UPDATE jobs SET task = CAST(x'ff' AS TEXT) WHERE seq = $job",
        "UPDATE jobs SET attempt = -7 WHERE seq = $job",
        "UPDATE jobs SET fence = -7 WHERE seq = $job",
        "UPDATE jobs SET input_sha256 = x'00' WHERE seq = $job",
        "UPDATE jobs SET input_bytes = -1 WHERE seq = $job",
    ] {
        let (_folder, queue) = queue();
        tamper(&queue, sql, add(&queue, "damaged"));
        let whole = add(&queue, "whole");
        assert_eq!(queue.claim().unwrap().unwrap().job.id, whole, "{sql}");
        assert_eq!(queue.depth(), Depth { queued: 0, running: 1, bound: 1000 }, "{sql}");
    }
}

#[test]
fn a_number_that_cannot_grow_kept_all_others_from_being_claimed() {
    for sql in [
        "UPDATE jobs SET attempt = 9223372036854775807 WHERE seq = $job",
        "UPDATE jobs SET fence = 9223372036854775807 WHERE seq = $job",
    ] {
        let (_folder, queue) = queue();
        let damaged = add(&queue, "damaged");
        tamper(&queue, sql, damaged);
        let whole = add(&queue, "whole");
        let first = queue.claim().unwrap().unwrap();
        assert_eq!(first.job.id, damaged);
        assert_eq!(queue.finish(first.lease, succeeded("done")).unwrap(), Recorded::Yes);
        assert_eq!(queue.claim().unwrap().unwrap().job.id, whole);
    }
}

#[test]
fn an_input_without_its_row_kept_all_others_from_being_claimed() {
    let (_folder, queue) = queue();
    tamper(&queue, "DELETE FROM inputs WHERE job = $job", add(&queue, "damaged"));
    let claim = queue.claim().unwrap().unwrap();
    assert_eq!(claim.body.unwrap_err().code, "input_lost");
}

#[test]
fn a_damaged_job_hid_the_whole_list() {
    let (_folder, queue) = queue();
    let (first, damaged, last) = (add(&queue, "a"), add(&queue, "b"), add(&queue, "c"));
    tamper(&queue, "UPDATE jobs SET parameters = '[]' WHERE seq = $job", damaged);
    for state in [None, Some(State::Queued)] {
        let listed = queue.list(&Page { state, after: None, limit: 2 }).unwrap();
        let ids: Vec<_> = listed.into_iter().map(|job| job.id).collect();
        assert_eq!(ids, [last, first]);
    }
}

#[test]
fn one_length_that_is_too_great_kept_all_places_from_being_told() {
    let (_folder, queue) = queue();
    for text in ["a", "b"] {
        let id = add(&queue, text);
        tamper(&queue, "UPDATE jobs SET input_bytes = 9223372036854775807 WHERE seq = $job", id);
    }
    assert_eq!(queue.ahead(add(&queue, "c")).unwrap().map(|ahead| ahead.jobs), Some(2));
}

#[test]
fn a_damaged_delivery_kept_all_others_from_being_made() {
    for sql in [
        "UPDATE deliveries SET id = 'none' WHERE job = $job",
        "UPDATE deliveries SET url = CAST(x'ff' AS TEXT) WHERE job = $job",
        "UPDATE deliveries SET host = CAST(x'61ff' AS TEXT) WHERE job = $job",
        "UPDATE deliveries SET attempts = -1 WHERE job = $job",
        "UPDATE deliveries SET due_at = NULL WHERE job = $job",
    ] {
        let (_folder, queue) = queue();
        let damaged = add_done(&queue, "http://a/");
        let whole = add_done(&queue, "http://b/");
        tamper(&queue, sql, damaged);
        let due = queue.due(in_secs(1), &DueQuery::default(), 10).unwrap().due;
        assert!(due.iter().any(|due| due.delivery.job == whole), "{sql}: {due:?}");
        assert!(queue.next_delivery(Timestamp::from_micros(0)).unwrap().is_some(), "{sql}");
    }
}

#[test]
fn a_damaged_row_kept_the_store_from_opening() {
    for sql in [
        "UPDATE jobs SET id = 'none', input_in_file = 1 WHERE seq = $job",
        "UPDATE jobs SET id = 'none', state = 'running', alone = 1, attempt = 9 WHERE seq = $job",
        "UPDATE jobs SET state = 'running', alone = 1, attempt = 9, callback_url = CAST(x'ff' AS TEXT) \
         WHERE seq = $job",
    ] {
        let (folder, queue) = queue();
        tamper(&queue, sql, add(&queue, "damaged"));
        let whole = add(&queue, "whole");
        drop(queue);
        let queue = open_here(folder.path());
        assert_eq!(queue.claim().unwrap().unwrap().job.id, whole, "{sql}");
    }
}

#[test]
fn a_job_that_was_delivered_and_runs_again_kept_the_store_from_opening() {
    let (folder, queue) = queue();
    let id = add_done(&queue, "http://a/");
    tamper(
        &queue,
        "UPDATE jobs SET state = 'running', alone = 1, attempt = 9 WHERE seq = $job",
        id,
    );
    drop(queue);
    let queue = open_here(folder.path());
    assert_eq!(queue.get(id).unwrap().unwrap().state, State::Failed);
}

#[test]
fn a_waiting_job_that_is_damaged_kept_all_others_waiting() {
    let (_folder, queue) = queue();
    let ids = [add(&queue, "damaged"), add(&queue, "whole")];
    for _ in ids {
        let claim = queue.claim().unwrap().unwrap();
        assert_eq!(queue.retry(claim.lease, failure("busy"), in_secs(0)).unwrap(), Recorded::Yes);
    }
    tamper(&queue, "UPDATE jobs SET id = 'none' WHERE seq = $job", ids[0]);
    queue.sweep(in_secs(1)).unwrap();
    assert_eq!(queue.claim().unwrap().unwrap().job.id, ids[1]);
}

#[test]
fn an_output_whose_name_is_damaged_kept_every_job_from_being_forgotten() {
    let (_folder, queue) = queue();
    let (damaged, whole) = (add_done(&queue, "http://a/"), add_done(&queue, "http://b/"));
    tamper(&queue, "UPDATE outputs SET file = CAST(x'ff' AS TEXT) WHERE job = $job", damaged);
    let swept = queue.sweep(in_secs(60 * 24 * 3600)).unwrap();
    assert_eq!(swept.forgotten, 2);
    assert_eq!(queue.get(whole).unwrap(), None);
}

#[test]
fn an_output_could_name_any_file_of_the_machine() {
    let (folder, queue) = queue();
    let id = add_done(&queue, "http://a/");
    let outside = folder.path().join("precious");
    fs::write(&outside, "kept").unwrap();
    let sql = "UPDATE outputs SET kind = 'file', file = '../../precious', file_name = 'a',
                   file_type = 'b', file_bytes = 4 WHERE job = $job";
    tamper(&queue, sql, id);
    assert!(queue.output(id).unwrap_err().to_string().contains("not the name of a file"));
    assert_eq!(queue.cancel(id).unwrap(), Some(Canceled::Forgotten));
    assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
}
