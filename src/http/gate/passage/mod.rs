//! The way to tiny_http: a socket that others cannot reach, or not without a secret, and one
//! connection through it for each request.

#[cfg(unix)]
mod folder;
#[cfg(any(test, not(unix)))]
mod port;
mod secret;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustix::fd::AsFd;
use tiny_http::Listener;

pub(crate) use self::secret::{Secret, turn_away};
use super::inner::Inner;

/// The gate's end of the way. The socket goes when this is dropped.
pub(super) struct Passage {
    way: Box<dyn Way>,
    pub(super) secret: Arc<Secret>,
}

/// tiny_http's end of the way.
pub(crate) struct PrivateSocket {
    pub(crate) listener: Listener,
    /// Requests that do not tell it did not come through the gate.
    pub(crate) secret: Arc<Secret>,
}

/// A place that connections lead to.
trait Way: Send + Sync {
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

impl Passage {
    /// Makes the socket: below `data`, where sockets can be files.
    #[cfg(unix)]
    pub(super) fn open(data: &Path) -> io::Result<(Passage, PrivateSocket)> {
        let (folder, listener) = folder::Folder::open(data)?;
        Passage::new(folder, listener)
    }

    /// Makes the socket, which is no file here.
    #[cfg(not(unix))]
    pub(super) fn open(_data: &Path) -> io::Result<(Passage, PrivateSocket)> {
        Passage::open_port()
    }

    /// Makes the socket where everybody on this host can reach it.
    #[cfg(any(test, not(unix)))]
    pub(super) fn open_port() -> io::Result<(Passage, PrivateSocket)> {
        let (port, listener) = port::Port::open()?;
        Passage::new(port, listener)
    }

    fn new(
        way: impl Way + 'static,
        listener: impl Into<Listener>,
    ) -> io::Result<(Passage, PrivateSocket)> {
        let secret = Arc::new(Secret::new()?);
        let passage = Passage { way: Box::new(way), secret: Arc::clone(&secret) };
        Ok((passage, PrivateSocket { listener: listener.into(), secret }))
    }

    /// A connection for one request.
    pub(super) fn connect(&self) -> io::Result<Inner> {
        self.way.connect().map(Inner::new)
    }
}
