//! Why a change was not stored: the one cause that clients are told of, and all others.

use std::fmt;
use std::io;

use rusqlite::{Connection, ErrorCode};

use crate::disk::is_no_room;
use crate::queue::{QueueError, SubmitError};

/// Why a change was not stored.
#[derive(Debug, Clone)]
pub(super) enum Unstored {
    /// There is no room.
    DiskFull(QueueError),
    /// Anything else.
    Broken(QueueError),
}

impl Unstored {
    /// Whether there is no room.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Unstored::DiskFull(_))
    }

    /// The thread that writes has ended.
    pub(super) fn no_writer() -> Unstored {
        Unstored::Broken(QueueError("its writer has ended".into()))
    }
}

impl From<&rusqlite::Error> for Unstored {
    fn from(error: &rusqlite::Error) -> Unstored {
        let text = QueueError(error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Unstored::DiskFull(text),
            _ => Unstored::Broken(text),
        }
    }
}

impl Unstored {
    /// Why a statement on `conn` failed just now. SQLite has a word for a full disk, and none for a quota
    /// or a limit on files.
    pub(super) fn of(conn: &Connection, error: &rusqlite::Error) -> Unstored {
        let unstored = Unstored::from(error);
        match (error.sqlite_error_code(), unstored) {
            (Some(ErrorCode::SystemIoFailure), Unstored::Broken(text)) => {
                // SAFETY: the handle is that of an open connection, which is not used meanwhile.
                let errno = unsafe { rusqlite::ffi::sqlite3_system_errno(conn.handle()) };
                if is_no_room(&io::Error::from_raw_os_error(errno)) {
                    Unstored::DiskFull(text)
                } else {
                    Unstored::Broken(text)
                }
            }
            (_, unstored) => unstored,
        }
    }
}

impl From<io::Error> for Unstored {
    fn from(error: io::Error) -> Unstored {
        let text = QueueError(error.to_string());
        if is_no_room(&error) { Unstored::DiskFull(text) } else { Unstored::Broken(text) }
    }
}

impl From<Unstored> for QueueError {
    fn from(unstored: Unstored) -> QueueError {
        match unstored {
            Unstored::DiskFull(error) | Unstored::Broken(error) => error,
        }
    }
}

impl From<Unstored> for SubmitError {
    fn from(unstored: Unstored) -> SubmitError {
        match unstored {
            Unstored::DiskFull(_) => SubmitError::DiskFull,
            Unstored::Broken(error) => SubmitError::Store(error),
        }
    }
}

impl fmt::Display for Unstored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unstored::DiskFull(error) | Unstored::Broken(error) => error.fmt(f),
        }
    }
}
