//! The SHA-256 of a file, while it is written or read, and where it is kept: beside the model, in
//! the form that `sha256sum --check` reads.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::error::ModelError;

/// Bytes read or written at a time.
pub(super) const PIECE: usize = 256 * 1024;

/// A SHA-256 in the making.
pub(super) struct Digest(Context);

impl Digest {
    pub(super) fn new() -> Digest {
        Digest(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In lower-case hexadecimal.
    pub(super) fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Writes through to `inner` and digests what passes.
pub(super) struct Digesting<W> {
    inner: W,
    digest: Digest,
}

impl<W: Write> Digesting<W> {
    pub(super) fn new(inner: W) -> Digesting<W> {
        Digesting { inner, digest: Digest::new() }
    }

    /// The digest of all that was written, and the writer.
    pub(super) fn finish(self) -> (W, String) {
        (self.inner, self.digest.finish())
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads on to the end of `file`.
pub(super) fn of_rest(mut file: impl Read) -> io::Result<Digest> {
    let mut digest = Digest::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digest),
            n => digest.update(&piece[..n]),
        }
    }
}

/// The digest of the file at `path`.
pub(super) fn of_file(path: &Path) -> Result<String, ModelError> {
    let digest = File::open(path).and_then(of_rest).map_err(ModelError::disk("read", path))?;
    Ok(digest.finish())
}

/// Where the digest of the model at `path` is kept.
pub(super) fn record_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".sha256");
    PathBuf::from(name)
}

/// Keeps the digest of the model at `path`.
pub(super) fn record(path: &Path, sha256: &str) -> Result<(), ModelError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = record_path(path);
    fs::write(&beside, format!("{sha256}  {name}\n")).map_err(ModelError::disk("write", &beside))
}

/// Forgets the digest of a model that was at `path`.
pub(super) fn forget(path: &Path) -> Result<(), ModelError> {
    let beside = record_path(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ModelError::disk("delete", &beside)(error))
        }
        _ => Ok(()),
    }
}

/// The digest that was kept of the model at `path`, if one was.
pub(super) fn recorded(path: &Path) -> Result<Option<String>, ModelError> {
    /// A digest, a file name, and some room.
    const MAX: u64 = 4096;
    let beside = record_path(path);
    let file = match File::open(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(ModelError::disk("read", &beside))?,
    };
    let mut text = String::new();
    file.take(MAX).read_to_string(&mut text).map_err(ModelError::disk("read", &beside))?;
    let digest = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(Some(digest))
    } else {
        Err(ModelError::Broken { path: beside, why: "it does not hold a SHA-256".to_owned() })
    }
}
