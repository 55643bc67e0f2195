//! What the threads of one server share. All of it is read-only or synchronised; jobs are not in
//! it, they are in the queue.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;

use crate::board::{Board, Work};
use crate::config::{CallbackPolicy, Config};
use crate::estimator::{Estimator, Running};
use crate::job::{JobId, State};
use crate::queue::{Page, Queue};
use crate::spool::Spool;
use crate::tally::{Event, Gauge, Tally};
use crate::task::{Pulse, Tasks};

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) addr: SocketAddr,
    pub(crate) callbacks: CallbackPolicy,
    pub(crate) tasks: Tasks,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) attempts: Attempts,
    pub(crate) estimator: Estimator,
    pub(crate) bells: Bells,
    pub(crate) board: Board,
    pub(crate) tally: Tally,
    /// POSTs to callbacks that are on their way.
    pub(crate) in_flight: Gauge,
    /// Requests that wait for their job's end. Written by those who take and leave the places.
    pub(crate) parked: Arc<AtomicUsize>,
    phase: AtomicU8,
}

/// How far the server's own life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub(crate) enum Phase {
    /// Listening; jobs are taken and wait, workers are being made ready.
    Starting,
    Ready,
    /// No new jobs; what runs is finished.
    Draining,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Draining => "draining",
        })
    }
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        addr: SocketAddr,
        tasks: Tasks,
        queue: Arc<dyn Queue>,
        spool: Arc<Spool>,
        bells: Bells,
    ) -> Shared {
        Shared {
            callbacks: config.callback_policy(addr),
            config,
            addr,
            tasks,
            queue,
            spool,
            attempts: Attempts::default(),
            estimator: Estimator::default(),
            bells,
            board: Board::default(),
            tally: Tally::new(),
            in_flight: Gauge::default(),
            parked: Arc::default(),
            phase: AtomicU8::new(Phase::Starting as u8),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// A job reached a final state: counts it, and tells whoever waits for that.
    pub(crate) fn job_finished(&self, job: JobId) {
        self.tally.count(Event::Finished);
        self.bells.job_finished(job);
    }

    /// The attempts that run now, as the estimates take them.
    pub(crate) fn running(&self) -> Vec<Running> {
        self.board.works().iter().map(Work::running).collect()
    }

    /// Lets estimates begin with what earlier runs of the server did.
    pub(crate) fn recall(&self) {
        const JOBS: usize = 100;
        let page = Page { state: Some(State::Succeeded), after: None, limit: JOBS };
        match self.queue.list(&page) {
            Ok(jobs) => self.estimator.recall(&jobs, self.config.attempt_timeout),
            Err(error) => log::warn!("estimates begin anew, without earlier jobs: {error}"),
        }
    }

    /// Seconds until a worker takes the next job, as an estimate.
    pub(crate) fn until_one_ends(&self) -> Option<f64> {
        self.estimator.until_one_ends(self.config.workers, &self.running())
    }

    /// Moves on to `phase`; never back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

/// The attempts that run now, by job.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<JobId, Arc<Pulse>>>);

impl Attempts {
    /// Lists an attempt for as long as the returned guard lives.
    pub(crate) fn begin(&self, job: JobId, pulse: Arc<Pulse>) -> Listed<'_> {
        self.lock().insert(job, Arc::clone(&pulse));
        Listed { attempts: self, job, pulse }
    }

    /// The pulse of a job's running attempt.
    pub(crate) fn get(&self, job: JobId) -> Option<Arc<Pulse>> {
        self.lock().get(&job).cloned()
    }

    /// How many run now.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Asks every one of them to give up.
    pub(crate) fn drain(&self) {
        self.lock().values().for_each(|pulse| pulse.drain());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Pulse>>> {
        self.0.lock().expect("invariant: no panic under this lock")
    }
}

/// Takes an attempt off the list when dropped.
pub(crate) struct Listed<'a> {
    attempts: &'a Attempts,
    job: JobId,
    pulse: Arc<Pulse>,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut attempts = self.attempts.lock();
        // A later attempt of the same job may be listed by now.
        if attempts.get(&self.job).is_some_and(|listed| Arc::ptr_eq(listed, &self.pulse)) {
            attempts.remove(&self.job);
        }
    }
}

/// Hints between threads. What they hint at is in the store: the first two may be lost.
pub(crate) struct Bells {
    delivery_due: Sender<()>,
    sweep_due: Sender<()>,
    finished: Sender<JobId>,
}

/// The other ends, each for one thread.
pub(crate) struct Ears {
    /// Read by the notifier.
    pub(crate) delivery_due: Receiver<()>,
    /// Read by the janitor.
    pub(crate) sweep_due: Receiver<()>,
    /// Read by the thread that holds parked replies.
    pub(crate) finished: Receiver<JobId>,
}

impl Bells {
    /// Finished jobs that may wait to be announced to parked replies; a worker waits when there
    /// are more, which takes as long as a look into a map.
    const FINISHED_BOUND: usize = 1024;

    pub(crate) fn new() -> (Bells, Ears) {
        let (delivery_due, hear_delivery_due) = bounded(1);
        let (sweep_due, hear_sweep_due) = bounded(1);
        let (finished, hear_finished) = bounded(Bells::FINISHED_BOUND);
        (
            Bells { delivery_due, sweep_due, finished },
            Ears {
                delivery_due: hear_delivery_due,
                sweep_due: hear_sweep_due,
                finished: hear_finished,
            },
        )
    }

    /// A job reached a final state; its delivery, if it has one, is due.
    pub(crate) fn job_finished(&self, job: JobId) {
        self.delivery_due();
        // A closed channel means that nobody is parked any more.
        let _ = self.finished.send(job);
    }

    /// A delivery may be due.
    pub(crate) fn delivery_due(&self) {
        // A full channel means that the bell rings already, a closed one that nobody sends any more.
        let _ = self.delivery_due.try_send(());
    }

    /// A job may wait for a time, or may expire.
    pub(crate) fn sweep_due(&self) {
        // As above.
        let _ = self.sweep_due.try_send(());
    }
}
