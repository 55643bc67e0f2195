//! How full the disk below a folder is.

use std::path::PathBuf;

/// The file system that a folder is on.
#[derive(Debug)]
pub(super) struct Volume {
    folder: PathBuf,
}

/// How full it is, in bytes that this user may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(super) total: u64,
    pub(super) free: u64,
    /// `None` where it has no fixed number of them.
    pub(super) files: Option<Files>,
}

/// Files, folders and sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(super) total: u64,
    pub(super) free: u64,
}

impl Volume {
    pub(super) fn of(folder: impl Into<PathBuf>) -> Volume {
        Volume { folder: folder.into() }
    }

    /// `None` where the system does not say: a write that fails is the first word then.
    #[cfg(unix)]
    pub(super) fn usage(&self) -> Option<Usage> {
        let stat = rustix::fs::statvfs(&self.folder).ok()?;
        let block = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize };
        let files = Files { total: stat.f_files, free: stat.f_favail };
        Some(Usage {
            total: stat.f_blocks.saturating_mul(block),
            free: stat.f_bavail.saturating_mul(block),
            files: (stat.f_files > 0).then_some(files),
        })
        .filter(|usage| usage.total > 0)
    }

    #[cfg(not(unix))]
    pub(super) fn usage(&self) -> Option<Usage> {
        let _ = &self.folder;
        None
    }
}
