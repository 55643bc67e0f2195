//! A file may hold several recordings one after the other: browsers that recorded twice into one file,
//! broadcasts whose format changes midway, parts that `cat` joined. A demuxer stops at the end of its
//! own, so the file is cut into parts here, and each gets a demuxer that sees nothing else.
//!
//! Containers are followed by their own sizes. Those without sizes end where the next one begins.

mod ahead;
mod boxes;
mod elements;
mod frames;
mod magic;
mod packets;
mod pages;
mod tags;

use std::io;
use std::ops::Range;

use super::container::kind;
use super::container::mpeg::{self, Framing};
use super::container::ts;
use super::source::Source;
pub(super) use ahead::Ahead;
pub(super) use boxes::header as box_header;
pub(super) use elements::{Header as ElementHeader, cluster_bytes};

/// Bytes of a file that tell its kind.
const HEAD: usize = 256 * 1024;
/// Bytes of a later part that tell its kind.
const HEAD_LATER: usize = 16 * 1024;

/// One recording in a file.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) range: Range<u64>,
    /// Bytes beyond the end of the file that its container declares.
    pub(super) missing: u64,
    pub(super) kind: Kind,
}

/// Kinds of containers, as far as they differ in how they end and what they tell of themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Mp4 {
        /// It has no table of all its sound.
        is_fragmented: bool,
    },
    Matroska {
        /// It has a size, as those that are recorded live have not, and that reaches beyond the end of the
        /// file.
        is_cut: bool,
        is_live: bool,
    },
    Ogg {
        /// Its last page says that it is the last.
        is_ended: bool,
        /// Pages are broken or missing.
        is_torn: bool,
        /// Bytes of pages that are broken, which are not read.
        broken: u64,
    },
    Flac,
    /// WAV, AIFF and their kin.
    Chunks,
    /// Frames of MPEG audio or AAC with nothing around them.
    Frames(frames::Told),
    /// The opening says more.
    Other,
}

impl Kind {
    /// Whether bytes that are not read are lost sound. Containers know how much sound they have; bytes
    /// outside of it are none.
    pub(super) fn is_stream(self) -> bool {
        match self {
            Kind::Frames(_) | Kind::Flac => true,
            Kind::Ogg { is_ended, .. } => !is_ended,
            Kind::Mp4 { is_fragmented } => is_fragmented,
            Kind::Matroska { is_live, .. } => is_live,
            Kind::Chunks | Kind::Other => false,
        }
    }

    /// Whether it goes on with what damage interrupted.
    pub(super) fn continues(self, before: Kind) -> bool {
        matches!((self, before), (Kind::Frames(told), Kind::Frames(before)) if told.continues(&before))
    }

    /// Whether a jump of its timestamps is lost sound, and not a pause of the recorder.
    pub(super) fn is_gapless(self) -> bool {
        matches!(self, Kind::Ogg { is_torn: true, .. } | Kind::Frames(_) | Kind::Flac)
    }
}

/// The next part, and the bytes before it that are no recording.
pub(super) struct Next {
    pub(super) junk: Range<u64>,
    /// Bytes of padding before them.
    pub(super) blank: u64,
    pub(super) part: Option<Part>,
}

/// Finds the part that begins at `from` or behind it.
pub(super) fn next(source: &Source, from: u64) -> io::Result<Next> {
    let mut ahead = Ahead::new(source);
    if from == 0 {
        let (kind, start) = first(&mut ahead)?;
        let part = part(&mut ahead, 0..start, kind)?;
        return Ok(Next { junk: 0..start, blank: 0, part: Some(part) });
    }
    let (at, blank) = tags::skip(&mut ahead, from)?;
    let end = ahead.end();
    if at >= end {
        return Ok(Next { junk: end..end, blank, part: None });
    }
    let found = match beginning(&mut ahead, from, at)? {
        Some(found) => Some(found),
        None => magic::search(&mut ahead, at + 1)?,
    };
    let Some((start, kind)) = found else {
        return Ok(Next { junk: at..end, blank, part: None });
    };
    let part = part(&mut ahead, start..start, kind)?;
    Ok(Next { junk: at.min(start)..start, blank, part: Some(part) })
}

/// The kind by its first bytes, before its end is known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Mp4,
    Matroska,
    Ogg,
    Flac,
    Chunks,
    Frames(Framing),
    /// Packets of a transport stream, so many bytes apart.
    Packets(usize),
    Other,
}

impl From<kind::Kind> for Start {
    fn from(kind: kind::Kind) -> Start {
        match kind {
            kind::Kind::Wave(_) | kind::Kind::Aiff(_) | kind::Kind::Au(_) => Start::Chunks,
            kind::Kind::Flac => Start::Flac,
            kind::Kind::Ogg => Start::Ogg,
            kind::Kind::Matroska => Start::Matroska,
            kind::Kind::Mp4 => Start::Mp4,
            kind::Kind::Frames(framing) => Start::Frames(framing),
            kind::Kind::Transport { stride } => Start::Packets(stride),
            kind::Kind::Foreign(_) | kind::Kind::NoMedia(_) => Start::Other,
        }
    }
}

/// The kind of the file's first part, and where its sound begins.
fn first(ahead: &mut Ahead) -> io::Result<(Start, u64)> {
    let tags = tags::skip_leading(ahead, 0)?;
    let is_whole = ahead.end() - tags <= HEAD as u64;
    let head = ahead.bytes(tags, HEAD)?;
    Ok(match kind::find(head, is_whole) {
        Some((kind, at)) => (kind.into(), tags + at as u64),
        None => (Start::Other, 0),
    })
}

/// The part that begins at `at`, or with some of the zeros between `from` and it.
fn beginning(ahead: &mut Ahead, from: u64, at: u64) -> io::Result<Option<(u64, Start)>> {
    for zeros in 0..=3 {
        let Some(start) = at.checked_sub(zeros).filter(|start| *start >= from) else { break };
        if let Some(kind) = later(ahead, start)? {
            return Ok(Some((start, kind)));
        }
    }
    Ok(None)
}

/// The kind of a part that begins exactly here, behind another one.
fn later(ahead: &mut Ahead, at: u64) -> io::Result<Option<Start>> {
    let tags = tags::skip_leading(ahead, at)?;
    let is_whole = ahead.end() - tags <= HEAD_LATER as u64;
    let head = ahead.bytes(tags, HEAD_LATER)?;
    let frames = || mpeg::first_frame(head, is_whole).map(Start::Frames);
    let packets = || ts::begins(head).map(|(stride, _)| Start::Packets(stride));
    Ok(magic::at(&head[..head.len().min(magic::LONGEST)]).or_else(frames).or_else(packets))
}

/// The part whose tags begin at `start.start`, and its sound at `start.end`.
fn part(ahead: &mut Ahead, start: Range<u64>, kind: Start) -> io::Result<Part> {
    let sound = start.end.max(tags::skip_leading(ahead, start.start)?);
    let file_end = ahead.end();
    let (kind, end) = match kind {
        Start::Mp4 => {
            let boxes::End { at, is_fragmented } = boxes::end(ahead, sound)?;
            (Kind::Mp4 { is_fragmented }, at)
        }
        Start::Matroska => {
            let (end, is_live) = elements::end(ahead, sound)?;
            (Kind::Matroska { is_cut: end > file_end && !is_live, is_live }, end)
        }
        Start::Ogg => {
            let pages::End { at, is_ended, is_torn, broken } = pages::end(ahead, sound)?;
            (Kind::Ogg { is_ended, is_torn, broken }, at)
        }
        Start::Flac => {
            let end = magic::end(ahead, sound)?;
            let end = frames::search_to(ahead, sound, end)?.unwrap_or(end);
            // Its last frame has no length, and would swallow them.
            (Kind::Flac, tags::trim(ahead, sound, end)?)
        }
        Start::Chunks => (Kind::Chunks, chunks_end(ahead, sound)?),
        Start::Frames(framing) => {
            let (told, end) = frames::run(ahead, sound, framing)?;
            (Kind::Frames(told), end)
        }
        Start::Packets(stride) => {
            let first = ts::begins(ahead.bytes(sound, HEAD_LATER)?).map_or(0, |(_, at)| at);
            (Kind::Other, packets::end(ahead, sound + first as u64, stride)?)
        }
        Start::Other => (Kind::Other, file_end),
    };
    let end = end.max(sound + 1);
    let missing = end.saturating_sub(file_end);
    Ok(Part { range: start.start..end.min(file_end), missing, kind })
}

/// The end of a WAV, AIFF or AU: where its size says, if something else begins there. Otherwise the size
/// is wrong, as it often is, and it ends where the next one begins.
fn chunks_end(ahead: &mut Ahead, start: u64) -> io::Result<u64> {
    if let Some(size) = declared_size(ahead.bytes(start, 40)?) {
        let end = start.saturating_add(size);
        for end in [end, end.saturating_add(size % 2)] {
            let (next, _) = tags::skip(ahead, end.min(ahead.end()))?;
            let is_something = next < ahead.end()
                && (beginning(ahead, end, next)?.is_some()
                    || kind::is_other(ahead.bytes(next, magic::LONGEST)?));
            if size > 12 && is_something {
                return Ok(end);
            }
        }
    }
    magic::end(ahead, start)
}

/// The length of a file of chunks, or of an AU, by its header.
fn declared_size(head: &[u8]) -> Option<u64> {
    let number = |at: usize| head.get(at..at + 4)?.first_chunk::<4>().copied();
    let (big, little) = (
        |at| number(at).map(|bytes| u64::from(u32::from_be_bytes(bytes))),
        |at| number(at).map(|bytes| u64::from(u32::from_le_bytes(bytes))),
    );
    match head.get(..4)? {
        b"FORM" | b"RIFX" => big(4).map(|size| size + 8),
        b"RIFF" => little(4).map(|size| size + 8),
        b"riff" => head.get(16..24)?.first_chunk().map(|size| u64::from_le_bytes(*size)),
        b".snd" => Some(big(4)? + big(8)?),
        b"dns." => Some(little(4)? + little(8)?),
        _ => None,
    }
}
