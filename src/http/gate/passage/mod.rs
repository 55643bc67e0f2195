//! The private sockets that tiny_http listens on: others cannot reach them, or not without a secret. The
//! gate opens one connection through the newest of them for each request.

#[cfg(unix)]
mod folder;
#[cfg(any(test, not(unix)))]
mod port;
mod secret;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use rustix::fd::AsFd;
use tiny_http::Listener;

pub(super) use self::secret::{Secret, turn_away};

/// Where private sockets are made. The sockets go when this is dropped.
pub(super) trait Place: Send + Sync {
    /// Makes a socket: the way to it for the gate, the listener for tiny_http. An earlier socket may stop
    /// working.
    fn open(&self) -> io::Result<(Box<dyn Way>, Listener)>;
}

/// The way to one private socket.
pub(super) trait Way: Send + Sync {
    /// Waits while as many wait to be accepted as may.
    fn connect(&self) -> io::Result<Box<dyn Stream>>;
}

/// A connection, of whatever kind.
pub(super) trait Stream: Read + Write + AsFd {
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
    }
}

/// The place for private sockets: a folder below `data`, where sockets can be files.
#[cfg(unix)]
pub(super) fn place(data: &Path) -> io::Result<Box<dyn Place>> {
    Ok(Box::new(folder::Folder::open(data)?))
}

/// The place for private sockets, which are no files here.
#[cfg(not(unix))]
pub(super) fn place(_data: &Path) -> io::Result<Box<dyn Place>> {
    ports()
}

/// The place where everybody on this host can reach the private sockets.
#[cfg(any(test, not(unix)))]
#[cfg_attr(unix, expect(clippy::unnecessary_wraps, reason = "a folder can fail"))]
pub(super) fn ports() -> io::Result<Box<dyn Place>> {
    Ok(Box::new(port::Ports))
}
