//! What is written down of one burst.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// What came back to one request.
#[derive(Debug)]
pub enum Reply {
    /// The result itself.
    Result,
    /// A promise, and perhaps where to ask for the result.
    Accepted { location: Option<String> },
    /// The server says no (503).
    Refused,
    /// Nothing, in the time the client had; or the connection broke.
    GaveUp,
}

/// How a result came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Reply,
    Callback,
    Poll,
}

#[derive(Debug)]
pub struct Ledger {
    pub began: Instant,
    pub answered: usize,
    pub refused: usize,
    pub gave_up: usize,
    /// How long each client waited until it was answered, was refused, or gave up.
    pub waits: Vec<Duration>,
    /// The texts that were accepted, and where to ask for them.
    pub open: HashMap<String, Option<String>>,
    /// The texts whose result came back.
    pub returned: HashSet<String>,
    pub ways: BTreeMap<Way, usize>,
    /// When each text was finished, by the program's own account.
    pub finished: HashMap<String, Instant>,
    pub threads: Option<u64>,
    /// In KiB.
    pub memory: Option<u64>,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger {
            began: Instant::now(),
            answered: 0,
            refused: 0,
            gave_up: 0,
            waits: Vec::new(),
            open: HashMap::new(),
            returned: HashSet::new(),
            ways: BTreeMap::new(),
            finished: HashMap::new(),
            threads: None,
            memory: None,
        }
    }

    pub fn reply(&mut self, text: String, reply: Reply, waited: Duration) {
        self.waits.push(waited);
        match reply {
            Reply::Result => {
                self.answered += 1;
                self.came_back(text, Way::Reply);
            }
            Reply::Accepted { location } => {
                self.answered += 1;
                self.open.insert(text, location);
            }
            Reply::Refused => self.refused += 1,
            Reply::GaveUp => self.gave_up += 1,
        }
    }

    /// Repeats count once.
    pub fn came_back(&mut self, text: String, way: Way) {
        if self.returned.insert(text) {
            *self.ways.entry(way).or_default() += 1;
        }
    }

    /// Repeats count once.
    pub fn has_finished(&mut self, at: Instant, text: String) {
        self.finished.entry(text).or_insert(at);
    }

    /// How many a second, from the first request to the last that was finished.
    pub fn finished_per_second(&self) -> Option<f64> {
        let last = self.finished.values().max()?;
        Some(self.finished.len() as f64 / last.duration_since(self.began).as_secs_f64())
    }

    /// The wait that this share of the clients did not exceed.
    pub fn wait(&self, share: f64) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let index = (waits.len().saturating_sub(1) as f64 * share).round() as usize;
        waits.get(index).copied().unwrap_or_default()
    }
}
