//! What a task sees of a job (an [`Attempt`]) and what it gives back (an [`Output`] or a
//! [`TaskError`]). A task is a closure; it runs on a worker's thread and may block for as long as it
//! likes, as long as it looks at [`Attempt::is_canceled`] now and then.

mod attempt;
mod input;
mod output;
mod pulse;

use std::fmt;
use std::time::Duration;

pub use attempt::Attempt;
pub(crate) use input::Scratch;
pub use input::{Input, InputBody, InputReader};
pub(crate) use output::{Data, Format, OutputFile};
pub use output::{Output, TaskError};
pub(crate) use pulse::{Pulse, Stop};

use crate::error::Error;
use crate::job::Parameters;

type Run = Box<dyn Fn(&Attempt) -> Result<Output, TaskError> + Send + Sync>;
type PlayingTime = Box<dyn Fn(&Parameters) -> Option<Duration> + Send + Sync>;
type Check = Box<dyn Fn(&Parameters) -> Result<(), String> + Send + Sync>;

/// What a task takes, checked before a job is accepted. The default takes everything.
#[derive(Default)]
pub struct TaskOptions {
    accepts: Vec<String>,
    refuses: Vec<String>,
    check: Option<Check>,
    playing_time: Option<PlayingTime>,
}

impl TaskOptions {
    /// Everything is taken.
    pub fn new() -> TaskOptions {
        TaskOptions::default()
    }

    /// Content types the task takes, such as `text/plain` or `audio/*`. Others are refused with 415. A
    /// request that declares none, or `application/octet-stream`, says nothing, and is taken.
    #[must_use]
    pub fn accepts<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> TaskOptions {
        self.accepts.extend(types.into_iter().map(|t| t.into().to_ascii_lowercase()));
        self
    }

    /// Content types that the task does not take, such as `text/html` or `multipart/*`. Without
    /// [`accepts`](TaskOptions::accepts) all others are taken: declared types are often wrong, and the
    /// task can tell by the bytes.
    #[must_use]
    pub fn refuses<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> TaskOptions {
        self.refuses.extend(types.into_iter().map(|t| t.into().to_ascii_lowercase()));
        self
    }

    /// Looks at a request's parameters before it is accepted; the message goes to the client with
    /// a 422 and should say what would be right.
    #[must_use]
    pub fn check_parameters(
        mut self,
        check: impl Fn(&Parameters) -> Result<(), String> + Send + Sync + 'static,
    ) -> TaskOptions {
        self.check = Some(Box::new(check));
        self
    }

    /// Tells how long an input plays, or how long its work is, where the parameters say so. What
    /// [`Attempt::set_duration`] tells only during an attempt is then known to estimates from the
    /// beginning.
    #[must_use]
    pub fn playing_time(
        mut self,
        playing_time: impl Fn(&Parameters) -> Option<Duration> + Send + Sync + 'static,
    ) -> TaskOptions {
        self.playing_time = Some(Box::new(playing_time));
        self
    }

    pub(crate) fn takes(&self, content_type: Option<&str>) -> bool {
        let Some(declared) = content_type else { return true };
        let is_listed = |patterns: &[String]| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => declared.starts_with(prefix),
                None => declared == pattern,
            })
        };
        let says_nothing = matches!(
            declared,
            "application/octet-stream" | "binary/octet-stream" | "application/x-binary"
        );
        says_nothing
            || (!is_listed(&self.refuses) && (self.accepts.is_empty() || is_listed(&self.accepts)))
    }

    pub(crate) fn accepted_types(&self) -> &[String] {
        &self.accepts
    }

    pub(crate) fn duration_s(&self, parameters: &Parameters) -> Option<f64> {
        let playing_time = self.playing_time.as_ref()?;
        playing_time(parameters).map(|time| time.as_secs_f64())
    }

    pub(crate) fn check(&self, parameters: &Parameters) -> Result<(), String> {
        self.check.as_ref().map_or(Ok(()), |check| check(parameters))
    }
}

impl fmt::Debug for TaskOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskOptions").field("accepts", &self.accepts).finish_non_exhaustive()
    }
}

/// A registered task.
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) options: TaskOptions,
    run: Run,
}

impl Task {
    pub(crate) fn new(
        name: String,
        options: TaskOptions,
        run: impl Fn(&Attempt) -> Result<Output, TaskError> + Send + Sync + 'static,
    ) -> Task {
        Task { name, options, run: Box::new(run) }
    }

    /// Runs one attempt on the calling thread. The task may panic.
    pub(crate) fn run(&self, attempt: &Attempt) -> Result<Output, TaskError> {
        (self.run)(attempt)
    }
}

/// The tasks of one server; the first registered is the default. Never empty.
pub(crate) struct Tasks(Vec<Task>);

impl Tasks {
    /// Names must differ.
    pub(crate) fn new(tasks: Vec<Task>) -> Result<Tasks, Error> {
        if tasks.is_empty() {
            return Err(Error::NoTask);
        }
        let mut names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::TaskTwice(pair[0].to_owned())),
            None => Ok(Tasks(tasks)),
        }
    }

    pub(crate) fn default_task(&self) -> &Task {
        &self.0[0]
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Task> {
        self.0.iter().find(|task| task.name == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|task| task.name.as_str())
    }
}
