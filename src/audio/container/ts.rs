//! MPEG transport streams (broadcasts, HLS segments, camcorders): packets of 188 bytes, in some files
//! with 4 bytes before or 16 behind each. Their audio is cut into frames here.

use std::collections::VecDeque;
use std::io::Read;
use std::num::NonZero;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::{Result, SeekErrorKind, seek_error};
use symphonia::core::formats::{
    FORMAT_ID_NULL, FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::mpeg::{Format, Framing};
use super::psi::{Kind, Tables};
use super::stream::{self, ElementaryStream};
use crate::audio::Error;
use crate::audio::source::View;

pub(in crate::audio) const SYNC: u8 = 0x47;
/// Of a packet, without what some files put around it.
pub(in crate::audio) const PACKET: usize = 188;
/// Distances from one packet to the next.
const STRIDES: [usize; 3] = [188, 192, 204];
/// Packets in a row that prove a transport stream.
const PROOF: usize = 5;
/// The most that is read before every audio stream has shown a frame, in bytes. Tables come at least
/// twice a second.
const PRELUDE: usize = 8 * 1024 * 1024;
/// The most audio streams.
const STREAMS_MAX: usize = 64;
/// The most frames of sound that wait for other streams' formats.
const ITEMS_MAX: usize = 16 * 1024;
/// Read at a time, in bytes.
const BLOCK: usize = 64 * 1024;

const TIME_BASE: TimeBase = match NonZero::new(stream::TICKS as u32) {
    Some(ticks) => TimeBase::new(NonZero::<u32>::MIN, ticks),
    None => panic!("invariant: it is not 0"),
};

static INFO: FormatInfo =
    FormatInfo { format: FORMAT_ID_NULL, short_name: "mpegts", long_name: "MPEG transport stream" };

/// The distance between packets, and the first one's offset, if these bytes are a transport stream.
pub(super) fn find(bytes: &[u8]) -> Option<(usize, usize)> {
    memchr::memchr_iter(SYNC, bytes).find_map(|at| {
        let is_in_step =
            |stride: usize| (1..PROOF).all(|packet| bytes.get(at + packet * stride) == Some(&SYNC));
        STRIDES.into_iter().find(|stride| is_in_step(*stride)).map(|stride| (stride, at))
    })
}

/// The distance between packets, and the first one's offset, if a transport stream begins exactly here.
pub(in crate::audio) fn begins(bytes: &[u8]) -> Option<(usize, usize)> {
    [(188, 0), (192, 4), (192, 0), (204, 0)].into_iter().find(|(stride, at)| {
        (0..PROOF).all(|packet| bytes.get(at + packet * stride) == Some(&SYNC))
    })
}

/// A packet's stream, its payload, and whether something begins with it. `None` if it has none.
pub(in crate::audio) fn payload(packet: &[u8]) -> Option<(u16, &[u8], bool)> {
    let &[SYNC, second, third, fourth, ..] = packet else { return None };
    // Damaged, and encrypted.
    if second & 0x80 != 0 || fourth & 0xc0 != 0 {
        return None;
    }
    let payload = match fourth >> 4 & 3 {
        1 => &packet[4..],
        3 => packet.get(5 + usize::from(*packet.get(4)?)..).unwrap_or_default(),
        _ => return None,
    };
    Some((u16::from(second & 0x1f) << 8 | u16::from(third), payload, second & 0x40 != 0))
}

/// Something to hand out, in the order of the file.
pub(super) enum Item {
    Packet(Packet),
    /// The format of a stream's first frame. A decoder sees by later frames that it changes.
    Format {
        track: u32,
        format: Format,
    },
}

/// A demultiplexer whose tracks are the audio streams.
pub(super) struct TsReader {
    packets: Packets,
    tables: Tables,
    streams: Vec<ElementaryStream>,
    tracks: Vec<Track>,
    media: MediaInfo,
    metadata: MetadataLog,
    items: VecDeque<Item>,
    scrambled: u64,
    has_ended: bool,
}

impl TsReader {
    /// Reads until the tables and each stream's format are known. The source is at its first packet.
    pub(super) fn open(source: View, stride: usize) -> std::result::Result<TsReader, Error> {
        let mut reader = TsReader {
            packets: Packets { source, stride, buffer: Vec::new(), at: 0, read: 0 },
            tables: Tables::default(),
            streams: Vec::new(),
            tracks: Vec::new(),
            media: MediaInfo::new(),
            metadata: MetadataLog::default(),
            items: VecDeque::new(),
            scrambled: 0,
            has_ended: false,
        };
        let is_known = |reader: &TsReader| {
            !reader.streams.is_empty() && reader.streams.iter().all(ElementaryStream::is_known)
        };
        while !is_known(&reader)
            && !reader.has_ended
            && reader.packets.read < PRELUDE
            && reader.items.len() < ITEMS_MAX
        {
            reader.step().map_err(Error::Read)?;
        }
        reader.make_tracks();
        if reader.tracks.is_empty() {
            return Err(reader.complaint());
        }
        Ok(reader)
    }

    /// The formats that came up so far become the tracks.
    fn make_tracks(&mut self) {
        let mut items = VecDeque::new();
        for item in self.items.drain(..) {
            match item {
                Item::Format { track, format }
                    if !self.tracks.iter().any(|known| known.id == track) =>
                {
                    let mut new = Track::new(track);
                    new.with_codec_params(CodecParameters::Audio(format.parameters()));
                    new.with_time_base(TIME_BASE);
                    self.tracks.push(new);
                }
                item => items.push_back(item),
            }
        }
        self.items = items;
    }

    /// Why no track was found.
    fn complaint(&self) -> Error {
        if let Some(name) = self.tables.refused() {
            return Error::Undecodable(super::refusal(&format!(
                "an MPEG transport stream with {name}"
            )));
        }
        if self.scrambled > 0 {
            return Error::Undecodable("an MPEG transport stream that is encrypted".into());
        }
        if self.tables.is_complete() && self.streams.is_empty() {
            return Error::NoAudio;
        }
        Error::Undecodable("an MPEG transport stream without a frame of sound".into())
    }

    /// Takes in one packet.
    fn step(&mut self) -> std::io::Result<()> {
        let Some(packet) = self.packets.next()? else {
            self.has_ended = true;
            self.streams.iter_mut().for_each(|stream| stream.finish(&mut self.items));
            return Ok(());
        };
        if packet[1] & 0x80 == 0 && packet[3] & 0x10 != 0 && packet[3] & 0xc0 != 0 {
            self.scrambled += 1;
        }
        let Some((pid, payload, is_start)) = payload(&packet) else { return Ok(()) };
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.pid == pid) {
            stream.push(payload, is_start, &mut self.items);
        } else if self.tables.push(pid, payload, is_start) {
            for (pid, kind) in self.tables.streams() {
                let framing = match kind {
                    Kind::Mpeg => Framing::Mpeg,
                    Kind::Adts => Framing::Adts,
                    Kind::Private | Kind::Other | Kind::Refused(_) => continue,
                };
                let is_new = self.streams.iter().all(|stream| stream.pid != pid);
                if is_new && self.streams.len() < STREAMS_MAX {
                    self.streams.push(ElementaryStream::new(pid, Some(framing)));
                }
            }
        } else if is_start
            && self.streams.len() < STREAMS_MAX
            && stream::is_audio(payload)
            && !self.tables.knows(pid)
        {
            // A recording that was cut can lack the tables.
            let mut stream = ElementaryStream::new(pid, None);
            stream.push(payload, is_start, &mut self.items);
            self.streams.push(stream);
        }
        Ok(())
    }
}

impl FormatReader for TsReader {
    fn format_info(&self) -> &FormatInfo {
        &INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    fn seek(&mut self, _mode: SeekMode, _to: SeekTo) -> Result<SeekedTo> {
        seek_error(SeekErrorKind::Unseekable)
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        loop {
            match self.items.pop_front() {
                Some(Item::Packet(packet)) => return Ok(Some(packet)),
                // A stream that begins late is no track.
                Some(Item::Format { .. }) => {}
                None if self.has_ended => return Ok(None),
                None => self.step()?,
            }
        }
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        MediaSourceStream::new(Box::new(self.packets.source), Default::default())
    }
}

/// Packets of a source, found again where it was cut.
struct Packets {
    source: View,
    stride: usize,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes read.
    read: usize,
}

impl Packets {
    fn next(&mut self) -> std::io::Result<Option<[u8; PACKET]>> {
        loop {
            self.fill()?;
            let rest = &self.buffer[self.at..];
            let Some(packet) = rest.first_chunk::<PACKET>() else { return Ok(None) };
            let is_in_step = rest.get(self.stride).is_none_or(|byte| *byte == SYNC);
            if packet[0] == SYNC && is_in_step {
                let packet = *packet;
                self.at += self.stride.min(rest.len());
                return Ok(Some(packet));
            }
            let next = memchr::memchr(SYNC, &rest[1..]);
            self.at += next.map_or(rest.len(), |distance| distance + 1);
        }
    }

    /// Makes the buffer hold this packet and the next one's first byte, unless the source ends.
    fn fill(&mut self) -> std::io::Result<()> {
        if self.buffer.len() - self.at > self.stride {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        while self.buffer.len() <= self.stride {
            let read = (&mut self.source).take(BLOCK as u64).read_to_end(&mut self.buffer)?;
            self.read += read;
            if read == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// A packet of a track, with its place in time.
pub(super) fn packet(track: u32, at: u64, duration: u64, data: &[u8]) -> Packet {
    let at = Timestamp::new(i64::try_from(at).unwrap_or(i64::MAX));
    Packet::new(track, at, Duration::from(duration), data)
}
