//! The queued jobs in memory: enough of each to tell what stands before another, and how many are one
//! sender's, at a cost that does not grow with their number.
//!
//! Jobs are claimed in the order of their `seq`. Every run of 64 of them, of 64 such runs, and so on has
//! a sum, so that the jobs before a place are a few dozen sums and the rest of one run. The store
//! stays the truth: the writer repeats here what it has committed, and a start reads it anew.
//!
//! A queued job takes about 55 bytes here, and every sender 100 and its name.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::Connection;

use super::rows;
use crate::estimator::{Kind, Load};
use crate::queue::{Ahead, FEW};

/// A run has 2 to the power of this many places, or runs of the next lower level.
const RUN_BITS: u32 = 6;
/// The bits of a place within a run, by level. A run of the highest has 262,144 places: there are few.
const LEVELS: [u32; 3] = [RUN_BITS, 2 * RUN_BITS, 3 * RUN_BITS];
/// Kinds of work that are told apart; jobs of further ones count as mixed.
const KINDS: usize = 64;
/// The most that one job counts for, so that no sum overflows.
const LARGEST: u64 = 1 << 40;

/// A change of the backlog.
#[derive(Debug)]
pub(super) enum Move {
    /// The job is queued.
    Enter(i64, Entry),
    /// The time that a queued job waited for has come.
    Ready(i64),
    /// The job is not queued any more.
    Leave(i64),
}

/// A job that is queued.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) load: Load,
    pub(super) sender: Arc<str>,
    /// Whether it may be claimed, or waits for a time.
    pub(super) ready: bool,
}

/// The backlog as of the last commit, for everybody to read.
#[derive(Debug, Default)]
pub(super) struct SharedBacklog(Mutex<Backlog>);

impl SharedBacklog {
    /// Reads what is queued in the store.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<SharedBacklog> {
        let mut backlog = Backlog::default();
        for (ready, sql) in [
            (true, rows::select_queued!("jobs_ready", "ready_at IS NULL")),
            (false, rows::select_queued!("jobs_waiting", "ready_at IS NOT NULL")),
        ] {
            let mut statement = conn.prepare(sql)?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let (seq, entry) = rows::queued(row, ready)?;
                backlog.enter(seq, entry);
            }
        }
        Ok(SharedBacklog(Mutex::new(backlog)))
    }

    /// Repeats what was committed.
    pub(super) fn apply(&self, moves: Vec<Move>) {
        if moves.is_empty() {
            return;
        }
        let mut backlog = self.lock();
        for step in moves {
            match step {
                Move::Enter(seq, entry) => backlog.enter(seq, entry),
                Move::Ready(seq) => backlog.make_ready(seq),
                Move::Leave(seq) => backlog.leave(seq),
            }
        }
    }

    /// What stands before a queued job; `None` where it is not queued.
    pub(super) fn ahead(&self, seq: i64) -> Option<Ahead> {
        self.lock().ahead(seq)
    }

    /// How many of a sender's jobs are queued.
    pub(super) fn queued_by(&self, sender: &str) -> usize {
        self.lock().senders.count(sender)
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.0.lock().expect("invariant: no panic under this lock")
    }
}

#[derive(Debug, Default)]
struct Backlog {
    /// Jobs that may be claimed, by `seq`.
    ready: BTreeMap<i64, Place>,
    /// Jobs that wait for a time.
    delayed: BTreeMap<i64, Place>,
    /// The ready jobs of each run, by its number; the lowest level first.
    runs: [BTreeMap<i64, Sums>; LEVELS.len()],
    kinds: Interned<Kind>,
    senders: Interned<Arc<str>>,
}

/// A queued job.
#[derive(Debug, Clone, Copy)]
struct Place {
    amount: u64,
    kind: u32,
    sender: u32,
}

impl Backlog {
    fn enter(&mut self, seq: i64, entry: Entry) {
        // A job is queued once: one that is known already is replaced.
        self.leave(seq);
        let Entry { load, sender, ready } = entry;
        let kind = match self.kinds.len() < KINDS || self.kinds.count(&load.kind) > 0 {
            true => load.kind,
            false => Kind::mixed(),
        };
        let place = Place {
            amount: load.amount.min(LARGEST),
            kind: self.kinds.take(kind),
            sender: self.senders.take(sender),
        };
        match ready {
            true => self.line_up(seq, place),
            false => drop(self.delayed.insert(seq, place)),
        }
    }

    fn make_ready(&mut self, seq: i64) {
        if let Some(place) = self.delayed.remove(&seq) {
            self.line_up(seq, place);
        }
    }

    fn line_up(&mut self, seq: i64, place: Place) {
        self.ready.insert(seq, place);
        for (bits, runs) in LEVELS.iter().zip(&mut self.runs) {
            runs.entry(seq >> bits).or_default().add(place.kind, 1, place.amount);
        }
    }

    fn leave(&mut self, seq: i64) {
        let place = match self.ready.remove(&seq) {
            Some(place) => {
                self.step_out(seq, place);
                Some(place)
            }
            None => self.delayed.remove(&seq),
        };
        if let Some(place) = place {
            self.kinds.give_back(place.kind);
            self.senders.give_back(place.sender);
        }
    }

    fn step_out(&mut self, seq: i64, place: Place) {
        for (bits, runs) in LEVELS.iter().zip(&mut self.runs) {
            let run = seq >> bits;
            let sums = runs.get_mut(&run).expect("invariant: a ready job is in a run");
            sums.subtract(place.kind, place.amount);
            if sums.0.is_empty() {
                runs.remove(&run);
            }
        }
    }

    fn ahead(&self, seq: i64) -> Option<Ahead> {
        if !self.ready.contains_key(&seq) && !self.delayed.contains_key(&seq) {
            return None;
        }
        let sums = self.before(seq);
        let jobs = sums.0.iter().map(|sum| sum.jobs).sum();
        let work = if jobs <= FEW {
            self.ready
                .range(..seq)
                .map(|(_, place)| self.load(place.kind, 1, place.amount))
                .collect()
        } else {
            sums.0.iter().map(|sum| self.load(sum.kind, sum.jobs, sum.amount)).collect()
        };
        Some(Ahead { jobs, work, ready_at: None })
    }

    /// The ready jobs before a place: whole runs of the highest level, then those of the next lower one
    /// within the run where the place is, and so on down to single jobs.
    fn before(&self, seq: i64) -> Sums {
        let mut sums = Sums::default();
        let mut from = i64::MIN;
        for (bits, runs) in LEVELS.iter().zip(&self.runs).rev() {
            let run = seq >> bits;
            for other in runs.range(from..run).flat_map(|(_, sums)| &sums.0) {
                sums.add(other.kind, other.jobs, other.amount);
            }
            from = run << RUN_BITS;
        }
        for place in self.ready.range(from..seq).map(|(_, place)| place) {
            sums.add(place.kind, 1, place.amount);
        }
        sums
    }

    fn load(&self, kind: u32, jobs: u64, amount: u64) -> Load {
        Load { kind: self.kinds.value(kind).clone(), jobs, amount }
    }
}

/// Jobs and their work together, by kind. There are few kinds in one run: a list is searched fastest.
#[derive(Debug, Default)]
struct Sums(Vec<Sum>);

#[derive(Debug)]
struct Sum {
    kind: u32,
    jobs: u64,
    amount: u64,
}

impl Sums {
    fn add(&mut self, kind: u32, jobs: u64, amount: u64) {
        match self.0.iter_mut().find(|sum| sum.kind == kind) {
            Some(sum) => {
                sum.jobs += jobs;
                sum.amount += amount;
            }
            None => self.0.push(Sum { kind, jobs, amount }),
        }
    }

    /// Takes one job off.
    fn subtract(&mut self, kind: u32, amount: u64) {
        let at = self.0.iter().position(|sum| sum.kind == kind);
        let at = at.expect("invariant: what is taken off was added");
        let sum = &mut self.0[at];
        sum.jobs -= 1;
        sum.amount -= amount;
        if sum.jobs == 0 {
            self.0.swap_remove(at);
        }
    }
}

/// Values that many jobs share, each kept once and counted, by a small number.
#[derive(Debug)]
struct Interned<T> {
    numbers: HashMap<T, u32>,
    /// Each value, and how many jobs have it.
    slots: Vec<(T, usize)>,
    free: Vec<u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Interned<T> {
        Interned { numbers: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    /// The value's number, for one job more.
    fn take(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            self.slots[number as usize].1 += 1;
            return number;
        }
        let slot = (value.clone(), 1);
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("invariant: fewer jobs than numbers")
            }
        };
        self.numbers.insert(value, number);
        number
    }

    /// One job less has the value.
    fn give_back(&mut self, number: u32) {
        let (value, jobs) = &mut self.slots[number as usize];
        *jobs -= 1;
        if *jobs == 0 {
            self.numbers.remove(value);
            self.free.push(number);
        }
    }

    fn count<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> usize
    where
        T: std::borrow::Borrow<Q>,
    {
        self.numbers.get(value).map_or(0, |&number| self.slots[number as usize].1)
    }

    fn value(&self, number: u32) -> &T {
        &self.slots[number as usize].0
    }

    /// How many values there are.
    fn len(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
mod tests;
