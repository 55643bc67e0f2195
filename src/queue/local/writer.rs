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

use super::backlog::{Entry, Move, SharedBacklog};
use super::disk::Disk;
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

/// What a command is for. Only work may use the room that is kept back for a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new job.
    Intake,
    /// Whatever happens to a job that was accepted.
    Work,
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
    backlog: &'c SharedBacklog,
    moves: Vec<Move>,
    ready: Vec<JobId>,
    refill: bool,
    move_log: bool,
    leftovers: Vec<Leftover>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection, counts: Counts, backlog: &'c SharedBacklog) -> Tx<'c> {
        Tx {
            conn,
            counts,
            backlog,
            moves: Vec::new(),
            ready: Vec::new(),
            refill: false,
            move_log: false,
            leftovers: Vec::new(),
        }
    }

    /// A job is queued.
    pub(super) fn queue(&mut self, seq: i64, entry: Entry) {
        self.counts.queued += 1;
        self.moves.push(Move::Enter(seq, entry));
    }

    /// The time that a queued job waited for has come.
    pub(super) fn make_ready(&mut self, seq: i64) {
        self.moves.push(Move::Ready(seq));
    }

    /// A job is not queued any more.
    pub(super) fn unqueue(&mut self, seq: i64) {
        self.counts.queued -= 1;
        self.moves.push(Move::Leave(seq));
    }

    /// How many of a sender's jobs are queued. A job that leaves in this very transaction still counts.
    pub(super) fn queued_by(&self, sender: &str) -> usize {
        let entered = self
            .moves
            .iter()
            .filter(|step| matches!(step, Move::Enter(_, entry) if *entry.sender == *sender));
        self.backlog.queued_by(sender) + entered.count()
    }

    /// A job has become ready.
    pub(super) fn announce(&mut self, id: JobId) {
        self.ready.push(id);
    }

    /// The channel of ready jobs may have too few ids.
    pub(super) fn refill(&mut self) {
        self.refill = true;
    }

    /// The log is to be moved into the store's file after the commit, however short it is.
    pub(super) fn move_log(&mut self) {
        self.move_log = true;
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
        backlog: Arc<SharedBacklog>,
        announcer: Announcer,
        disk: Disk,
        lock: File,
    ) -> io::Result<Writer> {
        let (commands, incoming) = bounded(WAITING);
        shared_counts.store(counts);
        let syncs = Survives::PowerCut;
        let desk = Desk { conn, counts, shared_counts, backlog, announcer, disk, syncs };
        let mut crew = Crew::new();
        crew.hire("store-writer", move || {
            desk.run(&incoming);
            drop(lock);
        })?;
        Ok(Writer { commands: Some(commands), crew: Some(crew) })
    }

    /// Has `work` done in a transaction, and waits until it is committed. Work for jobs that were
    /// accepted is done anew where the transaction found no room and may get some; intake is done
    /// once.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        purpose: Purpose,
        survives: Survives,
        work: impl FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Done<T>, Unstored> {
        let (reply, answer) = bounded(1);
        self.send(Box::new(Asked { purpose, survives, work, result: None, reply }))?;
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
            purpose: Purpose::Work,
            survives: Survives::Kill,
            work,
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

/// What is to be done in one transaction.
type Batch = Vec<Box<dyn Command>>;

/// Something to be done in the next transaction.
trait Command: Send {
    fn purpose(&self) -> Purpose;

    fn survives(&self) -> Survives;

    /// Does it, perhaps once more after the transaction was rolled back. On an error its savepoint is
    /// rolled back.
    fn apply(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;

    /// Answers whoever waits: with what it gave where the transaction is committed, else with why not.
    fn answer(self: Box<Self>, committed: Result<(), Unstored>);
}

struct Asked<W, T> {
    purpose: Purpose,
    survives: Survives,
    work: W,
    result: Option<Result<Done<T>, Unstored>>,
    reply: Sender<Result<Done<T>, Unstored>>,
}

impl<W, T> Command for Asked<W, T>
where
    W: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn purpose(&self) -> Purpose {
        self.purpose
    }

    fn survives(&self) -> Survives {
        self.survives
    }

    fn apply(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        // An earlier result may hold what this one needs, such as a lease's slot.
        self.result = None;
        match (self.work)(tx) {
            Ok(value) => {
                let leftovers = std::mem::take(&mut tx.leftovers);
                self.result = Some(Ok(Done { value, leftovers }));
                Ok(())
            }
            Err(error) => {
                tx.leftovers.clear();
                self.result = Some(Err(Unstored::of(tx.conn, &error)));
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
    backlog: Arc<SharedBacklog>,
    announcer: Announcer,
    disk: Disk,
    /// What commits survive as the connection is set now.
    syncs: Survives,
}

impl Desk {
    fn run(mut self, incoming: &Receiver<Box<dyn Command>>) {
        self.disk.measure(&self.conn);
        while let Ok(first) = incoming.recv() {
            let mut batch = Vec::with_capacity(1);
            batch.push(first);
            batch.extend(incoming.try_iter().take(BATCH - 1));
            self.settle(batch);
            self.disk.tend(&self.conn);
        }
        self.close();
    }

    /// Commits all of the batch at once and answers. Where the disk has no room for all of it, each
    /// command stands for itself.
    fn settle(&mut self, batch: Batch) {
        let (batch, committed) = self.commit(batch);
        match &committed {
            Ok(()) => NOT_STORED.over("changes are stored again"),
            Err(why) if why.is_disk_full() && batch.len() > 1 => {
                return batch.into_iter().for_each(|command| self.settle(vec![command]));
            }
            Err(why) => NOT_STORED.say(format_args!("changes were not stored: {why}")),
        }
        self.disk.condition.committed(&committed);
        for command in batch {
            command.answer(committed.clone());
        }
    }

    /// All of the batch in one transaction; workers hear of new jobs before anybody is answered. On a
    /// full disk new jobs are refused first, and then the reserve is given up, part by part.
    fn commit(&mut self, mut batch: Batch) -> (Batch, Result<(), Unstored>) {
        loop {
            let error = match self.transact(&mut batch) {
                Ok(after) => {
                    self.hold(after);
                    return (batch, Ok(()));
                }
                Err(error) => error,
            };
            let why = Unstored::of(&self.conn, &error);
            self.roll_back();
            if !why.is_disk_full() {
                return (batch, Err(why));
            }
            // What the transaction wrote takes up room until the log begins anew.
            self.disk.cut_log(&self.conn);
            let (intake, work): (Batch, Batch) =
                batch.into_iter().partition(|command| command.purpose() == Purpose::Intake);
            batch = work;
            let may_fit = !intake.is_empty() || self.disk.room.relieve();
            for command in intake {
                command.answer(Err(why.clone()));
            }
            if batch.is_empty() || !may_fit {
                self.disk.condition.committed(&Err(why.clone()));
                return (batch, Err(why));
            }
        }
    }

    /// What a commit has changed.
    fn hold(&mut self, after: After) {
        self.counts = after.counts;
        self.shared_counts.store(after.counts);
        self.backlog.apply(after.moves);
        self.announcer.announce(&after.ready, &self.conn);
        if after.refill {
            self.announcer.refill(&self.conn);
        }
        if after.move_log {
            self.disk.move_log(&self.conn);
        }
    }

    fn transact(&mut self, batch: &mut Batch) -> rusqlite::Result<After> {
        let survives = batch.iter().map(|command| command.survives()).max();
        self.sync_for(survives.unwrap_or(Survives::Kill))?;
        self.run_cached("BEGIN IMMEDIATE")?;
        let mut tx = Tx::new(&self.conn, self.counts, &self.backlog);
        for command in batch {
            self.run_cached("SAVEPOINT command")?;
            let (counts, ready, moves) = (tx.counts, tx.ready.len(), tx.moves.len());
            if let Err(error) = command.apply(&mut tx) {
                // Some errors (a full disk among them) may end the whole transaction, and there may
                // be room for all of it.
                let full = command.purpose() == Purpose::Work
                    && Unstored::of(&self.conn, &error).is_disk_full();
                if self.conn.is_autocommit() || full && self.disk.room.can_relieve() {
                    return Err(error);
                }
                self.disk.condition.refused(&self.conn, &error);
                tx.counts = counts;
                tx.ready.truncate(ready);
                tx.moves.truncate(moves);
                self.run_cached("ROLLBACK TO command")?;
            }
            self.run_cached("RELEASE command")?;
        }
        let after = After {
            counts: tx.counts,
            moves: tx.moves,
            ready: tx.ready,
            refill: tx.refill,
            move_log: tx.move_log,
        };
        self.run_cached("COMMIT")?;
        self.disk.measure(&self.conn);
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
    moves: Vec<Move>,
    ready: Vec<JobId>,
    refill: bool,
    move_log: bool,
}
