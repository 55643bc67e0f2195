//! Inputs and outputs on disk. A file comes in under `incoming/`, is synced, is renamed to its
//! job's id under `inputs/`, and is deleted when its job no longer needs it. What a crash leaves behind
//! is found and deleted at the next start.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::job::{JobId, Sha256};
use crate::task::{OutputFile, Scratch};

/// Inputs up to this many bytes live in the job store and make no file. 64 KiB.
pub(crate) const INLINE_MAX: usize = 64 * 1024;

/// The folder that holds the files of jobs.
#[derive(Debug)]
pub(crate) struct Spool {
    root: PathBuf,
}

impl Spool {
    /// Opens or makes the folders below `root`, and deletes what an earlier process had not
    /// finished taking in or working on.
    pub(crate) fn open(root: &Path) -> io::Result<Spool> {
        todo!()
    }

    /// Begins to take in an input.
    pub(crate) fn receive(self: &Arc<Self>) -> Receiving {
        todo!()
    }

    /// A scratch folder for one attempt.
    pub(crate) fn scratch(&self) -> Scratch {
        todo!()
    }

    /// Moves a task's output file to its place, synced. Returns the path and the length in bytes.
    pub(crate) fn keep_output(&self, id: JobId, file: &OutputFile) -> io::Result<(PathBuf, u64)> {
        todo!()
    }
}

/// An input that is coming in: in memory until it is longer than [`INLINE_MAX`], then in a file.
/// Dropping it leaves nothing behind.
pub(crate) struct Receiving {}

impl Receiving {
    /// Bytes taken in so far.
    pub(crate) fn len(&self) -> u64 {
        todo!()
    }

    /// Syncs the file, where there is one.
    pub(crate) fn finish(self) -> io::Result<Received> {
        todo!()
    }
}

impl Write for Receiving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An input that is all here.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    pub(crate) sha256: Sha256,
    pub(crate) body: NewInput,
}

/// The bytes of an input without a job. A file among them is deleted when this is dropped.
#[derive(Debug)]
pub(crate) enum NewInput {
    Inline(Vec<u8>),
    File(tempfile::TempPath),
}
