//! The breaker of a host, kept with what is pending for it: a restart does not forget it, however
//! many hosts fail.

use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Tx;
use crate::job::Timestamp;
use crate::queue::{FAILURES_TO_PARK, Health, HostChange, Parking};

/// Counts one POST to a host for or against it.
pub(super) fn judge(
    tx: &mut Tx<'_>,
    host: &[u8],
    health: Health,
    parking: Parking,
    now: Timestamp,
) -> rusqlite::Result<HostChange> {
    let known: Option<(u32, Timestamp)> = tx
        .conn
        .prepare_cached(
            "SELECT failures, parked_until FROM lanes WHERE host = CAST(?1 AS TEXT) LIMIT 1",
        )?
        .query_row([host], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    // Nothing is pending for it any more, so nothing is remembered.
    let Some((failures, parked_until)) = known else { return Ok(HostChange::Same) };
    match health {
        Health::Well if failures > 0 => {
            set(tx.conn, host, 0, Timestamp::from_micros(0))?;
            let was_parked = failures >= FAILURES_TO_PARK;
            Ok(if was_parked { HostChange::Back { failures } } else { HostChange::Same })
        }
        // A POST that was in flight when the host was parked changes nothing.
        Health::Failing if parked_until <= now => {
            let failures = failures.saturating_add(1);
            let time = parking.after(failures);
            let until = time.map_or(parked_until, |time| now.after(time));
            set(tx.conn, host, failures, until)?;
            Ok(match time {
                Some(time) => HostChange::Parked { failures, time },
                None if failures == 1 => HostChange::Fails,
                None => HostChange::Same,
            })
        }
        Health::Well | Health::Failing | Health::Unknown => Ok(HostChange::Same),
    }
}

fn set(
    conn: &Connection,
    host: &[u8],
    failures: u32,
    parked_until: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE lanes SET failures = ?2, parked_until = ?3 WHERE host = CAST(?1 AS TEXT)",
    )?
    .execute(params![host, failures, parked_until])?;
    Ok(())
}
