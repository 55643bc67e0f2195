//! The end of an Ogg stream: behind its last page, or where a page begins another stream.

use std::collections::HashMap;
use std::io;

use memchr::memmem::Finder;
use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor;

use super::{Ahead, magic};

/// A page's header, up to the lengths of its segments.
const HEADER: usize = 27;
/// Flag of a stream's first page.
const FIRST: u8 = 2;
/// Flag of its last page.
const LAST: u8 = 4;
/// The most streams of which the page numbers are remembered.
const STREAMS_MAX: usize = 1000;
/// How far the next page is searched behind a broken one, in bytes: the longest page.
const SEARCHED: usize = 65_307;
/// The most searches in a file: each may be followed by the checksum of a page of 64 KiB.
const TEARS_MAX: usize = 4096;

/// How a stream ends.
pub(super) struct End {
    pub(super) at: u64,
    /// A page there says that it is the last.
    pub(super) is_ended: bool,
    /// Pages are broken or missing on the way.
    pub(super) is_torn: bool,
    /// Bytes of those that are broken.
    pub(super) broken: u64,
}

pub(super) fn end(ahead: &mut Ahead, start: u64) -> io::Result<End> {
    let mut end = End { at: start, is_ended: false, is_torn: false, broken: 0 };
    let mut last = start;
    let mut has_content = false;
    let mut tears = 0;
    // The number of the page that each stream has next.
    let mut numbers: HashMap<u32, u32> = HashMap::new();
    while end.at < ahead.end() {
        let Some(page) = page(ahead, end.at)? else {
            if end.is_ended || magic::at(ahead.bytes(end.at, magic::LONGEST)?).is_some() {
                return Ok(end);
            }
            // The length of the page before may be what is broken.
            let found = search(ahead, last + 4)?.filter(|found| *found < end.at);
            let Some(found) =
                found.map_or_else(|| search(ahead, end.at + 1), |found| Ok(Some(found)))?
            else {
                return Ok(end);
            };
            (end.at, end.is_torn, last) = (found, true, found);
            tears += 1;
            if tears > TEARS_MAX {
                break;
            }
            continue;
        };
        let is_first = page.flags & FIRST != 0;
        if is_first && has_content {
            return Ok(end);
        }
        has_content |= !is_first;
        end.is_ended = page.flags & LAST != 0;
        let next = numbers.insert(page.stream, page.number.wrapping_add(1));
        end.broken += if page.is_intact { 0 } else { page.length };
        end.is_torn |= !page.is_intact || next.is_some_and(|next| next != page.number);
        // A file with ever new streams is none.
        if numbers.len() > STREAMS_MAX {
            numbers.clear();
        }
        last = end.at;
        end.at += page.length;
    }
    end.at = ahead.end();
    Ok(end)
}

struct Page {
    flags: u8,
    stream: u32,
    number: u32,
    length: u64,
    is_intact: bool,
}

/// The page that begins here.
fn page(ahead: &mut Ahead, at: u64) -> io::Result<Option<Page>> {
    let head = ahead.bytes(at, HEADER + 255)?;
    if !head.starts_with(b"OggS\0") || head.len() < HEADER {
        return Ok(None);
    }
    let segments = usize::from(head[HEADER - 1]);
    let body: usize = head[HEADER..].iter().take(segments).map(|length| usize::from(*length)).sum();
    let length = HEADER + segments + body;
    let page = ahead.bytes(at, length)?;
    let word = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
    // The checksum counts as zero in itself. A page that the file's end cuts off is not torn.
    let mut sum = Crc32::new(0);
    sum.process_buf_bytes(&page[..22]);
    sum.process_buf_bytes(&[0; 4]);
    sum.process_buf_bytes(&page[26..]);
    let is_intact = page.len() < length || sum.crc() == word(22);
    Ok(Some(Page {
        flags: page[5],
        stream: word(14),
        number: word(18),
        length: length as u64,
        is_intact,
    }))
}

fn search(ahead: &mut Ahead, from: u64) -> io::Result<Option<u64>> {
    let found = Finder::new(b"OggS\0").find(ahead.bytes(from, SEARCHED)?);
    Ok(found.map(|at| from + at as u64))
}
