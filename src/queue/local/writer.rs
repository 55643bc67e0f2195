//! The one thread that writes. It takes a command, then whatever else has arrived, applies all of them
//! in one transaction and commits once: under load many submits share one sync of the disk, and
//! a lone one waits for nobody.
//!
//! Each command runs in a savepoint of its own, so that one that fails takes nothing with it. When the
//! commit itself fails (a full disk), every command of the batch is told so, and none was done.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

use super::ready::Announcer;
use super::unstored::Unstored;
use crate::crew::Crew;
use crate::job::JobId;
use crate::repeated::Repeated;

/// Commands in one transaction, at most.
const BATCH: usize = 256;
/// Commands that may wait for the next transaction; who brings more waits outside.
const WAITING: usize = 1024;
/// What the last transactions and the closing of the file may take before the thread is left behind.
const CLOSING: Duration = Duration::from_secs(30);

/// Commits that failed.
static NOT_STORED: Repeated = Repeated::new(log::Level::Error);

/// What a command must survive once it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Survives {
    /// The end of the process: losing it to a power cut means that work is done once more.
    Kill,
    /// A power cut: the commit waits for the disk.
    PowerCut,
}

/// How many jobs are queued and running, and how many deliveries are pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) deliveries: usize,
}

/// The counts as of the last commit, for everybody to read.
#[derive(Debug, Default)]
pub(super) struct SharedCounts {
    /// Both in one word (`queued` in the upper half), so that a job on its way from one to the other
    /// is never in neither.
    queued_and_running: AtomicU64,
    deliveries: AtomicUsize,
}

impl SharedCounts {
    pub(super) fn load(&self) -> Counts {
        let both = self.queued_and_running.load(Ordering::Relaxed);
        Counts {
            queued: (both >> 32) as usize,
            running: (both & u64::from(u32::MAX)) as usize,
            deliveries: self.deliveries.load(Ordering::Relaxed),
        }
    }

    fn store(&self, counts: Counts) {
        let half = |count: usize| u64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let both = half(counts.queued) << 32 | half(counts.running);
        self.queued_and_running.store(both, Ordering::Relaxed);
        self.deliveries.store(counts.deliveries, Ordering::Relaxed);
    }
}

/// A file that no job needs any more, to be deleted once that is committed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// The input of this job.
    Input(JobId),
    /// The output file of this name.
    Output(String),
}

/// The transaction that a command runs in.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    pub(super) counts: Counts,
    ready: Vec<JobId>,
    refill: bool,
    leftovers: Vec<Leftover>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection, counts: Counts) -> Tx<'c> {
        Tx { conn, counts, ready: Vec::new(), refill: false, leftovers: Vec::new() }
    }

    /// A job has become ready.
    pub(super) fn announce(&mut self, id: JobId) {
        self.ready.push(id);
    }

    /// The channel of ready jobs may have too few ids.
    pub(super) fn refill(&mut self) {
        self.refill = true;
    }

    /// A file is not needed any more.
    pub(super) fn leave(&mut self, leftover: Leftover) {
        self.leftovers.push(leftover);
    }
}

/// What a command gave, when it is committed.
pub(super) struct Done<T> {
    pub(super) value: T,
    pub(super) leftovers: Vec<Leftover>,
}

/// The thread's owner. Dropping it ends the thread after what it was asked for.
pub(super) struct Writer {
    commands: Option<Sender<Box<dyn Command>>>,
    crew: Option<Crew>,
}

impl Writer {
    /// Starts the thread. It holds `lock` as long as it lives.
    pub(super) fn start(
        conn: Connection,
        counts: Counts,
        shared_counts: Arc<SharedCounts>,
        announcer: Announcer,
        lock: File,
    ) -> io::Result<Writer> {
        let (commands, incoming) = bounded(WAITING);
        shared_counts.store(counts);
        let desk = Desk { conn, counts, shared_counts, announcer, syncs: Survives::PowerCut };
        let mut crew = Crew::new();
        crew.hire("store-writer", move || {
            desk.run(&incoming);
            drop(lock);
        })?;
        Ok(Writer { commands: Some(commands), crew: Some(crew) })
    }

    /// Has `work` done in a transaction, and waits until it is committed.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        survives: Survives,
        work: impl FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Done<T>, Unstored> {
        let (reply, answer) = bounded(1);
        self.send(Box::new(Asked { survives, work: Some(work), result: None, reply }))?;
        answer.recv().unwrap_or_else(|_| Err(Unstored::no_writer()))
    }

    /// Has the channel of ready jobs filled, some time soon.
    pub(super) fn refill(&self) -> Result<(), Unstored> {
        let (reply, _) = bounded(1);
        let work = |tx: &mut Tx<'_>| {
            tx.refill();
            Ok(())
        };
        self.send(Box::new(Asked {
            survives: Survives::Kill,
            work: Some(work),
            result: None,
            reply,
        }))
    }

    /// Commands in the channel now.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.commands.as_ref().map_or(0, Sender::len)
    }

    fn send(&self, command: Box<dyn Command>) -> Result<(), Unstored> {
        let commands = self.commands.as_ref().expect("invariant: taken on drop only");
        commands.send(command).map_err(|_| Unstored::no_writer())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(crew) = self.crew.take() {
            // Whether it ended in time is in the log; there is nobody else to tell.
            crew.join_by(Instant::now() + CLOSING);
        }
    }
}

/// Something to be done in the next transaction.
trait Command: Send {
    fn survives(&self) -> Survives;

    /// Does it. On an error its savepoint is rolled back.
    fn apply(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;

    /// Answers whoever waits: with what it gave where the transaction is committed, else with why not.
    fn answer(self: Box<Self>, committed: Result<(), Unstored>);
}

struct Asked<W, T> {
    survives: Survives,
    work: Option<W>,
    result: Option<Result<Done<T>, Unstored>>,
    reply: Sender<Result<Done<T>, Unstored>>,
}

impl<W, T> Command for Asked<W, T>
where
    W: FnOnce(&mut Tx<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn survives(&self) -> Survives {
        self.survives
    }

    fn apply(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        let work = self.work.take().expect("invariant: applied once");
        match work(tx) {
            Ok(value) => {
                let leftovers = std::mem::take(&mut tx.leftovers);
                self.result = Some(Ok(Done { value, leftovers }));
                Ok(())
            }
            Err(error) => {
                tx.leftovers.clear();
                self.result = Some(Err(Unstored::from(&error)));
                Err(error)
            }
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), Unstored>) {
        let answer = match (self.result, committed) {
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(done)), Ok(())) => Ok(done),
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(Unstored::no_writer()),
        };
        // Nobody waits for the answer to a refill.
        let _ = self.reply.send(answer);
    }
}

/// What the thread works with.
struct Desk {
    conn: Connection,
    counts: Counts,
    shared_counts: Arc<SharedCounts>,
    announcer: Announcer,
    /// What commits survive as the connection is set now.
    syncs: Survives,
}

impl Desk {
    fn run(mut self, incoming: &Receiver<Box<dyn Command>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = incoming.recv() {
            batch.push(first);
            batch.extend(incoming.try_iter().take(BATCH - 1));
            let committed = self.commit(&mut batch);
            match &committed {
                Ok(()) => NOT_STORED.over("changes are stored again"),
                Err(error) => NOT_STORED.say(format_args!("changes were not stored: {error}")),
            }
            for command in batch.drain(..) {
                command.answer(committed.clone());
            }
        }
        self.close();
    }

    /// All of the batch in one transaction; workers hear of new jobs before anybody is answered.
    fn commit(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Unstored> {
        let survives = batch.iter().map(|command| command.survives()).max();
        match self.transact(batch, survives.unwrap_or(Survives::Kill)) {
            Ok(after) => {
                self.counts = after.counts;
                self.shared_counts.store(after.counts);
                self.announcer.announce(&after.ready, &self.conn);
                if after.refill {
                    self.announcer.refill(&self.conn);
                }
                Ok(())
            }
            Err(error) => {
                self.roll_back();
                Err(Unstored::from(&error))
            }
        }
    }

    fn transact(
        &mut self,
        batch: &mut [Box<dyn Command>],
        survives: Survives,
    ) -> rusqlite::Result<After> {
        self.sync_for(survives)?;
        self.run_cached("BEGIN IMMEDIATE")?;
        let mut tx = Tx::new(&self.conn, self.counts);
        for command in batch {
            self.run_cached("SAVEPOINT command")?;
            let (counts, ready) = (tx.counts, tx.ready.len());
            if let Err(error) = command.apply(&mut tx) {
                // Some errors (a full disk among them) may end the whole transaction.
                if self.conn.is_autocommit() {
                    return Err(error);
                }
                tx.counts = counts;
                tx.ready.truncate(ready);
                self.run_cached("ROLLBACK TO command")?;
            }
            self.run_cached("RELEASE command")?;
        }
        let after = After { counts: tx.counts, ready: tx.ready, refill: tx.refill };
        self.run_cached("COMMIT")?;
        Ok(after)
    }

    /// In WAL mode a commit under `synchronous = NORMAL` does not sync; a later one under FULL brings
    /// everything before it to the disk as well. Must be called between transactions.
    fn sync_for(&mut self, survives: Survives) -> rusqlite::Result<()> {
        if self.syncs != survives {
            self.conn.execute_batch(match survives {
                Survives::Kill => "PRAGMA synchronous = NORMAL",
                Survives::PowerCut => "PRAGMA synchronous = FULL",
            })?;
            self.syncs = survives;
        }
        Ok(())
    }

    fn run_cached(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            NOT_STORED.say(format_args!("a transaction could not be rolled back: {error}"));
        }
    }

    /// Leaves one file behind instead of three.
    fn close(self) {
        if let Err((_, error)) = self.conn.close() {
            log::warn!("the job store was not closed well: {error}");
        }
    }
}

/// What holds after a commit.
struct After {
    counts: Counts,
    ready: Vec<JobId>,
    refill: bool,
}
