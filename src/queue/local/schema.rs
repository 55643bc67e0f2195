//! The store's file: how it is made, recognised and opened.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::queue::QueueError;

/// The tables. Their comments are kept in the file, for whoever looks into it.
const TABLES: &str = concat!(include_str!("schema.sql"), include_str!("lanes.sql"));
/// Grows with every change of the tables. Kept as `PRAGMA user_version`.
const VERSION: i64 = 1 + UPGRADES.len() as i64;
/// What makes a store of each earlier version, 1 and so on, into one of the next.
const UPGRADES: [&str; 8] = [
    "ALTER TABLE jobs ADD COLUMN sender TEXT NOT NULL DEFAULT '';
     CREATE INDEX jobs_by_sender ON jobs (sender) WHERE state = 'queued';",
    "CREATE INDEX deliveries_by_time ON deliveries (due_at) WHERE state = 'pending';",
    "ALTER TABLE jobs ADD COLUMN warnings TEXT;",
    "ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
     UPDATE jobs SET held = 1 WHERE seq IN (SELECT job FROM deliveries WHERE state = 'pending');
     DROP INDEX jobs_expiring;
     CREATE INDEX jobs_expiring ON jobs (held, expires_at) WHERE expires_at IS NOT NULL;",
    "ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE jobs ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;",
    "DROP INDEX jobs_by_sender;
     DROP INDEX jobs_ready;
     CREATE INDEX jobs_ready ON jobs (seq) WHERE state = 'queued' AND ready_at IS NULL;",
    "CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), time INTEGER NOT NULL, wall INTEGER NOT NULL,
         up INTEGER NOT NULL, boot TEXT) STRICT;",
    concat!(
        "ALTER TABLE deliveries ADD COLUMN sender TEXT NOT NULL DEFAULT '';
         UPDATE deliveries SET sender = (SELECT sender FROM jobs WHERE seq = deliveries.job)
             WHERE state = 'pending';
         DROP INDEX deliveries_pending;
         CREATE INDEX deliveries_pending ON deliveries (host, sender, due_at)
             WHERE state = 'pending';",
        include_str!("lanes.sql"),
        "INSERT INTO lanes (host, sender, first_due)
             SELECT host, sender, min(due_at) FROM deliveries WHERE state = 'pending'
             GROUP BY host, sender;"
    ),
];
/// Marks the file as ringback's: "RING". Kept as `PRAGMA application_id`.
const APPLICATION: i64 = 0x5249_4e47;
/// How long a connection waits for another that is in its way: only a program that somebody looks
/// into the store with can be.
const BUSY: Duration = Duration::from_secs(5);
/// SQLite's page size in bytes.
pub(super) const PAGE: u64 = 4096;
/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS: usize = 64;

/// Opens the connection that writes, and makes the tables where there are none, or are those of an
/// earlier version.
/// `log` is the size in bytes to which the write-ahead log is cut back. The writer moves it into the
/// file, and SQLite does not: it would not say that the disk is full. `may_make` is asked before the tables
/// are made.
pub(super) fn open_writer(
    path: &Path,
    log: u64,
    may_make: impl FnOnce() -> Result<(), QueueError>,
) -> Result<Connection, QueueError> {
    make_private(path).map_err(|error| QueueError(error.to_string()))?;
    let conn = opened(Connection::open(path)?)?;
    recognise(&conn)?;
    if version(&conn)? == 0 {
        may_make()?;
    }
    conn.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA cache_size = -4096;
         PRAGMA temp_store = MEMORY;",
    )?;
    conn.execute_batch(&format!(
        "PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {log};"
    ))?;
    let change = match usize::try_from(version(&conn)?) {
        Ok(0) => TABLES.to_owned(),
        Ok(version) => UPGRADES[version - 1..].concat(),
        Err(_) => return Err(QueueError("its format has a negative number".into())),
    };
    if !change.is_empty() {
        conn.execute_batch(&format!(
            "BEGIN;
             {change}
             PRAGMA application_id = {APPLICATION};
             PRAGMA user_version = {VERSION};
             COMMIT;"
        ))?;
    }
    Ok(conn)
}

/// Makes the file, where it is missing, for this user alone; SQLite gives the files beside it the
/// same rights. An empty file is a store without tables.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new();
    file.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    file.open(path).map(drop)
}

/// Opens a connection that only reads. The store must be open for writing.
pub(super) fn open_reader(path: &Path) -> Result<Connection, QueueError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = opened(Connection::open_with_flags(path, flags)?)?;
    conn.execute_batch("PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY;")?;
    Ok(conn)
}

/// Sets what every connection has in common.
fn opened(conn: Connection) -> Result<Connection, QueueError> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    #[cfg(test)]
    let conn = super::tests::depth::watched(conn);
    Ok(conn)
}

/// Refuses a file that is another program's, or a later version's.
fn recognise(conn: &Connection) -> Result<(), QueueError> {
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version = version(conn)?;
    if tables == 0 {
        return Ok(());
    }
    if application != APPLICATION {
        return Err(QueueError("it is an SQLite file of another program".into()));
    }
    if version > VERSION {
        return Err(QueueError(format!(
            "it has format {version}, and this version of ringback reads up to {VERSION}"
        )));
    }
    Ok(())
}

/// Writes what is there already, to see whether it can be written.
pub(super) fn touch(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("PRAGMA user_version = {VERSION}"))
}

fn version(conn: &Connection) -> Result<i64, QueueError> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}
