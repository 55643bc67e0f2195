//! Bytes that programs put around the sound and that are none: ID3, APE and lyrics, and padding.

use std::io;

use memchr::memmem::Finder;

use super::Ahead;

/// The most ID3 tags in front of a part.
const TAGS_MAX: u32 = 16;
/// The most tags and paddings one after the other.
const ITEMS_MAX: u32 = 64;
/// Length of a tag of ID3's first version, and of one with its extension before it.
const ID3_OLD: u64 = 128;
const ID3_EXTENDED: u64 = 227;
/// Length of the longest lyrics, in bytes.
const LYRICS_MAX: usize = 64 * 1024;

/// The position behind the tags and the padding that begin at `at`, and how long the padding is. A
/// recording may follow.
pub(super) fn skip(ahead: &mut Ahead, mut at: u64) -> io::Result<(u64, u64)> {
    let mut blank = 0;
    for _ in 0..ITEMS_MAX {
        let padding = padding(ahead, at)?;
        blank += padding;
        let length = if padding > 0 { padding } else { tag(ahead, at)? };
        if length == 0 {
            break;
        }
        at = at.saturating_add(length).min(ahead.end());
    }
    // Tags of ID3's second version stand before the sound: they belong to it, where there is some.
    let at = if skip_leading(ahead, at)? >= ahead.end() { ahead.end() } else { at };
    Ok((at, blank))
}

/// The end of what stands before the tags at `end`.
pub(super) fn trim(ahead: &mut Ahead, start: u64, mut end: u64) -> io::Result<u64> {
    for _ in 0..ITEMS_MAX {
        let length = tag_before(ahead, end)?;
        if length == 0 || end.saturating_sub(length) <= start {
            break;
        }
        end -= length;
    }
    Ok(end)
}

/// The length of the tag that ends here, 0 if there is none.
fn tag_before(ahead: &mut Ahead, end: u64) -> io::Result<u64> {
    if let Some(at) = end.checked_sub(ID3_OLD)
        && ahead.bytes(at, 3)? == b"TAG"
    {
        return Ok(ID3_OLD);
    }
    if let Some(at) = end.checked_sub(32)
        && let footer = ahead.bytes(at, 32)?
        && footer.starts_with(b"APETAGEX")
    {
        let word = |at: usize| {
            footer[at..at + 4].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
        };
        let header = if word(20) & (1 << 31) != 0 { 32 } else { 0 };
        return Ok(word(12) + header);
    }
    Ok(0)
}

/// The position behind the ID3 tags in front of the sound.
pub(super) fn skip_leading(ahead: &mut Ahead, mut at: u64) -> io::Result<u64> {
    for _ in 0..TAGS_MAX {
        let &[b'I', b'D', b'3', _, _, flags, a, b, c, d] = ahead.bytes(at, 10)? else { break };
        if (a | b | c | d) & 0x80 != 0 {
            break;
        }
        let length = [a, b, c, d].iter().fold(0, |length, byte| length << 7 | u64::from(*byte));
        let footer = if flags & 0x10 != 0 { 10 } else { 0 };
        at = (at + 10 + length + footer).min(ahead.end());
    }
    Ok(at)
}

/// Zeros, line ends and spaces.
fn padding(ahead: &mut Ahead, at: u64) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let bytes = ahead.bytes(at + length, 4096)?;
        let blank =
            bytes.iter().take_while(|byte| matches!(byte, 0 | b'\r' | b'\n' | b' ')).count();
        length += blank as u64;
        if blank == 0 || blank < bytes.len() {
            return Ok(length);
        }
    }
}

/// The length of the tag here, 0 if there is none.
fn tag(ahead: &mut Ahead, at: u64) -> io::Result<u64> {
    let rest = ahead.end().saturating_sub(at);
    let head = ahead.bytes(at, 32)?;
    if head.starts_with(b"TAG+") && rest >= ID3_EXTENDED {
        return Ok(ID3_EXTENDED);
    }
    if head.starts_with(b"TAG") && rest >= ID3_OLD {
        return Ok(ID3_OLD);
    }
    if head.starts_with(b"APETAGEX") && head.len() == 32 {
        // The size counts the items and the footer. The header, which is there or not, tells which it is.
        let word = |at: usize| {
            u64::from(u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]))
        };
        let is_header = word(20) & (1 << 29) != 0;
        return Ok(if is_header { 32 + word(12) } else { 32 });
    }
    if head.starts_with(b"LYRICSBEGIN") {
        let lyrics = ahead.bytes(at, LYRICS_MAX)?;
        let end = [b"LYRICS200".as_slice(), b"LYRICSEND"]
            .iter()
            .filter_map(|end| Finder::new(end).find(lyrics).map(|at| at + end.len()))
            .min();
        return Ok(end.unwrap_or(0) as u64);
    }
    Ok(0)
}
