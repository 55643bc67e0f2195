//! First bytes of a recording that are long enough to be found by search.

use std::io;

use memchr::memmem::Finder;

use super::{Ahead, Start, frames};

/// The bytes that a first look needs.
pub(super) const LONGEST: usize = 64;
/// What is searched at a time, in bytes.
const BLOCK: usize = 64 * 1024;

/// The kind that begins with these bytes.
pub(super) fn at(head: &[u8]) -> Option<Start> {
    match head.get(..12)? {
        [b'R', b'I', b'F', b'F', .., b'W', b'A', b'V', b'E'] => Some(Start::Chunks),
        [b'R', b'F' | b'I', b'6' | b'F', b'4' | b'X', .., b'W', b'A', b'V', b'E'] => {
            Some(Start::Chunks)
        }
        [b'F', b'O', b'R', b'M', .., b'A', b'I', b'F', b'F' | b'C'] => Some(Start::Chunks),
        // A header of at least 24 bytes, a size, and one of 27 encodings.
        [b'.', b's', b'n', b'd', 0, 0, _, _, ..]
            if matches!(head.get(12..16), Some([0, 0, 0, 1..=27])) =>
        {
            Some(Start::Chunks)
        }
        [b'r', b'i', b'f', b'f', 0x2e, 0x91, 0xcf, 0x11, ..] => Some(Start::Chunks),
        [b'f', b'L', b'a', b'C', 0 | 0x80, 0, 0, 34, ..] => Some(Start::Flac),
        // A first page: version 0, and no time yet.
        [b'O', b'g', b'g', b'S', 0, 2, 0, 0, 0, 0, 0, 0] => Some(Start::Ogg),
        [0, 0, high, low, b'f', b't', b'y', b'p', brand @ ..]
            if *high < 2
                && *low % 4 == 0
                && brand.iter().all(|byte| (0x20..0x7f).contains(byte)) =>
        {
            Some(Start::Mp4)
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => {
            let named = |name| Finder::new(name).find(head).is_some();
            (named(b"matroska".as_slice()) || named(b"webm")).then_some(Start::Matroska)
        }
        _ => None,
    }
}

/// The end of a recording that does not tell it: where the next one begins, or the file ends.
pub(super) fn end(ahead: &mut Ahead, start: u64) -> io::Result<u64> {
    let found = named(ahead, start + 12, ahead.end())?;
    Ok(found.map_or(ahead.end(), |(at, _)| at))
}

/// The first recording behind `from`, be it one with a name or frames in a row.
pub(super) fn search(ahead: &mut Ahead, from: u64) -> io::Result<Option<(u64, Start)>> {
    let frames = frames::search(ahead, from)?;
    let until = frames.map_or(ahead.end(), |(at, _)| at);
    let named = named(ahead, from, until)?;
    Ok(named.or(frames.map(|(at, framing)| (at, Start::Frames(framing)))))
}

/// The first recording with a name that begins within these bytes.
fn named(ahead: &mut Ahead, from: u64, until: u64) -> io::Result<Option<(u64, Start)>> {
    // Each with the offset at which it stands.
    let names = [
        (Finder::new(b"WAVE"), 8),
        (Finder::new(b"AIF"), 8),
        (Finder::new(b"riff\x2e\x91\xcf\x11"), 0),
        (Finder::new(b".snd\0\0"), 0),
        (Finder::new(b"fLaC"), 0),
        (Finder::new(b"OggS\0\x02"), 0),
        (Finder::new(b"ftyp"), 4),
        (Finder::new(b"\x1a\x45\xdf\xa3"), 0),
    ];
    let mut block_at = from;
    while block_at < until {
        let block = ahead.bytes(block_at, BLOCK)?;
        let found = names
            .iter()
            .flat_map(|(finder, offset)| finder.find_iter(block).map(move |at| (at, *offset)))
            .filter_map(|(at, offset)| {
                let at = at.checked_sub(offset)?;
                let kind = self::at(&block[at..block.len().min(at + LONGEST)])?;
                (block_at + at as u64 <= until).then_some((at, kind))
            })
            .min_by_key(|(at, _)| *at);
        if let Some((at, kind)) = found {
            return Ok(Some((block_at + at as u64, kind)));
        }
        if block.len() < BLOCK {
            break;
        }
        // What begins in the last bytes is seen whole with the next block.
        block_at += (BLOCK - LONGEST) as u64;
    }
    Ok(None)
}
