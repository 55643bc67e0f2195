//! Reading a file that cannot be trusted: every length it declares is held against what is left of
//! it before a byte is allocated or skipped.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::error::ModelError;

/// Why a file cannot be read as what it should be.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The disk failed.
    Io(io::Error),
    /// The bytes are not in the format.
    Malformed(String),
}

impl ReadError {
    pub(super) fn malformed(why: impl Into<String>) -> ReadError {
        ReadError::Malformed(why.into())
    }

    /// The error for the user, of the file at `path`.
    pub(super) fn of(self, path: &Path) -> ModelError {
        match self {
            ReadError::Io(source) => ModelError::disk("read", path)(source),
            ReadError::Malformed(why) => ModelError::Broken { path: path.to_owned(), why },
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(source: io::Error) -> ReadError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            ReadError::malformed("it ends too early")
        } else {
            ReadError::Io(source)
        }
    }
}

/// A seekable source with a known length and position.
pub(super) struct Bounded<R> {
    inner: R,
    at: u64,
    len: u64,
}

impl<R: Read + Seek> Bounded<R> {
    /// Starts at the beginning of `inner`.
    pub(super) fn new(mut inner: R) -> Result<Bounded<R>, ReadError> {
        let len = inner.seek(SeekFrom::End(0))?;
        inner.rewind()?;
        Ok(Bounded { inner, at: 0, len })
    }

    /// Bytes from the beginning to here.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes from here to the end.
    pub(super) fn left(&self) -> u64 {
        self.len - self.at
    }

    /// Passes over `bytes`, which must be there.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), ReadError> {
        if bytes > self.left() {
            return Err(ReadError::malformed("it ends too early"));
        }
        let step = i64::try_from(bytes).map_err(|_| ReadError::malformed("it is too long"))?;
        self.inner.seek_relative(step)?;
        self.at += bytes;
        Ok(())
    }

    /// The next `len` bytes, which must be there and no more than `most`. `what` names them in the
    /// error.
    pub(super) fn bytes(&mut self, len: u64, most: u64, what: &str) -> Result<Vec<u8>, ReadError> {
        if len > most {
            return Err(ReadError::malformed(format!(
                "{what} has {len} bytes; at most {most} can be"
            )));
        }
        if len > self.left() {
            return Err(ReadError::malformed("it ends too early"));
        }
        let mut bytes = vec![0; len as usize];
        self.inner.read_exact(&mut bytes)?;
        self.at += len;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ReadError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, ReadError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ReadError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Goes to `offset` and fills `bytes` from there.
    pub(super) fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len) {
            return Err(ReadError::malformed("it ends too early"));
        }
        self.inner.seek(SeekFrom::Start(offset))?;
        self.inner.read_exact(bytes)?;
        self.at = offset + bytes.len() as u64;
        Ok(())
    }
}
