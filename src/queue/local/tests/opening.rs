//! What may be found where a store should be.

use std::fs;

use super::*;

fn refusal(folder: &Path) -> String {
    match try_open(folder) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_folder_in_use_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_here(folder.path());
    let half_received = folder.path().join("spool").join("incoming").join("half");
    fs::write(&half_received, "of the first process").unwrap();
    let message = refusal(folder.path());
    assert!(message.contains(folder.path().to_str().unwrap()), "{message}");
    assert!(message.contains("in use"), "{message}");
    assert!(half_received.exists(), "the second process deleted a file of the first");
    drop(first);
    open_here(folder.path());
    assert!(!half_received.exists());
}

#[test]
fn a_closed_store_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = Arc::new(open_here(folder.path()));
    assert!(matches!(queue.submit(ask("one")), Ok(Submitted::New(_))));
    drop(queue);
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|found| found.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "reserve", "ringback.db", "spool"]);
}

#[cfg(unix)]
#[test]
fn other_users_do_not_read_what_clients_sent() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new");
    let queue: Arc<dyn Queue> = Arc::new(open_here(&data));
    assert!(matches!(queue.submit(ask("one")), Ok(Submitted::New(_))));
    let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!(rights(&data), 0, "a folder that was missing");
    for name in ["spool", "spool/inputs", "ringback.db", "ringback.db-wal", "ringback.db-shm"] {
        assert_eq!(rights(&data.join(name)), 0, "{name}, whoever made the folder");
    }
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringback.db");
    fs::write(&path, "not a database ".repeat(1000)).unwrap();
    assert!(refusal(folder.path()).contains("not a database"));

    fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    drop(other);
    assert!(refusal(folder.path()).contains("another program"));
}

#[test]
fn a_store_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let add = |request| match queue.submit(request).unwrap() {
        Submitted::New(job) => *job,
        other => panic!("not a new job: {other:?}"),
    };
    let undelivered = add(ask("done").calling("http://a/"));
    assert_eq!(queue.cancel(undelivered.id).unwrap(), Some(Canceled::Queued));
    let job = add(ask("one"));
    drop(queue);
    let store = rusqlite::Connection::open(folder.path().join("ringback.db")).unwrap();
    let first = "DROP TABLE lanes; DROP TRIGGER delivery_added; DROP TRIGGER delivery_moved;
                 DROP TRIGGER delivery_deleted; DROP INDEX deliveries_pending;
                 ALTER TABLE deliveries DROP COLUMN sender;
                 CREATE INDEX deliveries_pending ON deliveries (host, due_at) WHERE state = 'pending';
                 DROP INDEX deliveries_by_time; ALTER TABLE jobs DROP COLUMN sender;
                 ALTER TABLE jobs DROP COLUMN warnings;
                 DROP INDEX jobs_expiring; ALTER TABLE jobs DROP COLUMN held;
                 CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL;
                 DROP TABLE clock; ALTER TABLE jobs DROP COLUMN crashes; ALTER TABLE jobs DROP COLUMN alone;
                 PRAGMA user_version = 1";
    store.execute_batch(first).unwrap();
    drop(store);
    let queue = open_here(folder.path());
    assert_eq!(queue.get(job.id).unwrap(), Some(job));
    assert!(matches!(queue.submit(ask("two")), Ok(Submitted::New(_))));
    let swept = queue.sweep(in_secs(2 * LIMITS.keep.as_secs())).unwrap();
    assert_eq!(swept.forgotten, 0, "a job whose delivery was pending is kept");
}

#[test]
fn a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_here(folder.path()));
    let later = rusqlite::Connection::open(folder.path().join("ringback.db")).unwrap();
    later.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(later);
    assert!(refusal(folder.path()).contains("format 99"));
}

#[test]
fn a_damaged_store_gives_errors_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let ids: Vec<JobId> = (0..200)
        .map(|n| match queue.submit(ask(&format!("{n}"))).unwrap() {
            Submitted::New(job) => job.id,
            other => panic!("not a new job: {other:?}"),
        })
        .collect();
    drop(queue);
    let path = folder.path().join("ringback.db");
    let whole = fs::read(&path).unwrap();
    let page = 4096;
    for damaged in 1..whole.len() / page {
        let mut bytes = whole.clone();
        bytes[damaged * page..(damaged + 1) * page].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        // Each look ends, in a value or an error: what is in a page that is not read is not missed.
        if let Ok((queue, _)) = try_open(folder.path()) {
            let looked = ids.iter().filter(|id| queue.get(**id).is_ok_and(|job| job.is_some()));
            assert!(looked.count() <= ids.len());
            drop(queue.list(&Page { state: None, after: None, limit: 1000 }));
            drop(queue.submit(ask("one more")));
        }
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    drop(try_open(folder.path()));
}

#[test]
fn words_that_are_none_of_ours_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    let id = match queue.submit(ask("one")).unwrap() {
        Submitted::New(job) => job.id,
        other => panic!("not a new job: {other:?}"),
    };
    let tamper = |sql: &'static str| {
        let done = queue.change(Survives::Kill, move |tx| tx.conn.execute(sql, []));
        assert_eq!(done.unwrap(), 1);
    };
    tamper("UPDATE jobs SET parameters = '{'");
    assert!(queue.get(id).unwrap_err().to_string().contains("EOF"));
    tamper("UPDATE jobs SET parameters = '{}'");
    assert_eq!(queue.claim().unwrap().map(|claim| claim.job.id), Some(id));
}
