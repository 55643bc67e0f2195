//! Looks at jobs, past the writer.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, job_columns, select_job};
use crate::job::{Job, JobId, Timestamp};
use crate::queue::{Page, StoredOutput};
use crate::spool::Spool;

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
             outputs.file_bytes, outputs.formats, jobs.warnings
         FROM outputs JOIN jobs ON jobs.seq = outputs.job WHERE jobs.id = ?1",
    )?
    .query_row([id.to_string()], |row| rows::output(row, spool))
    .optional()
}

/// Jobs, newest first.
pub(super) fn list(conn: &Connection, page: &Page) -> rusqlite::Result<Vec<Job>> {
    // No id is greater than this one.
    const LAST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let after = page.after.map_or_else(|| LAST.to_owned(), |id| id.to_string());
    match page.state {
        None => conn
            .prepare_cached(select_job!("WHERE jobs.id < ?1 ORDER BY jobs.id DESC"))?
            .query_map([after], rows::job)?
            .filter_map(rows::undamaged)
            .take(page.limit)
            .collect(),
        Some(state) => conn
            .prepare_cached(select_job!(
                "WHERE jobs.state = ?2 AND jobs.id < ?1 ORDER BY jobs.id DESC"
            ))?
            .query_map(params![after, state.as_str()], rows::job)?
            .filter_map(rows::undamaged)
            .take(page.limit)
            .collect(),
    }
}

/// Where a queued job stands in the order of claims, and the time it waits for; `None` for any other.
pub(super) fn place(
    conn: &Connection,
    id: JobId,
) -> rusqlite::Result<Option<(i64, Option<Timestamp>)>> {
    conn.prepare_cached("SELECT seq, ready_at FROM jobs WHERE id = ?1 AND state = 'queued'")?
        .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
