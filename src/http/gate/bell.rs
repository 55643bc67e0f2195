//! What ends the wait of the thread that accepts: a socket, so that it can be waited for beside the
//! listener.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use rustix::fd::{AsFd, BorrowedFd};

/// A bell that goes on ringing: what it says is never read, so that a wait for it ends at once ever
/// after. Datagrams to itself are what there is on every system.
#[derive(Debug)]
pub(super) struct Bell(UdpSocket);

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        // It hears nobody else then.
        socket.connect(socket.local_addr()?)?;
        Ok(Bell(socket))
    }

    pub(super) fn ring(&self) {
        if let Err(error) = self.0.send(&[0]) {
            log::error!("the thread that accepts cannot be told to stop: {error}");
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::gate::inbox::readable;

    #[test]
    fn a_bell_rings_on_and_hears_itself_alone() {
        let bell = Bell::new().unwrap();
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        stranger.send_to(&[0], bell.0.local_addr().unwrap()).unwrap();
        assert_eq!(readable([bell.as_fd()], Duration::from_millis(20)).unwrap(), [false]);
        bell.ring();
        for _ in 0..2 {
            assert_eq!(readable([bell.as_fd()], Duration::from_secs(30)).unwrap(), [true]);
        }
    }
}
