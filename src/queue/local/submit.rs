//! From a request to a stored job, or to the job that it repeats.

use ring::digest;
use rusqlite::{Connection, OptionalExtension, params};

use super::Limits;
use super::backlog::Entry;
use super::rows::{self, signed, to_json};
use super::writer::Tx;
use crate::estimator::Load;
use crate::job::{Callback, DeliveryState, Job, JobId, State};
use crate::queue::{Submission, SubmitError, Submitted};

/// Where a new job's input is.
pub(super) enum Body {
    /// To be kept in the store.
    Inline(Vec<u8>),
    /// In the spool, at its place.
    InFile,
}

/// How many jobs may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Of all senders.
    all: usize,
    /// Of one; `None` where that is no bound of its own.
    pub(super) sender: Option<usize>,
}

impl Bounds {
    pub(super) fn of(limits: &Limits) -> Bounds {
        let share = limits.per_client;
        Bounds { all: limits.max_queued, sender: (share < limits.max_queued).then_some(share) }
    }
}

/// Stores a new job, or finds the one that `request` repeats.
pub(super) fn submit(
    tx: &mut Tx<'_>,
    request: Submission,
    body: Body,
    bounds: Bounds,
) -> rusqlite::Result<Result<Submitted, SubmitError>> {
    let parameters = to_json(&request.parameters)?;
    let fingerprint = fingerprint(&request, &parameters);
    if let Some(key) = &request.idempotency_key
        && let Some((id, same)) = by_key(tx.conn, &request.client, key, &fingerprint)?
    {
        return Ok(if same { Ok(Submitted::Replayed(id)) } else { Err(SubmitError::KeyReused) });
    }
    if request.coalesce
        && let Some((seq, id)) = in_work(tx.conn, &request.client, &fingerprint)?
    {
        remember_key(tx.conn, &request, seq)?;
        return Ok(Ok(Submitted::Coalesced(id)));
    }
    if tx.counts.queued >= bounds.all {
        return Ok(Err(SubmitError::Full));
    }
    if let Some(share) = bounds.sender
        && tx.queued_by(&request.sender) >= share
    {
        return Ok(Err(SubmitError::ShareTaken));
    }
    let seq = insert(tx.conn, &request, &parameters, &fingerprint, &body)?;
    remember_key(tx.conn, &request, seq)?;
    let input = &request.input;
    let content_type = input.content_type.as_deref();
    let load = Load::of(&request.task, content_type, input.bytes, input.duration_s);
    tx.queue(seq, Entry { load, sender: request.sender.as_str().into(), ready: true });
    tx.announce(request.id);
    Ok(Ok(Submitted::New(Box::new(new_job(request)))))
}

/// What makes two requests of one client the same. Each part is led by its length, so that no two lists
/// of parts read alike.
fn fingerprint(request: &Submission, parameters: &str) -> [u8; 32] {
    let mut digest = digest::Context::new(&digest::SHA256);
    let callback = request.callback.as_deref();
    for part in [
        request.task.as_bytes(),
        parameters.as_bytes(),
        &request.input.sha256.0,
        if callback.is_some() { b"callback" } else { b"" },
        callback.unwrap_or_default().as_bytes(),
    ] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finish().as_ref().try_into().expect("invariant: a SHA-256 digest has 32 bytes")
}

fn by_key(
    conn: &Connection,
    client: &str,
    key: &str,
    fingerprint: &[u8; 32],
) -> rusqlite::Result<Option<(JobId, bool)>> {
    let found: Option<(JobId, [u8; 32])> = conn
        .prepare_cached(
            "SELECT jobs.id, jobs.fingerprint FROM idempotency_keys
             JOIN jobs ON jobs.seq = idempotency_keys.job
             WHERE idempotency_keys.client = ?1 AND idempotency_keys.key = ?2",
        )?
        .query_row(params![client, key], |row| Ok((rows::parsed(row, 0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(id, stored)| (id, stored == *fingerprint)))
}

fn in_work(
    conn: &Connection,
    client: &str,
    fingerprint: &[u8; 32],
) -> rusqlite::Result<Option<(i64, JobId)>> {
    conn.prepare_cached(
        "SELECT seq, id FROM jobs
             WHERE fingerprint = ?1 AND client = ?2 AND state IN ('queued', 'running')
             ORDER BY seq LIMIT 1",
    )?
    .query_row(params![fingerprint, client], |row| Ok((row.get(0)?, rows::parsed(row, 1)?)))
    .optional()
}

fn remember_key(conn: &Connection, request: &Submission, seq: i64) -> rusqlite::Result<()> {
    if let Some(key) = &request.idempotency_key {
        conn.prepare_cached("INSERT INTO idempotency_keys (client, key, job) VALUES (?1, ?2, ?3)")?
            .execute(params![request.client, key, seq])?;
    }
    Ok(())
}

fn insert(
    conn: &Connection,
    request: &Submission,
    parameters: &str,
    fingerprint: &[u8; 32],
    body: &Body,
) -> rusqlite::Result<i64> {
    let input = &request.input;
    conn.prepare_cached(
        "INSERT INTO jobs (id, client, task, parameters, state, created_at, input_name, input_type,
             input_bytes, input_sha256, input_in_file, duration_s, callback_url, fingerprint, sender)
         VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(params![
        request.id.to_string(),
        request.client,
        request.task,
        parameters,
        request.created_at,
        input.name,
        input.content_type,
        signed(input.bytes),
        input.sha256.0,
        matches!(body, Body::InFile),
        input.duration_s,
        request.callback,
        fingerprint,
        request.sender,
    ])?;
    let seq = conn.last_insert_rowid();
    if let Body::Inline(bytes) = body {
        conn.prepare_cached("INSERT INTO inputs (job, body) VALUES (?1, ?2)")?
            .execute(params![seq, bytes])?;
    }
    Ok(seq)
}

/// The job as it has just been stored.
fn new_job(request: Submission) -> Job {
    Job {
        id: request.id,
        task: request.task,
        parameters: request.parameters,
        state: State::Queued,
        attempt: 0,
        created_at: request.created_at,
        started_at: None,
        finished_at: None,
        expires_at: None,
        input: request.input,
        error: None,
        warnings: Vec::new(),
        callback: request.callback.map(|url| Callback {
            url,
            state: DeliveryState::Pending,
            attempts: 0,
            next_attempt_at: None,
            last_error: None,
        }),
    }
}
