//! Speech to text with whisper.cpp: [`Engine`] holds one model for every worker, [`Transcribe`] is
//! the task made of it, and the rest is what a transcript can be written as.

mod build;
mod calls;
mod effort;
mod engine;
mod error;
mod formats;
mod language;
mod loader;
mod options;
mod pool;
mod repeats;
mod speech;
mod task;
mod transcript;
mod windows;

pub use build::{has_fast_kernels, slow_build, system_info};
pub use calls::Watch;
pub use engine::Engine;
pub use error::EngineError;
pub use language::Language;
pub use options::Options;
pub use task::Transcribe;
pub use transcript::{Segment, Transcript};

use std::sync::OnceLock;

/// Sends what whisper.cpp has to say to the `log` crate, instead of to stderr.
fn quieten() {
    static HOOKED: OnceLock<()> = OnceLock::new();
    HOOKED.get_or_init(whisper_rs::install_logging_hooks);
}
