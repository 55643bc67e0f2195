//! Speech to text with whisper.cpp: [`Engine`] holds one model for every worker, [`Transcribe`] is
//! the task made of it, and the rest is what a transcript can be written as.

mod calls;
mod engine;
mod error;
mod formats;
mod language;
mod options;
mod pool;
mod speech;
mod task;
mod transcript;
mod windows;

pub use calls::Watch;
pub use engine::Engine;
pub use error::EngineError;
pub use language::Language;
pub use options::Options;
pub use task::Transcribe;
pub use transcript::{Segment, Transcript};

use std::sync::OnceLock;

/// What whisper.cpp was built with and finds on this processor, in its own words.
pub fn system_info() -> &'static str {
    // It is put together in a buffer that all callers share, so it is asked for once.
    static INFO: OnceLock<&str> = OnceLock::new();
    INFO.get_or_init(whisper_rs::print_system_info)
}

/// Whether the fast matrix kernels (`GGML_LLAMAFILE`) are built in.
pub fn has_fast_kernels() -> bool {
    names_feature(system_info(), "LLAMAFILE")
}

/// Why this build is slower than it needs to be, in a sentence that says what to do; `None` when
/// it is not.
pub fn slow_build() -> Option<&'static str> {
    if cfg!(target_arch = "x86_64") && !names_feature(system_info(), "AVX2") {
        return Some(
            "built without AVX2: transcription takes ten times as long; build again with \
             GGML_NATIVE=OFF and without SOURCE_DATE_EPOCH in the environment",
        );
    }
    if !has_fast_kernels() {
        return Some(
            "built without the fast matrix kernels: transcription takes 1.6 times as long; build \
             again with GGML_LLAMAFILE=ON in the environment",
        );
    }
    None
}

fn names_feature(info: &str, name: &str) -> bool {
    info.split(['|', ':'])
        .filter_map(|pair| pair.split_once('='))
        .any(|(feature, value)| feature.trim() == name && value.trim() == "1")
}

/// Sends what whisper.cpp has to say to the `log` crate, instead of to stderr.
fn quieten() {
    static HOOKED: OnceLock<()> = OnceLock::new();
    HOOKED.get_or_init(whisper_rs::install_logging_hooks);
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "WHISPER : COREML = 0 | OPENVINO = 0 | CPU : SSE3 = 1 | AVX2 = 1 | ";

    #[test]
    fn features_are_found_by_their_whole_name() {
        assert!(names_feature(INFO, "SSE3"));
        assert!(names_feature(INFO, "AVX2"));
        assert!(!names_feature(INFO, "AVX"));
        assert!(!names_feature(INFO, "COREML"));
        assert!(!names_feature(INFO, "LLAMAFILE"));
    }

    #[test]
    fn this_build_is_a_fast_one() {
        assert!(has_fast_kernels(), "{}", system_info());
        assert_eq!(slow_build(), None);
    }
}
