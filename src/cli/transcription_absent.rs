//! `serve` in a program that was built without the feature `whisper`: it has no task to offer but
//! `demo`.

use std::convert::Infallible;
use std::path::Path;

use ringback::Builder;

use super::Failure;
use super::unfound::Unfound;

/// No flags.
#[derive(Debug, clap::Args)]
pub(super) struct TranscriptionArgs {}

impl TranscriptionArgs {
    pub(super) fn fitting_workers(&self) -> usize {
        std::thread::available_parallelism().map_or(1, |cores| cores.get())
    }

    pub(super) fn find_model(&self, _data: &Path) -> Result<Infallible, Unfound> {
        Err(Unfound::None(Failure::usage(
            "this program was built without transcription; build it with the feature `whisper`",
        )))
    }

    pub(super) fn register(&self, _: Builder, model: &Infallible, _workers: usize) -> Builder {
        match *model {}
    }
}

pub(super) fn announce(model: &Infallible) {
    match *model {}
}
