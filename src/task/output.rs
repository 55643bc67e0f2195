//! What an attempt gives back: an output, or why there is none.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use crate::disk::is_no_room;
use crate::job::Failure;
use crate::warning::{Warning, Warnings};

/// What a successful attempt gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub(crate) data: Data,
    pub(crate) formats: Vec<Format>,
    pub(crate) warnings: Warnings,
}

/// The output proper: what `data` (or the `file` part of a callback) carries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Text(String),
    Json(Value),
    File(OutputFile),
}

/// A file as an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) content_type: String,
}

/// The same output in another form, for `GET /jobs/{id}/result?format=`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Format {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Output {
    /// Bytes of its text and of its formats.
    pub(crate) fn text_bytes(&self) -> u64 {
        let text = match &self.data {
            Data::Text(text) => text.len(),
            Data::Json(_) | Data::File(_) => 0,
        };
        let formats = self.formats.iter().map(|format| format.body.len());
        formats.fold(text, usize::saturating_add) as u64
    }

    /// Text; `data` is a JSON string.
    pub fn text(text: impl Into<String>) -> Output {
        Output::of(Data::Text(text.into()))
    }

    /// Any JSON; `data` is that value.
    pub fn json(value: impl Into<Value>) -> Output {
        Output::of(Data::Json(value.into()))
    }

    /// A file, which the server takes over (and moves) when the attempt has returned. `name` and
    /// `content_type` are what a receiver is told of it.
    pub fn file(
        path: impl Into<PathBuf>,
        name: impl Into<String>,
        content_type: impl Into<String>,
    ) -> Output {
        let file =
            OutputFile { path: path.into(), name: name.into(), content_type: content_type.into() };
        Output::of(Data::File(file))
    }

    fn of(data: Data) -> Output {
        Output { data, formats: Vec::new(), warnings: Warnings::default() }
    }

    /// Adds a form of the same output that a client may ask for by `name`
    /// (`GET /jobs/{id}/result?format=name`). Adding a name again replaces it.
    #[must_use]
    pub fn with_format(
        mut self,
        name: impl Into<String>,
        content_type: impl Into<String>,
        body: impl Into<String>,
    ) -> Output {
        let format =
            Format { name: name.into(), content_type: content_type.into(), body: body.into() };
        self.formats.retain(|other| other.name != format.name);
        self.formats.push(format);
        self
    }

    /// Adds a warning that goes with the output, to the job, its callback and the page. The first 20
    /// are kept; a last one counts the others.
    #[must_use]
    pub fn with_warning(mut self, warning: Warning) -> Output {
        self.warn(warning);
        self
    }

    /// Adds a warning, as [`with_warning`](Output::with_warning) does.
    pub fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

/// Why an attempt gave no output, and whether another one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    pub(crate) failure: Failure,
    pub(crate) retryable: bool,
    /// Whether it was for want of room on the disk, which is not the job's fault.
    pub(crate) no_room: bool,
}

impl TaskError {
    /// Trying again would end the same way: bad input, for one.
    pub fn permanent(message: impl Into<String>) -> TaskError {
        TaskError::new(message, false)
    }

    /// Trying again may help: something outside was not to be had. The job goes back to the queue,
    /// and fails for good after its last attempt.
    pub fn retryable(message: impl Into<String>) -> TaskError {
        TaskError::new(message, true)
    }

    fn new(message: impl Into<String>, retryable: bool) -> TaskError {
        let failure = Failure { code: "task_failed".into(), message: message.into() };
        TaskError { failure, retryable, no_room: false }
    }

    /// Replaces the code `task_failed` by a stable word of the task's own.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> TaskError {
        self.failure.code = code.into();
        self
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.message)
    }
}

impl std::error::Error for TaskError {}

impl From<io::Error> for TaskError {
    /// An I/O error is taken to pass, such as a file in use. An attempt that found the disk full does not
    /// count.
    fn from(error: io::Error) -> TaskError {
        let no_room = is_no_room(&error);
        let code = if no_room { "disk_full" } else { "io" };
        TaskError { no_room, ..TaskError::retryable(error.to_string()).with_code(code) }
    }
}
