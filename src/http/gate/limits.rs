//! What a client may take of the server: time, bytes, connections.

use std::time::Duration;

use super::turns::Bounds;
use crate::http::pool::UPLOADERS;
use crate::notifier::{COURIERS_LEAST, couriers_for};

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most connections at once, however many files may be open.
const CONNECTIONS_MAX: u64 = 4096;
/// Open files that are kept for everything else, beside one for each worker and each courier beyond
/// the first eight: the store, the spool, callbacks, connections that are refused or make room for
/// others.
const FILES_KEPT: u64 = 64;
/// Open files of one connection: the client's socket, ours to tiny_http, tiny_http's two on the
/// other side of it, and those two of the request before, which tiny_http may be about to close.
const FILES_PER_CONNECTION: u64 = 6;

/// Connections without which a server is of no use.
const CONNECTIONS_MIN: u64 = 8;

/// The process may open fewer files than a server needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooFewFiles {
    pub(crate) allowed: u64,
    pub(crate) needed: u64,
}

/// The bounds of the gate.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections at once; further ones are refused.
    pub(crate) connections: usize,
    /// The longest body, in bytes.
    pub(crate) max_body: u64,
    /// How long a head may take from its first byte to its last, and the first byte of a connection.
    pub(crate) head: Duration,
    /// How long a connection may be idle between requests.
    pub(crate) idle: Duration,
    /// How long the client may be waited for in a body, in either direction, before its speed counts.
    pub(crate) grace: Duration,
    /// The least speed of a body, in either direction.
    pub(crate) bytes_per_second: u64,
    /// The least speed of an upload that others wait for, over `brisk_time`.
    pub(crate) brisk_bytes_per_second: u64,
    pub(crate) brisk_time: Duration,
    /// How long it may take to get going.
    pub(crate) brisk_grace: Duration,
    /// Long uploads behind the gate, and in front of it.
    pub(crate) uploads: Bounds,
    /// How long an upload may wait for its turn.
    pub(crate) turn: Duration,
    /// The longest that the client may do nothing in a body, however fast it was before.
    pub(crate) stall: Duration,
    /// How long a client that has ended its side is still thought to read: some do, most have gone.
    pub(crate) half_closed: Duration,
    /// How long a refused client that goes on sending is listened to in all, so that it can come to
    /// reading why.
    pub(crate) linger: Duration,
    /// How long `/livez` waits for the threads behind the gate.
    pub(crate) probe: Duration,
    /// How long one that sends nothing more is waited for to close its side.
    pub(crate) quiet: Duration,
}

impl Limits {
    /// The bounds of a server that takes bodies of `max_body` bytes and has so many workers. Raises the
    /// process's limit of open files as far as it goes.
    pub(crate) fn new(max_body: u64, workers: usize) -> Limits {
        Limits {
            connections: connections(raise_open_files(), workers),
            max_body,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            bytes_per_second: 1024,
            brisk_bytes_per_second: 64 * 1024,
            brisk_time: Duration::from_secs(10),
            brisk_grace: Duration::from_secs(3),
            // What is left of the threads is for bodies that are all here: they hold one only for
            // as long as the work takes.
            uploads: Bounds { places: UPLOADERS * 3 / 4, share: UPLOADERS / 2, waiting: 64 },
            turn: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            half_closed: Duration::from_secs(5),
            linger: Duration::from_secs(5),
            probe: Duration::from_secs(3),
            quiet: Duration::from_secs(1),
        }
    }
}

/// Raises the soft limit to the hard one. Returns what holds then; `None` is no limit.
#[cfg(unix)]
fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            log::debug!("the limit of open files stays at {current:?}: {error}");
            current
        }
    }
}

/// Elsewhere there is no such limit: sockets are bounded by memory alone.
#[cfg(not(unix))]
fn raise_open_files() -> Option<u64> {
    None
}

/// Raises the process's limit of open files as far as it goes, and looks whether it is enough for a
/// server with so many workers.
pub(crate) fn check_open_files(workers: usize) -> Result<(), TooFewFiles> {
    enough(raise_open_files(), workers)
}

fn enough(files: Option<u64>, workers: usize) -> Result<(), TooFewFiles> {
    let needed = kept(workers) + CONNECTIONS_MIN * FILES_PER_CONNECTION;
    match files {
        Some(allowed) if allowed < needed => Err(TooFewFiles { allowed, needed }),
        Some(_) | None => Ok(()),
    }
}

fn kept(workers: usize) -> u64 {
    FILES_KEPT + workers as u64
}

/// As many connections as there are files for: tiny_http must never be refused one.
fn connections(files: Option<u64>, workers: usize) -> usize {
    let fitting = files.map_or(CONNECTIONS_MAX, |files| {
        let couriers = (couriers_for(Some(files)) - COURIERS_LEAST) as u64;
        files.saturating_sub(kept(workers) + couriers) / FILES_PER_CONNECTION
    });
    usize::try_from(fitting.clamp(1, CONNECTIONS_MAX)).expect("invariant: it is at most 4096")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_open_files() {
        assert_eq!(connections(None, 1), 4096);
        assert_eq!(connections(Some(1 << 20), 1), 4096);
        assert_eq!(connections(Some(1024), 4), 150);
        assert_eq!(connections(Some(128), 1), 10);
        assert_eq!(connections(Some(10), 1), 1);
    }

    #[test]
    fn a_server_needs_files_for_eight_connections() {
        assert_eq!(enough(None, 1), Ok(()));
        assert_eq!(enough(Some(113), 1), Ok(()));
        assert_eq!(enough(Some(112), 1), Err(TooFewFiles { allowed: 112, needed: 113 }));
        assert_eq!(enough(Some(113), 2), Err(TooFewFiles { allowed: 113, needed: 114 }));
        assert_eq!(connections(Some(113), 1), 8);
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_one() {
        let raised = raise_open_files();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!((current, raised), (maximum, maximum));
    }
}
