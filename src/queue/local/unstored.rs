//! Why a change was not stored: the one cause that clients are told of, and all others.

use std::fmt;
use std::io;

use rusqlite::ErrorCode;

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

impl From<io::Error> for Unstored {
    fn from(error: io::Error) -> Unstored {
        let text = QueueError(error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Unstored::DiskFull(text),
            _ => Unstored::Broken(text),
        }
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
