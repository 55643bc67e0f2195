//! The beginning of an attempt, inside the writer's transaction.
//!
//! A job that was running when the process died is a suspect. The last attempt of a suspect runs
//! alone: no other attempt runs beside it, so that its death tells on no other job. While the oldest
//! ready job waits to be alone, no job behind it is claimed: the wait is as long as the attempts
//! that run already.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::jobs::running_after;
use super::rows::{self, job_columns};
use super::writer::Tx;
use crate::job::{Job, Timestamp, Transition};
use crate::queue::lease::{Company, HeldBack, Leases, Slot, Vacancy};

/// How a claim went.
pub(super) enum Claiming {
    Taken(Box<Claimed>),
    /// A job is ready, and must not begin yet.
    HeldBack(HeldBack),
    /// No job is ready.
    NoneReady,
}

/// A claim, before the input's file has been looked for.
pub(super) struct Claimed {
    pub(super) job: Job,
    pub(super) fence: u64,
    pub(super) body: ClaimedBody,
    pub(super) slot: Slot,
}

/// Where a claimed job's input is.
pub(super) enum ClaimedBody {
    Inline(Vec<u8>),
    InFile,
}

/// The bounds that a claim looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) max_attempts: u32,
    pub(super) keep: Duration,
}

/// Takes the oldest ready job. One whose row is damaged is failed, and the next taken: it would
/// stand before all others for ever.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    leases: &Arc<Leases>,
    bounds: Bounds,
    now: Timestamp,
) -> rusqlite::Result<Claiming> {
    let vacancy = match leases.company() {
        Ok(vacancy) => vacancy,
        Err(held_back) => return Ok(Claiming::HeldBack(held_back)),
    };
    loop {
        match take_oldest(tx, vacancy, bounds, now)? {
            None => break,
            Some(Ok(Taken { job, fence, body, company })) => {
                let slot = leases.begin(company);
                let claimed = Claimed { job, fence, body, slot };
                return Ok(Claiming::Taken(Box::new(claimed)));
            }
            Some(Err(Damaged { seq, why })) => {
                log::error!("job {seq} in the store is damaged, and given up: {why}");
                give_up_damaged(tx, seq, now, bounds.keep)?;
            }
        }
    }
    Ok(match vacancy {
        Vacancy::WithOthers(held_back) if is_one_ready(tx.conn)? => Claiming::HeldBack(held_back),
        Vacancy::WithOthers(_) | Vacancy::Any => Claiming::NoneReady,
    })
}

/// A job that is running now.
struct Taken {
    job: Job,
    fence: u64,
    body: ClaimedBody,
    company: Company,
}

/// A job whose row cannot be read.
struct Damaged {
    seq: i64,
    why: rusqlite::Error,
}

fn take_oldest(
    tx: &mut Tx<'_>,
    vacancy: Vacancy,
    bounds: Bounds,
    now: Timestamp,
) -> rusqlite::Result<Option<Result<Taken, Damaged>>> {
    let taken = tx
        .conn
        .prepare_cached(concat!(
            "UPDATE jobs SET state = 'running', attempt = min(attempt, 4294967294) + 1,
                 fence = min(fence, 9223372036854775806) + 1, started_at = ?1,
                 alone = (crashes > 0 AND attempt + 1 >= ?2),
                 error_code = NULL, error_message = NULL
             WHERE seq = (SELECT seq FROM jobs INDEXED BY jobs_ready
                          WHERE state = 'queued' AND ready_at IS NULL ORDER BY seq LIMIT 1)
                 AND (?3 OR NOT (crashes > 0 AND attempt + 1 >= ?2))
             RETURNING ",
            job_columns!(),
            ", seq, fence, input_in_file, alone"
        ))?
        .query_row(params![now, bounds.max_attempts, vacancy == Vacancy::Any], |row| {
            let seq: i64 = row.get(rows::JOB_COLUMNS)?;
            let read = || {
                let fence = rows::length(row, rows::JOB_COLUMNS + 1)?;
                let company = match row.get(rows::JOB_COLUMNS + 3)? {
                    true => Company::Alone,
                    false => Company::Others,
                };
                let in_file: bool = row.get(rows::JOB_COLUMNS + 2)?;
                Ok((rows::unfinished_job(row)?, fence, in_file, company))
            };
            Ok((seq, read()))
        })
        .optional()?;
    let Some((seq, read)) = taken else { return Ok(None) };
    tx.unqueue(seq);
    let (job, fence, in_file, company) = match read {
        Ok(read) => read,
        Err(why) if rows::is_damage(&why) => return Ok(Some(Err(Damaged { seq, why }))),
        Err(error) => return Err(error),
    };
    let body = if in_file { ClaimedBody::InFile } else { inline_body(tx.conn, seq)? };
    tx.counts.running += 1;
    Ok(Some(Ok(Taken { job, fence, body, company })))
}

/// Whether a job is ready that was not taken: it can only be one that is to be alone.
fn is_one_ready(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM jobs INDEXED BY jobs_ready
         WHERE state = 'queued' AND ready_at IS NULL LIMIT 1",
    )?
    .exists([])
}

/// Fails a job that cannot be read. Nobody is called: what would be said could not be read, either.
fn give_up_damaged(
    tx: &mut Tx<'_>,
    seq: i64,
    now: Timestamp,
    keep: Duration,
) -> rusqlite::Result<()> {
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET state = ?1, finished_at = ?2, expires_at = ?3,
                 error_code = 'damaged', error_message = 'its row in the job store is damaged'
             WHERE seq = ?4",
        )?
        .execute(params![running_after(Transition::Fail).as_str(), now, now.after(keep), seq])?;
    Ok(())
}

fn inline_body(conn: &Connection, seq: i64) -> rusqlite::Result<ClaimedBody> {
    let body = conn
        .prepare_cached("SELECT body FROM inputs WHERE job = ?1")?
        .query_row([seq], |row| row.get(0))
        .optional()?;
    // One that is neither here nor there is found to be lost when it is handed out.
    Ok(body.map_or(ClaimedBody::InFile, ClaimedBody::Inline))
}
