//! Why a server cannot start.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::http::TooFewFiles;
use crate::queue::QueueError;

/// Why a server cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No task was registered.
    NoTask,
    /// Two tasks have this name.
    TaskTwice(String),
    /// The address cannot be listened on.
    Listen {
        /// The address, as far as it is known.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// Others reach the address, and no key protects it.
    Unprotected {
        /// The address.
        addr: std::net::SocketAddr,
    },
    /// The process may open fewer files than a server needs.
    OpenFiles {
        /// Files that it may open.
        allowed: u64,
        /// Files that it needs with this number of workers.
        needed: u64,
    },
    /// The data folder cannot be used.
    Data {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The job store cannot be opened.
    Queue(QueueError),
    /// A thread, or a signal handler, cannot be had.
    Threads(io::Error),
    /// What had to be done before the first attempt failed.
    Prepare(String),
}

impl Error {
    pub(crate) fn listen(addr: impl Into<String>, source: io::Error) -> Error {
        Error::Listen { addr: addr.into(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoTask => f.write_str("no task is registered: call Builder::task"),
            Error::TaskTwice(name) => write!(f, "two tasks are named {name:?}"),
            Error::Listen { addr, source } => write!(f, "cannot listen on {addr}: {source}"),
            Error::Unprotected { addr } => write!(
                f,
                "others reach {addr}, and no key protects it: set one (--api-key), listen on \
                 127.0.0.1, or let everybody in (--insecure)"
            ),
            Error::OpenFiles { allowed, needed } => write!(
                f,
                "this process may open {allowed} files and needs at least {needed}: raise the limit \
                 (ulimit -n 1024; LimitNOFILE=1024 in a systemd unit)"
            ),
            Error::Data { folder, source } => {
                write!(f, "cannot use the data folder {}: {source}", folder.display())
            }
            Error::Queue(error) => error.fmt(f),
            Error::Threads(source) => write!(f, "cannot start a thread: {source}"),
            Error::Prepare(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::Data { source, .. } | Error::Threads(source) => {
                Some(source)
            }
            Error::Queue(error) => Some(error),
            Error::NoTask
            | Error::TaskTwice(_)
            | Error::Unprotected { .. }
            | Error::OpenFiles { .. }
            | Error::Prepare(_) => None,
        }
    }
}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Error {
        Error::Queue(error)
    }
}

impl From<TooFewFiles> for Error {
    fn from(TooFewFiles { allowed, needed }: TooFewFiles) -> Error {
        Error::OpenFiles { allowed, needed }
    }
}
