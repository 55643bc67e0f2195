//! The order of bytes in QuickTime's samples of 24 bits and more. The library takes them for little endian;
//! they are big endian, unless a box says otherwise.

use std::io;
use std::ops::Range;

use memchr::memmem;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE,
    CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE,
};
use symphonia::core::formats::Track;

use super::parts::{Ahead, Kind, Part, box_header};
use super::source::Source;

/// Boxes that are looked at.
const ITEMS_MAX: u32 = 10_000;
/// The most of a description of samples that is looked at, in bytes.
const ENTRY_MAX: u64 = 4096;

/// Gives a track of such samples the codec that it has.
pub(super) fn correct(source: &Source, part: &Part, track: &mut Track) -> io::Result<()> {
    let (Kind::Mp4 { .. }, Some(CodecParameters::Audio(parameters))) =
        (part.kind, &mut track.codec_params)
    else {
        return Ok(());
    };
    if let Some(turned) = turned(parameters.codec) {
        let mut walk = Walk { ahead: Ahead::new(source), id: 0, big: Vec::new() };
        walk.boxes(part.range.clone())?;
        if walk.big.contains(&track.id) {
            parameters.codec = turned;
        }
    }
    Ok(())
}

fn turned(codec: AudioCodecId) -> Option<AudioCodecId> {
    Some(match codec {
        CODEC_ID_PCM_S24LE => CODEC_ID_PCM_S24BE,
        CODEC_ID_PCM_S32LE => CODEC_ID_PCM_S32BE,
        CODEC_ID_PCM_F32LE => CODEC_ID_PCM_F32BE,
        CODEC_ID_PCM_F64LE => CODEC_ID_PCM_F64BE,
        _ => return None,
    })
}

struct Walk<'a> {
    ahead: Ahead<'a>,
    /// The track whose boxes these are.
    id: u32,
    /// The tracks with big-endian samples.
    big: Vec<u32>,
}

impl Walk<'_> {
    fn boxes(&mut self, within: Range<u64>) -> io::Result<()> {
        let mut at = within.start;
        for _ in 0..ITEMS_MAX {
            if at >= within.end {
                break;
            }
            let Some((name, size)) = box_header(&mut self.ahead, at)? else { break };
            let (body, end) = (at + 8, at.saturating_add(size).min(within.end));
            match &name {
                b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" => self.boxes(body..end)?,
                b"tkhd" => {
                    let times = if self.ahead.number::<1>(body)? == Some(1) { 16 } else { 8 };
                    let id = self.ahead.number::<4>(body + 4 + times)?;
                    self.id = id.and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
                }
                b"stsd" if self.is_big(body..end)? => self.big.push(self.id),
                _ => {}
            }
            at = end;
        }
        Ok(())
    }

    /// Whether the first description of samples is of such a kind, and none says that it is little endian.
    fn is_big(&mut self, within: Range<u64>) -> io::Result<bool> {
        let length = within.end.saturating_sub(within.start).min(ENTRY_MAX) as usize;
        let entries = self.ahead.bytes(within.start, length)?;
        let is_named = matches!(entries.get(12..16), Some(b"in24" | b"in32" | b"fl32" | b"fl64"));
        Ok(is_named && memmem::find(entries, b"enda\0\x01").is_none())
    }
}
