//! The way to tiny_http: a Unix socket in a folder that only this user may enter, and one
//! connection through it for each request.

use std::fs::{self, DirBuilder};
use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::inbox::{read_onto, retried};

/// The folder of the socket, in the data folder.
const FOLDER: &str = "gate";
/// The socket, in its folder.
const SOCKET: &str = "http";

/// Where the socket is. The folder and all in it are removed when this is dropped.
#[derive(Debug)]
pub(super) struct Passage {
    folder: PathBuf,
}

impl Passage {
    /// Makes the socket in `data`, or among the system's temporary files where a socket cannot be
    /// there: its path has room for about 100 bytes.
    pub(super) fn open(data: &Path) -> io::Result<(Passage, UnixListener)> {
        let folder = data.join(FOLDER);
        match Passage::open_in(folder) {
            Ok(opened) => Ok(opened),
            Err(error) => {
                log::debug!("no socket in {}: {error}", data.display());
                let folder = tempfile::Builder::new().prefix("ringback-").tempdir()?.keep();
                Passage::open_in(folder)
            }
        }
    }

    fn open_in(folder: PathBuf) -> io::Result<(Passage, UnixListener)> {
        // What a process that was killed has left; the data folder has one server at a time.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        DirBuilder::new().mode(0o700).create(&folder)?;
        let passage = Passage { folder };
        let listener = UnixListener::bind(passage.socket())?;
        Ok((passage, listener))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// A connection for one request. Waits while as many wait to be accepted as may.
    pub(super) fn connect(&self) -> io::Result<Inner> {
        let stream = retried(|| UnixStream::connect(self.socket()))?;
        Ok(Inner { stream })
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            log::warn!("{} could not be removed: {error}", self.folder.display());
        }
    }
}

/// A connection to tiny_http, for one request.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) stream: UnixStream,
}

impl Inner {
    /// Sends the parts one after the other, in as few steps as there can be.
    pub(super) fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        // Parts without bytes do not count.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match retried(|| self.stream.write_vectored(left))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => IoSlice::advance_slices(&mut left, sent),
            }
        }
        Ok(())
    }

    /// Sends one chunk; `bytes` are not none, which would be the last chunk.
    pub(super) fn send_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"])
    }

    /// Reads more of the answer onto the end of `answer`, at most `most` bytes. Returns 0 at its
    /// end.
    pub(super) fn receive(&mut self, answer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        match read_onto(&mut self.stream, answer, most) {
            // tiny_http had not read all of the request when it closed; the answer has come before.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            read => read,
        }
    }

    /// Tells whoever reads the body that no more of it comes.
    pub(super) fn end_body(&mut self) {
        // It may have been closed from the other side, with an answer.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Gives the request up, and waits until nobody works on it any more: what it has taken up is
    /// free then.
    pub(super) fn abandon(mut self) {
        self.end_body();
        // The answer is for nobody; an error is an end, too.
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_socket_is_in_a_folder_of_its_own_and_goes_with_it() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(FOLDER);
        // As after a kill -9.
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(SOCKET), "left").unwrap();
        let (passage, listener) = Passage::open(data.path()).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let mut inner = passage.connect().unwrap();
        inner.send(&[b"", b"ab", b"", b"c"]).unwrap();
        inner.send_chunk(&[b'x'; 17]).unwrap();
        inner.end_body();
        let mut sent = String::new();
        listener.accept().unwrap().0.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, format!("abc11\r\n{}\r\n", "x".repeat(17)));
        drop(passage);
        assert!(!folder.exists());
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_not_used() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("x".repeat(120));
        fs::create_dir(&deep).unwrap();
        let (passage, _listener) = Passage::open(&deep).unwrap();
        passage.connect().unwrap();
        assert!(!passage.folder.starts_with(data.path()));
        assert!(!deep.join(FOLDER).exists());
        let folder = passage.folder.clone();
        drop(passage);
        assert!(!folder.exists());
    }
}
