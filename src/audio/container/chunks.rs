//! Files of chunks (RIFF, RF64, W64, AIFF), whose sizes are wrong as often as they are right: recorders
//! that were killed leave 0, pipes leave 0xFFFFFFFF, others forget the header or wrap at 4 GiB. The
//! file's own length and what follows a chunk decide.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use memchr::memmem;

use super::blocks::Order;
use super::bytes::Bytes;

/// The most chunks that are looked at.
const CHUNKS_MAX: usize = 4096;
/// The most of a chunk that is read into memory, in bytes.
const BODY_MAX: u64 = 64 * 1024;
/// The start of a file in which the sound is searched where the chunks before it are broken, in bytes.
const SEARCHED: u64 = 1024 * 1024;
/// Sizes from here on say that the program did not know the size: 0x7FFFFFFF, 0xFFFFFFFF and near them.
const UNKNOWN: u64 = 0x7fff_0000;
/// The same of sizes of 64 bits: more than any disk has.
const LONG_UNKNOWN: u64 = 1 << 60;

/// How a kind of file writes its chunks.
#[derive(Clone, Copy)]
pub(in crate::audio) struct Grammar {
    pub(super) order: Order,
    /// The first chunk's position, in bytes.
    pub(super) first: u64,
    /// Names of 16 bytes and sizes of 8, which count the header, and chunks that begin at multiples of 8.
    pub(super) long: bool,
    /// The name of the chunk with the sound.
    pub(super) sound: &'static [u8; 4],
}

impl Grammar {
    fn header(self) -> u64 {
        if self.long { 24 } else { 8 }
    }

    fn aligned(self, position: u64) -> u64 {
        position.next_multiple_of(if self.long { 8 } else { 2 })
    }
}

/// A chunk's name, and its body as far as the file has it.
pub(super) struct Chunk {
    pub(super) name: [u8; 4],
    pub(super) body: Range<u64>,
    /// Bytes that the chunk declares beyond the end of the file, where the declaration is credible.
    pub(super) missing: u64,
}

/// The chunks of a file.
pub(super) struct Chunks<'a, S> {
    source: &'a mut S,
    grammar: Grammar,
    bytes: u64,
    /// The size of the sound where its chunk says 0xFFFFFFFF (RF64).
    long_size: Option<u64>,
    /// The size of the whole file (RF64).
    long_file: Option<u64>,
}

impl<'a, S: Read + Seek> Chunks<'a, S> {
    pub(super) fn of(source: &'a mut S, bytes: u64, grammar: Grammar) -> Chunks<'a, S> {
        Chunks { source, grammar, bytes, long_size: None, long_file: None }
    }

    /// All chunks, in the order of the file.
    pub(super) fn list(&mut self) -> io::Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        let mut at = self.grammar.first;
        while chunks.len() < CHUNKS_MAX
            && let Some((name, declared)) = self.header_at(at)?
        {
            let chunk = self.chunk(name, at + self.grammar.header(), declared)?;
            let end = chunk.body.end;
            if &name == b"ds64" {
                self.read_long_sizes(&chunk.body)?;
            }
            chunks.push(chunk);
            at = self.next_after(end)?;
        }
        if !chunks.iter().any(|chunk| &chunk.name == self.grammar.sound) {
            chunks.extend(self.search_sound()?);
        }
        Ok(chunks)
    }

    /// A chunk's body in memory.
    pub(super) fn read(&mut self, body: &Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.source.seek(SeekFrom::Start(body.start))?;
        let length = (body.end - body.start).min(BODY_MAX);
        self.source.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn chunk(&mut self, name: [u8; 4], start: u64, declared: u64) -> io::Result<Chunk> {
        let start = start.min(self.bytes);
        if &name != self.grammar.sound {
            let end = start.saturating_add(declared).min(self.bytes);
            return Ok(Chunk { name, body: start..end, missing: 0 });
        }
        let declared = match self.long_size {
            Some(long) if declared == u64::from(u32::MAX) => long,
            _ => declared,
        };
        let end = start.saturating_add(declared);
        if end <= self.bytes && self.chunks_follow(end)? {
            return Ok(Chunk { name, body: start..end, missing: 0 });
        }
        let missing = end.saturating_sub(self.bytes);
        // Programs that declare the length of the file forgot the header before the sound.
        let is_known = declared < UNKNOWN || self.long_size.is_some_and(|size| size < LONG_UNKNOWN);
        let is_credible = is_known && missing > start && self.is_longer()?;
        let missing = if is_credible { missing } else { 0 };
        Ok(Chunk { name, body: start..self.bytes, missing })
    }

    /// Whether the size of the whole says, too, that the file was longer.
    fn is_longer(&mut self) -> io::Result<bool> {
        if let Some(long) = self.long_file {
            return Ok(long > self.bytes);
        }
        let head = self.read(&(0..24.min(self.bytes)))?;
        let mut fields = Bytes::new(head.get(4..).unwrap_or_default(), self.grammar.order);
        let declared = if self.grammar.long {
            fields.take(12).and_then(|_| fields.u64())
        } else {
            fields.u32().map(|size| u64::from(size) + 8)
        };
        Ok(declared.is_some_and(|declared| declared > self.bytes))
    }

    /// Whether what is behind a chunk with sound is a chunk again, or nothing. Otherwise it is sound, and
    /// the size too small.
    fn chunks_follow(&mut self, end: u64) -> io::Result<bool> {
        let mut at = self.next_after(end)?;
        for _ in 0..CHUNKS_MAX {
            if self.bytes.saturating_sub(at) < self.grammar.header() {
                return Ok(true);
            }
            let Some((name, declared)) = self.header_at(at)? else {
                return self.tag_follows(at);
            };
            let start = at + self.grammar.header();
            let next = start.saturating_add(declared);
            if next > self.bytes {
                return Ok(is_common(&name));
            }
            at = self.next_after(next)?;
        }
        Ok(false)
    }

    /// Tags of MP3 are put behind other files, too.
    fn tag_follows(&mut self, at: u64) -> io::Result<bool> {
        let body = self.read(&(at..(at + 4).min(self.bytes)))?;
        Ok(body.starts_with(b"ID3") || (body.starts_with(b"TAG") && self.bytes - at == 128))
    }

    /// Where the next chunk begins. Some programs leave out the pad byte behind an odd size.
    fn next_after(&mut self, end: u64) -> io::Result<u64> {
        let aligned = self.grammar.aligned(end);
        if aligned != end
            && self.header_at(aligned)?.is_none()
            && self.header_at(end)?.is_some_and(|(name, _)| is_common(&name))
        {
            return Ok(end);
        }
        Ok(aligned)
    }

    /// The name and the size of the body, if a chunk can begin here.
    fn header_at(&mut self, at: u64) -> io::Result<Option<([u8; 4], u64)>> {
        let header = self.grammar.header();
        if at.checked_add(header).is_none_or(|end| end > self.bytes) {
            return Ok(None);
        }
        let bytes = self.read(&(at..at + header))?;
        let mut fields = Bytes::new(&bytes, self.grammar.order);
        let Some(name) = fields.array::<4>() else { return Ok(None) };
        if !name.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Ok(None);
        }
        if self.grammar.long {
            let size = fields.take(12).and_then(|_| fields.u64());
            return Ok(size.map(|size| (name, size.saturating_sub(header))));
        }
        Ok(fields.u32().map(|size| (name, u64::from(size))))
    }

    fn read_long_sizes(&mut self, body: &Range<u64>) -> io::Result<()> {
        let bytes = self.read(body)?;
        let mut fields = Bytes::new(&bytes, self.grammar.order);
        self.long_file = fields.u64().map(|size| size.saturating_add(8));
        self.long_size = fields.u64();
        Ok(())
    }

    /// The sound by its name alone: a chunk before it had a wrong size.
    fn search_sound(&mut self) -> io::Result<Option<Chunk>> {
        let mut bytes = Vec::new();
        self.source.seek(SeekFrom::Start(self.grammar.first))?;
        self.source.take(SEARCHED).read_to_end(&mut bytes)?;
        let Some(found) = memmem::find(&bytes, self.grammar.sound) else { return Ok(None) };
        let at = self.grammar.first + found as u64;
        match self.header_at(at)? {
            Some((name, declared)) => {
                self.chunk(name, at + self.grammar.header(), declared).map(Some)
            }
            None => Ok(None),
        }
    }
}

/// Names of chunks that programs write behind the sound.
fn is_common(name: &[u8; 4]) -> bool {
    const COMMON: [&[u8; 4]; 31] = [
        b"LIST", b"INFO", b"id3 ", b"ID3 ", b"bext", b"iXML", b"JUNK", b"junk", b"PAD ", b"FLLR",
        b"fact", b"cue ", b"smpl", b"inst", b"PEAK", b"fmt ", b"data", b"RIFF", b"levl", b"axml",
        b"chna", b"_PMX", b"afsp", b"MARK", b"COMT", b"INST", b"APPL", b"NAME", b"AUTH", b"ANNO",
        b"APET",
    ];
    COMMON.contains(&name)
}
