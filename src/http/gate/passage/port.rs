//! Ports on loopback, where there are no sockets in folders that tiny_http could listen on. Whoever
//! has an account on this host can reach them, which is what the secret is for.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tiny_http::Listener;

use super::{Place, Stream, Way};
use crate::http::gate::inbox::retried;

/// As many connections may wait to be accepted as the system lets.
const BACKLOG: i32 = i32::MAX;

/// Any port that is free.
#[derive(Debug)]
pub(super) struct Ports;

/// Where one port is.
#[derive(Debug)]
struct Port {
    addr: SocketAddr,
}

impl Place for Ports {
    fn open(&self) -> io::Result<(Box<dyn Way>, Listener)> {
        let (port, listener) = Port::open()?;
        Ok((Box::new(port), listener.into()))
    }
}

impl Port {
    fn open() -> io::Result<(Port, TcpListener)> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        // tiny_http's sockets inherit it; without it an answer over 1 KB waits for an ACK.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let addr = listener.local_addr()?;
        Ok((Port { addr }, listener))
    }
}

impl Way for Port {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = retried(|| TcpStream::connect(self.addr))?;
        stream.set_nodelay(true)?;
        // It is closed when its answer is here. To keep its number for minutes after that, as TCP does
        // for what may still be on its way, would use up all of them.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_port_is_on_loopback_alone() {
        let (port, listener) = Port::open().unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
        let mut stream = port.connect().unwrap();
        stream.write_all(b"x").unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        assert!(accepted.nodelay().unwrap());
        drop((listener, accepted));
        assert!(port.connect().is_err());
    }
}
