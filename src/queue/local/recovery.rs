//! The first thing a store does when it is opened: take back what the last process left.
//!
//! A job that still runs in the store was running when the process died, and may be the cause. It
//! becomes a suspect, and is given up only when the process died during its last attempt, which ran
//! alone. A job that died beside others always has an attempt left.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::backlog::SharedBacklog;
use super::jobs::{self, Ended};
use super::rows;
use super::writer::{Counts, Tx};
use super::{Limits, Recovered};
use crate::job::{Failure, JobId, State, Timestamp, Transition, retry_wait};
use crate::queue::{LeaseId, Outcome, QueueError, Recorded, TakenBack};
use crate::spool::{Spool, Stray};

/// Queues what was running, gives up what has been running too often, deletes files without a job.
pub(super) fn recover(
    conn: &mut Connection,
    spool: &Spool,
    limits: &Limits,
    now: Timestamp,
) -> Result<(Recovered, Counts), QueueError> {
    let transaction = conn.transaction()?;
    let queued = count(&transaction, "SELECT count(*) FROM jobs WHERE state = 'queued'")?;
    let given_up = give_up_worn_out(&transaction, limits, now)?;
    let interrupted = transaction.execute(
        "UPDATE jobs SET state = ?1, ready_at = NULL, crashes = min(crashes, 4294967294) + 1,
             attempt = min(attempt, ?2)
         WHERE state = 'running'",
        params![State::Queued.as_str(), limits.max_attempts.saturating_sub(1)],
    )?;
    let deliveries =
        count(&transaction, "SELECT count(*) FROM deliveries WHERE state = 'pending'")?;
    transaction.commit()?;
    tidy(conn, spool, limits.keep)?;
    let counts = Counts { queued: queued + interrupted, running: 0, deliveries };
    Ok((Recovered { queued, interrupted, given_up, deliveries }, counts))
}

/// Fails the jobs that were alone in the process when it died, in their last attempt.
fn give_up_worn_out(conn: &Connection, limits: &Limits, now: Timestamp) -> rusqlite::Result<usize> {
    let worn_out: Vec<(JobId, Ended)> = conn
        .prepare(
            "SELECT id, seq, input_in_file, callback_url FROM jobs
             WHERE state = 'running' AND alone AND attempt >= ?1",
        )?
        .query_map([limits.max_attempts], |row| {
            let ended = Ended { seq: row.get(1)?, in_file: row.get(2)?, callback: row.get(3)? };
            Ok((rows::parsed(row, 0)?, ended))
        })?
        .filter_map(rows::undamaged)
        .collect::<rusqlite::Result<_>>()?;
    // Nothing is announced and no count kept: that begins when everything is taken back.
    let nothing_queued = SharedBacklog::default();
    let mut tx = Tx::new(conn, Counts::default(), &nothing_queued);
    for (id, ended) in &worn_out {
        give_up(&mut tx, *id, ended, limits, now)?;
    }
    Ok(worn_out.len())
}

/// Fails a running job for good.
fn give_up(
    tx: &mut Tx<'_>,
    id: JobId,
    ended: &Ended,
    limits: &Limits,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let failed = State::Running.after(Transition::Fail);
    let failed = failed.expect("invariant: it can happen to a running job");
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, finished_at = ?2, expires_at = ?3,
                 error_code = 'gave_up', error_message = ?4, held = callback_url IS NOT NULL
             WHERE seq = ?5",
        )?
        .execute(params![
            failed.as_str(),
            now,
            now.after(limits.keep),
            "the server died during this job's attempts, at last while no other job was running",
            ended.seq,
        ])?;
    jobs::settle(tx, id, ended, now)
}

/// Attempts of one job that may end for want of room without counting; the waits between them are two
/// and a half hours together.
const UNCOUNTED: u64 = 10;

/// Why an attempt had no outcome.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// There was no room for it, or for what the task wanted to write.
    NoRoom(Failure),
    /// The store did not have it for another reason.
    Lost,
}

impl Cause {
    /// The outcome found no room in the store.
    pub(super) fn no_room() -> Cause {
        Cause::NoRoom(Failure {
            code: "disk_full".into(),
            message: "the server's disk had no room for the outcome".into(),
        })
    }
}

/// Queues a running job again whose attempt ended without an outcome, or fails it after its last
/// attempt. It waits as long as after any other failure: what could not be stored may well
/// fail again. For want of room it waits without the attempt being counted, a bounded number of times.
pub(super) fn take_back(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    cause: &Cause,
    limits: &Limits,
    now: Timestamp,
) -> rusqlite::Result<TakenBack> {
    let attempt: Option<u32> = tx
        .conn
        .prepare_cached("SELECT attempt FROM jobs WHERE id = ?1 AND state = 'running'")?
        .query_row([lease.job.to_string()], |row| row.get(0))
        .optional()?;
    let Some(attempt) = attempt else { return Ok(TakenBack::Stale) };
    // The fence grows with every attempt, the number only with those that count.
    let uncounted = lease.fence.saturating_sub(attempt.into());
    let failure = match cause {
        Cause::NoRoom(failure) if uncounted < UNCOUNTED => {
            let ready_at = now.after(retry_wait(uncounted as u32 + 1));
            return Ok(match jobs::put_off(tx, lease, failure, ready_at)? {
                Recorded::Yes => TakenBack::Queued,
                Recorded::Stale => TakenBack::Stale,
            });
        }
        Cause::NoRoom(failure) => failure.clone(),
        Cause::Lost => Failure {
            code: "store".into(),
            message: "the server could not store how the attempt ended".into(),
        },
    };
    let (recorded, taken_back) = if attempt < limits.max_attempts {
        let ready_at = now.after(retry_wait(attempt));
        (jobs::retry(tx, lease, &failure, ready_at)?, TakenBack::Queued)
    } else {
        let outcome = Outcome { result: Err(failure), duration_s: None };
        (jobs::finish(tx, lease, &outcome, now, limits.keep)?, TakenBack::Failed)
    };
    Ok(match recorded {
        Recorded::Yes => taken_back,
        Recorded::Stale => TakenBack::Stale,
    })
}

/// Clears the spool of files that no row refers to: those of a job that has ended are deleted, and those of
/// a job that is not in the store are set aside. A store that was damaged, or is an old copy, has
/// lost jobs whose files are all that is left of them.
fn tidy(conn: &Connection, spool: &Spool, keep: Duration) -> Result<(), QueueError> {
    let inputs: HashSet<JobId> = conn
        .prepare("SELECT id FROM jobs WHERE state IN ('queued', 'running') AND input_in_file")?
        .query_map([], |row| rows::parsed(row, 0))?
        .filter_map(rows::undamaged)
        .collect::<rusqlite::Result<_>>()?;
    let outputs: HashSet<String> = conn
        .prepare("SELECT file FROM outputs WHERE file IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .filter_map(rows::undamaged)
        .collect::<rusqlite::Result<_>>()?;
    let failed = |error| QueueError(format!("the spool cannot be tidied: {error}"));
    let (mut deleted, mut aside) = (spool.clear_aside(keep).map_err(failed)?, 0);
    for stray in spool.strays(&inputs, &outputs).map_err(failed)? {
        if is_of_a_job(conn, &stray)? {
            stray.delete().map_err(failed)?;
            deleted += 1;
        } else {
            spool.set_aside(&stray).map_err(failed)?;
            aside += 1;
        }
    }
    if deleted > 0 {
        log::info!("{deleted} files of ended jobs are deleted");
    }
    if aside > 0 {
        log::warn!(
            "{aside} files belong to no job of the store and are moved to {}; a start deletes them \
             after --keep",
            spool.aside().display()
        );
    }
    Ok(())
}

fn is_of_a_job(conn: &Connection, stray: &Stray) -> rusqlite::Result<bool> {
    let Some(job) = stray.job() else { return Ok(false) };
    conn.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?.exists([job.to_string()])
}

fn count(conn: &Connection, sql: &str) -> rusqlite::Result<usize> {
    let rows = conn.query_row(sql, [], |row| rows::length(row, 0))?;
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}
