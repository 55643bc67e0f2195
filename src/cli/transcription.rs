//! The task that `serve` offers: which model, how many threads, and what the build is worth.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringback::Builder;
use ringback::model::{self, ModelError, ModelInfo};
use ringback::whisper::{self, Transcribe};

use super::unfound::Unfound;
use super::units::duration;
use super::{Failure, out};

#[derive(Debug, clap::Args)]
pub(super) struct TranscriptionArgs {
    /// The Whisper model: a name such as tiny.en, looked up in --models, or the path of any ggml file
    /// [default: the only model in --models].
    #[arg(long, env = "RINGBACK_MODEL", value_name = "NAME|PATH")]
    model: Option<String>,

    /// The folder with models [default: the folder `models` in --data].
    #[arg(long, env = "RINGBACK_MODELS", value_name = "FOLDER")]
    models: Option<PathBuf>,

    /// Threads of one attempt; 0 means every core while it is alone, and a fair share of them else.
    #[arg(long, env = "RINGBACK_THREADS", default_value_t = 0, value_name = "THREADS")]
    threads: u16,

    /// Take the model out of memory when no job has used it for so long; the next one loads it again
    /// [default: never].
    #[arg(long, env = "RINGBACK_MODEL_IDLE", value_name = "TIME", value_parser = duration)]
    model_idle: Option<Duration>,
}

impl TranscriptionArgs {
    /// As many workers as keep the cores busy: one for each time that an attempt's threads fit.
    pub(super) fn fitting_workers(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        (cores / usize::from(self.threads.max(1))).max(1)
    }

    /// The model file, by what was asked for or by what is there, checked from the outside.
    pub(super) fn find_model(&self, data: &Path) -> Result<Model, Unfound> {
        let folder = self.models.clone().unwrap_or_else(|| data.join("models"));
        // As it is written where the program shows a command to type.
        let folder = folder.strip_prefix("./").unwrap_or(&folder);
        let found = match &self.model {
            Some(model) => model::resolve(model, folder),
            None => model::only_model(folder),
        };
        let checked = found.and_then(|path| {
            let info = model::check_file(&path)?;
            Ok(Model { path, info })
        });
        match checked {
            Ok(Model { path, info: ModelInfo::Vad { .. } }) => {
                Err(Unfound::Wrong(Failure::usage(format!(
                    "{} finds speech, but does not write it down: name a Whisper model",
                    path.display()
                ))))
            }
            Ok(model) => Ok(model),
            Err(error @ ModelError::NoModel { .. }) => {
                Err(Unfound::None(Failure::usage(error.to_string())))
            }
            Err(error) => Err(Unfound::Wrong(Failure::usage(error.to_string()))),
        }
    }

    /// Adds the task, for as many attempts at once as there are `workers`.
    pub(super) fn register(&self, builder: Builder, model: &Model, workers: usize) -> Builder {
        let builder = builder.threads(usize::from(self.threads));
        let mut task = Transcribe::new(&model.path, workers);
        if let Some(idle) = self.model_idle {
            task = task.model_idle(idle);
        }
        task.register(builder)
    }
}

/// A Whisper model that can be loaded.
#[derive(Debug)]
pub(super) struct Model {
    path: PathBuf,
    info: ModelInfo,
}

/// Which model it is, and what whisper.cpp was built with, on stderr.
pub(super) fn announce(model: &Model) {
    out::note(format_args!("  model {}: {}", model.path.display(), model.info));
    out::note(format_args!("  whisper.cpp: {}", whisper::system_info().trim()));
    if let Some(why) = whisper::slow_build() {
        out::note(format_args!("  warning: {why}"));
    }
}
