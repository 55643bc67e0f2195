//! The end of a transport stream: where its packets end and something else begins, or where its tables
//! name other sound, because another one was joined to it.

use std::io;

use super::{Ahead, later};
use crate::audio::container::psi::Tables;
use crate::audio::container::ts::{self, PACKET, SYNC};

/// The most places in a file that are searched for the next packet.
const TEARS_MAX: u32 = 4096;
/// How far the next packet is searched, in bytes.
const SEARCHED: usize = 64 * 1024;
/// The bytes that prove packets in a row, whatever their distance.
const PROVING: usize = 1024;

pub(super) fn end(ahead: &mut Ahead, start: u64, stride: usize) -> io::Result<u64> {
    let mut tables = Tables::default();
    let (mut at, mut programs_at, mut tears) = (start, start, 0);
    while at < ahead.end() {
        let packet = ahead.bytes(at, PACKET)?;
        if packet.first() == Some(&SYNC) {
            if let Some((pid, payload, is_start)) = ts::payload(packet) {
                if pid == 0 && is_start {
                    programs_at = at;
                }
                tables.push(pid, payload, is_start);
                if tables.have_changed() {
                    return Ok(if programs_at > start { programs_at } else { at });
                }
            }
            at += stride as u64;
            continue;
        }
        // Packets of 192 bytes have four before the first one's start.
        for before in [0, 4] {
            let here = at.saturating_sub(before).max(start);
            if here > start && later(ahead, here)?.is_some() {
                return Ok(here);
            }
        }
        tears += 1;
        let Some(next) = search(ahead, at + 1, stride)?.filter(|_| tears < TEARS_MAX) else {
            return Ok(at.min(ahead.end()));
        };
        at = next;
    }
    Ok(ahead.end())
}

/// The next packets in a row.
fn search(ahead: &mut Ahead, from: u64, stride: usize) -> io::Result<Option<u64>> {
    let bytes = ahead.bytes(from, SEARCHED)?;
    let is_last = from + bytes.len() as u64 == ahead.end();
    let bytes = ahead.bytes(from, SEARCHED)?;
    let room = if is_last { bytes.len() } else { bytes.len().saturating_sub(PROVING) };
    let found = memchr::memchr_iter(SYNC, &bytes[..room]).find(|at| {
        bytes[*at..].iter().step_by(stride).take(5).all(|byte| *byte == SYNC)
            && bytes.len() - at >= PACKET
    });
    Ok(found.map(|at| from + at as u64))
}
