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

/// Readies up to [`PORTION`] of the jobs whose time has come. Returns how many.
pub(super) fn ready(tx: &mut Tx<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    let mut readied: Vec<(i64, JobId)> = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET ready_at = NULL
             WHERE seq IN (SELECT seq FROM jobs INDEXED BY jobs_waiting
                           WHERE state = 'queued' AND ready_at IS NOT NULL AND ready_at <= ?1
                           ORDER BY ready_at LIMIT ?2)
             RETURNING seq, id",
        )?
        .query_map(params![now, PORTION as i64], |row| Ok((row.get(0)?, rows::parsed(row, 1)?)))?
        .filter_map(rows::undamaged)
        .collect::<rusqlite::Result<_>>()?;
    readied.sort_unstable();
    for (seq, id) in &readied {
        tx.make_ready(*seq);
        tx.announce(*id);
    }
    // Should word of a ready job ever have been lost, this is where it is made good.
    tx.refill();
    Ok(readied.len())
}

/// Deletes up to [`PORTION`] finished jobs that were kept long enough and have nothing left to deliver,
/// or have not got it delivered in [`DELIVERY_GRACE`] more. Returns how many.
pub(super) fn forget_expired(tx: &mut Tx<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    let mut expired: Vec<i64> = Vec::new();
    for (held, by) in [(false, now), (true, now.before(DELIVERY_GRACE))] {
        let room = PORTION - expired.len();
        let found = tx
            .conn
            .prepare_cached(
                "SELECT seq FROM jobs INDEXED BY jobs_expiring
                 WHERE expires_at IS NOT NULL AND held = ?1 AND expires_at <= ?2
                 ORDER BY expires_at LIMIT ?3",
            )?
            .query_map(params![held, by, room as i64], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        expired.extend(found);
    }
    for seq in &expired {
        jobs::forget(tx, *seq)?;
    }
    Ok(expired.len())
}

/// When there will be something to do again.
pub(super) fn next(conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let retry: Option<Timestamp> = conn
        .prepare_cached(
            "SELECT min(ready_at) FROM jobs INDEXED BY jobs_waiting
             WHERE state = 'queued' AND ready_at IS NOT NULL",
        )?
        .query_row([], |row| row.get(0))?;
    let first_to_expire = |held: bool| -> rusqlite::Result<Option<Timestamp>> {
        conn.prepare_cached(
            "SELECT min(expires_at) FROM jobs INDEXED BY jobs_expiring
             WHERE expires_at IS NOT NULL AND held = ?1",
        )?
        .query_row([held], |row| row.get(0))
    };
    let held = first_to_expire(true)?.map(|at| at.after(DELIVERY_GRACE));
    Ok([retry, first_to_expire(false)?, held].into_iter().flatten().min())
}
