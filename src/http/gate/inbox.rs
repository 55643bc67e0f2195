//! What a client has sent and nobody has taken yet.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};

/// The buffer of a connection that waits for a request, in bytes: most heads fit.
const NARROW: usize = 4 * 1024;
/// The buffer while a body comes in: what is read of it at a time.
const WIDE: usize = 32 * 1024;

/// A buffer in front of a client's socket.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    /// What is unread lies between these two.
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        Inbox { buffer: vec![0; NARROW], start: 0, end: 0 }
    }

    /// What has come in and was not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes `bytes` of what is unread away.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end, "no more can be consumed than is there");
    }

    /// Makes room for a body of so many bytes, as far as there is use in that.
    pub(super) fn widen(&mut self, bytes: usize) {
        let width = bytes.clamp(NARROW, WIDE);
        if self.buffer.len() < width {
            self.buffer.resize(width, 0);
        }
    }

    /// Gives back what a connection that waits for a request does not need.
    pub(super) fn narrow(&mut self) {
        if self.unread().is_empty() && self.buffer.len() > NARROW {
            *self = Inbox::new();
        }
    }

    /// Reads what comes next, and waits for it as long as the socket's own timeout says. Returns 0
    /// at the end.
    pub(super) fn fill(&mut self, client: &TcpStream) -> io::Result<usize> {
        self.make_room();
        let read = retried(|| (&*client).read(&mut self.buffer[self.end..]))?;
        self.end += read;
        Ok(read)
    }

    /// As [`fill`](Inbox::fill), but waits no longer than until `deadline`.
    pub(super) fn fill_by(&mut self, client: &TcpStream, deadline: Instant) -> io::Result<usize> {
        match readable([client.as_fd()], deadline.saturating_duration_since(Instant::now()))? {
            [true] => self.fill(client),
            [false] => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The buffer is never full of unread bytes when this returns.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // Those who leave so much unread hold it to a bound of theirs.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }
}

/// Waits until there is something to read (or an end, or an error) on one of the sockets. Says on
/// which; on none when the time is over.
pub(super) fn readable<const N: usize>(
    sockets: [BorrowedFd<'_>; N],
    patience: Duration,
) -> io::Result<[bool; N]> {
    let deadline = Instant::now() + patience;
    let mut polled = sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) => return Ok(polled.map(|socket| !socket.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads onto the end of `out`, at most `most` bytes. Returns 0 at the end.
pub(super) fn read_onto(from: &mut impl Read, out: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let before = out.len();
    out.resize(before + most, 0);
    let read = retried(|| from.read(&mut out[before..]));
    out.truncate(before + *read.as_ref().unwrap_or(&0));
    read
}

/// Calls again while a signal interrupts.
pub(super) fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Inbox {
    /// As if this had been read.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(NARROW) {
            while self.buffer.len() - self.end < piece.len() {
                let before = self.buffer.len();
                self.make_room();
                if self.buffer.len() == before && self.buffer.len() - self.end < piece.len() {
                    self.buffer.resize(before * 2, 0);
                }
            }
            self.buffer[self.end..self.end + piece.len()].copy_from_slice(piece);
            self.end += piece.len();
        }
    }
}
