//! Which deliveries are due, in fair order between senders and hosts, and what is kept of a host that
//! fails.

use std::collections::HashSet;
use std::time::Duration;

use crate::job::{Delivery, DeliveryId};

/// Deliveries to one host that may be in flight at once.
pub(crate) const PER_HOST: usize = 2;

/// A lane that is ready for no longer than that is recent.
pub(crate) const RECENT: Duration = Duration::from_secs(1);

/// Which deliveries a look for due ones leaves out, and where it begins.
#[derive(Debug, Default, Clone)]
pub(crate) struct DueQuery {
    /// Deliveries in flight.
    pub(crate) busy: HashSet<DeliveryId>,
    /// Hosts (as [`delivery_host`] gives them) that get nothing now.
    pub(crate) full_hosts: HashSet<String>,
    /// Senders that send nothing to hosts that have not failed, but for `trusted` ones.
    pub(crate) no_firsts: HashSet<String>,
    /// Senders that send only to recent ones of these, or to `trusted` ones.
    pub(crate) recent_only: HashSet<String>,
    /// Senders that send nothing to hosts that failed last time.
    pub(crate) no_repeats: HashSet<String>,
    /// Nobody but the `trusted` hosts gets anything now.
    pub(crate) trusted_only: bool,
    /// Hosts that are looked at first, whoever sends to them.
    pub(crate) trusted: Vec<String>,
    /// Senders whose hosts come in the order of the shortest wait, not of the longest.
    pub(crate) latest_first: HashSet<String>,
    /// The look begins with the sender behind this one, in the order of their names.
    pub(crate) after: String,
}

/// One delivery that is due.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Due {
    pub(crate) delivery: Delivery,
    /// As [`delivery_host`] gives it.
    pub(crate) host: String,
    /// Whose job it is.
    pub(crate) sender: String,
    /// POSTs to the host that failed since one succeeded.
    pub(crate) failures: u32,
    /// It waits for no longer than [`RECENT`].
    pub(crate) is_recent: bool,
}

/// What a look for due deliveries found.
#[derive(Debug, Default)]
pub(crate) struct DueFound {
    pub(crate) due: Vec<Due>,
    /// Where the next look is to begin, while there may be more than this one came to.
    pub(crate) go_on_after: Option<String>,
}

/// How the receiver of one POST stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answers, though perhaps not as this callback would like.
    Well,
    /// It does not answer, or says that it cannot.
    Failing,
    /// It was not asked.
    Unknown,
}

/// What the record of a POST changed for its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostChange {
    /// Nothing that anybody needs to hear of.
    Same,
    /// It failed for the first time since it answered.
    Fails,
    /// It gets nothing for a time.
    Parked {
        /// POSTs that failed in a row.
        failures: u32,
        time: Duration,
    },
    /// It was parked, and answers again.
    Back {
        /// POSTs that failed in a row.
        failures: u32,
    },
}

/// Failures in a row after which a host is parked.
pub(crate) const FAILURES_TO_PARK: u32 = 5;
/// A parked host's time doubles with each failed probe up to this many times the first, which
/// makes 5 s grow to 320 s.
const LONGEST_PARK_FACTOR: u32 = 64;

/// How long a host that keeps failing gets nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parking {
    /// After the fifth failure in a row.
    pub(crate) first: Duration,
}

impl Parking {
    /// The time out after `failures` in a row; `None` while there are too few.
    pub(crate) fn after(self, failures: u32) -> Option<Duration> {
        let probes = failures.checked_sub(FAILURES_TO_PARK)?;
        Some(self.first.saturating_mul(2u32.saturating_pow(probes).min(LONGEST_PARK_FACTOR)))
    }
}

/// The `host:port` a callback URL leads to, in lower case: what the limits per receiver go by.
pub(crate) fn delivery_host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_parked_after_five_failures_for_a_growing_time() {
        let parking = Parking { first: Duration::from_secs(5) };
        let seconds: Vec<_> =
            (0..=13).map(|n| parking.after(n).map(|time| time.as_secs())).collect();
        let parked = [5, 10, 20, 40, 80, 160, 320, 320, 320].map(Some);
        assert_eq!(seconds[..5], [None; 5]);
        assert_eq!(seconds[5..], parked);
        assert_eq!(parking.after(u32::MAX), parking.after(11));
    }
}
