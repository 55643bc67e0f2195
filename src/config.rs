//! Everything about a server that can be set, validated once and then only read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::notifier::backoff::DEFAULT_WAITS;

/// Which addresses a callback may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackPolicy {
    /// Global addresses only.
    Public,
    /// Also private networks: RFC 1918, unique local (RFC 4193) and carrier-grade NAT (RFC 6598).
    Lan,
    /// Also loopback and link-local: everything.
    Any,
}

impl std::fmt::Display for CallbackPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CallbackPolicy::Public => "public",
            CallbackPolicy::Lan => "lan",
            CallbackPolicy::Any => "any",
        })
    }
}

/// The settings of one server. Without `Debug`, so that no secret gets into a log.
#[derive(Clone)]
pub(crate) struct Config {
    /// Where jobs and files are kept.
    pub(crate) data: PathBuf,
    /// Worker threads; at least 1.
    pub(crate) workers: usize,
    /// Cores that attempts share.
    pub(crate) cores: usize,
    /// Threads of one attempt; 0 for a fair share of the cores.
    pub(crate) threads: usize,
    /// Jobs that may wait.
    pub(crate) max_queued: usize,
    /// Longest request body, in bytes.
    pub(crate) max_body: u64,
    /// How long a finished job is kept.
    pub(crate) keep: Duration,
    /// How long an attempt may take.
    pub(crate) attempt_timeout: Duration,
    /// Attempts of one job, counting those that the process did not survive.
    pub(crate) max_attempts: u32,
    /// How long a stop waits for running attempts.
    pub(crate) drain: Duration,
    /// Which callbacks are taken; `None` until the listening address is known.
    pub(crate) callbacks: Option<CallbackPolicy>,
    /// What callbacks are signed with, newest first: Standard Webhooks secrets, decoded.
    pub(crate) webhook_secrets: Vec<Vec<u8>>,
    /// The waits between one attempt of a callback and the next.
    pub(crate) callback_waits: Vec<Duration>,
    /// How long one attempt of a callback may take.
    pub(crate) callback_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Config {
            data: PathBuf::from("ringback-data"),
            workers: cores,
            cores,
            threads: 0,
            max_queued: 1000,
            max_body: 512 * 1024 * 1024,
            keep: Duration::from_secs(24 * 3600),
            attempt_timeout: Duration::from_secs(3600),
            max_attempts: 3,
            drain: Duration::from_secs(30),
            callbacks: None,
            webhook_secrets: Vec::new(),
            callback_waits: DEFAULT_WAITS.to_vec(),
            callback_timeout: Duration::from_secs(15),
        }
    }
}

impl Config {
    /// The callback policy in force for a server that listens on `addr`.
    pub(crate) fn callback_policy(&self, addr: SocketAddr) -> CallbackPolicy {
        self.callbacks.unwrap_or(if addr.ip().is_loopback() {
            CallbackPolicy::Any
        } else {
            CallbackPolicy::Public
        })
    }
}
