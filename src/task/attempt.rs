//! One run of a job, as the task sees it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Input, Pulse, TaskError};
use crate::job::{JobId, Parameters};

/// One run of a job, as the task sees it.
#[derive(Debug)]
pub struct Attempt {
    job: JobId,
    number: u32,
    threads: usize,
    parameters: Parameters,
    input: Input,
    pulse: Arc<Pulse>,
}

impl Attempt {
    pub(crate) fn new(
        job: JobId,
        number: u32,
        threads: usize,
        parameters: Parameters,
        input: Input,
        pulse: Arc<Pulse>,
    ) -> Attempt {
        Attempt { job, number, threads, parameters, input, pulse }
    }

    /// The job this is a run of.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Which run this is, counted from 1. Tasks run at least once: a task with effects of its own
    /// can tell a repeat by this.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What to work on.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// What the client asked for beside the input.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Says how much of the work is done, from 0 to 1; anything outside is brought inside, and
    /// going back is ignored. Cheap enough to call in a loop.
    pub fn progress(&self, done: f32) {
        self.pulse.set_progress(done);
    }

    /// Says how long the input plays, for the job's `duration_s` and for estimates.
    pub fn set_duration(&self, duration: Duration) {
        self.pulse.set_duration(duration);
    }

    /// Whether the result is no longer wanted: the job was canceled, its time is up, or the server
    /// stops. The task should then return soon; what it returns is thrown away.
    pub fn is_canceled(&self) -> bool {
        self.pulse.is_canceled()
    }

    /// Sleeps for `time`, for a task that waits for something outside: a cancel, a stop of the server and
    /// the end of the attempt's time wake it at once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ringback::{Attempt, Output, TaskError};
    /// fn process(attempt: &Attempt) -> Result<Output, TaskError> {
    ///     while !printed() {
    ///         attempt.sleep(Duration::from_secs(1))?;
    ///     }
    ///     Ok(Output::text("printed"))
    /// }
    /// # fn printed() -> bool { true }
    /// ```
    ///
    /// # Errors
    /// When [`is_canceled`](Attempt::is_canceled) says true; it is for the task to return.
    pub fn sleep(&self, time: Duration) -> Result<(), TaskError> {
        match self.pulse.sleep(time) {
            None => Ok(()),
            // What becomes of the job follows from why the attempt was to stop.
            Some(_) => {
                Err(TaskError::retryable("the result is no longer wanted").with_code("canceled"))
            }
        }
    }

    /// How many threads this attempt may keep busy: every core while it is alone, a fair share of
    /// them while others run. At least 1.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// A folder of this attempt's own, deleted with everything in it when the attempt ends. The
    /// place for a file to return as [`Output::file`](crate::Output::file).
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn scratch(&self) -> io::Result<&Path> {
        self.input.scratch()
    }
}
