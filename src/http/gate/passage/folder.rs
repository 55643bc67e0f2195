//! Unix sockets in a folder that only this user may enter.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tiny_http::Listener;

use super::{Place, Stream, Way};
use crate::http::gate::inbox::retried;

/// The folder of the sockets, in the data folder.
const FOLDER: &str = "gate";

/// Where the sockets are. The folder and all in it are removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The number of the next socket. Each has a name of its own: tiny_http removes its socket's file by
    /// name when it ends.
    next: AtomicU64,
}

/// A socket in the folder.
struct Socket(PathBuf);

impl Folder {
    /// Makes the folder in `data`, or among the system's temporary files where a socket cannot be in
    /// `data`: its path has room for about 100 bytes.
    pub(super) fn open(data: &Path) -> io::Result<Folder> {
        match Folder::open_at(data.join(FOLDER)) {
            Ok(folder) => Ok(folder),
            Err(error) => {
                log::debug!("no socket in {}: {error}", data.display());
                let path = tempfile::Builder::new().prefix("ringback-").tempdir()?.keep();
                Folder::open_at(path)
            }
        }
    }

    fn open_at(path: PathBuf) -> io::Result<Folder> {
        // A process that was killed has left it; the data folder has one server at a time.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let folder = Folder { path, next: AtomicU64::new(1) };
        let (socket, _listener) = folder.bind()?;
        fs::remove_file(socket.0)?;
        Ok(folder)
    }

    fn bind(&self) -> io::Result<(Socket, UnixListener)> {
        // Programs that clean up may have removed it.
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let socket = self.path.join(format!("http-{number}"));
        let listener = UnixListener::bind(&socket)?;
        Ok((Socket(socket), listener))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{} could not be removed: {error}", self.path.display());
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Place for Folder {
    fn open(&self) -> io::Result<(Box<dyn Way>, Listener)> {
        let (socket, listener) = self.bind()?;
        Ok((Box::new(socket), listener.into()))
    }
}

impl Way for Socket {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(retried(|| UnixStream::connect(&self.0))?))
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
    fn the_sockets_are_in_a_folder_of_their_own_and_go_with_it() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FOLDER);
        // As after a kill -9.
        fs::create_dir(&path).unwrap();
        fs::write(path.join("http-1"), "left").unwrap();
        let folder = Folder::open(data.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let (first, listener) = folder.open().unwrap();
        first.connect().unwrap();
        drop(listener);
        assert!(first.connect().is_err());
        let (second, _listener) = folder.open().unwrap();
        second.connect().unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_was_removed_is_made_again() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::open(data.path()).unwrap();
        fs::remove_dir_all(data.path().join(FOLDER)).unwrap();
        let (socket, _listener) = folder.open().unwrap();
        socket.connect().unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_not_used() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("x".repeat(120));
        fs::create_dir(&deep).unwrap();
        let folder = Folder::open(&deep).unwrap();
        let (socket, _listener) = folder.open().unwrap();
        socket.connect().unwrap();
        assert!(!folder.path.starts_with(data.path()));
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists());
    }
}
