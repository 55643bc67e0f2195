//! From bytes to a demuxer: which container they are.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::Error;
use super::source::View;

/// The demuxer of one recording, which has read its head.
pub(super) fn open(recording: View) -> Result<Box<dyn FormatReader>, Error> {
    let stream = MediaSourceStream::new(Box::new(recording), Default::default());
    let probe = || {
        symphonia::default::get_probe()
            .probe(
                &Default::default(),
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
            .map_err(cannot_open)
    };
    surviving(probe).map_err(|gave_up| Error::Undecodable(MediaError::from(gave_up).to_string()))?
}

/// Meaning of an error before the first packet.
fn cannot_open(error: MediaError) -> Error {
    match error {
        MediaError::IoError(error) if error.raw_os_error().is_some() => Error::Read(error),
        MediaError::IoError(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Error::Undecodable("its pictures, notes or tables are longer than 24 MiB".into())
        }
        MediaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Undecodable("no known format, or its header is cut off".into())
        }
        error => Error::Undecodable(error.to_string()),
    }
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
