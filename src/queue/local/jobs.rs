//! The transitions of jobs, each inside the writer's transaction, and the looks at them.

use std::time::Duration;

use ring::digest;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, job_columns, select_job, signed, to_json};
use super::writer::{Leftover, Tx};
use crate::job::{
    Callback, DeliveryId, DeliveryState, Failure, Job, JobId, State, Timestamp, Transition,
};
use crate::queue::{
    Ahead, Canceled, Lease, Outcome, Page, Recorded, StoredData, StoredOutput, Submission,
    SubmitError, Submitted, delivery_host,
};
use crate::spool::Spool;

/// Where a new job's input is.
pub(super) enum Body {
    /// To be kept in the store.
    Inline(Vec<u8>),
    /// In the spool, at its place.
    InFile,
}

/// Where a claimed job's input is.
pub(super) enum ClaimedBody {
    Inline(Vec<u8>),
    InFile,
}

/// A claim, before the input's file has been looked for.
pub(super) struct Claimed {
    pub(super) job: Job,
    pub(super) fence: u64,
    pub(super) body: ClaimedBody,
}

/// Stores a new job, or finds the one that `request` repeats.
pub(super) fn submit(
    tx: &mut Tx<'_>,
    request: Submission,
    body: Body,
    bound: usize,
) -> rusqlite::Result<Result<Submitted, SubmitError>> {
    let parameters = to_json(&request.parameters)?;
    let fingerprint = fingerprint(&request, &parameters);
    if let Some(key) = &request.idempotency_key
        && let Some((job, same)) = by_key(tx.conn, &request.client, key, &fingerprint)?
    {
        return Ok(if same { Ok(Submitted::Replayed(job)) } else { Err(SubmitError::KeyReused) });
    }
    if request.coalesce
        && let Some((seq, job)) = in_work(tx.conn, &request.client, &fingerprint)?
    {
        remember_key(tx.conn, &request, seq)?;
        return Ok(Ok(Submitted::Coalesced(job)));
    }
    if tx.counts.queued >= bound {
        return Ok(Err(SubmitError::Full));
    }
    let seq = insert(tx.conn, &request, &parameters, &fingerprint, &body)?;
    remember_key(tx.conn, &request, seq)?;
    tx.counts.queued += 1;
    tx.announce(request.id);
    Ok(Ok(Submitted::New(new_job(request))))
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
) -> rusqlite::Result<Option<(Job, bool)>> {
    let found: Option<(i64, [u8; 32])> = conn
        .prepare_cached(
            "SELECT jobs.seq, jobs.fingerprint FROM idempotency_keys
             JOIN jobs ON jobs.seq = idempotency_keys.job
             WHERE idempotency_keys.client = ?1 AND idempotency_keys.key = ?2",
        )?
        .query_row(params![client, key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(seq, stored)| Ok((by_seq(conn, seq)?, stored == *fingerprint))).transpose()
}

fn in_work(
    conn: &Connection,
    client: &str,
    fingerprint: &[u8; 32],
) -> rusqlite::Result<Option<(i64, Job)>> {
    let seq: Option<i64> = conn
        .prepare_cached(
            "SELECT seq FROM jobs
             WHERE fingerprint = ?1 AND client = ?2 AND state IN ('queued', 'running')
             ORDER BY seq LIMIT 1",
        )?
        .query_row(params![fingerprint, client], |row| row.get(0))
        .optional()?;
    seq.map(|seq| Ok((seq, by_seq(conn, seq)?))).transpose()
}

fn by_seq(conn: &Connection, seq: i64) -> rusqlite::Result<Job> {
    conn.prepare_cached(select_job!("WHERE jobs.seq = ?1"))?.query_row([seq], rows::job)
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
             input_bytes, input_sha256, input_in_file, duration_s, callback_url, fingerprint)
         VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
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
        callback: request.callback.map(|url| Callback {
            url,
            state: DeliveryState::Pending,
            attempts: 0,
            next_attempt_at: None,
            last_error: None,
        }),
    }
}

/// Takes the oldest ready job; `None` where there is none.
pub(super) fn claim(tx: &mut Tx<'_>, now: Timestamp) -> rusqlite::Result<Option<Claimed>> {
    let taken = tx
        .conn
        .prepare_cached(concat!(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, fence = fence + 1,
                 started_at = ?1, error_code = NULL, error_message = NULL
             WHERE seq = (SELECT seq FROM jobs WHERE state = 'queued' AND ready_at IS NULL
                          ORDER BY seq LIMIT 1)
             RETURNING ",
            job_columns!(),
            ", seq, fence, input_in_file"
        ))?
        .query_row([now], |row| {
            Ok((rows::unfinished_job(row)?, row.get(17)?, rows::length(row, 18)?, row.get(19)?))
        })
        .optional()?;
    let Some((job, seq, fence, in_file)) = taken else { return Ok(None) };
    let body = if in_file { ClaimedBody::InFile } else { inline_body(tx.conn, seq)? };
    tx.counts.queued -= 1;
    tx.counts.running += 1;
    Ok(Some(Claimed { job, fence, body }))
}

fn inline_body(conn: &Connection, seq: i64) -> rusqlite::Result<ClaimedBody> {
    conn.prepare_cached("SELECT body FROM inputs WHERE job = ?1")?
        .query_row([seq], |row| row.get(0))
        .map(ClaimedBody::Inline)
}

/// Ends a job by its lease.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    lease: &Lease,
    outcome: Outcome,
    now: Timestamp,
    keep: Duration,
) -> rusqlite::Result<Recorded> {
    let (transition, failure) = match &outcome.result {
        Ok(_) => (Transition::Succeed, None),
        Err(failure) => (Transition::Fail, Some(failure)),
    };
    let ended = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, finished_at = ?2, expires_at = ?3, error_code = ?4,
                 error_message = ?5, duration_s = coalesce(?6, duration_s)
             WHERE id = ?7 AND state = 'running' AND fence = ?8
             RETURNING seq, input_in_file, callback_url",
        )?
        .query_row(
            params![
                running_after(transition).as_str(),
                now,
                now.after(keep),
                failure.map(|failure| &failure.code),
                failure.map(|failure| &failure.message),
                outcome.duration_s,
                lease.job.to_string(),
                signed(lease.fence),
            ],
            |row| Ok(Ended { seq: row.get(0)?, in_file: row.get(1)?, callback: row.get(2)? }),
        )
        .optional()?;
    let Some(ended) = ended else {
        if let Ok(output) = &outcome.result
            && let Some(name) = output_file(output)
        {
            tx.leave(Leftover::Output(name));
        }
        return Ok(Recorded::Stale);
    };
    if let Ok(output) = &outcome.result {
        insert_output(tx.conn, ended.seq, output)?;
    }
    tx.counts.running -= 1;
    settle(tx, lease.job, &ended, now)?;
    Ok(Recorded::Yes)
}

/// The state a running job is in after `transition`.
fn running_after(transition: Transition) -> State {
    State::Running.after(transition).expect("invariant: it can happen to a running job")
}

/// A job that has just reached a final state.
pub(super) struct Ended {
    pub(super) seq: i64,
    pub(super) in_file: bool,
    pub(super) callback: Option<String>,
}

/// Drops the input of a job that has ended, and sets its delivery due.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    id: JobId,
    ended: &Ended,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if ended.in_file {
        tx.leave(Leftover::Input(id));
    } else {
        tx.conn.prepare_cached("DELETE FROM inputs WHERE job = ?1")?.execute([ended.seq])?;
    }
    if let Some(url) = &ended.callback {
        tx.conn
            .prepare_cached(
                "INSERT INTO deliveries (job, id, url, host, state, due_at)
                 VALUES (?1, ?2, ?3, ?4, 'pending', ?5)",
            )?
            .execute(params![
                ended.seq,
                DeliveryId::new().to_string(),
                url,
                delivery_host(url),
                now
            ])?;
    }
    Ok(())
}

fn insert_output(conn: &Connection, seq: i64, output: &StoredOutput) -> rusqlite::Result<()> {
    let formats = to_json(&output.formats)?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO outputs (job, kind, body, file, file_name, file_type, file_bytes, formats)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    match &output.data {
        StoredData::Text(text) => insert.execute(params![
            seq,
            "text",
            text,
            None::<&str>,
            None::<&str>,
            None::<&str>,
            None::<i64>,
            formats
        ]),
        StoredData::Json(value) => insert.execute(params![
            seq,
            "json",
            to_json(value)?,
            None::<&str>,
            None::<&str>,
            None::<&str>,
            None::<i64>,
            formats
        ]),
        StoredData::File { name, content_type, bytes, .. } => insert.execute(params![
            seq,
            "file",
            None::<&str>,
            output_file(output),
            name,
            content_type,
            signed(*bytes),
            formats
        ]),
    }?;
    Ok(())
}

/// The name of an output's file in the spool, which is what the store keeps: the folder may be moved.
pub(super) fn output_file(output: &StoredOutput) -> Option<String> {
    match &output.data {
        StoredData::File { path, .. } => Some(path.file_name()?.to_str()?.to_owned()),
        StoredData::Text(_) | StoredData::Json(_) => None,
    }
}

/// Ends an attempt; the job waits for the next.
pub(super) fn retry(
    tx: &mut Tx<'_>,
    lease: &Lease,
    failure: &Failure,
    ready_at: Timestamp,
) -> rusqlite::Result<Recorded> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, ready_at = ?2, error_code = ?3, error_message = ?4
             WHERE id = ?5 AND state = 'running' AND fence = ?6",
        )?
        .execute(params![
            running_after(Transition::Retry).as_str(),
            ready_at,
            failure.code,
            failure.message,
            lease.job.to_string(),
            signed(lease.fence),
        ])?;
    if changed == 0 {
        return Ok(Recorded::Stale);
    }
    tx.counts.running -= 1;
    tx.counts.queued += 1;
    Ok(Recorded::Yes)
}

/// Gives an attempt back. The fence stays: the attempt's number is used again, its right is not.
pub(super) fn release(tx: &mut Tx<'_>, lease: &Lease) -> rusqlite::Result<Recorded> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, attempt = attempt - 1, ready_at = NULL
             WHERE id = ?2 AND state = 'running' AND fence = ?3",
        )?
        .execute(params![
            running_after(Transition::Release).as_str(),
            lease.job.to_string(),
            signed(lease.fence)
        ])?;
    if changed == 0 {
        return Ok(Recorded::Stale);
    }
    tx.counts.running -= 1;
    tx.counts.queued += 1;
    tx.announce(lease.job);
    Ok(Recorded::Yes)
}

/// Gives every attempt back: none of the leases is good any more.
pub(super) fn release_all(tx: &mut Tx<'_>) -> rusqlite::Result<usize> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, attempt = attempt - 1, ready_at = NULL
             WHERE state = 'running'",
        )?
        .execute([running_after(Transition::Release).as_str()])?;
    tx.counts.running -= changed;
    tx.counts.queued += changed;
    tx.refill();
    Ok(changed)
}

/// Ends a job that is not finished; deletes one that is.
pub(super) fn cancel(
    tx: &mut Tx<'_>,
    id: JobId,
    now: Timestamp,
    keep: Duration,
) -> rusqlite::Result<Option<Canceled>> {
    let found = tx
        .conn
        .prepare_cached("SELECT state, seq, input_in_file, callback_url FROM jobs WHERE id = ?1")?
        .query_row([id.to_string()], |row| {
            let ended = Ended { seq: row.get(1)?, in_file: row.get(2)?, callback: row.get(3)? };
            Ok((rows::state(row, 0)?, ended))
        })
        .optional()?;
    let Some((state, ended)) = found else { return Ok(None) };
    let Some(next) = state.after(Transition::Cancel) else {
        forget(tx, ended.seq)?;
        return Ok(Some(Canceled::Forgotten));
    };
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, finished_at = ?2, expires_at = ?3, ready_at = NULL,
                 error_code = NULL, error_message = NULL
             WHERE seq = ?4",
        )?
        .execute(params![next.as_str(), now, now.after(keep), ended.seq])?;
    settle(tx, id, &ended, now)?;
    if state == State::Running {
        tx.counts.running -= 1;
        Ok(Some(Canceled::Running))
    } else {
        tx.counts.queued -= 1;
        Ok(Some(Canceled::Queued))
    }
}

/// Deletes a finished job and everything that hangs on it.
pub(super) fn forget(tx: &mut Tx<'_>, seq: i64) -> rusqlite::Result<()> {
    let file: Option<String> = tx
        .conn
        .prepare_cached("SELECT file FROM outputs WHERE job = ?1 AND file IS NOT NULL")?
        .query_row([seq], |row| row.get(0))
        .optional()?;
    if let Some(name) = file {
        tx.leave(Leftover::Output(name));
    }
    tx.conn.prepare_cached("DELETE FROM jobs WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

/// One job.
pub(super) fn get(conn: &Connection, id: JobId) -> rusqlite::Result<Option<Job>> {
    conn.prepare_cached(select_job!("WHERE jobs.id = ?1"))?
        .query_row([id.to_string()], rows::job)
        .optional()
}

/// What a succeeded job gave.
pub(super) fn output(
    conn: &Connection,
    id: JobId,
    spool: &Spool,
) -> rusqlite::Result<Option<StoredOutput>> {
    conn.prepare_cached(
        "SELECT outputs.kind, outputs.body, outputs.file, outputs.file_name, outputs.file_type,
             outputs.file_bytes, outputs.formats
         FROM outputs JOIN jobs ON jobs.seq = outputs.job WHERE jobs.id = ?1",
    )?
    .query_row([id.to_string()], |row| rows::output(row, spool))
    .optional()
}

/// Jobs, newest first.
pub(super) fn list(conn: &Connection, page: &Page) -> rusqlite::Result<Vec<Job>> {
    // No id is greater than this one.
    const LAST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let after = page.after.map_or_else(|| LAST.to_owned(), |id| id.to_string());
    match page.state {
        None => conn
            .prepare_cached(select_job!("WHERE jobs.id < ?1 ORDER BY jobs.id DESC LIMIT ?2"))?
            .query_map(params![after, limit], rows::job)?
            .collect(),
        Some(state) => conn
            .prepare_cached(select_job!(
                "WHERE jobs.state = ?3 AND jobs.id < ?1 ORDER BY jobs.id DESC LIMIT ?2"
            ))?
            .query_map(params![after, limit, state.as_str()], rows::job)?
            .collect(),
    }
}

/// What will be claimed before a queued job. Jobs that wait for a time stand in nobody's way.
pub(super) fn ahead(conn: &Connection, id: JobId) -> rusqlite::Result<Option<Ahead>> {
    let seq: Option<i64> = conn
        .prepare_cached("SELECT seq FROM jobs WHERE id = ?1 AND state = 'queued'")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    let Some(seq) = seq else { return Ok(None) };
    conn.prepare_cached(
        "SELECT count(*), coalesce(sum(input_bytes), 0) FROM jobs
         WHERE state = 'queued' AND ready_at IS NULL AND seq < ?1",
    )?
    .query_row([seq], |row| {
        Ok(Some(Ahead { jobs: rows::length(row, 0)?, bytes: rows::length(row, 1)? }))
    })
}
