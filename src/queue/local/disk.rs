//! What the writer does about the disk: it moves the write-ahead log into the store's file before
//! the log gets too long, says how much room the store has, and notices when writing fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::condition::Condition;
use super::schema::PAGE;
use super::unstored::Unstored;
use super::wal;
use crate::disk::Room;
use crate::repeated::Repeated;

/// Pages given back to the disk in one transaction.
const SHRINK: u64 = 64;

/// Logs that could not be moved.
static NOT_MOVED: Repeated = Repeated::new(log::Level::Error);

/// The disk as the writer knows it.
pub(super) struct Disk {
    pub(super) room: Arc<Room>,
    pub(super) condition: Arc<Condition>,
    path: PathBuf,
    /// Bytes of the store's file.
    file: u64,
    /// Pages in the log, as of the last commit that wrote any. Written by SQLite's hook.
    logged: Arc<AtomicU64>,
    /// Pages in the log at which it is moved next.
    move_at: u64,
}

impl Disk {
    /// Begins to watch what `conn` writes into the store's file at `path`.
    pub(super) fn watch(
        conn: &mut Connection,
        path: &Path,
        room: Arc<Room>,
        condition: Arc<Condition>,
    ) -> rusqlite::Result<Disk> {
        let logged = Arc::new(AtomicU64::new(0));
        let hook = {
            let (logged, condition) = (Arc::clone(&logged), Arc::clone(&condition));
            move |_: &mut Wal, pages| {
                logged.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
                condition.wrote();
                Ok(())
            }
        };
        conn.wal_hook(Some(hook))?;
        let move_at = room.sizes().log / PAGE;
        let mut disk = Disk { room, condition, path: path.to_owned(), file: 0, logged, move_at };
        disk.file = disk.length();
        disk.move_log(conn);
        Ok(disk)
    }

    /// Moves the log into the file where it is long.
    pub(super) fn tend(&mut self, conn: &Connection) {
        if self.logged.load(Ordering::Relaxed) >= self.move_at {
            self.move_log(conn);
        }
    }

    /// Moves the log into the file, with the reserve's help where the disk is full. A log that a reader
    /// still needs, or that finds no room, is tried again when it has grown by as much again.
    pub(super) fn move_log(&mut self, conn: &Connection) {
        let limit = self.room.sizes().log / PAGE;
        self.move_at = limit;
        loop {
            let moved = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            });
            match moved {
                Ok((logged, moved)) if moved < logged => {
                    self.move_at = u64::try_from(logged).unwrap_or(0) + limit / 4;
                    break;
                }
                Ok(_) => break,
                Err(error) => {
                    if Unstored::of(conn, &error).is_disk_full() && self.room.relieve() {
                        continue;
                    }
                    NOT_MOVED.say(format_args!("the store's log could not be moved: {error}"));
                    self.condition.refused(conn, &error);
                    self.move_at = self.logged.load(Ordering::Relaxed) + limit / 4;
                    break;
                }
            }
        }
        self.file = self.length();
        self.measure(conn);
    }

    /// Cuts off what a transaction that failed has left at the log's end, and moves the log, which then begins
    /// anew: on a full disk both give room back.
    pub(super) fn cut_log(&mut self, conn: &Connection) {
        // Nobody else writes meanwhile, not even somebody who has the store open in another program.
        let cut = conn.execute_batch("BEGIN IMMEDIATE").map_err(io::Error::other).and_then(|()| {
            let cut = wal::cut_uncommitted(&self.path);
            conn.execute_batch("ROLLBACK").map_err(io::Error::other).and(cut)
        });
        if let Err(error) = cut {
            NOT_MOVED.say(format_args!("the store's log could not be cut: {error}"));
        }
        self.move_log(conn);
    }

    /// Says how much room the store has and needs. Not within a transaction that may be rolled back.
    pub(super) fn measure(&self, conn: &Connection) {
        let number = |sql| -> rusqlite::Result<u64> {
            let pages: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            Ok(u64::try_from(pages).unwrap_or(0))
        };
        let pages = number("PRAGMA page_count").and_then(|all| {
            let spare = number("PRAGMA freelist_count")?;
            Ok((all, spare))
        });
        // Where the store cannot be read, the last word holds.
        if let Ok((all, spare)) = pages {
            self.room.set_store((all * PAGE).saturating_sub(self.file), spare * PAGE);
        }
    }

    fn length(&self) -> u64 {
        self.path.metadata().map_or(self.file, |metadata| metadata.len())
    }
}

/// Gives pages that hold nothing back to the disk; they leave the file with the next move of the log. Returns
/// whether there are more.
pub(super) fn shrink(conn: &Connection) -> rusqlite::Result<bool> {
    let mode: i64 = conn.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    // A store of an earlier version keeps its pages, and uses them again.
    if mode != 2 {
        return Ok(false);
    }
    let mut vacuum = conn.prepare_cached(&format!("PRAGMA incremental_vacuum({SHRINK})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    let spare: i64 = conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    Ok(spare > 0)
}
