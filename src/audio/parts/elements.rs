//! The end of a Matroska or WebM file: where its segment's size says. One that was recorded live has
//! none, and ends where the next file begins.

use std::io;
use std::ops::Range;

use super::{Ahead, magic};

const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
/// Elements of a segment: seek head, info, tracks, cluster, cues, tags, chapters, attachments, void, CRC.
const CHILDREN: [u64; 10] = [
    0x114d_9b74,
    0x1549_a966,
    0x1654_ae6b,
    CLUSTER,
    0x1c53_bb6b,
    0x1254_c367,
    0x1043_a770,
    0x1941_a469,
    0xec,
    0xbf,
];
/// The elements that are looked at.
const ELEMENTS_MAX: u32 = 1_000_000;

/// The end, which is beyond that of the file where it was cut off, and whether it was recorded live.
pub(super) fn end(ahead: &mut Ahead, start: u64) -> io::Result<(u64, bool)> {
    let mut at = start;
    // The file's header, perhaps something empty, and the segment.
    for _ in 0..4 {
        let Some(header) = Header::at(ahead, at)? else { break };
        match (header.id, header.size) {
            (SEGMENT, Some(size)) => return Ok((header.body.saturating_add(size), false)),
            (SEGMENT, None) => return Ok((live_end(ahead, header.body)?, true)),
            (_, None) => break,
            (_, Some(size)) => at = header.body.saturating_add(size),
        }
    }
    Ok((magic::end(ahead, at)?, true))
}

/// The end of a segment that has no size: where its elements end, if they have one.
fn live_end(ahead: &mut Ahead, start: u64) -> io::Result<u64> {
    let mut at = start;
    for _ in 0..ELEMENTS_MAX {
        if at >= ahead.end() {
            break;
        }
        match Header::at(ahead, at)? {
            Some(Header { id, body, size: Some(size) }) if CHILDREN.contains(&id) => {
                at = body.saturating_add(size);
            }
            Some(Header { id: CLUSTER, body, size: None }) => return magic::end(ahead, body),
            Some(_) | None => return Ok(at),
        }
    }
    Ok(ahead.end())
}

/// Bytes of the clusters, which hold the sound. Those of unknown size reach to the end.
pub(in crate::audio) fn cluster_bytes(ahead: &mut Ahead, within: Range<u64>) -> io::Result<u64> {
    let (mut at, mut bytes) = (within.start, 0);
    for _ in 0..ELEMENTS_MAX {
        if at >= within.end {
            break;
        }
        let Some(header) = Header::at(ahead, at)? else { break };
        match (header.id, header.size) {
            (SEGMENT, _) => at = header.body,
            (CLUSTER, None) => return Ok(bytes + (within.end - header.body)),
            (id, Some(size)) => {
                let end = header.body.saturating_add(size).min(within.end);
                bytes += if id == CLUSTER { end - header.body.min(end) } else { 0 };
                at = end;
            }
            (_, None) => break,
        }
    }
    Ok(bytes)
}

/// An element's name, where its body begins, and its size unless it is unknown.
#[derive(Clone, Copy, Debug)]
pub(in crate::audio) struct Header {
    pub(in crate::audio) id: u64,
    pub(in crate::audio) body: u64,
    pub(in crate::audio) size: Option<u64>,
}

impl Header {
    pub(in crate::audio) fn at(ahead: &mut Ahead, at: u64) -> io::Result<Option<Header>> {
        let head = ahead.bytes(at, 12)?;
        let header = || {
            let (id_bytes, id) = variable(head, 4)?;
            let (size_bytes, size) = variable(&head[id_bytes..], 8)?;
            // The first bit that is set tells the length. It is part of a name, and none of a size.
            let ones = (1_u64 << (7 * size_bytes)) - 1;
            let size = Some(size & ones).filter(|size| *size != ones);
            Some(Header { id, body: at + (id_bytes + size_bytes) as u64, size })
        };
        Ok(header())
    }
}

/// A number whose first byte tells its length, and that length.
fn variable(bytes: &[u8], longest: usize) -> Option<(usize, u64)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let bytes = bytes.get(..length).filter(|_| length <= longest)?;
    Some((length, bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
}
