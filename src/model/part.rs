//! A file on its way to its name. It is written beside the place it will have, under a lock, synced,
//! and renamed when it is whole: whatever happens before leaves nothing under the final name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use same_file::Handle;

use super::digest;
use super::error::ModelError;
use crate::spool::sync_folder;

/// A file that is not whole yet. Dropping it leaves it where it is, unlocked.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    pub(super) path: PathBuf,
    target: PathBuf,
}

impl Part {
    /// Opens `target` with `suffix`, with what an earlier process left in it, and locks it. Makes
    /// the folder.
    pub(super) fn open(target: &Path, suffix: &str) -> Result<Part, ModelError> {
        let path = part_path(target, suffix);
        let folder = target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(ModelError::disk("make the folder", folder))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(ModelError::disk("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ModelError::Busy(target.to_owned())),
            // There are file systems without locks; the checksum still guards the outcome.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(ModelError::disk("lock", &path)(error)),
        }
        // Another process may have renamed or deleted the file between the opening and the lock.
        if !is_at(&file, &path) {
            return Err(ModelError::Busy(target.to_owned()));
        }
        Ok(Part { file, path, target: target.to_owned() })
    }

    /// Bytes that are here.
    pub(super) fn len(&self) -> Result<u64, ModelError> {
        let metadata = self.file.metadata().map_err(ModelError::disk("read", &self.path))?;
        Ok(metadata.len())
    }

    /// Makes it empty.
    pub(super) fn clear(&self) -> Result<(), ModelError> {
        self.file.set_len(0).map_err(ModelError::disk("write", &self.path))
    }

    /// Gives the file its name, and keeps its digest beside it.
    pub(super) fn publish(self, sha256: &str) -> Result<PathBuf, ModelError> {
        self.file.sync_all().map_err(ModelError::disk("write", &self.path))?;
        // The digest of an earlier file of this name must not outlive it.
        digest::forget(&self.target)?;
        fs::rename(&self.path, &self.target).map_err(ModelError::disk("write", &self.target))?;
        digest::record(&self.target, sha256)?;
        let folder = self.target.parent().unwrap_or(Path::new("."));
        sync_folder(folder).map_err(ModelError::disk("write", folder))?;
        Ok(self.target)
    }

    /// Deletes it.
    pub(super) fn discard(self) {
        // It does no harm where it is: the next process to write this model writes over it.
        let _ = fs::remove_file(&self.path);
    }
}

/// `target` with `suffix`.
pub(super) fn part_path(target: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(target);
    path.push(suffix);
    PathBuf::from(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.try_clone().and_then(Handle::from_file), Handle::from_path(path)) {
        (Ok(open), Ok(there)) => open == there,
        _ => false,
    }
}
