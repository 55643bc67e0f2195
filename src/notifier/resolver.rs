//! From a callback's host to addresses that may be called. ureq connects to what this returns and
//! to nothing else, so a name that leads somewhere new since its job was submitted gains nothing.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use crossbeam_channel::{RecvTimeoutError, bounded};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::address::{CallbackRefused, check_address};
use crate::config::CallbackPolicy;
use crate::queue::PER_HOST;

/// Look-ups that may run at a time, those among them that nobody waits for any more: more than
/// couriers can begin in the half minute that the system's resolver may take.
const MOST_LOOKUPS: usize = 512;
/// Look-ups of one name among them.
const MOST_OF_ONE_NAME: usize = PER_HOST;
/// Bytes of stack for one, which are used where the system's resolver uses them.
const LOOKUP_STACK: usize = 512 * 1024;

/// Addresses of one host that are tried, as many as ureq holds.
const MOST_ADDRESSES: usize = 16;

/// Resolves names and leaves out what `policy` forbids.
#[derive(Debug)]
pub(crate) struct CheckedResolver {
    policy: CallbackPolicy,
    lookups: Arc<Lookups>,
}

/// How many look-ups of each name run.
type Lookups = Mutex<HashMap<String, usize>>;

impl CheckedResolver {
    pub(crate) fn new(policy: CallbackPolicy) -> CheckedResolver {
        CheckedResolver { policy, lookups: Arc::default() }
    }

    /// Asks the system's resolver. It cannot be interrupted, so it is asked on a thread of its own,
    /// which is left to itself when `timeout` has passed.
    fn look_up(&self, target: String, timeout: Duration) -> Result<Vec<SocketAddr>, ureq::Error> {
        let running = Running::begin(&self.lookups, &target)?;
        let (tell, told) = bounded(1);
        let thread = thread::Builder::new().name("lookup".to_owned()).stack_size(LOOKUP_STACK);
        thread.spawn(move || {
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
struct Running {
    lookups: Arc<Lookups>,
    name: String,
}

impl Running {
    fn begin(lookups: &Arc<Lookups>, name: &str) -> io::Result<Running> {
        let mut running = counts(lookups);
        let of_name = running.get(name).copied().unwrap_or(0);
        if of_name >= MOST_OF_ONE_NAME {
            return Err(io::Error::other("the DNS has not answered earlier look-ups of the host"));
        }
        if running.values().sum::<usize>() >= MOST_LOOKUPS {
            return Err(io::Error::other("too many look-ups of names hang; is the DNS there?"));
        }
        running.insert(name.to_owned(), of_name + 1);
        Ok(Running { lookups: Arc::clone(lookups), name: name.to_owned() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = counts(&self.lookups);
        match running.get_mut(&self.name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(running.remove(&self.name)),
        }
    }
}

/// Counts are whole even where a panic left their lock.
fn counts(lookups: &Lookups) -> MutexGuard<'_, HashMap<String, usize>> {
    lookups.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn sixteen_names_whose_dns_hangs_kept_every_other_from_being_looked_up() {
        let lookups = Arc::default();
        let hang = |name: &str| Running::begin(&lookups, name);
        let of_one: Vec<_> =
            (0..MOST_OF_ONE_NAME).map(|_| hang("hangs:80").expect("room")).collect();
        assert!(hang("hangs:80").is_err());
        let others: Vec<_> = (MOST_OF_ONE_NAME..MOST_LOOKUPS)
            .map(|n| hang(&format!("{n}:80")).expect("room"))
            .collect();
        assert!(hang("one more:80").is_err());
        drop(of_one);
        assert!(hang("hangs:80").is_ok());
        drop(others);
        assert!(counts(&lookups).is_empty());
    }
}
