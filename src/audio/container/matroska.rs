//! Matroska whose frames are compressed, which the library's reader does not see: mkvmerge strips
//! frames of a start that all of them have, and older versions deflate them.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use symphonia::core::errors::Result;
use symphonia::core::formats::{
    FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::Metadata;
use symphonia::core::packet::Packet;

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const ENCODINGS: u32 = 0x6d80;
const ENCODING: u32 = 0x6240;
const ENCODING_SCOPE: u32 = 0x5032;
const ENCRYPTION: u32 = 0x5035;
const COMPRESSION: u32 = 0x5034;
const ALGORITHM: u32 = 0x4254;
const SETTINGS: u32 = 0x4255;

/// The most elements before the tracks.
const ELEMENTS_MAX: usize = 1000;
/// The longest list of tracks, in bytes.
const TRACKS_MAX: u64 = 1024 * 1024;
/// The longest frame, inflated, in bytes.
const FRAME_MAX: usize = 4 * 1024 * 1024;

/// How the frames of a track are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Zlib,
    /// Every frame begins with these bytes, which are left out.
    Stripped(Vec<u8>),
    /// Something that is not taken: its name.
    Refused(&'static str),
}

/// The compression of each track that has one, by the track's number.
pub(super) fn compressions(
    source: &mut (impl Read + Seek),
) -> io::Result<BTreeMap<u32, Compression>> {
    let mut compressions = BTreeMap::new();
    if let Some(tracks) = read_tracks(source)? {
        for track in children(&tracks).filter(|element| element.id == TRACK) {
            let find = |id| children(track.body).find(|element| element.id == id);
            let number = find(TRACK_NUMBER).and_then(|number| u32::try_from(number.value()).ok());
            if let (Some(number), Some(encodings)) = (number, find(ENCODINGS))
                && let Some(compression) = compression(encodings.body)
            {
                compressions.insert(number, compression);
            }
        }
    }
    source.seek(SeekFrom::Start(0))?;
    Ok(compressions)
}

/// The compression that a track's encodings make together.
fn compression(encodings: &[u8]) -> Option<Compression> {
    let mut found = None;
    for encoding in children(encodings).filter(|element| element.id == ENCODING) {
        let find = |id| children(encoding.body).find(|element| element.id == id);
        if find(ENCRYPTION).is_some() {
            return Some(Compression::Refused("encrypted Matroska"));
        }
        // The first bit is for frames, the second for the codec's own header.
        if find(ENCODING_SCOPE).map_or(1, |scope| scope.value()) & 1 == 0 {
            continue;
        }
        let settings = find(COMPRESSION).map_or(&[][..], |compression| compression.body);
        let inner = |id| children(settings).find(|element| element.id == id);
        let next = match inner(ALGORITHM).map_or(0, |algorithm| algorithm.value()) {
            0 => Compression::Zlib,
            3 => Compression::Stripped(inner(SETTINGS).map_or(&[][..], |bytes| bytes.body).into()),
            _ => Compression::Refused("Matroska compressed with bzlib or LZO"),
        };
        found = match found {
            None => Some(next),
            Some(_) => Some(Compression::Refused("Matroska compressed twice")),
        };
    }
    found
}

/// The bytes of the list of tracks, which comes before the first frame.
fn read_tracks(source: &mut (impl Read + Seek)) -> io::Result<Option<Vec<u8>>> {
    let mut at = 0;
    for _ in 0..ELEMENTS_MAX {
        source.seek(SeekFrom::Start(at))?;
        let mut header = Vec::new();
        source.take(12).read_to_end(&mut header)?;
        let Some((id, size, length)) = element_header(&header) else { return Ok(None) };
        at += length as u64;
        match (id, size) {
            (SEGMENT, _) => {}
            (TRACKS, Some(size)) if size <= TRACKS_MAX => {
                let mut tracks = Vec::new();
                source.seek(SeekFrom::Start(at))?;
                source.take(size).read_to_end(&mut tracks)?;
                return Ok(Some(tracks));
            }
            (CLUSTER | TRACKS, _) | (_, None) => return Ok(None),
            (_, Some(size)) => at = at.saturating_add(size),
        }
    }
    Ok(None)
}

struct Element<'a> {
    id: u32,
    body: &'a [u8],
}

impl Element<'_> {
    /// The body as a whole number.
    fn value(&self) -> u64 {
        self.body.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

/// The elements in a body, as far as they are whole.
fn children(mut rest: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::from_fn(move || {
        let (id, size, length) = element_header(rest)?;
        let body = rest.get(length..)?;
        let (body, after) = body.split_at_checked(usize::try_from(size?).ok()?)?;
        rest = after;
        Some(Element { id, body })
    })
}

/// An element's id, its size if that is known, and the length of both, in bytes.
fn element_header(bytes: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let id_length = bytes.first()?.leading_zeros() as usize + 1;
    let id = bytes.get(..id_length.min(5)).filter(|id| id.len() <= 4)?;
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let bytes = &bytes[id_length..];
    let size_length = bytes.first()?.leading_zeros() as usize + 1;
    let size = bytes.get(..size_length).filter(|size| size.len() <= 8)?;
    let size = size.iter().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    // The length's own bit is no part of the size; all other bits set mean that it is unknown.
    let most = (1_u64 << (7 * size_length)) - 1;
    let size = size & most;
    Some((id, (size != most).then_some(size), id_length + size_length))
}

/// A reader whose frames are as they were before they were compressed.
pub(super) struct Inflating<R> {
    pub(super) reader: R,
    pub(super) compressions: BTreeMap<u32, Compression>,
}

impl<R: FormatReader> FormatReader for Inflating<R> {
    fn format_info(&self) -> &FormatInfo {
        self.reader.format_info()
    }

    fn media_info(&self) -> &MediaInfo {
        self.reader.media_info()
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.reader.metadata()
    }

    fn seek(&mut self, mode: SeekMode, to: SeekTo) -> Result<SeekedTo> {
        self.reader.seek(mode, to)
    }

    fn tracks(&self) -> &[Track] {
        self.reader.tracks()
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        let Some(mut packet) = self.reader.next_packet()? else { return Ok(None) };
        let frame = match self.compressions.get(&packet.track_id) {
            Some(Compression::Zlib) => {
                decompress_to_vec_zlib_with_limit(&packet.data, FRAME_MAX).ok()
            }
            Some(Compression::Stripped(start)) => Some([start, &*packet.data].concat()),
            Some(Compression::Refused(_)) | None => None,
        };
        // A frame that cannot be inflated cannot be decoded either, and counts as broken.
        if let Some(frame) = frame {
            packet.data = frame.into();
        }
        Ok(Some(packet))
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        Box::new(self.reader).into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
        [id, &[0x40 | (body.len() >> 8) as u8, body.len() as u8], body].concat()
    }

    #[test]
    fn the_compression_of_each_track_is_read() {
        let scope = |scope| element(b"\x50\x32", &[scope]);
        let algorithm = |algorithm| element(b"\x42\x54", &[algorithm]);
        let stripped = [algorithm(3), element(b"\x42\x55", b"\x0b\x77")].concat();
        let track = |number, encoding: &[u8]| {
            let encodings = element(b"\x6d\x80", &element(b"\x62\x40", encoding));
            element(b"\xae", &[element(b"\xd7", &[number]), encodings].concat())
        };
        let zlib = element(b"\x50\x34", &[]);
        let tracks = [
            track(1, &zlib),
            track(2, &element(b"\x50\x34", &stripped)),
            track(3, &[scope(2), zlib.clone()].concat()),
            track(4, &element(b"\x50\x34", &algorithm(1))),
            track(5, &element(b"\x50\x35", &[])),
        ]
        .concat();
        let segment = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
        let file =
            [segment, &element(b"\xec", &[0; 9])[..], &element(b"\x16\x54\xae\x6b", &tracks)];
        let found = compressions(&mut io::Cursor::new(file.concat())).unwrap();
        assert_eq!(found[&1], Compression::Zlib);
        assert_eq!(found[&2], Compression::Stripped(b"\x0b\x77".to_vec()));
        assert!(!found.contains_key(&3));
        assert!(matches!(found[&4], Compression::Refused(_)));
        assert!(matches!(found[&5], Compression::Refused(_)));
    }
}
