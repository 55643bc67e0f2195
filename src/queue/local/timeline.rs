//! The queue's clock in the store: how it goes on after a restart.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::{Clock, Reading, Resumed, Seen};
use crate::job::Timestamp;
use crate::queue::QueueError;

/// Goes on with the clock of this store. What waits for a time waits no longer for the time that
/// the machine was off: where the system's clock is wrong about that, it is only tried earlier.
pub(super) fn resume(conn: &mut Connection) -> Result<Clock, QueueError> {
    let Resumed { clock, off } = Clock::resume(seen(conn)?, latest(conn)?);
    if let Some(off) = off
        && let Err(error) = begin(conn, &clock, off)
    {
        // A full disk is no reason not to start.
        log::warn!("the time of this start could not be stored: {error}");
    }
    Ok(clock)
}

fn begin(conn: &mut Connection, clock: &Clock, off: Duration) -> rusqlite::Result<()> {
    let (now, off) = (clock.now(), i64::try_from(off.as_micros()).unwrap_or(i64::MAX));
    let transaction = conn.transaction()?;
    if off > 0 {
        transaction.execute(
            "UPDATE deliveries SET due_at = max(due_at - ?1, ?2)
             WHERE state = 'pending' AND due_at > ?2",
            params![off, now],
        )?;
        transaction.execute(
            "UPDATE jobs SET ready_at = max(ready_at - ?1, ?2)
             WHERE state = 'queued' AND ready_at IS NOT NULL AND ready_at > ?2",
            params![off, now],
        )?;
    }
    remember(&transaction, &clock.seen())?;
    transaction.commit()
}

/// Keeps how far the clock has come.
pub(super) fn remember(conn: &Connection, seen: &Seen) -> rusqlite::Result<()> {
    let Seen { time, reading: Reading { wall, up }, boot } = seen;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO clock (id, time, wall, up, boot) VALUES (1, ?1, ?2, ?3, ?4)",
    )?
    .execute(params![time, wall, up, boot])?;
    Ok(())
}

fn seen(conn: &Connection) -> rusqlite::Result<Option<Seen>> {
    conn.query_row("SELECT time, wall, up, boot FROM clock", [], |row| {
        let reading = Reading { wall: row.get(1)?, up: row.get(2)? };
        Ok(Seen { time: row.get(0)?, reading, boot: row.get(3)? })
    })
    .optional()
}

/// When the newest job was made: the clock has come at least so far.
fn latest(conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    conn.query_row("SELECT created_at FROM jobs ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
        .optional()
}
