//! From bytes to the packets of a container. The first bytes alone decide which reader a file gets: a
//! search for sync words anywhere in it takes transport streams, films and pictures for MP3.
//! WAV and its kin, and transport streams, have readers of their own here.

mod aiff;
mod au;
mod blocks;
mod bytes;
mod chunks;
pub(super) mod kind;
mod matroska;
pub(super) mod mpeg;
pub(super) mod psi;
mod refused;
mod riff;
mod stream;
pub(super) mod ts;
mod wave_format;

#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::formats::{
    AdtsReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader,
};

use super::Error;
use super::source::View;
use blocks::{BlockReader, Layout};
use kind::Kind;
use matroska::{Compression, Inflating};
use mpeg::Framing;

/// The start of a file that tells its kind, in bytes.
const HEAD: u64 = 256 * 1024;
/// The most ID3 tags before the sound.
const TAGS_MAX: usize = 16;
/// An ID3 tag's header, in bytes.
const TAG_HEADER: u64 = 10;

/// The sound that a header of a file describes.
enum Sound {
    Blocks {
        layout: Layout,
        /// The bytes with the sound.
        ranges: Vec<Range<u64>>,
        /// Bytes that are declared and not there.
        missing: u64,
    },
    /// Frames of MPEG audio.
    Mpeg(Range<u64>),
}

/// A demuxer for what the recording holds.
pub(super) fn open(mut recording: View) -> Result<Box<dyn FormatReader>, Error> {
    let bytes = recording.length();
    let tags = skip_tags(&mut recording).map_err(Error::Read)?;
    let head = read_head(&mut recording, tags).map_err(Error::Read)?;
    if let Some((kind, at)) = kind::find(&head, tags + head.len() as u64 == bytes) {
        return open_kind(kind, recording.part(tags + at as u64..bytes), &head[at..]);
    }
    if tags > 0 {
        // The tag's size is wrong. Its first bytes are its header.
        let head = read_head(&mut recording, TAG_HEADER).map_err(Error::Read)?;
        if let Some((at, framing)) = mpeg::search(&head) {
            let recording = recording.part(TAG_HEADER + at as u64..bytes);
            return open_kind(Kind::Frames(framing), recording, &head[at..]);
        }
    }
    Err(Error::Undecodable("no known format, or its header is cut off or broken".into()))
}

fn open_kind(kind: Kind, mut recording: View, head: &[u8]) -> Result<Box<dyn FormatReader>, Error> {
    let bytes = recording.length();
    let sound = match kind {
        Kind::Wave(grammar) => riff::read(&mut recording, bytes, grammar)?,
        Kind::Aiff(grammar) => aiff::read(&mut recording, bytes, grammar)?,
        Kind::Au(order) => au::read(head, bytes, order)?,
        Kind::Flac => return library(FlacReader::try_new(stream(recording), options())),
        Kind::Ogg => return library(OggReader::try_new(stream(recording), options())),
        Kind::Matroska => return open_matroska(recording),
        Kind::Mp4 => return library(IsoMp4Reader::try_new(stream(recording), options())),
        Kind::Frames(Framing::Mpeg) => {
            return library(MpaReader::try_new(stream(recording), options()));
        }
        Kind::Frames(Framing::Adts) => {
            return library(AdtsReader::try_new(stream(recording), options()));
        }
        Kind::Transport { stride } => {
            return Ok(Box::new(ts::TsReader::open(recording, stride)?));
        }
        Kind::Foreign(name) => return Err(Error::Undecodable(refusal(name))),
        Kind::NoMedia(name) => {
            return Err(Error::Undecodable(format!("this is {name}, and no recording")));
        }
    };
    match sound {
        Sound::Blocks { layout, ranges, missing } => {
            Ok(Box::new(BlockReader::new(recording, layout, ranges, missing)))
        }
        Sound::Mpeg(range) => library(MpaReader::try_new(stream(recording.part(range)), options())),
    }
}

fn open_matroska(mut recording: View) -> Result<Box<dyn FormatReader>, Error> {
    let compressions = matroska::compressions(&mut recording).map_err(Error::Read)?;
    let refused = compressions.values().find_map(|compression| match compression {
        Compression::Refused(name) => Some(*name),
        Compression::Zlib | Compression::Stripped(_) => None,
    });
    if let Some(name) = refused {
        return Err(Error::Undecodable(refusal(name)));
    }
    let reader = MkvReader::try_new(stream(recording), options()).map_err(cannot_open)?;
    if compressions.is_empty() {
        return Ok(Box::new(reader));
    }
    Ok(Box::new(Inflating { reader, compressions }))
}

/// The sentence for a codec that is known and not taken.
pub(super) fn refused_codec(codec: AudioCodecId) -> Option<String> {
    refused::name(codec).map(refusal)
}

/// The sentence for a kind of recording that is not taken.
fn refusal(name: &str) -> String {
    format!("this is {name}: convert it first, for example with `ffmpeg -i FILE out.flac`")
}

fn stream(source: View) -> MediaSourceStream<'static> {
    MediaSourceStream::new(Box::new(source), Default::default())
}

fn options() -> FormatOptions {
    FormatOptions::default()
}

fn library(
    opened: Result<impl FormatReader + 'static, MediaError>,
) -> Result<Box<dyn FormatReader>, Error> {
    match opened {
        Ok(reader) => Ok(Box::new(reader)),
        Err(error) => Err(cannot_open(error)),
    }
}

/// What an error before the first packet means.
fn cannot_open(error: MediaError) -> Error {
    match error {
        MediaError::IoError(error) if error.raw_os_error().is_some() => Error::Read(error),
        MediaError::IoError(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Error::Undecodable("its pictures, notes or tables are longer than 24 MiB".into())
        }
        MediaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Undecodable("its header is cut off".into())
        }
        error => Error::Undecodable(error.to_string()),
    }
}

fn read_head(source: &mut (impl Read + Seek), from: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    source.seek(SeekFrom::Start(from))?;
    source.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// The position behind the ID3 tags that a file of any kind can begin with. They can hold pictures.
fn skip_tags(source: &mut (impl Read + Seek)) -> io::Result<u64> {
    let mut at = 0;
    for _ in 0..TAGS_MAX {
        let mut header = Vec::new();
        source.seek(SeekFrom::Start(at))?;
        source.take(TAG_HEADER).read_to_end(&mut header)?;
        let &[b'I', b'D', b'3', _, _, flags, a, b, c, d] = header.as_slice() else { break };
        if (a | b | c | d) & 0x80 != 0 {
            break;
        }
        let length = [a, b, c, d].iter().fold(0, |length, byte| length << 7 | u64::from(*byte));
        let footer = if flags & 0x10 != 0 { TAG_HEADER } else { 0 };
        at += TAG_HEADER + length + footer;
    }
    Ok(at)
}
