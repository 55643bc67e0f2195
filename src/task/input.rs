//! The file a job works on, wherever its bytes are.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::job::InputInfo;

/// The file a job works on.
#[derive(Debug)]
pub struct Input {
    info: InputInfo,
    body: InputBody,
    scratch: Scratch,
    written_out: OnceLock<PathBuf>,
}

/// Where an input's bytes are: small ones come with the job, large ones are a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputBody {
    /// The bytes themselves.
    Inline(Arc<[u8]>),
    /// A file that must not be changed.
    File(PathBuf),
}

impl Input {
    pub(crate) fn new(info: InputInfo, body: InputBody, scratch: Scratch) -> Input {
        Input { info, body, scratch, written_out: OnceLock::new() }
    }

    /// The file's name as the client gave it, without folders and control characters.
    pub fn name(&self) -> Option<&str> {
        self.info.name.as_deref()
    }

    /// The content type as the client gave it, without parameters. It may be wrong.
    pub fn content_type(&self) -> Option<&str> {
        self.info.content_type.as_deref()
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.info.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.info.bytes == 0
    }

    /// A path to read it from, valid until the attempt ends. An input small enough to live in the
    /// queue is written to the attempt's scratch folder by the first call; [`bytes`](Input::bytes)
    /// and [`open`](Input::open) spare that.
    ///
    /// # Panics
    /// When a small input cannot be written out (a full disk). The attempt then ends, and is
    /// repeated as after any other panic.
    pub fn path(&self) -> &Path {
        match &self.body {
            InputBody::File(path) => path,
            InputBody::Inline(bytes) => self.written_out.get_or_init(|| {
                self.write_out(bytes)
                    .unwrap_or_else(|error| panic!("the input cannot be written out: {error}"))
            }),
        }
    }

    /// The attempt's own folder.
    pub(super) fn scratch(&self) -> io::Result<&Path> {
        self.scratch.path()
    }

    fn write_out(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.scratch.path()?.join("input");
        File::create(&path)?.write_all(bytes)?;
        Ok(path)
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match &self.body {
            InputBody::Inline(bytes) => Ok(Cow::Borrowed(bytes)),
            InputBody::File(path) => std::fs::read(path).map(Cow::Owned),
        }
    }

    /// A reader over it, at its start.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(&self) -> io::Result<InputReader> {
        match &self.body {
            InputBody::Inline(bytes) => {
                Ok(InputReader(Source::Memory(io::Cursor::new(bytes.clone()))))
            }
            InputBody::File(path) => Ok(InputReader(Source::File(File::open(path)?))),
        }
    }
}

/// Reads an input from wherever it is.
#[derive(Debug)]
pub struct InputReader(Source);

#[derive(Debug)]
enum Source {
    Memory(io::Cursor<Arc<[u8]>>),
    File(File),
}

impl Read for InputReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Memory(cursor) => cursor.read(buffer),
            Source::File(file) => file.read(buffer),
        }
    }
}

impl Seek for InputReader {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Source::Memory(cursor) => cursor.seek(position),
            Source::File(file) => file.seek(position),
        }
    }
}

/// An attempt's own folder: made when first asked for, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    parent: PathBuf,
    folder: OnceLock<tempfile::TempDir>,
}

impl Scratch {
    /// A folder to be made in `parent`.
    pub(crate) fn inside(parent: impl Into<PathBuf>) -> Scratch {
        Scratch { parent: parent.into(), folder: OnceLock::new() }
    }

    fn path(&self) -> io::Result<&Path> {
        if self.folder.get().is_none() {
            let made = tempfile::TempDir::with_prefix_in("attempt-", &self.parent)?;
            // Where another thread of the task was faster its folder stands, and ours goes.
            drop(self.folder.set(made));
        }
        Ok(self.folder.get().expect("invariant: set above").path())
    }
}
