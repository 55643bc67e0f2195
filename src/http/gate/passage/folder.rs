//! A Unix socket in a folder that only this user may enter.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::{Stream, Way};
use crate::http::gate::inbox::retried;

/// The folder of the socket, in the data folder.
const FOLDER: &str = "gate";
/// The socket, in its folder.
const SOCKET: &str = "http";

/// Where the socket is. The folder and all in it are removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the socket in `data`, or among the system's temporary files where a socket cannot be
    /// there: its path has room for about 100 bytes.
    pub(super) fn open(data: &Path) -> io::Result<(Folder, UnixListener)> {
        match Folder::open_at(data.join(FOLDER)) {
            Ok(opened) => Ok(opened),
            Err(error) => {
                log::debug!("no socket in {}: {error}", data.display());
                let path = tempfile::Builder::new().prefix("ringback-").tempdir()?.keep();
                Folder::open_at(path)
            }
        }
    }

    fn open_at(path: PathBuf) -> io::Result<(Folder, UnixListener)> {
        // What a process that was killed has left; the data folder has one server at a time.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Folder { path };
        let listener = UnixListener::bind(folder.socket())?;
        Ok((folder, listener))
    }

    fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            log::warn!("{} could not be removed: {error}", self.path.display());
        }
    }
}

impl Way for Folder {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(retried(|| UnixStream::connect(self.socket()))?))
    }
}

impl Stream for UnixStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        UnixStream::shutdown(self, how)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_socket_is_in_a_folder_of_its_own_and_goes_with_it() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FOLDER);
        // As after a kill -9.
        fs::create_dir(&path).unwrap();
        fs::write(path.join(SOCKET), "left").unwrap();
        let (folder, listener) = Folder::open(data.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        folder.connect().unwrap();
        listener.accept().unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_not_used() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("x".repeat(120));
        fs::create_dir(&deep).unwrap();
        let (folder, _listener) = Folder::open(&deep).unwrap();
        folder.connect().unwrap();
        assert!(!folder.path.starts_with(data.path()));
        assert!(!deep.join(FOLDER).exists());
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists());
    }
}
