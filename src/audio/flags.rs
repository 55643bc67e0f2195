//! The default tracks of MP4 and Matroska. The library's demuxers read the flags, and do not hand them on
//! (MP4), or not where they are left out because they are set (Matroska).

use std::io;
use std::ops::Range;

use super::parts::{Ahead, ElementHeader, Kind, Part, box_header};
use super::source::Source;

/// Boxes or elements that are looked at.
const ITEMS_MAX: u32 = 10_000;

const SEGMENT: u64 = 0x1853_8067;
const TRACKS: u64 = 0x1654_ae6b;
const CLUSTER: u64 = 0x1f43_b675;
const TRACK: u64 = 0xae;
const NUMBER: u64 = 0xd7;
const IS_DEFAULT: u64 = 0x88;

/// The ids of the tracks that the container marks as default; `None` where it marks none.
pub(super) fn defaults(source: &Source, part: &Part) -> io::Result<Option<Vec<u32>>> {
    let mut found = Vec::new();
    let mut ahead = Ahead::new(source);
    match part.kind {
        Kind::Mp4 { .. } => boxes(&mut ahead, part.range.clone(), &mut found)?,
        Kind::Matroska { .. } => elements(&mut ahead, part.range.clone(), &mut found)?,
        Kind::Ogg { .. } | Kind::Flac | Kind::Chunks | Kind::Frames(_) | Kind::Other => {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn boxes(ahead: &mut Ahead, within: Range<u64>, found: &mut Vec<u32>) -> io::Result<()> {
    let mut at = within.start;
    for _ in 0..ITEMS_MAX {
        if at >= within.end {
            break;
        }
        let Some((name, size)) = box_header(ahead, at)? else { break };
        let end = at.saturating_add(size).min(within.end);
        match &name {
            b"moov" | b"trak" => boxes(ahead, at + 8..end, found)?,
            b"tkhd" => found.extend(enabled(ahead, at + 8)?),
            _ => {}
        }
        at = end;
    }
    Ok(())
}

/// The id of a track whose header begins here, if the track is enabled.
fn enabled(ahead: &mut Ahead, at: u64) -> io::Result<Option<u32>> {
    let Some(version_and_flags) = ahead.number::<4>(at)? else { return Ok(None) };
    let times = if version_and_flags >> 24 == 1 { 16 } else { 8 };
    let id = ahead.number::<4>(at + 4 + times)?;
    Ok(id.filter(|_| version_and_flags & 1 == 1).and_then(|id| u32::try_from(id).ok()))
}

fn elements(ahead: &mut Ahead, within: Range<u64>, found: &mut Vec<u32>) -> io::Result<()> {
    let mut at = within.start;
    for _ in 0..ITEMS_MAX {
        if at >= within.end {
            break;
        }
        let Some(header) = ElementHeader::at(ahead, at)? else { break };
        let end = header.size.map_or(within.end, |size| header.body.saturating_add(size));
        match header.id {
            SEGMENT | TRACKS => at = header.body,
            TRACK => {
                found.extend(track(ahead, header.body..end.min(within.end))?);
                at = end;
            }
            CLUSTER => break,
            _ => at = end,
        }
    }
    Ok(())
}

/// The number of the track with these elements, if it is a default one, as it is unless they say no.
fn track(ahead: &mut Ahead, within: Range<u64>) -> io::Result<Option<u32>> {
    let (mut number, mut is_default) = (None, true);
    let mut at = within.start;
    for _ in 0..ITEMS_MAX {
        if at >= within.end {
            break;
        }
        let Some(ElementHeader { id, body, size: Some(size) }) = ElementHeader::at(ahead, at)?
        else {
            break;
        };
        let bytes = ahead.bytes(body, size.min(8) as usize)?;
        let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        match id {
            NUMBER => number = u32::try_from(value).ok(),
            IS_DEFAULT => is_default = size == 0 || value != 0,
            _ => {}
        }
        at = body.saturating_add(size);
    }
    Ok(number.filter(|_| is_default))
}
