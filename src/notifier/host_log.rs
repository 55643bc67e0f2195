//! The log's lines about hosts that fail: one for each change of a host's state, and a bounded number
//! of them, however many hosts change.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::queue::HostChange;

/// Lines in one period; the rest of it is counted.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(60);

/// Tells of hosts that begin to fail, are parked, and are back.
#[derive(Default)]
pub(super) struct HostLog(Mutex<Period>);

#[derive(Default)]
struct Period {
    began: Option<Instant>,
    lines: u32,
    left_out: Counts,
}

/// Changes of hosts that got no line of their own.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    fail: u32,
    parked: u32,
    back: u32,
}

impl HostLog {
    /// Logs what changed, and what of the last period was left out.
    pub(super) fn tell(&self, host: &str, change: HostChange, error: Option<&str>) {
        if change == HostChange::Same {
            return;
        }
        // Counts are whole even where a panic left their lock.
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Counts { fail, parked, back }) = period.begin(Instant::now()) {
            log::info!(
                "callbacks: {fail} more hosts failed, {parked} were parked, {back} are back"
            );
        }
        if !period.has_line(change) {
            return;
        }
        match change {
            HostChange::Same => {}
            HostChange::Fails => {
                log::info!("callbacks to {host} fail: {}", error.unwrap_or("no answer"));
            }
            HostChange::Parked { failures, time } => log::info!(
                "callbacks to {host} are parked for {time:?} after {failures} failures in a row: {}",
                error.unwrap_or("no answer")
            ),
            HostChange::Back { failures } => {
                log::info!("callbacks to {host} arrive again, after {failures} failures in a row");
            }
        }
    }
}

impl Period {
    /// Begins a new period where the last is over, and returns what that has left out.
    fn begin(&mut self, now: Instant) -> Option<Counts> {
        if self.began.is_some_and(|began| now.saturating_duration_since(began) < PERIOD) {
            return None;
        }
        let last = std::mem::replace(self, Period { began: Some(now), ..Period::default() });
        (last.left_out != Counts::default()).then_some(last.left_out)
    }

    /// Whether there is a line left for this change; counts it where there is none.
    fn has_line(&mut self, change: HostChange) -> bool {
        if self.lines < LINES {
            self.lines += 1;
            return true;
        }
        match change {
            HostChange::Same => {}
            HostChange::Fails => self.left_out.fail += 1,
            HostChange::Parked { .. } => self.left_out.parked += 1,
            HostChange::Back { .. } => self.left_out.back += 1,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_hosts_that_fail_are_twenty_lines_and_a_count() {
        let (mut period, now) = (Period::default(), Instant::now());
        assert_eq!(period.begin(now), None);
        let lines = (0..1000).filter(|_| period.has_line(HostChange::Fails)).count();
        assert_eq!(lines, LINES as usize);
        assert_eq!(period.begin(now + PERIOD / 2), None);
        period.has_line(HostChange::Back { failures: 5 });
        let left_out = Counts { fail: 980, parked: 0, back: 1 };
        assert_eq!(period.begin(now + PERIOD), Some(left_out));
        assert!(period.has_line(HostChange::Fails));
    }
}
