//! How hosts answered lately.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Hosts that are remembered; beyond it the half that answered longest ago is forgotten.
const MOST: usize = 2048;
/// Trusted hosts that one look asks for by name.
const MOST_NAMED: usize = 128;

/// The hosts whose last POST was answered.
#[derive(Default)]
pub(super) struct Standings(HashMap<String, Standing>);

struct Standing {
    /// Prompt answers in a row.
    answers: u32,
    at: Instant,
}

impl Standings {
    /// Prompt answers in a row; `None` for a host that failed, or was not asked lately.
    pub(super) fn answers(&self, host: &str) -> Option<u32> {
        self.0.get(host).map(|standing| standing.answers)
    }

    pub(super) fn answered(&mut self, host: String, now: Instant) {
        let standing = self.0.entry(host).or_insert(Standing { answers: 0, at: now });
        standing.answers = standing.answers.saturating_add(1);
        standing.at = now;
        self.forget_some();
    }

    pub(super) fn answered_late(&mut self, host: String, now: Instant) {
        self.0.insert(host, Standing { answers: 0, at: now });
        self.forget_some();
    }

    pub(super) fn failed(&mut self, host: &str) {
        self.0.remove(host);
    }

    /// The trusted hosts that answered last, without those in `except`.
    pub(super) fn latest(&self, except: &HashSet<String>) -> Vec<String> {
        let mut hosts: Vec<(&String, Instant)> = self
            .0
            .iter()
            .filter(|(host, standing)| standing.answers > 0 && !except.contains(*host))
            .map(|(host, standing)| (host, standing.at))
            .collect();
        if hosts.len() > MOST_NAMED {
            hosts.select_nth_unstable_by_key(MOST_NAMED, |(_, at)| std::cmp::Reverse(*at));
            hosts.truncate(MOST_NAMED);
        }
        hosts.into_iter().map(|(host, _)| host.clone()).collect()
    }

    fn forget_some(&mut self) {
        if self.0.len() <= MOST {
            return;
        }
        let mut times: Vec<Instant> = self.0.values().map(|standing| standing.at).collect();
        let (_, median, _) = times.select_nth_unstable(MOST / 2);
        let median = *median;
        self.0.retain(|_, standing| standing.at > median);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn hosts_that_are_remembered_are_bounded_and_the_latest_stay() {
        let (mut standings, now) = (Standings::default(), Instant::now());
        for n in 0..=MOST {
            standings.answered(format!("host-{n}"), now + Duration::from_millis(n as u64));
        }
        assert!(standings.0.len() <= MOST / 2, "{}", standings.0.len());
        assert_eq!(standings.answers(&format!("host-{MOST}")), Some(1));
        assert_eq!(standings.answers("host-0"), None);
        assert_eq!(standings.latest(&HashSet::new()).len(), MOST_NAMED);
    }
}
