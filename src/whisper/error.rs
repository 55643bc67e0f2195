//! Why there is no transcript.

use std::fmt;
use std::path::PathBuf;

use crate::audio;
use crate::model::ModelError;

/// Why there is no transcript.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// The file cannot be read, or is no sound model.
    File(ModelError),
    /// The file is another kind of model, or whisper.cpp does not load it.
    Load(PathBuf),
    /// whisper.cpp was built for a processor with this instruction set, which the one here has not.
    Processor(&'static str),
    /// The recording cannot be read.
    Audio(audio::Error),
    /// The model cannot do what the options ask for.
    Options(String),
    /// [`Watch::is_canceled`](super::Watch::is_canceled) said so.
    Canceled,
    /// Whisper failed: out of memory, most of the time.
    Model(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::File(error) => error.fmt(f),
            EngineError::Load(path) => {
                write!(f, "{} cannot be loaded as a Whisper model", path.display())
            }
            EngineError::Processor(feature) => write!(
                f,
                "this program was built for a processor with {feature}, which this one has not: \
                 build it here, or with GGML_NATIVE=OFF in the environment"
            ),
            EngineError::Audio(error) => error.fmt(f),
            EngineError::Options(message) => f.write_str(message),
            EngineError::Canceled => f.write_str("the transcription was canceled"),
            EngineError::Model(message) => write!(f, "whisper.cpp failed: {message}"),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EngineError::Audio(error) => Some(error),
            EngineError::File(error) => Some(error),
            EngineError::Load(_)
            | EngineError::Processor(_)
            | EngineError::Options(_)
            | EngineError::Canceled
            | EngineError::Model(_) => None,
        }
    }
}
