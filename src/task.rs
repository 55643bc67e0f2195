//! What a task sees of a job (an [`Attempt`]) and what it gives back (an [`Output`] or a
//! [`TaskError`]). A task is a closure; it runs on a worker's thread and may block for as long as it
//! likes, as long as it looks at [`Attempt::is_canceled`] now and then.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::Error;
use crate::job::{Failure, InputInfo, JobId, Parameters};

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

    /// How many threads this attempt may keep busy: every core while it is alone, a fair share of
    /// them while others run. At least 1.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// A folder of this attempt's own, deleted with everything in it when the attempt ends. The
    /// place for a file to return as [`Output::file`].
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn scratch(&self) -> io::Result<&Path> {
        self.input.scratch.path()
    }
}

/// The file a job works on.
#[derive(Debug)]
pub struct Input {
    info: InputInfo,
    body: InputBody,
    scratch: Scratch,
    written_out: OnceLock<PathBuf>,
}

/// Where an input's bytes are: small ones come with the job, large ones are a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputBody {
    /// The bytes themselves.
    Inline(Arc<[u8]>),
    /// A file that must not be changed.
    File(PathBuf),
}

impl Input {
    pub(crate) fn new(info: InputInfo, body: InputBody, scratch: Scratch) -> Input {
        Input { info, body, scratch, written_out: OnceLock::new() }
    }

    /// The file's name as the client gave it, without folders and control characters.
    pub fn name(&self) -> Option<&str> {
        self.info.name.as_deref()
    }

    /// The content type as the client gave it, without parameters. It may be wrong.
    pub fn content_type(&self) -> Option<&str> {
        self.info.content_type.as_deref()
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.info.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.info.bytes == 0
    }

    /// A path to read it from, valid until the attempt ends. An input small enough to live in the
    /// queue is written to the attempt's scratch folder by the first call; [`bytes`](Input::bytes)
    /// and [`open`](Input::open) spare that.
    ///
    /// # Panics
    /// When a small input cannot be written out (a full disk). The attempt then ends, and is
    /// repeated as after any other panic.
    pub fn path(&self) -> &Path {
        match &self.body {
            InputBody::File(path) => path,
            InputBody::Inline(bytes) => self.written_out.get_or_init(|| {
                self.write_out(bytes)
                    .unwrap_or_else(|error| panic!("the input cannot be written out: {error}"))
            }),
        }
    }

    fn write_out(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.scratch.path()?.join("input");
        File::create(&path)?.write_all(bytes)?;
        Ok(path)
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match &self.body {
            InputBody::Inline(bytes) => Ok(Cow::Borrowed(bytes)),
            InputBody::File(path) => std::fs::read(path).map(Cow::Owned),
        }
    }

    /// A reader over it, at its start.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(&self) -> io::Result<InputReader> {
        match &self.body {
            InputBody::Inline(bytes) => {
                Ok(InputReader(Source::Memory(io::Cursor::new(bytes.clone()))))
            }
            InputBody::File(path) => Ok(InputReader(Source::File(File::open(path)?))),
        }
    }
}

/// Reads an input from wherever it is.
#[derive(Debug)]
pub struct InputReader(Source);

#[derive(Debug)]
enum Source {
    Memory(io::Cursor<Arc<[u8]>>),
    File(File),
}

impl Read for InputReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Memory(cursor) => cursor.read(buffer),
            Source::File(file) => file.read(buffer),
        }
    }
}

impl Seek for InputReader {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Source::Memory(cursor) => cursor.seek(position),
            Source::File(file) => file.seek(position),
        }
    }
}

/// An attempt's own folder: made when first asked for, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    parent: PathBuf,
    folder: OnceLock<tempfile::TempDir>,
}

impl Scratch {
    /// A folder to be made in `parent`.
    pub(crate) fn inside(parent: impl Into<PathBuf>) -> Scratch {
        Scratch { parent: parent.into(), folder: OnceLock::new() }
    }

    fn path(&self) -> io::Result<&Path> {
        if self.folder.get().is_none() {
            let made = tempfile::TempDir::with_prefix_in("attempt-", &self.parent)?;
            // Where another thread of the task was faster its folder stands, and ours goes.
            drop(self.folder.set(made));
        }
        Ok(self.folder.get().expect("invariant: set above").path())
    }
}

/// What a successful attempt gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub(crate) data: Data,
    pub(crate) formats: Vec<Format>,
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
    /// Text; `data` is a JSON string.
    pub fn text(text: impl Into<String>) -> Output {
        Output { data: Data::Text(text.into()), formats: Vec::new() }
    }

    /// Any JSON; `data` is that value.
    pub fn json(value: impl Into<Value>) -> Output {
        Output { data: Data::Json(value.into()), formats: Vec::new() }
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
        Output { data: Data::File(file), formats: Vec::new() }
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
}

/// Why an attempt gave no output, and whether another one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    pub(crate) failure: Failure,
    pub(crate) retryable: bool,
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
        TaskError { failure, retryable }
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
    /// An I/O error is taken to pass: a full disk, a file in use.
    fn from(error: io::Error) -> TaskError {
        TaskError::retryable(error.to_string()).with_code("io")
    }
}

/// Why a running attempt is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its job was canceled.
    Canceled,
    /// The server is stopping; the job goes back to the queue.
    Draining,
    /// It ran into its deadline.
    TimedOut,
}

/// What a running attempt and the rest of the server tell each other.
#[derive(Debug)]
pub(crate) struct Pulse {
    deadline: Instant,
    stop: AtomicU8,
    progress_millionths: AtomicU32,
    duration_ms: AtomicU64,
}

const STOP_NONE: u8 = 0;
const STOP_CANCELED: u8 = 1;
const STOP_DRAINING: u8 = 2;
const DURATION_UNKNOWN: u64 = u64::MAX;

impl Pulse {
    pub(crate) fn new(deadline: Instant) -> Pulse {
        Pulse {
            deadline,
            stop: AtomicU8::new(STOP_NONE),
            progress_millionths: AtomicU32::new(0),
            duration_ms: AtomicU64::new(DURATION_UNKNOWN),
        }
    }

    pub(crate) fn cancel(&self) {
        self.stop.store(STOP_CANCELED, Ordering::Relaxed);
    }

    /// Asks the attempt to give up; a cancel that came before stays a cancel.
    pub(crate) fn drain(&self) {
        // The other outcome means that the attempt was told to stop already.
        let _ = self.stop.compare_exchange(
            STOP_NONE,
            STOP_DRAINING,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Why the attempt is to stop, if it is.
    pub(crate) fn stop(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Relaxed) {
            STOP_CANCELED => Some(Stop::Canceled),
            STOP_DRAINING => Some(Stop::Draining),
            _ => (Instant::now() >= self.deadline).then_some(Stop::TimedOut),
        }
    }

    pub(crate) fn is_canceled(&self) -> bool {
        self.stop().is_some()
    }

    fn set_progress(&self, done: f32) {
        // The cast turns NaN into 0.
        let millionths = (f64::from(done.clamp(0.0, 1.0)) * 1e6) as u32;
        self.progress_millionths.fetch_max(millionths, Ordering::Relaxed);
    }

    /// From 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        f64::from(self.progress_millionths.load(Ordering::Relaxed)) / 1e6
    }

    fn set_duration(&self, duration: Duration) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(DURATION_UNKNOWN - 1);
        self.duration_ms.store(ms.min(DURATION_UNKNOWN - 1), Ordering::Relaxed);
    }

    /// How long the input plays, once the task has said so.
    pub(crate) fn duration(&self) -> Option<Duration> {
        match self.duration_ms.load(Ordering::Relaxed) {
            DURATION_UNKNOWN => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }
}

type Run = Box<dyn Fn(&Attempt) -> Result<Output, TaskError> + Send + Sync>;
type Check = Box<dyn Fn(&Parameters) -> Result<(), String> + Send + Sync>;

/// What a task takes, checked before a job is accepted. The default takes everything.
#[derive(Default)]
pub struct TaskOptions {
    accepts: Vec<String>,
    check: Option<Check>,
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

    pub(crate) fn takes(&self, content_type: Option<&str>) -> bool {
        let Some(declared) = content_type else { return true };
        self.accepts.is_empty()
            || declared == "application/octet-stream"
            || self.accepts.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => declared.starts_with(prefix),
                None => declared == pattern,
            })
    }

    pub(crate) fn accepted_types(&self) -> &[String] {
        &self.accepts
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
