//! The end of an MP4: where a box is no box, or the next file's first one.

use std::io;

use super::{Ahead, magic};

/// The boxes of a file. More are only in one that was made to take long.
const BOXES_MAX: u32 = 1_000_000;

/// Names of boxes that may be cut off by the end of the file.
const CUT: [&[u8; 4]; 10] =
    [b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"sidx", b"styp", b"uuid", b"mfra"];

/// How an MP4 ends.
pub(super) struct End {
    /// Beyond the end of the file where it was cut off.
    pub(super) at: u64,
    /// It has no table of all its sound.
    pub(super) is_fragmented: bool,
}

pub(super) fn end(ahead: &mut Ahead, start: u64) -> io::Result<End> {
    let mut end = End { at: start, is_fragmented: false };
    let mut has_content = false;
    for _ in 0..BOXES_MAX {
        if end.at >= ahead.end() {
            return Ok(end);
        }
        let Some((name, size)) = header(ahead, end.at)? else { return Ok(end) };
        if end.at > start
            && magic::at(ahead.bytes(end.at, magic::LONGEST)?).is_some()
            // Another MP4 begins with this box, and so may this one behind some padding.
            && (&name != b"ftyp" || has_content)
        {
            return Ok(end);
        }
        has_content |= matches!(&name, b"moov" | b"mdat" | b"moof");
        end.is_fragmented |= &name == b"moof";
        let next = end.at.saturating_add(size);
        if next > ahead.end() && !CUT.contains(&&name) {
            return Ok(end);
        }
        end.at = next;
    }
    Ok(End { at: ahead.end(), ..end })
}

/// The name and size of the box here, with its header. A size of 0 reaches to the end.
pub(in crate::audio) fn header(ahead: &mut Ahead, at: u64) -> io::Result<Option<([u8; 4], u64)>> {
    let head = ahead.bytes(at, 8)?;
    let (Some(size), Some(name)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) else {
        return Ok(None);
    };
    let (size, name) = (u64::from(u32::from_be_bytes(*size)), *name);
    let is_name =
        head.len() == 8 && name.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == 0xa9);
    let size = match size {
        _ if !is_name => return Ok(None),
        0 => ahead.end() - at,
        1 => match ahead.number::<8>(at + 8)? {
            Some(size) if size >= 16 => size,
            _ => return Ok(None),
        },
        size if size >= 8 => size,
        _ => return Ok(None),
    };
    Ok(Some((name, size)))
}
