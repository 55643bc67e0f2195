//! The wait for an answer, beside the client that it is for: who has gone needs none.

use rustix::fd::AsFd;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is seen of a client that was reset, or has ended both sides.
const GONE: PollFlags = PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL);
/// What is seen, beside that, of one that has ended its side. That there is something to read says
/// nothing: it may be the next request.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const ENDED: PollFlags = PollFlags::RDHUP;
/// Elsewhere it is not seen.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const ENDED: PollFlags = PollFlags::empty();

/// One wait for one answer.
pub(super) struct Vigil<'a> {
    client: &'a TcpStream,
    half_closed: Duration,
    /// Deadline for a half-closed client: the request is taken back after it.
    until: Option<Instant>,
    /// Deadline for the answer.
    answer_by: Option<Instant>,
}

/// What the wait has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// There is something to read.
    Answer,
    /// There is nobody to read it to.
    Departure,
    /// No answer came in time.
    Silence,
}

impl<'a> Vigil<'a> {
    /// `half_closed` is how long a client that has ended its side is waited with. Without `answer_by`
    /// the answer may take as long as it likes.
    pub(super) fn new(
        client: &'a TcpStream,
        half_closed: Duration,
        answer_by: Option<Instant>,
    ) -> Vigil<'a> {
        Vigil { client, half_closed, until: None, answer_by }
    }

    /// Waits until something of the answer is there, or the client is not.
    pub(super) fn wait(&mut self, answer: &impl AsFd) -> io::Result<Seen> {
        loop {
            let watched = if self.until.is_none() { ENDED } else { PollFlags::empty() };
            let deadline = [self.until, self.answer_by].into_iter().flatten().min();
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
            let mut polled = [
                PollFd::new(answer, PollFlags::IN),
                PollFd::from_borrowed_fd(self.client.as_fd(), watched),
            ];
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [answered, departed] = polled.map(|socket| socket.revents());
            let is_over =
                |deadline: Option<Instant>| deadline.is_some_and(|at| at <= Instant::now());
            if !answered.is_empty() {
                return Ok(Seen::Answer);
            }
            if departed.intersects(GONE) || is_over(self.until) {
                return Ok(Seen::Departure);
            }
            if is_over(self.answer_by) {
                return Ok(Seen::Silence);
            }
            if departed.intersects(ENDED) {
                self.until = Some(Instant::now() + self.half_closed);
            }
        }
    }
}

/// Whether a client was reset, or has ended both sides.
pub(super) fn is_gone(client: &TcpStream) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(client.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) => return Ok(polled[0].revents().intersects(GONE)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
