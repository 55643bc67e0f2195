//! `GET /queue.json`: the whole server at a glance, for the view that draws it and for whoever else
//! watches. Made from numbers that are kept anyway, so that many may ask often.

use std::fmt;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::problem::Problem;
use super::reply::Reply;
use super::wire::rounded;
use crate::board::Line;
use crate::job::{JobId, Timestamp};
use crate::queue::{Depth, Pending, QueueError};
use crate::shared::{Phase, Shared};
use crate::tally::{PerEvent, WINDOW};

/// `GET /queue.json`.
pub(crate) fn show(shared: &Shared) -> Result<Reply, Problem> {
    Ok(Reply::json(200, &Overview::take(shared)?))
}

/// What everybody does, at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) at: Timestamp,
    pub(crate) phase: Phase,
    pub(crate) queue: Depth,
    pub(crate) workers: Vec<WorkerLine>,
    pub(crate) deliveries: Deliveries,
    pub(crate) rates: Rates,
    /// Since the start of the server.
    pub(crate) totals: PerEvent<u64>,
    /// Requests that wait for a job's end.
    pub(crate) waiting: usize,
    pub(crate) tasks: Vec<String>,
}

/// One worker.
#[derive(Debug, Serialize)]
pub(crate) struct WorkerLine {
    pub(crate) name: String,
    pub(crate) state: WorkerState,
    /// When it began to be so.
    pub(crate) since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    /// From 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkerState {
    Idle,
    Working,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkerState::Idle => "idle",
            WorkerState::Working => "working",
        })
    }
}

/// Outcomes on their way to callbacks.
#[derive(Debug, Serialize)]
pub(crate) struct Deliveries {
    pub(crate) pending: usize,
    pub(crate) in_flight: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt_at: Option<Timestamp>,
}

/// How often things happen.
#[derive(Debug, Serialize)]
pub(crate) struct Rates {
    /// The seconds they are taken over.
    window_s: u64,
    #[serde(flatten)]
    pub(crate) per_second: PerEvent<f64>,
}

impl Overview {
    /// As things stand now.
    pub(crate) fn take(shared: &Shared) -> Result<Overview, QueueError> {
        let clock = shared.queue.clock();
        let (now, at) = (clock.now(), clock.told_now());
        let Pending { deliveries: pending, next_due } = shared.queue.pending(now)?;
        let per_second = shared.tally.rates().map(|rate| rounded(rate, 10.0));
        Ok(Overview {
            at,
            phase: shared.phase(),
            queue: shared.queue.depth(),
            workers: shared
                .board
                .lines()
                .into_iter()
                .map(|line| WorkerLine::of(line, at))
                .collect(),
            deliveries: Deliveries {
                pending,
                in_flight: shared.in_flight.get(),
                next_attempt_at: next_due.map(|due| clock.told(due)),
            },
            rates: Rates { window_s: WINDOW, per_second },
            totals: shared.tally.totals(),
            waiting: shared.parked.load(Ordering::Relaxed),
            tasks: shared.tasks.names().map(str::to_owned).collect(),
        })
    }
}

impl WorkerLine {
    fn of((number, Line { since, work }): (usize, Line), now: Timestamp) -> WorkerLine {
        let since = now.before(since.elapsed());
        let name = format!("worker-{number}");
        let Some(work) = work else {
            let state = WorkerState::Idle;
            return WorkerLine {
                name,
                state,
                since,
                job: None,
                task: None,
                attempt: None,
                progress: None,
            };
        };
        WorkerLine {
            name,
            state: WorkerState::Working,
            since,
            job: Some(work.job),
            task: Some(work.task),
            attempt: Some(work.attempt),
            progress: Some(rounded(work.pulse.progress(), 1000.0)),
        }
    }
}
