//! Frames of MPEG audio and of AAC with nothing around them. A run of them ends where the format changes
//! (a decoder must be told), at a damaged place, and at the header of another encoder's file.

use std::io;

use super::{Ahead, tags};
use crate::audio::container::mpeg::{self, Format, Frame, Framing, HEADER};

/// What is searched at a time, in bytes: several of the longest frames.
const BLOCK: usize = 64 * 1024;
/// Where a frame holds the name of an encoder's header (Xing, Info or VBRI), in bytes from its start.
const INFO_AT: [usize; 6] = [13, 15, 21, 23, 36, 38];

/// The bytes of a frame that hold such a header's numbers.
const INFO: usize = 64;

/// What a run tells of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::audio) struct Told {
    format: Option<Format>,
    /// Playing time of the file that this run begins, as its encoder's header declares it, in seconds.
    pub(in crate::audio) declared: Option<f64>,
    /// Playing time of a byte, in seconds.
    pub(in crate::audio) byte: f64,
}

impl Told {
    /// Whether `self` goes on where `before` was interrupted by damage.
    pub(in crate::audio) fn continues(&self, before: &Told) -> bool {
        self.format == before.format && self.declared.is_none()
    }
}

/// The run that begins here, and its end.
pub(super) fn run(ahead: &mut Ahead, start: u64, framing: Framing) -> io::Result<(Told, u64)> {
    let mut told = Told { format: None, declared: None, byte: 0.0 };
    let (mut at, mut seconds) = (start, 0.0);
    while let Some(frame) = frame_at(ahead, at, framing)?
        && told.format.is_none_or(|format| format == frame.format)
    {
        let frame_seconds = frame.samples as f64 / f64::from(frame.format.rate().max(1));
        let head = ahead.bytes(at, INFO)?;
        match info(head, frame_seconds) {
            Some(_) if told.format.is_some() => break,
            Some(declared) => told.declared = declared,
            None => seconds += frame_seconds,
        }
        told.format = Some(frame.format);
        at += frame.length as u64;
        if at >= ahead.end() {
            at = ahead.end();
            break;
        }
    }
    told.byte = seconds / (at - start).max(1) as f64;
    Ok((told, at))
}

fn frame_at(ahead: &mut Ahead, at: u64, framing: Framing) -> io::Result<Option<Frame>> {
    Ok(mpeg::frame(ahead.bytes(at, HEADER)?, framing))
}

/// Whether this frame is an encoder's header, and the playing time that it declares.
fn info(head: &[u8], frame_seconds: f64) -> Option<Option<f64>> {
    let word = |at: usize| {
        let word = head.get(at..at + 4).and_then(|word| word.try_into().ok());
        word.map(u32::from_be_bytes)
    };
    INFO_AT.into_iter().find_map(|at| {
        let frames = match head.get(at..at + 4)? {
            b"Xing" | b"Info" => {
                word(at + 8).filter(|_| word(at + 4).is_some_and(|flags| flags & 1 == 1))
            }
            b"VBRI" => word(at + 14),
            _ => return None,
        };
        Some(frames.map(|frames| f64::from(frames) * frame_seconds))
    })
}

/// The first place from which frames of one format follow each other.
pub(super) fn search(ahead: &mut Ahead, from: u64) -> io::Result<Option<(u64, Framing)>> {
    let mut block_at = from;
    while block_at < ahead.end() {
        let block = ahead.bytes(block_at, BLOCK)?;
        let length = block.len() as u64;
        if let Some((at, framing)) = mpeg::search(block) {
            return Ok(Some((block_at + at as u64, framing)));
        }
        if block.len() < BLOCK {
            break;
        }
        // A run that begins in the second half is seen whole with the next block.
        block_at += length / 2;
    }
    Ok(None)
}

/// The first place from which frames follow each other up to `until`: what is behind a FLAC file.
pub(super) fn search_to(ahead: &mut Ahead, from: u64, until: u64) -> io::Result<Option<u64>> {
    let mut from = from;
    while let Some((at, framing)) = search(ahead, from)?.filter(|(at, _)| *at < until) {
        let (_, end) = run(ahead, at, framing)?;
        let end = tags::skip(ahead, end)?.0;
        if end >= until {
            return Ok(Some(at));
        }
        from = at + 1;
    }
    Ok(None)
}
