//! Deliveries and their ledger.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use super::writer::Tx;
use crate::job::{Delivery, DeliveryAttempt, DeliveryId, DeliveryState, JobId, Timestamp};
use crate::queue::{NextDelivery, PER_HOST, Skip};

/// A host with pending deliveries, and when the first of them is due.
struct Host {
    /// Text, unless the row is damaged: one such host must not stand before those behind it.
    name: Vec<u8>,
    first_due: Timestamp,
}

/// The next host after `name` in the order of names: one step in the index, however many deliveries
/// wait for each.
fn host_after(conn: &Connection, name: Option<&[u8]>) -> rusqlite::Result<Option<Host>> {
    let host = |row: &rusqlite::Row<'_>| {
        Ok(Host { name: row.get_ref(0)?.as_bytes()?.to_vec(), first_due: row.get(1)? })
    };
    match name {
        None => conn
            .prepare_cached(
                "SELECT host, due_at FROM deliveries
                 WHERE state = 'pending' AND due_at IS NOT NULL
                 ORDER BY host, due_at LIMIT 1",
            )?
            .query_row([], host),
        Some(name) => conn
            .prepare_cached(
                "SELECT host, due_at FROM deliveries
                 WHERE state = 'pending' AND due_at IS NOT NULL AND host > CAST(?1 AS TEXT)
                 ORDER BY host, due_at LIMIT 1",
            )?
            .query_row([name], host),
    }
    .optional()
}

/// The hosts that `skip` does not leave out.
fn hosts(conn: &Connection, skip: &Skip) -> rusqlite::Result<Vec<Host>> {
    let parked: HashSet<&[u8]> = skip.hosts.iter().map(String::as_bytes).collect();
    let mut hosts = Vec::new();
    let mut last = None;
    while let Some(host) = host_after(conn, last.as_deref())? {
        last = Some(host.name.clone());
        if !parked.contains(&*host.name) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

/// The first pending deliveries to one host that are due by `by` and not busy, with their times.
fn first_to(
    conn: &Connection,
    host: &[u8],
    by: Timestamp,
    busy: &HashSet<DeliveryId>,
    limit: usize,
) -> rusqlite::Result<Vec<(Timestamp, Delivery)>> {
    let mut statement = conn.prepare_cached(
        "SELECT d.id, jobs.id, d.url, d.attempts, d.due_at
         FROM deliveries AS d JOIN jobs ON jobs.seq = d.job
         WHERE d.state = 'pending' AND d.host = CAST(?1 AS TEXT) AND d.due_at <= ?2
         ORDER BY d.due_at",
    )?;
    let mut found = Vec::with_capacity(limit);
    let mut rows = statement.query(params![host, by])?;
    while let Some(row) = rows.next()? {
        let Some(delivery) = rows::undamaged(rows::delivery(row)).transpose()? else { continue };
        if busy.contains(&delivery.id) {
            continue;
        }
        found.push((row.get(4)?, delivery));
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}

/// Due deliveries, longest due first, and a few to each host at most.
pub(super) fn due(
    conn: &Connection,
    now: Timestamp,
    skip: &Skip,
    limit: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    let busy: HashSet<DeliveryId> = skip.busy.iter().copied().collect();
    let mut due = Vec::new();
    for host in hosts(conn, skip)? {
        if host.first_due <= now {
            due.extend(first_to(conn, &host.name, now, &busy, PER_HOST)?);
        }
    }
    due.sort_by_key(|(due_at, delivery)| (*due_at, delivery.id));
    due.truncate(limit);
    Ok(due.into_iter().map(|(_, delivery)| delivery).collect())
}

/// When the next delivery is due.
pub(super) fn next_due(conn: &Connection, skip: &Skip) -> rusqlite::Result<Option<Timestamp>> {
    let busy: HashSet<DeliveryId> = skip.busy.iter().copied().collect();
    let mut next: Option<Timestamp> = None;
    for host in hosts(conn, skip)? {
        if next.is_some_and(|next| next <= host.first_due) {
            continue;
        }
        let end_of_time = Timestamp::from_micros(i64::MAX);
        let first = first_to(conn, &host.name, end_of_time, &busy, 1)?;
        let first = first.into_iter().next().map(|(due_at, _)| due_at);
        next = [next, first].into_iter().flatten().min();
    }
    Ok(next)
}

/// When the first delivery after `now` is due, to whichever host.
pub(super) fn next_after(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(
        "SELECT due_at FROM deliveries INDEXED BY deliveries_by_time
         WHERE state = 'pending' AND due_at > ?1 ORDER BY due_at LIMIT 1",
    )?
    .query_row([now], |row| row.get(0))
    .optional()
}

/// Writes one POST down. Nothing is done where the delivery has ended or was deleted meanwhile.
pub(super) fn record(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
    attempt: &DeliveryAttempt,
    next: NextDelivery,
) -> rusqlite::Result<()> {
    let (state, due_at) = match next {
        NextDelivery::Delivered => (DeliveryState::Delivered, None),
        NextDelivery::At(time) => (DeliveryState::Pending, Some(time)),
        NextDelivery::Dead => (DeliveryState::Dead, None),
    };
    let job: Option<i64> = tx
        .conn
        .prepare_cached(
            "UPDATE deliveries SET state = ?1, attempts = ?2, due_at = ?3, last_error = ?4
             WHERE id = ?5 AND state = 'pending'
             RETURNING job",
        )?
        .query_row(
            params![
                rows::delivery_word(state),
                attempt.attempt,
                due_at,
                attempt.error,
                delivery.to_string()
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(job) = job else { return Ok(()) };
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
    Ok(())
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
