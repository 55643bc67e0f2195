//! The `transcribe` task: a recording in, its text out.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::formats::FORMATS;
use super::loader::Loader;
use super::{Engine, EngineError, Options, Transcript, Watch};
use crate::audio::{self, Reader};
use crate::server::Builder;
use crate::task::{Attempt, Output, TaskError, TaskOptions};

/// Types that no recording is sent with. All others are taken: stores, browsers and programs declare what
/// they like, and the bytes tell.
const REFUSED: [&str; 6] = [
    "text/html",
    "application/xhtml+xml",
    "application/json",
    "application/problem+json",
    "multipart/*",
    "message/*",
];

/// The task that transcribes recordings with one Whisper model.
///
/// ```no_run
/// # fn main() -> Result<(), ringback::Error> {
/// let transcribe = ringback::whisper::Transcribe::new("models/ggml-tiny.en.bin", 2);
/// let server = ringback::Server::builder().workers(2);
/// transcribe.register(server).bind("127.0.0.1:8080")?.run()
/// # }
/// ```
#[derive(Debug)]
pub struct Transcribe {
    path: PathBuf,
    seats: usize,
    limit: Duration,
    model_idle: Option<Duration>,
    loader: OnceLock<Loader>,
}

impl Transcribe {
    /// The name it is registered under.
    pub const NAME: &str = "transcribe";

    /// With the model at `path`, for at most `seats` recordings at once: as many as there are
    /// workers. Nothing is loaded yet.
    pub fn new(path: impl Into<PathBuf>, seats: usize) -> Transcribe {
        Transcribe {
            path: path.into(),
            seats,
            limit: audio::DEFAULT_LIMIT,
            model_idle: None,
            loader: OnceLock::new(),
        }
    }

    /// The longest recording that is taken. Default: 4 hours.
    #[must_use]
    pub fn longest(mut self, limit: Duration) -> Transcribe {
        self.limit = limit;
        self
    }

    /// How long the model stays in memory when no attempt uses it; the next one loads it again. Default:
    /// for ever.
    #[must_use]
    pub fn model_idle(mut self, idle: Duration) -> Transcribe {
        self.model_idle = Some(idle);
        self
    }

    /// Adds it to a server as the task `transcribe`, with its model to be loaded before the first
    /// attempt.
    pub fn register(self, server: Builder) -> Builder {
        let task = Arc::new(self);
        let loads = Arc::clone(&task);
        let options = Arc::clone(&task).options();
        server.prepare(move || loads.prepare()).task_with(
            Transcribe::NAME,
            options,
            move |attempt| task.run(attempt),
        )
    }

    /// Loads the model, where it is not loaded yet.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn prepare(&self) -> Result<(), TaskError> {
        self.engine().map(drop)
    }

    /// What the task takes, to be checked before a job is accepted.
    pub fn options(self: Arc<Self>) -> TaskOptions {
        TaskOptions::new().refuses(REFUSED).check_parameters(move |parameters| {
            let options = Options::from_parameters(parameters)?;
            // Before the model was loaded nobody knows its languages; the attempt will.
            match self.loader().is_multilingual() {
                Some(false) => options.check_english_only(),
                Some(true) | None => Ok(()),
            }
        })
    }

    /// Transcribes an attempt's input. The output is the text, also to be had as `text`, `json`,
    /// `srt`, `vtt` and `verbose_json`.
    ///
    /// # Errors
    /// Permanent ones with the codes `undecodable`, `no_audio`, `empty`, `too_long` and
    /// `bad_parameter`; retryable ones when a file cannot be read or Whisper fails.
    pub fn run(&self, attempt: &Attempt) -> Result<Output, TaskError> {
        let options = Options::from_parameters(attempt.parameters()).map_err(bad_parameter)?;
        let mut recording = Reader::open_track(attempt.input().open()?, self.limit, options.track)?;
        let engine = self.engine()?;
        let watch = Watch {
            is_canceled: &|| attempt.is_canceled(),
            progress: &|done| attempt.progress(done),
        };
        let transcript = engine.transcribe(&mut recording, &options, attempt.threads(), &watch)?;
        attempt.set_duration(transcript.duration);
        Ok(recording.warnings().into_iter().fold(output(&transcript), Output::with_warning))
    }

    /// The model, loaded where it is not in memory. It stays there for as long as what this gives.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn engine(&self) -> Result<impl Deref<Target = Engine> + '_, TaskError> {
        Ok(self.loader().get()?)
    }

    fn loader(&self) -> &Loader {
        self.loader.get_or_init(|| Loader::new(self.path.clone(), self.seats, self.model_idle))
    }

    /// Where the model is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn output(transcript: &Transcript) -> Output {
    let output = FORMATS.iter().fold(Output::text(transcript.text()), |output, format| {
        output.with_format(format.name, format.content_type, (format.write)(transcript))
    });
    transcript.warnings.iter().cloned().fold(output, Output::with_warning)
}

fn bad_parameter(message: String) -> TaskError {
    TaskError::permanent(message).with_code("bad_parameter")
}

impl From<audio::Error> for TaskError {
    fn from(error: audio::Error) -> TaskError {
        match error {
            audio::Error::Read(source) => source.into(),
            error => TaskError::permanent(error.to_string()).with_code(error.code()),
        }
    }
}

impl From<EngineError> for TaskError {
    fn from(error: EngineError) -> TaskError {
        match error {
            EngineError::Audio(error) => error.into(),
            EngineError::Options(message) => bad_parameter(message),
            EngineError::File(_) | EngineError::Load(_) | EngineError::Processor(_) => {
                TaskError::permanent(error.to_string()).with_code("model")
            }
            // Thrown away: whoever canceled does not wait for it.
            EngineError::Canceled => TaskError::retryable(error.to_string()).with_code("canceled"),
            EngineError::Model(_) => TaskError::retryable(error.to_string()).with_code("whisper"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::audio::SAMPLE_RATE;
    use crate::audio::tests::wav;
    use crate::job::{InputInfo, JobId, Parameters, Sha256};
    use crate::task::{Input, InputBody, Pulse, Scratch};

    fn attempt(bytes: &[u8], parameters: &[(&str, &str)]) -> Attempt {
        let info = InputInfo {
            name: Some("song.mp3".into()),
            content_type: Some("audio/mpeg".into()),
            bytes: bytes.len() as u64,
            sha256: Sha256([0; 32]),
            duration_s: None,
        };
        let mut given = Parameters::new();
        for (name, value) in parameters {
            given.push(*name, *value);
        }
        let scratch = Scratch::inside(std::env::temp_dir());
        let input = Input::new(info, InputBody::Inline(bytes.into()), scratch);
        let pulse = Arc::new(Pulse::new(Instant::now() + Duration::from_secs(60)));
        Attempt::new(JobId::new(), 1, 1, given, input, pulse)
    }

    fn error_of(bytes: &[u8], parameters: &[(&str, &str)]) -> TaskError {
        Transcribe::new("no/such/model.bin", 1).run(&attempt(bytes, parameters)).unwrap_err()
    }

    #[test]
    fn each_thing_that_can_be_wrong_has_its_code() {
        let sound = wav(SAMPLE_RATE, 1, &[0.0; 1600]);
        for (bytes, parameters, code) in [
            (&b"not a song"[..], &[][..], "undecodable"),
            (b"", &[], "empty"),
            (&sound, &[("language", "xx")], "bad_parameter"),
            (&sound, &[("colour", "red")], "bad_parameter"),
            (&sound, &[], "model"),
        ] {
            let error = error_of(bytes, parameters);
            assert_eq!(error.failure.code, code, "{error}");
            assert!(!error.retryable, "{error}");
        }
    }

    #[test]
    fn a_model_that_is_not_there_is_named() {
        let error = Transcribe::new("no/such/model.bin", 1).prepare().unwrap_err();
        assert!(error.to_string().contains("no/such/model.bin"), "{error}");
    }

    #[test]
    fn types_may_be_wrong_and_parameters_are_checked() {
        let options = Arc::new(Transcribe::new("model.bin", 1)).options();
        for taken in ["audio/mpeg", "video/mp4", "binary/octet-stream", "text/plain", "wav"] {
            assert!(options.takes(Some(taken)), "{taken}");
        }
        assert!(options.takes(None));
        for refused in ["text/html", "application/json", "multipart/mixed"] {
            assert!(!options.takes(Some(refused)), "{refused}");
        }
        let mut parameters = Parameters::new();
        assert_eq!(options.check(&parameters), Ok(()));
        parameters.push("language", "xx");
        assert!(options.check(&parameters).unwrap_err().contains("ISO 639-1"));
    }
}
