//! Deliveries and their ledger.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use super::writer::Tx;
use crate::job::{DeliveryAttempt, DeliveryId, DeliveryState, JobId, Timestamp};
use crate::queue::NextDelivery;

/// When the first delivery after `now` is due, to whichever host.
pub(super) fn next_after(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(
        "SELECT due_at FROM deliveries INDEXED BY deliveries_by_time
         WHERE state = 'pending' AND due_at > ?1 ORDER BY due_at LIMIT 1",
    )?
    .query_row([now], |row| row.get(0))
    .optional()
}

/// Writes one POST down, and returns the delivery's host. Nothing is done where the delivery has
/// ended or was deleted meanwhile.
pub(super) fn record(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
    attempt: &DeliveryAttempt,
    next: NextDelivery,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let (state, due_at) = match next {
        NextDelivery::Delivered => (DeliveryState::Delivered, None),
        NextDelivery::At(time) => (DeliveryState::Pending, Some(time)),
        NextDelivery::Dead => (DeliveryState::Dead, None),
    };
    let moved: Option<(i64, Vec<u8>)> = tx
        .conn
        .prepare_cached(
            "UPDATE deliveries SET state = ?1, attempts = ?2, due_at = ?3, last_error = ?4
             WHERE id = ?5 AND state = 'pending'
             RETURNING job, host",
        )?
        .query_row(
            params![
                rows::delivery_word(state),
                attempt.attempt,
                due_at,
                attempt.error,
                delivery.to_string()
            ],
            |row| Ok((row.get(0)?, row.get_ref(1)?.as_bytes()?.to_vec())),
        )
        .optional()?;
    let Some((job, host)) = moved else { return Ok(None) };
    if state != DeliveryState::Pending {
        tx.conn.prepare_cached("UPDATE jobs SET held = 0 WHERE seq = ?1")?.execute([job])?;
        tx.counts.deliveries -= 1;
    }
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO delivery_attempts
                 (job, attempt, at, status, latency_ms, error, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            job,
            attempt.attempt,
            attempt.at,
            attempt.status,
            rows::signed(attempt.latency_ms),
            attempt.error,
            attempt.next_attempt_at,
        ])?;
    Ok(Some(host))
}

/// The ledger of a job's delivery.
pub(super) fn ledger(
    conn: &Connection,
    id: JobId,
) -> rusqlite::Result<Option<Vec<DeliveryAttempt>>> {
    let job: Option<i64> = conn
        .prepare_cached("SELECT seq FROM jobs WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    let Some(job) = job else { return Ok(None) };
    conn.prepare_cached(
        "SELECT attempt, at, status, latency_ms, error, next_attempt_at
         FROM delivery_attempts WHERE job = ?1 ORDER BY attempt",
    )?
    .query_map([job], rows::delivery_attempt)?
    .collect::<rusqlite::Result<_>>()
    .map(Some)
}
