//! Files that no job seems to need: what is deleted, and what is only set aside.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Spool, private_folder};
use crate::job::JobId;

impl Spool {
    /// Deletes everything that an earlier process had not finished taking in or working on. For the
    /// one process that holds the job store's lock, before it takes anything in.
    pub(crate) fn clear_unfinished(&self) -> io::Result<usize> {
        Ok(clear(&self.incoming)? + clear(&self.scratch)?)
    }

    /// How many inputs and outputs there are.
    pub(crate) fn count_files(&self) -> io::Result<usize> {
        Ok(strays_in(&self.inputs, |_| false)?.len() + strays_in(&self.outputs, |_| false)?.len())
    }

    /// Inputs and outputs that are not among these.
    pub(crate) fn strays(
        &self,
        inputs: &HashSet<JobId>,
        outputs: &HashSet<String>,
    ) -> io::Result<Vec<Stray>> {
        let is_input = |name: &str| name.parse().is_ok_and(|id| inputs.contains(&id));
        let mut strays = strays_in(&self.inputs, is_input)?;
        strays.extend(strays_in(&self.outputs, |name| outputs.contains(name))?);
        Ok(strays)
    }

    /// Moves a file of which the store knows nothing into `aside/`, where it waits for whoever misses it.
    pub(crate) fn set_aside(&self, stray: &Stray) -> io::Result<()> {
        private_folder(&self.aside)?;
        let name = stray.path.file_name().unwrap_or_default();
        fs::rename(&stray.path, self.aside.join(name))?;
        // From now on it is kept for a time. A folder, or a file of somebody else's, keeps its own.
        let kept = File::options().write(true).open(self.aside.join(name));
        let _ = kept.and_then(|file| file.set_modified(SystemTime::now()));
        Ok(())
    }

    /// The folder of files that were set aside.
    pub(crate) fn aside(&self) -> &Path {
        &self.aside
    }

    /// Deletes what was set aside longer than `keep` ago.
    pub(crate) fn clear_aside(&self, keep: Duration) -> io::Result<usize> {
        let mut deleted = 0;
        for stray in match strays_in(&self.aside, |_| false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found?,
        } {
            let modified = fs::symlink_metadata(&stray.path)?.modified()?;
            if modified.elapsed().is_ok_and(|age| age > keep) {
                stray.delete()?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// Deletes everything in a folder. Returns how much.
fn clear(folder: &Path) -> io::Result<usize> {
    let found = strays_in(folder, |_| false)?;
    found.iter().try_for_each(Stray::delete)?;
    Ok(found.len())
}

/// What there is in a folder but for that which `wanted` knows by name.
fn strays_in(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Stray>> {
    let mut strays = Vec::new();
    for found in fs::read_dir(folder)? {
        let found = found?;
        if !found.file_name().to_str().is_some_and(&wanted) {
            strays.push(Stray { path: found.path() });
        }
    }
    Ok(strays)
}

/// A file or folder in the spool that no job seems to need.
#[derive(Debug)]
pub(crate) struct Stray {
    path: PathBuf,
}

impl Stray {
    /// The job that its name tells: inputs are called by it, and outputs begin with its 36 characters.
    pub(crate) fn job(&self) -> Option<JobId> {
        let name = self.path.file_name()?.to_str()?;
        name.get(..36)?.parse().ok()
    }

    pub(crate) fn delete(&self) -> io::Result<()> {
        if fs::symlink_metadata(&self.path)?.is_dir() {
            fs::remove_dir_all(&self.path)
        } else {
            fs::remove_file(&self.path)
        }
    }
}
