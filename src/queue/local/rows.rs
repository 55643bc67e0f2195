//! Rows to values and back. What does not parse is an error of the store, never a panic: somebody may
//! have written into the file.

use std::str::FromStr;

use rusqlite::types::{FromSql, Type, ValueRef};
use rusqlite::{Row, ToSql};

use super::backlog::Entry;
use crate::estimator::Load;
use crate::job::{
    Callback, Delivery, DeliveryAttempt, DeliveryState, Failure, InputInfo, Job, Sha256, State,
    Timestamp,
};
use crate::queue::{StoredData, StoredOutput};
use crate::repeated::Repeated;
use crate::spool::Spool;
use crate::warning::Warning;

/// Rows that cannot be read.
static DAMAGED: Repeated = Repeated::new(log::Level::Error);

/// The columns of `jobs` that [`job`] reads, in its order.
macro_rules! job_columns {
    () => {
        "jobs.id, jobs.task, jobs.parameters, jobs.state, jobs.attempt, jobs.created_at, \
         jobs.started_at, jobs.finished_at, jobs.expires_at, jobs.input_name, jobs.input_type, \
         jobs.input_bytes, jobs.input_sha256, jobs.duration_s, jobs.error_code, \
         jobs.error_message, jobs.callback_url, jobs.warnings"
    };
}

/// A whole job: its columns, then those of its delivery, where there is one.
macro_rules! select_job {
    ($where:literal) => {
        concat!(
            "SELECT ",
            job_columns!(),
            ", d.state, d.attempts, d.due_at, d.last_error \
             FROM jobs LEFT JOIN deliveries AS d ON d.job = jobs.seq ",
            $where
        )
    };
}

/// What the backlog keeps of a queued job, in the order that [`queued`] reads it.
macro_rules! queued_columns {
    () => {
        "seq, task, input_type, input_bytes, duration_s, sender"
    };
}

/// Every queued job that `$index` holds, in its order.
macro_rules! select_queued {
    ($index:literal, $which:literal) => {
        concat!(
            "SELECT ",
            $crate::queue::local::rows::queued_columns!(),
            " FROM jobs INDEXED BY ",
            $index,
            " WHERE state = 'queued' AND ",
            $which
        )
    };
}

pub(super) use {job_columns, queued_columns, select_job, select_queued};

/// How many columns [`job_columns`] has.
pub(super) const JOB_COLUMNS: usize = 18;

/// A job from the columns of [`select_job`].
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let mut job = unfinished_job(row)?;
    let delivery: Option<String> = row.get(JOB_COLUMNS)?;
    if let (Some(callback), Some(state)) = (&mut job.callback, delivery) {
        callback.state = delivery_state(&state, JOB_COLUMNS)?;
        callback.attempts = row.get(JOB_COLUMNS + 1)?;
        callback.next_attempt_at = row.get(JOB_COLUMNS + 2)?;
        callback.last_error = row.get(JOB_COLUMNS + 3)?;
    }
    Ok(job)
}

/// A job from the columns of [`job_columns`]: one that has no delivery yet.
pub(super) fn unfinished_job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let error = match (row.get(14)?, row.get(15)?) {
        (Some(code), Some(message)) => Some(Failure { code, message }),
        _ => None,
    };
    let callback = row.get::<_, Option<String>>(16)?.map(|url| Callback {
        url,
        state: DeliveryState::Pending,
        attempts: 0,
        next_attempt_at: None,
        last_error: None,
    });
    Ok(Job {
        id: parsed(row, 0)?,
        task: row.get(1)?,
        parameters: from_json(row, 2)?,
        state: state(row, 3)?,
        attempt: row.get(4)?,
        created_at: row.get(5)?,
        started_at: row.get(6)?,
        finished_at: row.get(7)?,
        expires_at: row.get(8)?,
        input: InputInfo {
            name: row.get(9)?,
            content_type: row.get(10)?,
            bytes: length(row, 11)?,
            sha256: Sha256(row.get(12)?),
            duration_s: row.get(13)?,
        },
        error,
        warnings: warnings(row, 17)?,
        callback,
    })
}

/// A queued job from [`queued_columns`], and its place. A damaged row counts as well as it can: it
/// stands in the queue, too.
pub(super) fn queued(row: &Row<'_>, ready: bool) -> rusqlite::Result<(i64, Entry)> {
    let text = |column| -> rusqlite::Result<Option<String>> {
        let value = row.get_ref(column)?;
        let bytes = value.as_bytes_or_null().ok().flatten();
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    let (task, content_type, sender) = (text(1)?, text(2)?, text(5)?);
    let bytes = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
    let load =
        Load::of(task.as_deref().unwrap_or_default(), content_type.as_deref(), bytes, row.get(4)?);
    let sender = sender.unwrap_or_default().into();
    Ok((row.get(0)?, Entry { load, sender, ready }))
}

/// An output from `kind, body, file, file_name, file_type, file_bytes, formats, warnings`.
pub(super) fn output(row: &Row<'_>, spool: &Spool) -> rusqlite::Result<StoredOutput> {
    let kind: String = row.get(0)?;
    let data = match kind.as_str() {
        "text" => StoredData::Text(row.get(1)?),
        "json" => StoredData::Json(from_json(row, 1)?),
        _ => StoredData::File {
            path: spool.output_path(&file_name(row, 2)?),
            name: row.get(3)?,
            content_type: row.get(4)?,
            bytes: length(row, 5)?,
        },
    };
    Ok(StoredOutput { data, formats: from_json(row, 6)?, warnings: warnings(row, 7)? })
}

/// Warnings; NULL where there are none.
fn warnings(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<Warning>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Vec::new()),
        _ => from_json(row, column),
    }
}

/// A delivery from `id, job's id, url, attempts`.
pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: parsed(row, 0)?,
        job: parsed(row, 1)?,
        url: row.get(2)?,
        attempts: row.get(3)?,
    })
}

/// A line of the ledger from `attempt, at, status, latency_ms, error, next_attempt_at`.
pub(super) fn delivery_attempt(row: &Row<'_>) -> rusqlite::Result<DeliveryAttempt> {
    Ok(DeliveryAttempt {
        attempt: row.get(0)?,
        at: row.get(1)?,
        status: row.get(2)?,
        latency_ms: length(row, 3)?,
        error: row.get(4)?,
        next_attempt_at: row.get(5)?,
    })
}

/// The name of a file in the spool: never a way out of it.
fn file_name(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    let name: String = row.get(column)?;
    match Spool::is_output_name(&name) {
        true => Ok(name),
        false => Err(unreadable(column, format!("{name:?} is not the name of a file"))),
    }
}

/// A job's state.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let word: String = row.get(column)?;
    word.parse().map_err(|()| unreadable(column, format!("{word:?} is not a state")))
}

/// An id, which is kept as text.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| unreadable(column, format!("{text:?} is not an id")))
}

/// SQLite's integers are signed; none of ours is negative.
pub(super) fn length(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A length for SQLite. Lengths past 8 EiB are not met with.
pub(super) fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// What is kept as JSON, for SQLite.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error.to_string()))
}

/// The word for a delivery's state, as it is kept.
pub(super) fn delivery_word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Dead => "dead",
    }
}

fn delivery_state(word: &str, column: usize) -> rusqlite::Result<DeliveryState> {
    match word {
        "pending" => Ok(DeliveryState::Pending),
        "delivered" => Ok(DeliveryState::Delivered),
        "dead" => Ok(DeliveryState::Dead),
        _ => Err(unreadable(column, format!("{word:?} is not a delivery's state"))),
    }
}

/// Whether what is in the row cannot be read, rather than the store.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// What was read of a row among many; `None` where that cannot be read: a damaged row must not hide the
/// others.
pub(super) fn undamaged<T>(read: rusqlite::Result<T>) -> Option<rusqlite::Result<T>> {
    match read {
        Err(error) if is_damage(&error) => {
            DAMAGED.say(format_args!("a damaged row of the job store is left out: {error}"));
            None
        }
        read => Some(read),
    }
}

fn unreadable(column: usize, why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.as_micros().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(
        value: rusqlite::types::ValueRef<'_>,
    ) -> rusqlite::types::FromSqlResult<Timestamp> {
        i64::column_result(value).map(Timestamp::from_micros)
    }
}
