//! The wait of a connection between two requests, and how it ends when the gate wants it to.

use std::io;
use std::net::TcpStream;

use super::roster::Guest;

/// Waits for what `client` begins next, for as long as its socket's own timeout says, unless the next
/// read does. Here that is woken when the roster ends the reading.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn wait(_client: &TcpStream, _guest: &Guest) -> io::Result<()> {
    Ok(())
}

/// Waits for what `client` begins next, for as long as its socket's own timeout says. Nothing wakes a
/// read here, so the roster is looked at now and then.
#[cfg(not(unix))]
pub(super) fn wait(client: &TcpStream, guest: &Guest) -> io::Result<()> {
    looking_up::wait(client, || guest.is_last())
}

#[cfg(any(test, not(unix)))]
mod looking_up {
    use std::io;
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use rustix::fd::AsFd;

    use crate::http::gate::inbox::readable;

    /// How long it takes at most until it is seen that a wait is over.
    const LOOK: Duration = Duration::from_millis(250);

    /// Fails when the time is over, or `is_over` says so.
    pub(super) fn wait(client: &TcpStream, is_over: impl Fn() -> bool) -> io::Result<()> {
        let patience = client.read_timeout()?.unwrap_or(Duration::MAX);
        let began = Instant::now();
        loop {
            let left = patience.saturating_sub(began.elapsed());
            if readable([client.as_fd()], left.min(LOOK))? == [true] {
                return Ok(());
            }
            if is_over() || left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::looking_up::wait;

    #[test]
    fn a_wait_that_looks_up_ends_with_a_request_with_the_time_or_when_it_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        served.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert!(wait(&served, || true).is_err());
        served.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(wait(&served, || false).is_err());
        client.write_all(b"x").unwrap();
        served.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        wait(&served, || false).unwrap();
    }
}
