//! Inputs and outputs on disk. A file comes in under `incoming/`, is synced, is renamed to its
//! job's id under `inputs/`, and is deleted when its job no longer needs it. What a crash leaves behind
//! is found and deleted at the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::disk::{NoRoom, Promise, Room, is_no_room};
use crate::job::{JobId, Sha256};
use crate::repeated::Repeated;
use crate::task::{OutputFile, Scratch};

mod strays;
#[cfg(test)]
mod tests;

pub(crate) use strays::Stray;

/// Inputs up to this many bytes live in the job store and make no file. 64 KiB.
pub(crate) const INLINE_MAX: usize = 64 * 1024;

/// Files that are left until the next start.
static NOT_DELETED: Repeated = Repeated::new(log::Level::Warn);

/// The folder that holds the files of jobs.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Inputs that are still coming in.
    incoming: PathBuf,
    /// Inputs of queued and running jobs; a file is named by its job's id.
    inputs: PathBuf,
    /// Output files of succeeded jobs; see [`Spool::keep_output`] for their names.
    outputs: PathBuf,
    /// Folders of running attempts.
    scratch: PathBuf,
    /// Files that were found without a job.
    aside: PathBuf,
    /// What inputs may have of the disk.
    room: Arc<Room>,
}

impl Spool {
    /// As [`open_with`](Spool::open_with), with room for everything.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn open(root: &Path) -> io::Result<Spool> {
        Spool::open_with(root, root, Some(0))
    }

    /// Opens or makes the folders below `root`, beside a job store in `store`. Inputs must leave `min_free`
    /// bytes of the disk, or what goes by its size. Deletes nothing: another process may be using the
    /// folders, which only the job store's lock can tell.
    pub(crate) fn open_with(root: &Path, store: &Path, min_free: Option<u64>) -> io::Result<Spool> {
        let folder = |name: &str| {
            let path = root.join(name);
            private_folder(&path).map(|()| path)
        };
        let spool = Spool {
            incoming: folder("incoming")?,
            inputs: folder("inputs")?,
            outputs: folder("outputs")?,
            scratch: folder("scratch")?,
            aside: root.join("aside"),
            // Only now is there a folder to ask about.
            room: Arc::new(Room::of(root, store, min_free)),
        };
        for folder in [&spool.incoming, &spool.inputs, &spool.outputs, &spool.scratch] {
            check_writable(folder)?;
        }
        // The new folders' own names must survive a power cut as well.
        sync_folder(root)?;
        Ok(spool)
    }

    /// The folder that holds all others.
    pub(crate) fn root(&self) -> &Path {
        self.aside.parent().expect("invariant: it is in the folder")
    }

    /// What inputs may have of the disk.
    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Begins to take in an input of this length, where it is known.
    pub(crate) fn receive(self: &Arc<Self>, length: Option<u64>) -> Result<Receiving, NoRoom> {
        Ok(Receiving {
            promise: self.room.promise(length)?,
            spool: Arc::clone(self),
            buffer: Vec::new(),
            file: None,
            digest: digest::Context::new(&digest::SHA256),
            bytes: 0,
        })
    }

    /// A scratch folder for one attempt.
    pub(crate) fn scratch(&self) -> Scratch {
        Scratch::inside(&self.scratch)
    }

    /// Moves a received file to its job's place, where it survives a power cut. It is deleted again
    /// unless [`PlacedInput::keep`] is called.
    pub(crate) fn place_input(
        &self,
        id: JobId,
        received: tempfile::TempPath,
    ) -> io::Result<PlacedInput> {
        let path = self.input_path(id);
        received.persist(&path).map_err(|refused| refused.error)?;
        let placed = PlacedInput { path: Some(path) };
        sync_folder(&self.inputs)?;
        Ok(placed)
    }

    /// Where a job's input is, if it has a file.
    pub(crate) fn input_path(&self, id: JobId) -> PathBuf {
        self.inputs.join(id.to_string())
    }

    /// Deletes a job's input file.
    pub(crate) fn discard_input(&self, id: JobId) {
        discard(&self.input_path(id));
    }

    /// Moves a task's output file to its place, synced. Returns the path and the length in bytes. Each
    /// call makes a file of its own, so that an attempt whose lease is stale cannot touch the file
    /// of a later one. On a full disk it may have what is kept back.
    pub(crate) fn keep_output(&self, id: JobId, file: &OutputFile) -> io::Result<(PathBuf, u64)> {
        loop {
            match self.try_keep_output(id, file) {
                Err(error) if is_no_room(&error) && self.room.relieve() => {}
                kept => return kept,
            }
        }
    }

    fn try_keep_output(&self, id: JobId, file: &OutputFile) -> io::Result<(PathBuf, u64)> {
        if !fs::symlink_metadata(&file.path)?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "what the task returned is not a regular file",
            ));
        }
        let place = self.outputs.join(format!("{id}-{}", Uuid::now_v7().as_simple()));
        // An input is needed again if this attempt is lost; a task that returns it gets a copy.
        if file.path.starts_with(&self.inputs) || !renamed(&file.path, &place)? {
            self.copy_output(&file.path, &place)?;
        }
        let bytes = match sync_file(&place).and_then(|bytes| {
            sync_folder(&self.outputs)?;
            Ok(bytes)
        }) {
            Ok(bytes) => bytes,
            Err(error) => {
                discard(&place);
                return Err(error);
            }
        };
        Ok((place, bytes))
    }

    /// Copies by way of `incoming/`, so that `place` is never half a file.
    fn copy_output(&self, from: &Path, place: &Path) -> io::Result<()> {
        let mut copy = NamedTempFile::new_in(&self.incoming)?;
        io::copy(&mut File::open(from)?, copy.as_file_mut())?;
        copy.persist(place).map_err(|refused| refused.error)?;
        Ok(())
    }

    /// Where an output file of this name is.
    pub(crate) fn output_path(&self, name: &str) -> PathBuf {
        self.outputs.join(name)
    }

    /// Whether this can be the name of an output file, as [`Spool::keep_output`] makes them.
    pub(crate) fn is_output_name(name: &str) -> bool {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    }

    /// Deletes an output file.
    pub(crate) fn discard_output(&self, name: &str) {
        if Spool::is_output_name(name) {
            discard(&self.output_path(name));
        } else {
            log::error!("{name:?} is not the name of an output file: nothing is deleted");
        }
    }
}

/// An input that is coming in: in memory until it is longer than [`INLINE_MAX`], then in a file.
/// Dropping it leaves nothing behind.
pub(crate) struct Receiving {
    spool: Arc<Spool>,
    /// What is not in the file yet; at most [`INLINE_MAX`] bytes.
    buffer: Vec<u8>,
    file: Option<NamedTempFile>,
    digest: digest::Context,
    bytes: u64,
    promise: Promise,
}

impl Receiving {
    /// Bytes taken in so far.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// Syncs the file, where there is one.
    pub(crate) fn finish(mut self) -> io::Result<Received> {
        if self.file.is_some() {
            self.spill()?;
        }
        let body = match self.file {
            None => NewInput::Inline(self.buffer),
            Some(file) => {
                file.as_file().sync_data()?;
                NewInput::File(file.into_temp_path())
            }
        };
        let sha256 = self
            .digest
            .finish()
            .as_ref()
            .try_into()
            .expect("invariant: a SHA-256 digest has 32 bytes");
        Ok(Received { bytes: self.bytes, sha256: Sha256(sha256), body, promise: self.promise })
    }

    /// Moves the buffer's content to the file.
    fn spill(&mut self) -> io::Result<()> {
        self.promise.use_up(self.buffer.len() as u64)?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(NamedTempFile::new_in(&self.spool.incoming)?),
        };
        file.as_file_mut().write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Receiving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only a byte too many makes a file; from then on the buffer gathers large writes.
        if self.buffer.len() == INLINE_MAX && !bytes.is_empty() {
            self.spill()?;
        }
        let taken = &bytes[..bytes.len().min(INLINE_MAX - self.buffer.len())];
        self.buffer.extend_from_slice(taken);
        self.digest.update(taken);
        self.bytes += taken.len() as u64;
        Ok(taken.len())
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
    /// To be kept until its job is stored.
    pub(crate) promise: Promise,
}

/// The bytes of an input without a job. A file among them is deleted when this is dropped.
#[derive(Debug)]
pub(crate) enum NewInput {
    Inline(Vec<u8>),
    File(tempfile::TempPath),
}

/// An input file at its job's place, while it is not yet sure that there will be such a job.
#[derive(Debug)]
pub(crate) struct PlacedInput {
    path: Option<PathBuf>,
}

impl PlacedInput {
    /// The job is stored: its file stays.
    pub(crate) fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for PlacedInput {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            discard(path);
        }
    }
}

/// Renames a file; false when the two places are on different devices.
fn renamed(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder, and those above it, where they are missing. What clients send is for nobody else
/// on this machine.
fn private_folder(path: &Path) -> io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.create(path)
}

/// Refuses a folder that this user may not write into: it would be noticed at the first long upload only.
#[cfg(unix)]
fn check_writable(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};

    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let error = io::Error::from(error);
        let text = format!("{} cannot be written into: {error}", folder.display());
        io::Error::new(error.kind(), text)
    })
}

#[cfg(not(unix))]
fn check_writable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Brings a file's content to stable storage. Returns its length in bytes.
fn sync_file(path: &Path) -> io::Result<u64> {
    // Elsewhere than on Unix only who may write may sync.
    let file = OpenOptions::new().read(true).write(cfg!(not(unix))).open(path)?;
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

/// Brings a folder's names to stable storage.
#[cfg(unix)]
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere a folder cannot be opened, and renames are journaled by the file system.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Deletes a file that may be gone already. What cannot be deleted now is found at the next start.
fn discard(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let folder = path.parent().unwrap_or(path);
            NOT_DELETED
                .say(format_args!("a file in {} cannot be deleted: {error}", folder.display()));
        }
    }
}
