//! Nothing that is done while the server runs may cost more in a deep queue than in a shallow one. SQLite
//! counts the steps of each statement; the same work is done on both, and the counts are compared.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

use super::*;
use crate::queue::conformance::Shorthand;

/// The most steps that each statement took in one run, by its text.
type Steps = Arc<Mutex<BTreeMap<String, i32>>>;

thread_local! {
    /// Where the connections that this thread opens count their steps.
    static COUNTED: RefCell<Option<Steps>> = const { RefCell::new(None) };
}

/// Has a connection count the steps of its statements, if a test of this thread asks for that.
pub(in super::super) fn watched(mut conn: Connection) -> Connection {
    if let Some(steps) = COUNTED.with_borrow(Clone::clone) {
        // SQLite counts on from run to run of a prepared statement.
        let mut before: HashMap<String, i32> = HashMap::new();
        let count = move |event: TraceEvent<'_>| {
            if let TraceEvent::Profile(statement, _) = event {
                let (sql, now) = (statement.sql(), statement.get_status(StatementStatus::VmStep));
                let last = before.insert(sql.to_string(), now).filter(|last| *last <= now);
                let mut steps = steps.lock().unwrap();
                let most = steps.entry(sql.into_owned()).or_default();
                *most = (*most).max(now - last.unwrap_or(0));
            }
        };
        conn.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count)).unwrap();
    }
    conn
}

/// More than a channel of ready jobs or a sweep's portion holds.
const SHALLOW: usize = 1_500;
const DEEP: usize = 6_000;

/// As many of everything that can pile up as `depth`: jobs of one sender that are queued, or wait for a
/// retry; and that are finished, long expired, and have a delivery pending.
fn pile_up(folder: &Path, depth: usize) {
    let queue: Arc<dyn Queue> = Arc::new(open_here(folder));
    queue.add(ask("queued").from("ann"));
    drop(queue);
    let store = Connection::open(folder.join("ringback.db")).unwrap();
    let columns = "client, task, parameters, created_at, input_bytes, input_sha256, input_in_file, \
                   fingerprint, sender";
    let jobs = format!(
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3 * {depth})
         INSERT INTO jobs (id, state, ready_at, expires_at, held, callback_url, {columns})
         SELECT printf('00000000-0000-7000-8000-%012x', i),
             iif(i % 3 = 2, 'succeeded', 'queued'), iif(i % 3 = 1, {far}, NULL),
             iif(i % 3 = 2, {past} + i, NULL), i % 3 = 2, iif(i % 3 = 2, 'http://a/', NULL), {columns}
         FROM jobs, n;
         INSERT INTO deliveries (job, id, url, host, state, due_at)
         SELECT seq, id, callback_url, 'a', 'pending', {past} FROM jobs WHERE held;",
        far = in_secs(100_000).as_micros(),
        past = secs_ago(100_000).as_micros(),
    );
    store.execute_batch(&jobs).unwrap();
}

/// One of each thing that the server does.
fn work(queue: &Arc<dyn Queue>) {
    let id = queue.add(ask("new").from("ann").calling("http://a/").with_key("k")).id;
    queue.submit(ask("new").from("ann").calling("http://a/").with_key("k")).unwrap();
    queue.submit(ask("new").from("ann").calling("http://a/").coalescing()).unwrap();
    for state in [None, Some(State::Queued), Some(State::Succeeded), Some(State::Failed)] {
        queue.list(&Page { state, after: None, limit: 20 }).unwrap();
        queue.list(&Page { state, after: Some(id), limit: 20 }).unwrap();
    }
    queue.get(id).unwrap();
    assert!(queue.ahead(id).unwrap().is_some_and(|ahead| ahead.jobs >= SHALLOW as u64));
    assert!(!queue.has_its_share("ann"));
    queue.release(queue.take().lease).unwrap();
    queue.retry(queue.take().lease, failure("busy"), secs_ago(1)).unwrap();
    queue.take();
    queue.release_all().unwrap();
    queue.end(queue.take(), "done");
    queue.cancel(id).unwrap();
    queue.output(id).unwrap();
    let query = DueQuery {
        after: "ann".into(),
        trusted: vec!["a".into()],
        full_hosts: ["b".into()].into(),
        ..DueQuery::default()
    };
    let due = queue.due(in_secs(0), &query, 8).unwrap().due;
    queue.next_delivery(in_secs(0)).unwrap();
    queue.pending(in_secs(0)).unwrap();
    let attempt = crate::queue::conformance::deliveries::attempt(1, Some(200));
    queue.record(due[0].delivery.id, attempt, NextDelivery::Delivered, Health::Well).unwrap();
    queue.deliveries(id).unwrap();
    assert_eq!(queue.sweep(in_secs(0)).unwrap().forgotten, 1, "the one just delivered");
    queue.cancel(id).unwrap();
}

fn steps_at(depth: usize) -> BTreeMap<String, i32> {
    let folder = tempfile::tempdir().unwrap();
    pile_up(folder.path(), depth);
    let steps = Steps::default();
    COUNTED.set(Some(Arc::clone(&steps)));
    let limits = Limits { max_queued: 1_000_000, per_client: 900_000, ..LIMITS };
    let spool = Arc::new(Spool::open(&folder.path().join("spool")).unwrap());
    let queue: Arc<dyn Queue> = Arc::new(LocalQueue::open(folder.path(), spool, limits).unwrap().0);
    COUNTED.set(None);
    // A start takes everything back, and may look at all of it.
    steps.lock().unwrap().clear();
    work(&queue);
    drop(queue);
    std::mem::take(&mut *steps.lock().unwrap())
}

#[test]
fn a_statement_cost_more_the_more_jobs_and_deliveries_there_were() {
    let (shallow, deep) = (steps_at(SHALLOW), steps_at(DEEP));
    assert!(shallow.len() > 30, "every statement is counted: {shallow:#?}");
    assert_eq!(shallow.keys().collect::<Vec<_>>(), deep.keys().collect::<Vec<_>>());
    let grown: Vec<_> = deep
        .iter()
        .map(|(sql, deep)| (sql, shallow[sql], *deep))
        .filter(|(_, shallow, deep)| *deep > shallow + shallow / 4)
        .collect();
    assert!(grown.is_empty(), "SQL, steps among {SHALLOW}, steps among {DEEP}: {grown:#?}");
}

fn secs_ago(seconds: u64) -> Timestamp {
    Timestamp::now().before(std::time::Duration::from_secs(seconds))
}
