//! Everything about a server that can be set, validated once and then only read.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::api_key::ApiKey;
use crate::notifier::backoff::DEFAULT_WAITS;

/// Requests a second that one client may make where the server listens beyond loopback.
const RATE: u32 = 1000;

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

impl fmt::Display for CallbackPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallbackPolicy::Public => "public",
            CallbackPolicy::Lan => "lan",
            CallbackPolicy::Any => "any",
        })
    }
}

/// Pages of which site may use the server from their visitors' browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Of every site. Keys are the only protection then.
    Any,
    /// Of this one: `scheme://host` or `scheme://host:port`, as browsers send it (RFC 6454).
    Named(String),
}

/// A text is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOrigin;

impl fmt::Display for BadOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an origin is https://app.example or http://localhost:3000, without a path; or *",
        )
    }
}

impl std::error::Error for BadOrigin {}

impl FromStr for CorsOrigin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<CorsOrigin, BadOrigin> {
        if text == "*" {
            return Ok(CorsOrigin::Any);
        }
        let (scheme, host) = text.split_once("://").ok_or(BadOrigin)?;
        let is_name = |text: &str, also: &[u8]| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
        };
        if is_name(scheme, b"+-.") && is_name(host, b"-._:[]") {
            Ok(CorsOrigin::Named(text.to_ascii_lowercase()))
        } else {
            Err(BadOrigin)
        }
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
    /// Bytes of the disk that new inputs leave free; `None` to go by its size.
    pub(crate) min_free: Option<u64>,
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
    /// Who shows one of these may use the server; everybody may where there are none.
    pub(crate) api_keys: Vec<ApiKey>,
    /// Whether everybody may use the server though it listens beyond loopback.
    pub(crate) insecure: bool,
    /// Names, without a port, under which the server may be spoken to beside its addresses.
    pub(crate) hosts: Vec<String>,
    /// Sites whose pages may use the server.
    pub(crate) cors_origins: Vec<CorsOrigin>,
    /// Jobs of one client that may wait; `None` until the listening address is known.
    pub(crate) per_client: Option<usize>,
    /// Requests a second of one client, 0 for any number; `None` as above.
    pub(crate) rate: Option<u32>,
    /// What callbacks are signed with, newest first: Standard Webhooks secrets, decoded.
    pub(crate) webhook_secrets: Vec<Vec<u8>>,
    /// The waits between one attempt of a callback and the next.
    pub(crate) callback_waits: Vec<Duration>,
    /// How long one attempt of a callback may take.
    pub(crate) callback_timeout: Duration,
    /// Authorities whose certificates receivers may show, beside the system's.
    #[cfg(feature = "tls")]
    pub(crate) callback_authorities: Vec<crate::roots::CertificateAuthority>,
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
            min_free: None,
            keep: Duration::from_secs(24 * 3600),
            attempt_timeout: Duration::from_secs(3600),
            max_attempts: 3,
            drain: Duration::from_secs(30),
            callbacks: None,
            api_keys: Vec::new(),
            insecure: false,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            per_client: None,
            rate: None,
            webhook_secrets: Vec::new(),
            callback_waits: DEFAULT_WAITS.to_vec(),
            callback_timeout: Duration::from_secs(15),
            #[cfg(feature = "tls")]
            callback_authorities: Vec::new(),
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

    /// How many jobs of one client may wait at a server that listens on `addr`: half of all, so that
    /// one client does not keep the others out. On loopback, where all are likely to be one, all.
    pub(crate) fn per_client(&self, addr: SocketAddr) -> usize {
        self.per_client.unwrap_or(if addr.ip().is_loopback() {
            self.max_queued
        } else {
            self.max_queued.div_ceil(2)
        })
    }

    /// How many requests a second one client may make at a server that listens on `addr`; `None` is
    /// any number.
    pub(crate) fn rate(&self, addr: SocketAddr) -> Option<u32> {
        let default = if addr.ip().is_loopback() { 0 } else { RATE };
        Some(self.rate.unwrap_or(default)).filter(|&rate| rate > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let named = |text: &str| Ok(CorsOrigin::Named(text.to_owned()));
        assert_eq!("*".parse(), Ok(CorsOrigin::Any));
        assert_eq!("https://App.Example".parse(), named("https://app.example"));
        assert_eq!("http://[::1]:3000".parse(), named("http://[::1]:3000"));
        for bad in ["", "app.example", "https://", "https://a/", "https://a b", "null", "://a"] {
            assert_eq!(bad.parse::<CorsOrigin>(), Err(BadOrigin), "{bad:?}");
        }
    }

    #[test]
    fn beyond_loopback_one_client_has_half_of_the_queue() {
        let config = Config { max_queued: 9, ..Config::default() };
        let (loopback, all) = (([127, 0, 0, 1], 1).into(), ([0, 0, 0, 0], 1).into());
        assert_eq!((config.per_client(loopback), config.rate(loopback)), (9, None));
        assert_eq!((config.per_client(all), config.rate(all)), (5, Some(RATE)));
        let config = Config { per_client: Some(2), rate: Some(0), ..config };
        assert_eq!((config.per_client(loopback), config.rate(all)), (2, None));
    }
}
