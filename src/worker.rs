//! The consumers: each worker takes a job, runs one attempt, and writes down what came of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::board::{Post, Work};
use crate::estimator::Load;
use crate::job::{Failure, Job, JobId, State, retry_wait};
use crate::queue::{
    Claim, Company, Lease, Outcome, QueueError, Recorded, StoredData, StoredOutput, TakenBack,
};
use crate::repeated::Repeated;
use crate::shared::Shared;
use crate::task::{Attempt, Data, Input, Output, Pulse, Stop, TaskError};

/// How long a worker rests when the store failed, or it panicked itself.
const PAUSE: Duration = Duration::from_secs(1);

/// Attempts whose end the store did not take.
static NOT_ENDED: Repeated = Repeated::new(log::Level::Error);
/// Claims that failed.
static NOT_CLAIMED: Repeated = Repeated::new(log::Level::Error);
/// Panics of a worker itself.
static PANICKED: Repeated = Repeated::new(log::Level::Error);

/// Takes jobs until the queue is closed, as the worker of this number. The thread survives whatever
/// goes wrong between a claim and its end: dropping the lease gives it back to the queue.
pub(crate) fn run(shared: &Shared, number: usize) {
    let post = shared.board.take_post(number);
    loop {
        match catch_unwind(AssertUnwindSafe(|| take_turn(shared, &post))) {
            Ok(Turn::Worked) => continue,
            Ok(Turn::Closed) => return,
            Ok(Turn::Failed) => {}
            Err(panic) => {
                PANICKED.say(format_args!("a worker panicked: {}", panic_message(panic.as_ref())));
            }
        }
        // The store is broken for now: the next turn at once would only fail as well.
        if shared.queue.wait_closed(PAUSE) {
            return;
        }
    }
}

/// How a worker's turn ended.
enum Turn {
    /// An attempt was made, and its end is stored.
    Worked,
    /// The queue was closed.
    Closed,
    /// The store did not take a claim, or the end of an attempt.
    Failed,
}

/// Waits for a job and makes one attempt.
fn take_turn(shared: &Shared, post: &Post<'_>) -> Turn {
    let claim = match shared.queue.claim() {
        Ok(Some(claim)) => claim,
        Ok(None) => return Turn::Closed,
        Err(error) => {
            NOT_CLAIMED.say(format_args!("no job could be claimed: {error}"));
            return Turn::Failed;
        }
    };
    match work(shared, post, claim) {
        Ok(()) => Turn::Worked,
        Err(error) => {
            NOT_ENDED.say(format_args!("an attempt's end could not be stored: {error}"));
            // It may be stored all the same: the janitor then has its outcome delivered.
            shared.bells.sweep_due();
            Turn::Failed
        }
    }
}

/// One attempt, from the claim to its end in the store.
fn work(shared: &Shared, post: &Post<'_>, claim: Claim) -> Result<(), QueueError> {
    let Claim { lease, job, body } = claim;
    let body = match body {
        Ok(body) => body,
        Err(failure) => {
            finish(shared, lease, Outcome { result: Err(failure), duration_s: None })?;
            return Ok(());
        }
    };
    let began = Instant::now();
    let pulse = Arc::new(Pulse::new(began + shared.config.attempt_timeout));
    let listed = shared.attempts.begin(job.id, Arc::clone(&pulse));
    let busy = post.begin(Work {
        job: job.id,
        task: job.task.clone(),
        attempt: job.attempt,
        load: Load::of_input(&job.task, &job.input),
        pulse: Arc::clone(&pulse),
    });
    if was_canceled(shared, job.id) {
        pulse.cancel();
    }
    let input = Input::new(job.input.clone(), body, shared.spool.scratch());
    let attempt = Attempt::new(
        job.id,
        job.attempt,
        fair_threads(shared, lease.company()),
        job.parameters.clone(),
        input,
        Arc::clone(&pulse),
    );
    let result = run_task(shared, &job, &attempt);
    let end = judge(shared, &job, result, &pulse);
    let duration_s = pulse.duration().map(|duration| duration.as_secs_f64());
    let recorded = match end {
        End::Output(output) => {
            shared.estimator.learn(&job.task, &job.input, pulse.duration(), began.elapsed());
            finish(shared, lease, Outcome { result: Ok(output), duration_s })?
        }
        End::Failed(failure) => {
            log::info!("job {} failed: {}", job.id, failure.code);
            finish(shared, lease, Outcome { result: Err(failure), duration_s })?
        }
        End::Retry(failure, wait) => {
            log::info!("job {} is tried again in {wait:?}: {}", job.id, failure.code);
            let recorded =
                shared.queue.retry(lease, failure, shared.queue.clock().now().after(wait))?;
            shared.bells.sweep_due();
            recorded
        }
        End::PutOff(failure) => put_off(shared, lease, failure)?,
        End::Released => shared.queue.release(lease)?,
    };
    if recorded == Recorded::Stale {
        log::debug!("job {} was taken away while it ran; its result is dropped", job.id);
    }
    // Listed until its end is stored, so that whoever looks in between sees a running attempt.
    drop((listed, busy));
    Ok(())
}

/// Whether the job was canceled between its claim and its listing, when nobody was there to be told.
fn was_canceled(shared: &Shared, id: JobId) -> bool {
    match shared.queue.get(id) {
        Ok(job) => job.is_none_or(|job| job.state != State::Running),
        Err(error) => {
            // The attempt goes on: were it canceled, its lease would be stale at the end.
            log::warn!("job {id} could not be looked up before its attempt: {error}");
            false
        }
    }
}

fn finish(shared: &Shared, lease: Lease, outcome: Outcome) -> Result<Recorded, QueueError> {
    let id = lease.id().job;
    let recorded = shared.queue.finish(lease, outcome)?;
    if recorded == Recorded::Yes {
        shared.job_finished(id);
    }
    Ok(recorded)
}

fn put_off(shared: &Shared, lease: Lease, failure: Failure) -> Result<Recorded, QueueError> {
    let id = lease.id().job;
    let taken_back = shared.queue.put_off(lease, failure)?;
    shared.bells.sweep_due();
    match taken_back {
        TakenBack::Queued => log::info!("job {id} is put off: the disk had no room for it"),
        TakenBack::Failed => shared.job_finished(id),
        TakenBack::Stale => return Ok(Recorded::Stale),
    }
    Ok(Recorded::Yes)
}

/// As many as were set, else every core for an attempt that is alone, and a fair share where others
/// run or wait to.
fn fair_threads(shared: &Shared, company: Company) -> usize {
    if shared.config.threads > 0 {
        return shared.config.threads;
    }
    if company == Company::Alone {
        return shared.config.cores.max(1);
    }
    let wanted = shared.attempts.len() + shared.queue.depth().queued;
    let active = wanted.clamp(1, shared.config.workers);
    (shared.config.cores / active).max(1)
}

/// Runs the task and turns a panic into an error.
fn run_task(shared: &Shared, job: &Job, attempt: &Attempt) -> Result<Output, TaskError> {
    let Some(task) = shared.tasks.get(&job.task) else {
        let message = format!("this server no longer has a task named {:?}", job.task);
        return Err(TaskError::permanent(message).with_code("unknown_task"));
    };
    // The attempt is not used after a panic, and a task that shares state of its own across
    // attempts must already cope with one.
    catch_unwind(AssertUnwindSafe(|| task.run(attempt))).unwrap_or_else(|panic| {
        let message = format!("the task panicked: {}", panic_message(panic.as_ref()));
        log::error!("job {}: {message}", job.id);
        Err(TaskError::retryable(message).with_code("panic"))
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Where an attempt leads.
enum End {
    Output(StoredOutput),
    Failed(Failure),
    Retry(Failure, Duration),
    /// There was no room for what the attempt gave, or wanted to write.
    PutOff(Failure),
    Released,
}

fn judge(shared: &Shared, job: &Job, result: Result<Output, TaskError>, pulse: &Pulse) -> End {
    let error = match result {
        Ok(output) => match store_output(shared, job, output) {
            Ok(stored) => return End::Output(stored),
            Err(error) => error,
        },
        Err(error) => match pulse.stop() {
            // The job is canceled in the store already, so that any end is stale.
            Some(Stop::Draining | Stop::Canceled) => return End::Released,
            Some(Stop::TimedOut) => {
                let limit = humantime::format_duration(shared.config.attempt_timeout);
                TaskError::permanent(format!("the attempt took longer than {limit}"))
                    .with_code("timeout")
            }
            None => error,
        },
    };
    if error.no_room {
        End::PutOff(error.failure)
    } else if error.retryable && job.attempt < shared.config.max_attempts {
        End::Retry(error.failure, retry_wait(job.attempt))
    } else {
        End::Failed(error.failure)
    }
}

fn store_output(shared: &Shared, job: &Job, output: Output) -> Result<StoredOutput, TaskError> {
    if !shared.spool.room().could_hold(output.text_bytes()) {
        let message = "the output is larger than the server's disk can hold";
        return Err(TaskError::permanent(message).with_code("disk_full"));
    }
    let data = match output.data {
        Data::Text(text) => StoredData::Text(text),
        Data::Json(value) => StoredData::Json(value),
        Data::File(file) => {
            let (path, bytes) = shared.spool.keep_output(job.id, &file).map_err(|error| {
                let message = format!("the output file cannot be kept: {error}");
                match TaskError::from(error) {
                    error if error.no_room => error,
                    _ => TaskError::retryable(message).with_code("output"),
                }
            })?;
            StoredData::File { path, name: file.name, content_type: file.content_type, bytes }
        }
    };
    Ok(StoredOutput { data, formats: output.formats, warnings: output.warnings.into_list() })
}

#[cfg(test)]
mod tests;
