//! What only time brings: retries that may begin, jobs that were kept long enough.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::jobs;
use super::rows;
use super::writer::Tx;
use crate::job::{JobId, Timestamp};

/// Jobs deleted in one transaction, so that nobody waits long behind a sweep.
pub(super) const PORTION: usize = 500;

/// How much longer than its time a job is kept while its delivery is pending. The schedule of attempts
/// ends after about three days; only a host that is parked again and again can take longer.
const DELIVERY_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Readies the jobs whose time has come. Returns how many.
pub(super) fn ready(tx: &mut Tx<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    let mut readied: Vec<(i64, JobId)> = tx
        .conn
        .prepare_cached(
            "UPDATE jobs INDEXED BY jobs_waiting SET ready_at = NULL
             WHERE state = 'queued' AND ready_at IS NOT NULL AND ready_at <= ?1
             RETURNING seq, id",
        )?
        .query_map([now], |row| Ok((row.get(0)?, rows::parsed(row, 1)?)))?
        .filter_map(rows::undamaged)
        .collect::<rusqlite::Result<_>>()?;
    readied.sort_unstable();
    for (_, id) in &readied {
        tx.announce(*id);
    }
    // Should word of a ready job ever have been lost, this is where it is made good.
    tx.refill();
    Ok(readied.len())
}

/// Deletes up to [`PORTION`] finished jobs that were kept long enough and have nothing left to deliver,
/// or have not got it delivered in [`DELIVERY_GRACE`] more. Returns how many.
pub(super) fn forget_expired(tx: &mut Tx<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    let long_ago = now.before(DELIVERY_GRACE);
    let expired: Vec<i64> = tx
        .conn
        .prepare_cached(
            "SELECT seq FROM jobs WHERE expires_at IS NOT NULL AND expires_at <= ?1
                 AND (expires_at <= ?2
                      OR NOT EXISTS (SELECT 1 FROM deliveries
                                     WHERE deliveries.job = jobs.seq
                                         AND deliveries.state = 'pending'))
             ORDER BY expires_at LIMIT ?3",
        )?
        .query_map(params![now, long_ago, PORTION as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for seq in &expired {
        jobs::forget(tx, *seq)?;
    }
    Ok(expired.len())
}

/// When there will be something to do again.
pub(super) fn next(conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(
        "SELECT min(at) FROM (
             SELECT min(ready_at) AS at FROM jobs INDEXED BY jobs_waiting
                 WHERE state = 'queued' AND ready_at IS NOT NULL
             UNION ALL
             SELECT * FROM (
                 SELECT expires_at FROM jobs WHERE expires_at IS NOT NULL
                     AND NOT EXISTS (SELECT 1 FROM deliveries
                                     WHERE deliveries.job = jobs.seq
                                         AND deliveries.state = 'pending')
                 ORDER BY expires_at LIMIT 1))",
    )?
    .query_row([], |row| row.get(0))
}
