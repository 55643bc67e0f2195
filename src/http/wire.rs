//! The job as clients see it. A member that does not apply is left out; none is ever null.

use std::borrow::Cow;

use serde::Serialize;

use crate::board::Work;
use crate::estimator::{Load, Running};
use crate::job::{
    Callback, DeliveryAttempt, DeliveryState, Failure, InputInfo, Job, JobId, Parameters, Sha256,
    State, Timestamp,
};
use crate::notifier::address::masked;
use crate::queue::{QueueError, StoredData, StoredOutput};
use crate::shared::Shared;
use crate::warning::Warning;

/// A job and everything about it that is asked for elsewhere, at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) job: Job,
    output: Option<StoredOutput>,
    /// Its place in the queue, counted from 1, while it is queued.
    position: Option<u64>,
    /// Seconds until it will have ended, while it has not and an estimate can be had.
    eta_s: Option<f64>,
    /// From 0 to 1, while it runs and when it has succeeded.
    progress: Option<f64>,
}

impl Snapshot {
    /// The job with this id; `None` where there is none.
    pub(crate) fn take(shared: &Shared, id: JobId) -> Result<Option<Snapshot>, QueueError> {
        shared.queue.get(id)?.map(|job| Snapshot::of(shared, job)).transpose()
    }

    /// This job as it stands.
    pub(crate) fn of(shared: &Shared, job: Job) -> Result<Snapshot, QueueError> {
        let mut snapshot = Snapshot::brief(job);
        let job = &snapshot.job;
        match job.state {
            State::Queued => {
                if let Some(ahead) = shared.queue.ahead(job.id)? {
                    snapshot.eta_s = shared.estimator.until_done(
                        shared.config.workers,
                        &shared.running(),
                        &ahead,
                        &Load::of_input(&job.task, &job.input),
                        shared.queue.clock().now(),
                    );
                    snapshot.position = Some(ahead.jobs + 1);
                }
            }
            State::Running => {
                let works = shared.board.works();
                let running = works.iter().find(|work| work.job == job.id).map(Work::running);
                // A worker has claimed it just now, and will have listed it in a moment.
                let running = running
                    .unwrap_or_else(|| Running::begun(Load::of_input(&job.task, &job.input)));
                snapshot.eta_s = shared.estimator.remaining(&running);
                snapshot.progress = Some(running.reached.progress);
            }
            State::Succeeded => snapshot.output = shared.queue.output(job.id)?,
            State::Failed | State::Canceled => {}
        }
        Ok(snapshot)
    }

    /// This job as it was stored a moment ago, with its place in the queue if that can be told.
    pub(crate) fn stored(shared: &Shared, job: Job) -> Snapshot {
        Snapshot::of(shared, job.clone()).unwrap_or_else(|error| {
            log::error!("the place of job {} could not be read: {error}", job.id);
            Snapshot::brief(job)
        })
    }

    /// This job without what would have to be looked up: for lists.
    pub(crate) fn brief(job: Job) -> Snapshot {
        let progress = (job.state == State::Succeeded).then_some(1.0);
        Snapshot { job, output: None, position: None, eta_s: None, progress }
    }

    /// Whether the job has a place in the queue.
    pub(crate) fn waits(&self) -> bool {
        self.position.is_some()
    }

    /// Seconds until the job will have ended, as an estimate.
    pub(crate) fn eta_s(&self) -> Option<f64> {
        self.eta_s
    }

    /// As it is written.
    pub(crate) fn json(&self) -> JobJson<'_> {
        let job = &self.job;
        JobJson {
            id: job.id,
            task: &job.task,
            state: job.state,
            position: self.position,
            // What has not ended never takes 0 s more.
            eta_s: self.eta_s.map(|seconds| rounded(seconds.max(0.05), 10.0)),
            progress: self.progress.map(|progress| rounded(progress, 1000.0)),
            attempt: job.attempt,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            expires_at: job.expires_at,
            parameters: (!job.parameters.is_empty()).then_some(&job.parameters),
            input: InputJson::from(&job.input),
            data: self.output.as_ref().map(|output| DataJson::from(&output.data)),
            error: job.error.as_ref().filter(|_| job.state == State::Failed),
            warnings: &job.warnings,
            callback: job.callback.as_ref().map(CallbackJson::from),
        }
    }
}

/// To as many parts of a unit.
pub(crate) fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

/// The job of the wire contract.
#[derive(Debug, Serialize)]
pub(crate) struct JobJson<'a> {
    id: JobId,
    task: &'a str,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    attempt: u32,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a Parameters>,
    input: InputJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Failure>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [Warning],
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<CallbackJson<'a>>,
}

/// A job of which no more can be told.
#[derive(Debug, Serialize)]
pub(crate) struct IdJson {
    pub(crate) id: JobId,
}

#[derive(Debug, Serialize)]
struct InputJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    bytes: u64,
    sha256: Sha256,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<f64>,
}

impl<'a> From<&'a InputInfo> for InputJson<'a> {
    fn from(input: &'a InputInfo) -> InputJson<'a> {
        InputJson {
            name: input.name.as_deref(),
            content_type: input.content_type.as_deref(),
            bytes: input.bytes,
            sha256: input.sha256,
            duration_s: input.duration_s,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum DataJson<'a> {
    Text(&'a str),
    Json(&'a serde_json::Value),
    File {
        name: &'a str,
        #[serde(rename = "type")]
        content_type: &'a str,
        bytes: u64,
    },
}

impl<'a> From<&'a StoredData> for DataJson<'a> {
    fn from(data: &'a StoredData) -> DataJson<'a> {
        match data {
            StoredData::Text(text) => DataJson::Text(text),
            StoredData::Json(value) => DataJson::Json(value),
            StoredData::File { path: _, name, content_type, bytes } => {
                DataJson::File { name, content_type, bytes: *bytes }
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct CallbackJson<'a> {
    /// Without its password.
    url: Cow<'a, str>,
    state: DeliveryState,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
}

impl<'a> From<&'a Callback> for CallbackJson<'a> {
    fn from(callback: &'a Callback) -> CallbackJson<'a> {
        CallbackJson {
            url: masked(&callback.url),
            state: callback.state,
            attempts: callback.attempts,
            next_attempt_at: callback.next_attempt_at,
            last_error: callback.last_error.as_deref(),
        }
    }
}

/// A page of jobs.
#[derive(Debug, Serialize)]
pub(crate) struct JobsJson<'a> {
    pub(crate) jobs: Vec<JobJson<'a>>,
    /// Where the next page is, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<&'a str>,
}

/// The ledger of a job's delivery.
#[derive(Debug, Serialize)]
pub(crate) struct DeliveriesJson<'a> {
    pub(crate) deliveries: Vec<DeliveryJson<'a>>,
}

/// One POST to a callback.
#[derive(Debug, Serialize)]
pub(crate) struct DeliveryJson<'a> {
    attempt: u32,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    latency_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
}

impl<'a> From<&'a DeliveryAttempt> for DeliveryJson<'a> {
    fn from(attempt: &'a DeliveryAttempt) -> DeliveryJson<'a> {
        DeliveryJson {
            attempt: attempt.attempt,
            at: attempt.at,
            status: attempt.status,
            latency_ms: attempt.latency_ms,
            error: attempt.error.as_deref(),
            next_attempt_at: attempt.next_attempt_at,
        }
    }
}
