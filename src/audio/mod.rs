//! Recordings as they come, in whatever container and codec, to what speech recognition eats: one
//! channel of 16 kHz samples. The samples are handed out in blocks, so that hours of audio cost no
//! more memory than a second. Only the bytes decide what a file is: names and content types lie.

mod aac;
mod clipping;
mod codec;
mod container;
mod decode;
mod flags;
mod format;
mod fragments;
mod hearing;
mod ledger;
mod mix;
mod opus;
mod parts;
mod playing;
mod quicktime;
mod resample;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod tracks;

use std::fmt;
use std::io::{self, Read, Seek};
use std::num::NonZero;
use std::time::Duration;

use decode::Decoder;
use resample::Resampler;

use crate::Warning;

/// Samples per second of everything a [`Reader`] hands out.
pub const SAMPLE_RATE: u32 = 16_000;

/// The longest recording a [`Reader`] takes where nothing else was said: 4 hours.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What can be decoded, for people.
pub const FORMATS: &str = "wav, aiff, au, mp3, flac, ogg and webm (vorbis or opus), mp4 and m4a \
                           (aac or alac), mkv, aac, mpeg transport streams";

/// How long a number of 16 kHz samples plays.
pub fn playing_time(samples: u64) -> Duration {
    let seconds = samples / u64::from(SAMPLE_RATE);
    let rest = samples % u64::from(SAMPLE_RATE);
    Duration::new(seconds, (rest * 1_000_000_000 / u64::from(SAMPLE_RATE)) as u32)
}

/// Reads a recording as 16 kHz samples of one channel: further channels are mixed into it, other
/// rates are converted. A recording that breaks off is read as far as it goes.
pub struct Reader {
    decoder: Decoder,
    resampler: Resampler,
    block: Vec<f32>,
    /// Samples handed out so far.
    read: u64,
    limit: Duration,
    ended: bool,
}

impl Reader {
    /// Looks at the beginning of `source`, and finds out what it is. Recordings longer than
    /// `limit` end in [`Error::TooLong`] when that much of them has been read.
    ///
    /// # Errors
    /// When nothing is there, or nothing that can be decoded, or it cannot be read.
    pub fn open(
        source: impl Read + Seek + Send + Sync + 'static,
        limit: Duration,
    ) -> Result<Reader, Error> {
        Reader::open_track(source, limit, None)
    }

    /// As [`open`](Reader::open), and reads the sound track of that number, from 1 on. Without one it
    /// reads the default track, unless that is silent while another is not.
    ///
    /// # Errors
    /// As [`open`](Reader::open), and when there is no such track.
    pub fn open_track(
        source: impl Read + Seek + Send + Sync + 'static,
        limit: Duration,
        track: Option<NonZero<u32>>,
    ) -> Result<Reader, Error> {
        let decoder = Decoder::open(source, track, limit)?;
        let resampler = Resampler::from(decoder.rate())?;
        Ok(Reader { decoder, resampler, block: Vec::new(), read: 0, limit, ended: false })
    }

    /// The next samples, at least one; `None` at the end. A recording that breaks off is at its
    /// end there.
    ///
    /// # Errors
    /// When the recording is longer than the limit, has not a single sample that can be decoded,
    /// or cannot be read.
    pub fn next_block(&mut self) -> Result<Option<&[f32]>, Error> {
        self.block.clear();
        while self.block.is_empty() {
            if self.ended {
                return Ok(None);
            }
            self.step()?;
        }
        self.read += self.block.len() as u64;
        if self.playing_time() > self.limit {
            return Err(Error::TooLong { limit: self.limit });
        }
        Ok(Some(&self.block))
    }

    /// Decodes one packet into the block.
    fn step(&mut self) -> Result<(), Error> {
        let Some(samples) = self.decoder.next_samples()? else {
            self.ended = true;
            self.resampler.finish(&mut self.block);
            return Ok(());
        };
        if samples.rate == self.resampler.rate() {
            self.resampler.push(samples.mono, &mut self.block);
        } else {
            // Recordings that were joined end to end may change their rate on the way.
            self.resampler.finish(&mut self.block);
            self.resampler = Resampler::from(samples.rate)?;
            self.resampler.push(samples.mono, &mut self.block);
        }
        Ok(())
    }

    /// What somebody who reads the text must know of the recording: parts that were lost, bytes that
    /// were not read, tracks left out, clipping. Complete at the end, with at most one of each code:
    /// `damaged`, `cut_off`, `gaps`, `trailing_data`, `another_track`, `track_left_out`, `clipped`.
    pub fn warnings(&self) -> Vec<Warning> {
        self.decoder.warnings()
    }

    /// How long the samples handed out so far play.
    pub fn playing_time(&self) -> Duration {
        playing_time(self.read)
    }

    /// How much of the source has been read, from 0 to 1.
    pub fn fraction_read(&self) -> f32 {
        if self.ended { 1.0 } else { self.decoder.fraction_read() }
    }

    /// All samples at once: 64 kB of memory for each second.
    ///
    /// # Errors
    /// As [`next_block`](Reader::next_block).
    pub fn read_to_end(mut self) -> Result<Vec<f32>, Error> {
        let mut samples = Vec::new();
        while let Some(block) = self.next_block()? {
            samples.extend_from_slice(block);
        }
        Ok(samples)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("playing_time", &self.playing_time())
            .field("limit", &self.limit)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Why a recording cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Its bytes are no recording, or one of a kind that is not known.
    Undecodable(String),
    /// More than a little of it is lost: says how much was read, and where and why that stopped.
    Damaged(String),
    /// It is a container without a sound track.
    NoAudio,
    /// It has not so many sound tracks.
    NoTrack {
        /// The number that was asked for.
        wanted: NonZero<u32>,
        /// How many there are.
        tracks: usize,
    },
    /// There is nothing in it: no bytes, or a track without a sample.
    Empty,
    /// It plays longer than the limit.
    TooLong {
        /// What was allowed.
        limit: Duration,
    },
    /// The system could not read it.
    Read(io::Error),
}

impl Error {
    /// A stable word a program can branch on.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Undecodable(_) | Error::Damaged(_) => "undecodable",
            Error::NoAudio => "no_audio",
            Error::NoTrack { .. } => "no_track",
            Error::Empty => "empty",
            Error::TooLong { .. } => "too_long",
            Error::Read(_) => "io",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Undecodable(why) => {
                write!(f, "the file cannot be decoded ({why}); taken are {FORMATS}")
            }
            Error::Damaged(what) => write!(f, "the recording is damaged or cut off: {what}"),
            Error::NoAudio => f.write_str("the file has no sound track"),
            Error::NoTrack { wanted, tracks } => write!(
                f,
                "the file has no sound track {wanted}: it has {tracks}; leave the parameter track out \
                 or choose one of them"
            ),
            Error::Empty => f.write_str("the file holds no audio: it has no samples"),
            Error::TooLong { limit } => {
                let limit = humantime::format_duration(*limit);
                write!(f, "the recording plays longer than the {limit} that are taken")
            }
            Error::Read(source) => write!(f, "the file cannot be read: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Read(source) => Some(source),
            Error::Undecodable(_)
            | Error::Damaged(_)
            | Error::NoAudio
            | Error::NoTrack { .. }
            | Error::Empty
            | Error::TooLong { .. } => None,
        }
    }
}
