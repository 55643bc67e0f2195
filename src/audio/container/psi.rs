//! The tables of a transport stream: which programs there are, and which streams they have.

use std::collections::BTreeMap;

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor;

/// The longest section, in bytes.
const SECTION_MAX: usize = 4096;
/// The most tables that are followed.
const TABLES_MAX: usize = 256;

/// The codec of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mpeg,
    Adts,
    /// Sound that is not taken, by its name.
    Refused(&'static str),
    /// Something that only its bytes tell.
    Private,
    /// No sound.
    Other,
}

/// The tables, as far as they have come.
#[derive(Default)]
pub(in crate::audio) struct Tables {
    has_programs: bool,
    /// The tables that are to come, and what has come of each.
    sections: BTreeMap<u16, Vec<u8>>,
    streams: BTreeMap<u16, Kind>,
    /// What each section said of the programs and their sound when it first came.
    first: BTreeMap<Section, Vec<u8>>,
    has_changed: bool,
}

/// The packets' number, the table's kind, the program's number and the section's.
type Section = (u16, u8, [u8; 2], u8);

impl Tables {
    /// Takes in a packet's payload. True if streams came up.
    pub(in crate::audio) fn push(&mut self, pid: u16, payload: &[u8], is_start: bool) -> bool {
        if pid != 0 && !self.sections.contains_key(&pid) {
            return false;
        }
        let section = self.sections.entry(pid).or_default();
        if is_start {
            let Some((pointer, rest)) = payload.split_first() else { return false };
            section.clear();
            section.extend_from_slice(rest.get(usize::from(*pointer)..).unwrap_or_default());
        } else if !section.is_empty() && section.len() < SECTION_MAX {
            section.extend_from_slice(payload);
        }
        let Some(&[id, high, low]) = section.first_chunk() else { return false };
        let length = 3 + usize::from(u16::from_be_bytes([high & 0x0f, low]));
        if section.len() < length {
            return false;
        }
        let section = std::mem::take(section);
        self.compare(pid, &section[..length]);
        // A checksum of four bytes ends it.
        let body = section.get(8..length.saturating_sub(4)).unwrap_or_default();
        match (pid, id) {
            (0, 0) => self.add_programs(body),
            (_, 2) => return self.add_streams(body),
            _ => {}
        }
        false
    }

    /// Whether the programs or their sound are others than at first: another recording was joined to it.
    pub(in crate::audio) fn have_changed(&self) -> bool {
        self.has_changed
    }

    /// Compares a section with what it said first. A damaged one says nothing.
    fn compare(&mut self, pid: u16, section: &[u8]) {
        let mut sum = Crc32::new(u32::MAX);
        sum.process_buf_bytes(section);
        let Some(&[id @ (0 | 2), _, _, high, low, _, number, _]) = section.first_chunk() else {
            return;
        };
        if sum.crc() != 0 || (id == 0) != (pid == 0) {
            return;
        }
        let body = section.get(8..section.len().saturating_sub(4)).unwrap_or_default();
        let says = match id {
            0 => body.to_vec(),
            _ => sound(body),
        };
        // The number of a table of programs is that of the stream, which no one cares for.
        let program = if id == 0 { [0; 2] } else { [high, low] };
        let key = (pid, id, program, number);
        match self.first.get(&key) {
            Some(first) => self.has_changed |= *first != says,
            None if self.first.len() < TABLES_MAX => {
                self.first.insert(key, says);
            }
            None => {}
        }
    }

    /// Every stream that was named.
    pub(super) fn streams(&self) -> impl Iterator<Item = (u16, Kind)> + '_ {
        self.streams.iter().map(|(pid, kind)| (*pid, *kind))
    }

    /// Whether a table tells what the stream is.
    pub(super) fn knows(&self, pid: u16) -> bool {
        self.streams.get(&pid).is_some_and(|kind| *kind != Kind::Private)
    }

    /// The first sound that is not taken.
    pub(super) fn refused(&self) -> Option<&'static str> {
        self.streams.values().find_map(|kind| match kind {
            Kind::Refused(name) => Some(*name),
            Kind::Mpeg | Kind::Adts | Kind::Private | Kind::Other => None,
        })
    }

    /// Whether a program has told its streams.
    pub(super) fn is_complete(&self) -> bool {
        self.has_programs && !self.streams.is_empty()
    }

    fn add_programs(&mut self, body: &[u8]) {
        self.has_programs = true;
        for program in body.chunks_exact(4) {
            let number = u16::from_be_bytes([program[0], program[1]]);
            let pid = u16::from_be_bytes([program[2] & 0x1f, program[3]]);
            // Number 0 names the network's table.
            if number != 0 && self.sections.len() < TABLES_MAX {
                self.sections.entry(pid).or_default();
            }
        }
    }

    fn add_streams(&mut self, body: &[u8]) -> bool {
        if body.len() < 4 {
            return false;
        }
        for (pid, kind) in entries(body) {
            if self.streams.len() < TABLES_MAX {
                self.streams.insert(pid, kind);
            }
        }
        true
    }
}

/// The streams that a program's table names.
fn entries(body: &[u8]) -> impl Iterator<Item = (u16, Kind)> + '_ {
    let length = |high: u8, low: u8| usize::from(u16::from_be_bytes([high & 0x0f, low]));
    let skipped = body.first_chunk().map_or(body.len(), |&[_, _, high, low]| 4 + length(high, low));
    let mut rest = body.get(skipped..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&[kind, pid_high, pid_low, high, low], after) = rest.split_first_chunk()?;
        let (descriptors, after) = after.split_at(length(high, low).min(after.len()));
        rest = after;
        Some((u16::from_be_bytes([pid_high & 0x1f, pid_low]), kind_of(kind, descriptors)))
    })
}

/// The sound of a program: each stream's number, and its codec as far as it is taken.
fn sound(body: &[u8]) -> Vec<u8> {
    let mut sound = Vec::new();
    for (pid, kind) in entries(body) {
        let codec = match kind {
            Kind::Mpeg => 1,
            Kind::Adts => 2,
            Kind::Refused(_) => 3,
            Kind::Private | Kind::Other => continue,
        };
        sound.extend(pid.to_be_bytes());
        sound.push(codec);
    }
    sound
}

fn kind_of(stream_type: u8, descriptors: &[u8]) -> Kind {
    match stream_type {
        0x03 | 0x04 => Kind::Mpeg,
        0x0f => Kind::Adts,
        0x11 => Kind::Refused("AAC in LATM"),
        0x80 | 0x83 if is_registered(descriptors, b"HDMV") => {
            Kind::Refused("LPCM or TrueHD of a Blu-ray disc")
        }
        0x81 => Kind::Refused("Dolby AC-3"),
        0x84 | 0x87 => Kind::Refused("Dolby E-AC-3"),
        0x82 | 0x85 | 0x86 | 0x8a => Kind::Refused("DTS"),
        0x06 | 0x80.. => private(descriptors),
        _ => Kind::Other,
    }
}

/// The codec of private data, by its descriptors.
fn private(descriptors: &[u8]) -> Kind {
    if is_registered(descriptors, b"Opus") {
        return Kind::Refused("Opus in a transport stream");
    }
    each(descriptors)
        .find_map(|(tag, _)| match tag {
            0x6a => Some(Kind::Refused("Dolby AC-3")),
            0x7a => Some(Kind::Refused("Dolby E-AC-3")),
            0x7b => Some(Kind::Refused("DTS")),
            0x7c => Some(Kind::Refused("AAC in LATM")),
            _ => None,
        })
        .unwrap_or(Kind::Private)
}

fn is_registered(descriptors: &[u8], name: &[u8; 4]) -> bool {
    each(descriptors).any(|(tag, body)| tag == 5 && body.starts_with(name))
}

/// The descriptors' tags and bodies.
fn each(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[tag, length], after) = rest.split_first_chunk()?;
        let (body, after) = after.split_at_checked(usize::from(length))?;
        rest = after;
        Some((tag, body))
    })
}
