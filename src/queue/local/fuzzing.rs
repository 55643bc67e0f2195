//! A store in memory, one of whose jobs is damaged in any way that its tables let in.

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::backlog::SharedBacklog;
use super::claim::{self, Claiming};
use super::submit::Body;
use super::writer::{Counts, Tx};
use super::{Limits, deliveries, due, jobs, look, ready, recovery, schema, submit, sweep};
use crate::http::fuzzing::wire_json;
use crate::job::{
    DeliveryAttempt, DeliveryState, Failure, InputInfo, Job, JobId, Parameters, Sha256, State,
    Timestamp,
};
use crate::queue::lease::Leases;
use crate::queue::{
    DueQuery, LeaseId, NextDelivery, Outcome, Page, Parking, Recorded, StoredData, StoredOutput,
    Submission, Submitted,
};
use crate::spool::{NewInput, Spool};
use crate::task::Format;
use crate::warning::Warning;

const LIMITS: Limits = Limits {
    max_queued: 100,
    per_client: 100,
    max_attempts: 3,
    keep: Duration::from_secs(3600),
    parking: Parking { first: Duration::from_secs(5) },
};
/// When everything happens.
const NOW: Timestamp = Timestamp::from_micros(1_795_506_577_682_000);
/// The tables, and the columns of each that hold more than the job's key.
const TABLES: [(&str, &[&str]); 5] = [
    ("inputs", &["body"]),
    ("outputs", &["kind", "body", "file", "file_name", "file_type", "file_bytes", "formats"]),
    ("deliveries", &["id", "url", "host", "state", "attempts", "due_at", "last_error"]),
    ("delivery_attempts", &["attempt", "at", "status", "latency_ms", "error", "next_attempt_at"]),
    (
        "jobs",
        &[
            "id",
            "client",
            "task",
            "parameters",
            "state",
            "attempt",
            "fence",
            "ready_at",
            "created_at",
            "started_at",
            "finished_at",
            "expires_at",
            "input_name",
            "input_type",
            "input_bytes",
            "input_sha256",
            "input_in_file",
            "duration_s",
            "error_code",
            "error_message",
            "callback_url",
            "fingerprint",
            "sender",
            "warnings",
            "held",
        ],
    ),
];

/// What a job is given, and how far it comes before it is damaged.
#[derive(Debug)]
pub struct Record {
    /// Any words: task, name, content type, callback, parameter and value, output, error.
    pub words: [String; 8],
    /// The input.
    pub input: Vec<u8>,
    /// Its playing time.
    pub duration_s: Option<f64>,
    /// How far it comes.
    pub stage: Stage,
    /// What is written over it.
    pub damage: Vec<Damage>,
}

/// How far a job comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits.
    Queued,
    /// A worker has it.
    Running,
    /// It waits for its second attempt.
    Retried,
    /// It has failed, and its callback was called in vain.
    Failed,
    /// It gave a text.
    Text,
    /// It gave JSON.
    Json,
    /// It gave a file.
    File,
}

/// A value written over another.
#[derive(Debug)]
pub struct Damage {
    /// Which table and column: all numbers mean one.
    pub place: (u8, u8),
    /// What is written.
    pub cell: Cell,
}

/// What SQLite keeps.
#[derive(Debug)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text, which may not be UTF-8.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A store that is used again and again.
pub struct Shelf {
    conn: Connection,
    spool: Spool,
    outputs: std::path::PathBuf,
    counts: Counts,
    _folder: tempfile::TempDir,
}

impl Shelf {
    /// A new one.
    pub fn new() -> Shelf {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path()).expect("a spool");
        let conn =
            schema::open_writer(std::path::Path::new(":memory:"), 0, || Ok(())).expect("a store");
        // A later version, or another program, may know more words than these tables do.
        conn.execute_batch("PRAGMA ignore_check_constraints = ON").expect("a setting");
        let outputs = folder.path().join("outputs");
        Shelf { conn, spool, outputs, counts: Counts::default(), _folder: folder }
    }

    /// Stores `record` between two whole jobs, reads it back, damages it, and has everything done with
    /// the store that is done with one.
    ///
    /// # Panics
    /// When something is read back that was not written, or the damage hurts another job.
    pub fn check(&mut self, record: &Record) {
        self.conn.execute_batch("DELETE FROM jobs").expect("an empty store");
        self.counts = Counts::default();
        let done = self.add_done();
        let id = self.add(record);
        let waiting = self.submit(request("waiting", b"input", None)).id;
        let others = [self.job(done), self.job(waiting)];
        self.damage(id, &record.damage);
        self.look(id, &others);
        self.deliver(done, id);
        self.recover();
        assert_eq!([self.job(done), self.job(waiting)], others, "after a start");
        self.work(waiting);
        assert_eq!(self.job(done), others[0], "after all");
        self.end(id, done);
    }

    /// A job that has succeeded and is to be delivered.
    fn add_done(&mut self) -> JobId {
        let id = self.submit(request("done", b"input", Some("http://done/"))).id;
        let lease = self.claim();
        self.finish(lease, Ok(text("done")));
        id
    }

    /// The job of the record; everything is read back as it was written.
    fn add(&mut self, record: &Record) -> JobId {
        let [task, name, content_type, callback, parameter, value, said, error] = &record.words;
        let mut request = request(task, &record.input, Some(callback));
        request.parameters.push(parameter, value);
        request.parameters.push(parameter, said);
        request.input.name = Some(name.clone());
        request.input.content_type = Some(content_type.clone());
        request.input.duration_s = record.duration_s;
        let mut expected = self.submit(request);
        let id = expected.id;
        assert_eq!(self.job(id), expected, "as it was submitted");
        if record.stage == Stage::Queued {
            return id;
        }
        let lease = self.claim();
        (expected.state, expected.attempt, expected.started_at) = (State::Running, 1, Some(NOW));
        let failure = Failure { code: value.clone(), message: error.clone() };
        let output = match record.stage {
            Stage::Queued | Stage::Running => None,
            Stage::Retried => {
                let retried = self.change(|tx| jobs::retry(tx, lease, &failure, NOW));
                assert_eq!(retried, Recorded::Yes);
                (expected.state, expected.error) = (State::Queued, Some(failure));
                None
            }
            Stage::Failed => {
                self.finish(lease, Err(failure.clone()));
                (expected.state, expected.error) = (State::Failed, Some(failure));
                self.deliver_in_vain(&mut expected, said);
                None
            }
            Stage::Text => Some(text(said)),
            Stage::Json => Some(StoredOutput {
                data: StoredData::Json(
                    serde_json::json!({ (parameter): [said, record.input.len()] }),
                ),
                formats: Vec::new(),
                warnings: Vec::new(),
            }),
            Stage::File => Some(StoredOutput {
                data: StoredData::File {
                    path: self.spool.output_path(&format!("{id}-0f")),
                    name: name.clone(),
                    content_type: content_type.clone(),
                    bytes: record.input.len() as u64,
                },
                formats: Vec::new(),
                warnings: vec![Warning::new(value, error).at(Duration::from_millis(1500))],
            }),
        };
        if let Some(output) = output {
            self.finish(lease, Ok(output.clone()));
            expected.state = State::Succeeded;
            expected.warnings.clone_from(&output.warnings);
            let read = look::output(&self.conn, id, &self.spool).expect("an output");
            assert_eq!(read, Some(output));
        }
        if expected.state.is_finished() {
            expected.finished_at = Some(NOW);
            expected.expires_at = Some(NOW.after(LIMITS.keep));
            if let Some(callback) = &mut expected.callback
                && record.stage != Stage::Failed
            {
                callback.next_attempt_at = Some(NOW);
            }
        }
        assert_eq!(self.job(id), expected, "as it went on");
        id
    }

    /// Writes a POST into the ledger.
    fn deliver_in_vain(&mut self, job: &mut Job, error: &str) {
        let query = DueQuery { full_hosts: ["done".to_owned()].into(), ..DueQuery::default() };
        let found = due::due(&self.conn, NOW, &query, 10).expect("deliveries");
        let due: Vec<_> = found.due.into_iter().map(|due| due.delivery).collect();
        // Where the callback's host is the other job's, that one's delivery was left out as well.
        let Some(delivery) = due.iter().find(|delivery| delivery.job == job.id) else {
            let callback = job.callback.as_mut().expect("a callback");
            callback.next_attempt_at = Some(NOW);
            return;
        };
        let attempt = DeliveryAttempt {
            attempt: 1,
            at: NOW,
            status: Some(500),
            latency_ms: 5,
            error: Some(error.to_owned()),
            next_attempt_at: Some(NOW),
        };
        let again = attempt.clone();
        let id = delivery.id;
        self.change(|tx| deliveries::record(tx, id, &attempt, NextDelivery::At(NOW)));
        let callback = job.callback.as_mut().expect("a callback");
        callback.attempts = 1;
        callback.state = DeliveryState::Pending;
        callback.next_attempt_at = Some(NOW);
        callback.last_error = Some(error.to_owned());
        let ledger = deliveries::ledger(&self.conn, job.id).expect("a ledger");
        assert_eq!(ledger, Some(vec![again]));
    }

    /// What the tables do not let in is not written.
    fn damage(&self, id: JobId, damage: &[Damage]) {
        let seq: i64 = self
            .conn
            .query_row("SELECT seq FROM jobs WHERE id = ?1", [id.to_string()], |row| row.get(0))
            .expect("the job");
        for Damage { place, cell } in damage {
            let (table, columns) = TABLES[usize::from(place.0) % TABLES.len()];
            let column = columns[usize::from(place.1) % columns.len()];
            let key = if table == "jobs" { "seq" } else { "job" };
            let (cast, value) = match cell {
                Cell::Null => ("?1", Value::Null),
                Cell::Integer(number) => ("?1", Value::Integer(*number)),
                Cell::Real(number) => ("?1", Value::Real(*number)),
                Cell::Text(text) => ("CAST(?1 AS TEXT)", Value::Blob(text.clone())),
                Cell::Blob(bytes) => ("?1", Value::Blob(bytes.clone())),
            };
            let sql = format!("UPDATE OR IGNORE {table} SET {column} = {cast} WHERE {key} = ?2");
            let values = [value, Value::Integer(seq)];
            // A value that is refused is as good as none.
            drop(self.conn.execute(&sql, params_from_iter(values)));
        }
    }

    /// Looks at the damaged job, which may fail, and at the others, which may not.
    fn look(&self, id: JobId, others: &[Job; 2]) {
        if let Ok(Some(job)) = look::get(&self.conn, id) {
            assert!(wire_json(job).starts_with(b"{"));
        }
        if let Ok(Some(output)) = look::output(&self.conn, id, &self.spool)
            && let StoredData::File { path, .. } = output.data
        {
            assert_eq!(path.parent(), Some(&*self.outputs), "{path:?}");
        }
        // Errors are as good as values here.
        drop(deliveries::ledger(&self.conn, id));
        drop(look::place(&self.conn, id));
        let backlog = SharedBacklog::load(&self.conn).expect("a backlog");
        for other in others {
            assert_eq!(self.job(other.id), *other);
            for state in [None, Some(other.state)] {
                let page = Page { state, after: None, limit: 10 };
                let listed = look::list(&self.conn, &page).expect("a list");
                assert!(listed.contains(other), "{listed:?}");
            }
        }
        let place = look::place(&self.conn, others[1].id).expect("a place");
        assert!(place.is_some_and(|(seq, _)| backlog.ahead(seq).is_some()));
        let output = look::output(&self.conn, others[0].id, &self.spool).expect("an output");
        assert_eq!(output, Some(text("done")));
    }

    fn deliver(&self, done: JobId, id: JobId) {
        let found = due::due(&self.conn, NOW, &DueQuery::default(), 10).expect("deliveries");
        let due = found.due;
        assert!(due.iter().any(|due| due.delivery.job == done), "{due:?} with {id}");
        let next = due::next_delivery(&self.conn, Timestamp::from_micros(0)).expect("a time");
        assert!(next.is_some_and(|next| next <= NOW), "{next:?}");
    }

    /// As at a start.
    fn recover(&mut self) {
        let (_, counts) =
            recovery::recover(&mut self.conn, &self.spool, &LIMITS, NOW).expect("a start");
        self.counts = counts;
        let _ = self.change(|tx| sweep::ready(tx, NOW));
        let _ = sweep::next(&self.conn).expect("a time");
        let (announcer, ready) = ready::channel(10);
        announcer.refill(&self.conn);
        assert!(!ready.ids.is_empty(), "somebody has to be told of the job that waits");
    }

    /// Works off all there is, in two attempts; the whole job is among it.
    fn work(&mut self, waiting: JobId) {
        let leases = self.claim_all();
        assert!(leases.iter().any(|lease| lease.job == waiting), "it was not claimed");
        assert_eq!(self.change(jobs::release_all), leases.len());
        for lease in self.claim_all() {
            let outcome = Outcome { result: Ok(text("worked")), duration_s: None };
            let ended = self.try_change(|tx| jobs::finish(tx, lease, &outcome, NOW, LIMITS.keep));
            assert!(lease.job != waiting || ended.is_ok_and(|ended| ended == Recorded::Yes));
        }
        assert_eq!(self.job(waiting).state, State::Succeeded);
    }

    fn claim_all(&mut self) -> Vec<LeaseId> {
        let mut leases = Vec::new();
        while let Some(next) = self.try_claim() {
            assert!(leases.len() < 2, "there are no more jobs than that");
            leases.push(next);
        }
        leases
    }

    /// Everything is deleted, by whatever is said to have ended.
    fn end(&mut self, id: JobId, done: JobId) {
        // That it fails is as good.
        drop(self.try_change(|tx| jobs::cancel(tx, id, NOW, LIMITS.keep)));
        let late = NOW.after(Duration::from_secs(30 * 24 * 3600));
        self.change(|tx| sweep::forget_expired(tx, late));
        assert_eq!(look::get(&self.conn, done).expect("a look"), None);
    }

    fn job(&self, id: JobId) -> Job {
        look::get(&self.conn, id).expect("a whole job").expect("it is kept")
    }

    fn submit(&mut self, request: Submission) -> Job {
        let body = Body::Inline(b"input".to_vec());
        match self.change(|tx| submit::submit(tx, request, body, submit::Bounds::of(&LIMITS))) {
            Ok(Submitted::New(job)) => *job,
            other => panic!("not a new job: {other:?}"),
        }
    }

    fn claim(&mut self) -> LeaseId {
        self.try_claim().expect("a job")
    }

    /// Claims as the only attempt: none is held back.
    fn try_claim(&mut self) -> Option<LeaseId> {
        let (leases, Limits { max_attempts, keep, .. }) = (Leases::new(), LIMITS);
        let bounds = claim::Bounds { max_attempts, keep };
        match self.change(|tx| claim::claim(tx, &leases, bounds, NOW)) {
            Claiming::Taken(taken) => Some(LeaseId { job: taken.job.id, fence: taken.fence }),
            Claiming::HeldBack(_) => panic!("held back by no other attempt"),
            Claiming::NoneReady => None,
        }
    }

    fn finish(&mut self, lease: LeaseId, result: Result<StoredOutput, Failure>) {
        let outcome = Outcome { result, duration_s: None };
        let recorded = self.change(|tx| jobs::finish(tx, lease, &outcome, NOW, LIMITS.keep));
        assert_eq!(recorded, Recorded::Yes);
    }

    fn change<T>(&mut self, work: impl FnOnce(&mut Tx<'_>) -> rusqlite::Result<T>) -> T {
        self.try_change(work).expect("a change")
    }

    fn try_change<T>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let nothing_queued = SharedBacklog::default();
        let mut tx = Tx::new(&self.conn, self.counts, &nothing_queued);
        let value = work(&mut tx)?;
        self.counts = tx.counts;
        Ok(value)
    }
}

fn request(task: &str, input: &[u8], callback: Option<&str>) -> Submission {
    let sha256 = ring::digest::digest(&ring::digest::SHA256, input);
    Submission {
        id: JobId::new(),
        task: task.to_owned(),
        parameters: Parameters::new(),
        input: InputInfo {
            name: None,
            content_type: None,
            bytes: input.len() as u64,
            sha256: Sha256(sha256.as_ref().try_into().expect("32 bytes")),
            duration_s: None,
        },
        body: NewInput::Inline(Vec::new()),
        callback: callback.map(str::to_owned),
        created_at: NOW,
        client: String::new(),
        sender: String::new(),
        idempotency_key: None,
        coalesce: false,
    }
}

fn text(text: &str) -> StoredOutput {
    let format = Format { name: "srt".into(), content_type: "a/b".into(), body: text.into() };
    StoredOutput {
        data: StoredData::Text(text.to_owned()),
        formats: vec![format],
        warnings: vec![Warning::new("c", text)],
    }
}
