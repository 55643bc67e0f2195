//! Opening a store: what has to be looked at before the first job.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::disk::Disk;
use super::wal::Log;
use super::writer::Counts;
use super::*;

impl LocalQueue {
    /// Opens the store in `folder`, or makes it, and takes back what was queued or running.
    ///
    /// # Errors
    /// When another process uses it, it cannot be read, or it is gone while its files are there.
    pub(crate) fn open(
        folder: &Path,
        spool: Arc<Spool>,
        limits: Limits,
    ) -> Result<(LocalQueue, Recovered), QueueError> {
        let lock = lock(folder)?;
        let path = folder.join("ringback.db");
        let room = Arc::clone(spool.room());
        make_room(folder, &spool);
        let opened = open_store(&path, &spool, &limits).map_err(|error| {
            let why = if room.is_full() { ": the disk is full, make room on it" } else { "" };
            QueueError(format!("{}: {}{why}", path.display(), error.0))
        })?;
        let Opened { clock, conn, disk, condition, readers, recovered, counts, backlog } = opened;
        let backlog = Arc::new(backlog);
        room.restore();
        let (announcer, ready) = ready::channel(limits.max_queued);
        announcer.refill(&conn);
        let shared_counts = Arc::new(SharedCounts::default());
        let writer = Writer::start(
            conn,
            counts,
            Arc::clone(&shared_counts),
            Arc::clone(&backlog),
            announcer,
            disk,
            lock,
        )
        .map_err(|error| QueueError(format!("its writer cannot be started: {error}")))?;
        let (open, closed) = bounded(0);
        let remembered = Mutex::new(clock.now());
        let queue = LocalQueue {
            clock,
            remembered,
            limits,
            spool,
            counts: shared_counts,
            backlog,
            ready,
            leases: Leases::new(),
            open: Mutex::new(Some(open)),
            closed,
            readers,
            writer,
            condition,
            without_room: Mutex::default(),
            looked: Mutex::default(),
        };
        Ok((queue, recovered))
    }
}

/// A store that is open, before its writer is.
struct Opened {
    clock: Clock,
    conn: Connection,
    disk: Disk,
    condition: Arc<Condition>,
    readers: Readers,
    recovered: Recovered,
    counts: Counts,
    backlog: SharedBacklog,
}

fn open_store(path: &Path, spool: &Arc<Spool>, limits: &Limits) -> Result<Opened, QueueError> {
    let log = Log::examine(path);
    refuse_log_alone(path)?;
    let room = Arc::clone(spool.room());
    let mut conn = schema::open_writer(path, room.sizes().log, || refuse_spool_alone(spool))?;
    let condition = Arc::new(Condition::default());
    let disk = Disk::watch(&mut conn, path, room, Arc::clone(&condition))?;
    wal::tell(&log, &conn)?;
    let clock = timeline::resume(&mut conn)?;
    let (recovered, counts) = recovery::recover(&mut conn, spool, limits, clock.now())?;
    let backlog = SharedBacklog::load(&conn)?;
    let readers = Readers::open(path)?;
    Ok(Opened { clock, conn, disk, condition, readers, recovered, counts, backlog })
}

/// Deletes what needs no store to be known as useless, and gives up the reserve where the disk is short: a
/// start needs some room.
fn make_room(folder: &Path, spool: &Spool) {
    match spool.clear_unfinished() {
        Ok(0) => {}
        Ok(deleted) => log::info!("{deleted} unfinished uploads and attempts are deleted"),
        Err(error) => log::warn!("what was not finished cannot be deleted: {error}"),
    }
    spool.room().open_reserve(folder);
}

/// Refuses to make a new store beside files of an old one: they would be without a job.
fn refuse_spool_alone(spool: &Spool) -> Result<(), QueueError> {
    let files = spool.count_files().map_err(|error| QueueError(error.to_string()))?;
    if files == 0 {
        return Ok(());
    }
    Err(QueueError(format!(
        "it is empty or missing, but there are {files} files of its jobs in {}: bring the store back \
         from a backup, or move that folder away to begin anew",
        spool.root().display()
    )))
}

/// Refuses a log whose store is gone: SQLite would delete it.
fn refuse_log_alone(path: &Path) -> Result<(), QueueError> {
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let log = wal::path(path);
    if length(path) > 0 || length(&log) == 0 {
        return Ok(());
    }
    Err(QueueError(format!(
        "it is empty or missing, but its log {} is there: bring the store back from a backup, or move \
         the log away to begin anew",
        log.display()
    )))
}

/// Keeps other processes out of the folder for as long as the returned file is open.
fn lock(folder: &Path) -> Result<File, QueueError> {
    let path = folder.join("lock");
    let failed = |error: io::Error| QueueError(format!("{}: {error}", path.display()));
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(QueueError(format!("the folder {} is in use by another process", folder.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
