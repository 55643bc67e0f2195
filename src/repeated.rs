//! Log lines that would repeat. A full disk fails thousands of requests a second: the first failure
//! is news, the others are a number.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use log::Level;

/// Time between two lines about the same trouble.
const QUIET: Duration = Duration::from_secs(60);
/// Different lines within [`QUIET`]; further ones are only counted.
const DISTINCT: usize = 4;

/// One kind of trouble in the log. It logs the first line, each line that differs from the ones
/// before (up to four a minute), and after that one line a minute with a count.
#[derive(Debug)]
pub(crate) struct Repeated {
    level: Level,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Lines logged since `since`, each once.
    said: Vec<String>,
    /// When the current minute began.
    since: Option<Instant>,
    /// Lines not logged since the last one that was.
    unsaid: u64,
    /// Whether the last thing that happened was the trouble.
    troubled: bool,
}

impl Repeated {
    pub(crate) const fn new(level: Level) -> Repeated {
        let state = State { said: Vec::new(), since: None, unsaid: 0, troubled: false };
        Repeated { level, state: Mutex::new(state) }
    }

    /// The trouble came up (again). Lines that name an id differ each time: leave ids out.
    pub(crate) fn say(&self, line: impl Display) {
        if let Some(line) = self.line(line.to_string(), Instant::now()) {
            log::log!(self.level, "{line}");
        }
    }

    /// The same thing went well. Logs `line` if the trouble was the last news, under the same bounds:
    /// something that fails every other time does not fill the log either.
    pub(crate) fn over(&self, line: &str) {
        if let Some(line) = self.recovery(line, Instant::now()) {
            log::info!("{line}");
        }
    }

    /// The line to log, or `None` where it is only counted.
    fn line(&self, line: String, now: Instant) -> Option<String> {
        let mut state = self.state();
        state.troubled = true;
        state.news(line, now)
    }

    /// As [`line`](Repeated::line), where there was trouble.
    fn recovery(&self, line: &str, now: Instant) -> Option<String> {
        let mut state = self.state();
        if !std::mem::take(&mut state.troubled) {
            return None;
        }
        state.news(line.to_owned(), now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("invariant: no panic under this lock")
    }
}

impl State {
    fn news(&mut self, line: String, now: Instant) -> Option<String> {
        let fresh = self.since.is_none_or(|since| now.duration_since(since) >= QUIET);
        if fresh {
            self.since = Some(now);
            self.said.clear();
        } else if self.said.len() >= DISTINCT || self.said.contains(&line) {
            self.unsaid += 1;
            return None;
        }
        let told = format!("{line}{}", more(std::mem::take(&mut self.unsaid)));
        self.said.push(line);
        Some(told)
    }
}

/// The count that a line ends with.
fn more(unsaid: u64) -> String {
    match unsaid {
        0 => String::new(),
        _ => format!(" (and {unsaid} more times since the last line)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_thousand_failures_a_second_are_a_line_a_minute() {
        let repeated = Repeated::new(Level::Error);
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        // Two minutes and a half of a failure every millisecond.
        let lines: Vec<String> =
            (0..150_000).filter_map(|ms| repeated.line("full".to_owned(), at(ms))).collect();
        assert_eq!(
            lines,
            [
                "full",
                "full (and 59999 more times since the last line)",
                "full (and 59999 more times since the last line)",
            ]
        );
    }

    #[test]
    fn another_error_is_another_line_but_not_without_end() {
        let repeated = Repeated::new(Level::Error);
        let now = Instant::now();
        let said = |line: &str| repeated.line(line.to_owned(), now).is_some();
        assert!(said("full"));
        assert!(said("read-only"));
        // From one to the other and back is no news.
        assert!(!said("full"));
        assert!(!said("read-only"));
        let others = (0..1000).filter(|n| said(&n.to_string())).count();
        assert_eq!(others, DISTINCT - 2);
    }

    #[test]
    fn a_recovery_is_told_once() {
        let repeated = Repeated::new(Level::Error);
        let start = Instant::now();
        assert_eq!(repeated.recovery("well", start), None, "there was no trouble");
        repeated.line("full".to_owned(), start);
        assert_eq!(repeated.recovery("well", start).as_deref(), Some("well"));
        assert_eq!(repeated.recovery("well", start), None, "it is known");
        // What fails every other time is no news each time.
        for _ in 0..1000 {
            assert_eq!(repeated.line("full".to_owned(), start), None);
            assert_eq!(repeated.recovery("well", start), None);
        }
        let line = repeated.line("full".to_owned(), start + QUIET);
        assert_eq!(line.as_deref(), Some("full (and 2000 more times since the last line)"));
    }
}
