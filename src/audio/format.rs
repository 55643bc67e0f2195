//! From bytes to a demuxer: which container they are.

use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::FormatReader;

use super::source::View;
use super::{Error, container};

/// The demuxer of one recording, which has read its head.
pub(super) fn open(recording: View) -> Result<Box<dyn FormatReader>, Error> {
    let opened = surviving(|| container::open(recording));
    opened.map_err(|gave_up| Error::Undecodable(MediaError::from(gave_up).to_string()))?
}

/// A decoder panicked over a file that it cannot cope with.
pub(super) struct GaveUp;

impl From<GaveUp> for MediaError {
    fn from(GaveUp: GaveUp) -> MediaError {
        MediaError::DecodeError("its decoder gave up")
    }
}

/// The file is at fault when a decoder panics, and not the server. A value that has panicked is not used
/// again.
pub(super) fn surviving<T>(decoding: impl FnOnce() -> T) -> Result<T, GaveUp> {
    catch_unwind(AssertUnwindSafe(decoding)).map_err(|_| GaveUp)
}
