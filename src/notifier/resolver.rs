//! From a callback's host to addresses that may be called. ureq connects to what this returns and
//! to nothing else, so a name that leads somewhere new since its job was submitted gains nothing.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

use crossbeam_channel::{RecvTimeoutError, bounded};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::address::{CallbackRefused, check_address};
use crate::config::CallbackPolicy;

/// Look-ups that may run at a time, those among them that nobody waits for any more.
const MOST_LOOKUPS: usize = 16;

/// Addresses of one host that are tried, as many as ureq holds.
const MOST_ADDRESSES: usize = 16;

/// Resolves names and leaves out what `policy` forbids.
#[derive(Debug)]
pub(crate) struct CheckedResolver {
    policy: CallbackPolicy,
    lookups: Arc<AtomicUsize>,
}

impl CheckedResolver {
    pub(crate) fn new(policy: CallbackPolicy) -> CheckedResolver {
        CheckedResolver { policy, lookups: Arc::default() }
    }

    /// Asks the system's resolver. It cannot be interrupted, so it is asked on a thread of its own,
    /// which is left to itself when `timeout` has passed.
    fn look_up(&self, target: String, timeout: Duration) -> Result<Vec<SocketAddr>, ureq::Error> {
        let running = Running::begin(&self.lookups)?;
        let (tell, told) = bounded(1);
        thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = target.to_socket_addrs().map(Vec::from_iter);
            drop(running);
            // A closed channel means that nobody waits any more.
            let _ = tell.send(found);
        })?;
        match told.recv_timeout(timeout) {
            Ok(found) => found.map_err(|error| other(format!("the host is not found: {error}"))),
            Err(RecvTimeoutError::Timeout) => Err(ureq::Error::Timeout(ureq::Timeout::Resolve)),
            Err(RecvTimeoutError::Disconnected) => Err(other("the look-up ended in a panic")),
        }
    }
}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let target = uri
            .scheme()
            .zip(uri.authority())
            .and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority))
            .ok_or_else(|| ureq::Error::BadUri("no scheme, host or port".to_owned()))?;
        let found = match target.parse::<SocketAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.look_up(target, *timeout.after)?,
        };
        let mut allowed = self.empty();
        for address in keep_allowed(&found, self.policy)?.into_iter().take(MOST_ADDRESSES) {
            allowed.push(address);
        }
        Ok(allowed)
    }
}

/// The addresses that may be called; an error when there are none.
fn keep_allowed(
    found: &[SocketAddr],
    policy: CallbackPolicy,
) -> Result<Vec<SocketAddr>, ureq::Error> {
    let mut refused: Option<CallbackRefused> = None;
    let mut allowed = Vec::new();
    for address in found {
        match check_address(address.ip(), policy) {
            Ok(()) => allowed.push(*address),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    match refused {
        Some(refused) if allowed.is_empty() => Err(other(refused)),
        None if allowed.is_empty() => Err(ureq::Error::HostNotFound),
        _ => Ok(allowed),
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ureq::Error {
    ureq::Error::Other(error.into())
}

/// A look-up, counted for as long as it lives.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(count: &Arc<AtomicUsize>) -> io::Result<Running> {
        let running = Running(Arc::clone(count));
        if count.fetch_add(1, Ordering::Relaxed) >= MOST_LOOKUPS {
            return Err(io::Error::other("too many look-ups of names hang; is the DNS there?"));
        }
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    /// What a rebinding DNS server answers: one address of its own, and one inside.
    #[test]
    fn forbidden_addresses_are_left_out() {
        let found = addresses(&["192.168.0.1:80", "93.184.215.14:80", "[::ffff:127.0.0.1]:80"]);
        let allowed = keep_allowed(&found, CallbackPolicy::Public).expect("one is left");
        assert_eq!(allowed, addresses(&["93.184.215.14:80"]));
        let allowed = keep_allowed(&found, CallbackPolicy::Lan).expect("two are left");
        assert_eq!(allowed, found[..2]);
        assert_eq!(keep_allowed(&found, CallbackPolicy::Any).expect("all"), found);
    }

    #[test]
    fn the_refusal_says_which_address_and_which_switch() {
        let found = addresses(&["10.0.0.1:80"]);
        let error = keep_allowed(&found, CallbackPolicy::Public).expect_err("private");
        let text = error.to_string();
        assert!(text.contains("10.0.0.1") && text.contains("--callbacks lan"), "{text}");
        let error = keep_allowed(&[], CallbackPolicy::Any).expect_err("nothing");
        assert!(matches!(error, ureq::Error::HostNotFound), "{error}");
    }

    #[test]
    fn look_ups_that_hang_are_bounded() {
        let count = Arc::default();
        let hanging: Vec<_> =
            (0..MOST_LOOKUPS).map(|_| Running::begin(&count).expect("room")).collect();
        assert!(Running::begin(&count).is_err());
        drop(hanging);
        assert!(Running::begin(&count).is_ok());
    }
}
