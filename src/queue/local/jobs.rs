//! The transitions of jobs, each inside the writer's transaction.

use std::borrow::Cow;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::backlog::Entry;
use super::rows::{self, queued_columns, signed, to_json};
use super::writer::{Leftover, Tx};
use crate::job::{DeliveryId, Failure, JobId, State, Timestamp, Transition};
use crate::queue::{Canceled, LeaseId, Outcome, Recorded, StoredData, StoredOutput, delivery_host};

/// Ends a job by its lease.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    outcome: &Outcome,
    now: Timestamp,
    keep: Duration,
) -> rusqlite::Result<Recorded> {
    let (transition, failure, warnings) = match &outcome.result {
        Ok(output) => (Transition::Succeed, None, output.warnings.as_slice()),
        Err(failure) => (Transition::Fail, Some(failure), [].as_slice()),
    };
    let warnings = (!warnings.is_empty()).then(|| to_json(&warnings)).transpose()?;
    let ended = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, finished_at = ?2, expires_at = ?3, error_code = ?4,
                 error_message = ?5, duration_s = coalesce(?6, duration_s), warnings = ?7,
                 held = callback_url IS NOT NULL
             WHERE id = ?8 AND state = 'running' AND fence = ?9
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
                warnings,
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
pub(super) fn running_after(transition: Transition) -> State {
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
                "INSERT INTO deliveries (job, id, url, host, state, due_at, sender)
                 VALUES (?1, ?2, ?3, ?4, 'pending', ?5,
                         coalesce((SELECT sender FROM jobs WHERE seq = ?1), ''))
                 ON CONFLICT (job) DO NOTHING",
            )?
            .execute(params![
                ended.seq,
                DeliveryId::new().to_string(),
                url,
                delivery_host(url),
                now
            ])?;
        tx.counts.deliveries += 1;
    }
    Ok(())
}

fn insert_output(conn: &Connection, seq: i64, output: &StoredOutput) -> rusqlite::Result<()> {
    let (kind, body) = match &output.data {
        StoredData::Text(text) => ("text", Some(Cow::Borrowed(text.as_str()))),
        StoredData::Json(value) => ("json", Some(Cow::Owned(to_json(value)?))),
        StoredData::File { .. } => ("file", None),
    };
    let (name, content_type, bytes) = match &output.data {
        StoredData::File { name, content_type, bytes, .. } => {
            (Some(name), Some(content_type), Some(signed(*bytes)))
        }
        StoredData::Text(_) | StoredData::Json(_) => (None, None, None),
    };
    let file = output_file(output);
    let formats = to_json(&output.formats)?;
    conn.prepare_cached(
        "INSERT INTO outputs (job, kind, body, file, file_name, file_type, file_bytes, formats)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![seq, kind, body, file, name, content_type, bytes, formats])?;
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
    lease: LeaseId,
    failure: &Failure,
    ready_at: Timestamp,
) -> rusqlite::Result<Recorded> {
    let queued = tx
        .conn
        .prepare_cached(concat!(
            "UPDATE jobs SET state = ?1, ready_at = ?2, error_code = ?3, error_message = ?4
             WHERE id = ?5 AND state = 'running' AND fence = ?6
             RETURNING ",
            queued_columns!()
        ))?
        .query_row(
            params![
                running_after(Transition::Retry).as_str(),
                ready_at,
                failure.code,
                failure.message,
                lease.job.to_string(),
                signed(lease.fence),
            ],
            |row| rows::queued(row, false),
        )
        .optional()?;
    let Some((seq, entry)) = queued else { return Ok(Recorded::Stale) };
    tx.counts.running -= 1;
    tx.queue(seq, entry);
    Ok(Recorded::Yes)
}

/// Ends an attempt that does not count; the job waits for the next.
pub(super) fn put_off(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    failure: &Failure,
    ready_at: Timestamp,
) -> rusqlite::Result<Recorded> {
    let queued = tx
        .conn
        .prepare_cached(concat!(
            "UPDATE jobs SET state = ?1, attempt = max(attempt - 1, 0), ready_at = ?2,
                 error_code = ?3, error_message = ?4
             WHERE id = ?5 AND state = 'running' AND fence = ?6
             RETURNING ",
            queued_columns!()
        ))?
        .query_row(
            params![
                running_after(Transition::Release).as_str(),
                ready_at,
                failure.code,
                failure.message,
                lease.job.to_string(),
                signed(lease.fence),
            ],
            |row| rows::queued(row, false),
        )
        .optional()?;
    let Some((seq, entry)) = queued else { return Ok(Recorded::Stale) };
    tx.counts.running -= 1;
    tx.queue(seq, entry);
    Ok(Recorded::Yes)
}

/// Gives an attempt back. The fence stays: the attempt's number is used again, its right is not.
pub(super) fn release(tx: &mut Tx<'_>, lease: LeaseId) -> rusqlite::Result<Recorded> {
    let queued = tx
        .conn
        .prepare_cached(concat!(
            "UPDATE jobs SET state = ?1, attempt = max(attempt - 1, 0), ready_at = NULL
             WHERE id = ?2 AND state = 'running' AND fence = ?3
             RETURNING ",
            queued_columns!()
        ))?
        .query_row(
            params![
                running_after(Transition::Release).as_str(),
                lease.job.to_string(),
                signed(lease.fence)
            ],
            |row| rows::queued(row, true),
        )
        .optional()?;
    let Some((seq, entry)) = queued else { return Ok(Recorded::Stale) };
    tx.counts.running -= 1;
    tx.queue(seq, entry);
    tx.announce(lease.job);
    Ok(Recorded::Yes)
}

/// Gives every attempt back: none of the leases is good any more.
pub(super) fn release_all(tx: &mut Tx<'_>) -> rusqlite::Result<usize> {
    let queued: Vec<(i64, Entry)> = tx
        .conn
        .prepare_cached(concat!(
            "UPDATE jobs SET state = ?1, attempt = max(attempt - 1, 0), ready_at = NULL
             WHERE state = 'running'
             RETURNING ",
            queued_columns!()
        ))?
        .query_map([running_after(Transition::Release).as_str()], |row| rows::queued(row, true))?
        .collect::<rusqlite::Result<_>>()?;
    let released = queued.len();
    tx.counts.running -= released;
    for (seq, entry) in queued {
        tx.queue(seq, entry);
    }
    tx.refill();
    Ok(released)
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
                 error_code = NULL, error_message = NULL, held = callback_url IS NOT NULL
             WHERE seq = ?4",
        )?
        .execute(params![next.as_str(), now, now.after(keep), ended.seq])?;
    settle(tx, id, &ended, now)?;
    if state == State::Running {
        tx.counts.running -= 1;
        Ok(Some(Canceled::Running))
    } else {
        tx.unqueue(ended.seq);
        Ok(Some(Canceled::Queued))
    }
}

/// Deletes a finished job and everything that hangs on it.
pub(super) fn forget(tx: &mut Tx<'_>, seq: i64) -> rusqlite::Result<()> {
    let file = tx
        .conn
        .prepare_cached("SELECT file FROM outputs WHERE job = ?1 AND file IS NOT NULL")?
        .query_row([seq], |row| row.get::<_, String>(0))
        .optional();
    if let Some(name) = rows::undamaged(file).transpose()?.flatten() {
        tx.leave(Leftover::Output(name));
    }
    let was_pending = tx
        .conn
        .prepare_cached("SELECT 1 FROM deliveries WHERE job = ?1 AND state = 'pending'")?
        .exists([seq])?;
    tx.conn.prepare_cached("DELETE FROM jobs WHERE seq = ?1")?.execute([seq])?;
    if was_pending {
        tx.counts.deliveries -= 1;
    }
    Ok(())
}
