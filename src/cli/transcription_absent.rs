//! `serve` in a program that was built without the feature `whisper`: it has no task to offer.

use std::convert::Infallible;
use std::path::Path;

use ringback::Builder;

use super::Failure;

/// No flags.
#[derive(Debug, clap::Args)]
pub(super) struct TranscriptionArgs {}

impl TranscriptionArgs {
    pub(super) fn fitting_workers(&self) -> usize {
        1
    }

    pub(super) fn find_model(&self, _data: &Path) -> Result<Infallible, Failure> {
        Err(Failure::usage(
            "this program was built without transcription; build it with the feature `whisper`",
        ))
    }

    pub(super) fn register(&self, _: Builder, model: &Infallible, _workers: usize) -> Builder {
        match *model {}
    }
}

pub(super) fn announce(model: &Infallible) {
    match *model {}
}
