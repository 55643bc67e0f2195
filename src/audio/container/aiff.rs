//! AIFF and AIFF-C.

use std::io::{Read, Seek};

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ADPCM_IMA_QT, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_U8,
};

use super::Sound;
use super::blocks::{self, Layout, Order};
use super::bytes::Bytes;
use super::chunks::{Chunks, Grammar};
use crate::audio::Error;

/// Whether a file that begins so is an AIFF, and how it is written.
pub(super) fn grammar(head: &[u8]) -> Option<Grammar> {
    let is_aiff = head.get(..4)? == b"FORM" && matches!(head.get(8..12)?, b"AIFF" | b"AIFC");
    is_aiff.then_some(Grammar { order: Order::Big, first: 12, long: false, sound: b"SSND" })
}

/// Finds the sound, whatever sizes and counts the file declares.
pub(super) fn read(
    source: &mut (impl Read + Seek),
    bytes: u64,
    grammar: Grammar,
) -> Result<Sound, Error> {
    let mut chunks = Chunks::of(source, bytes, grammar);
    let list = chunks.list().map_err(Error::Read)?;
    let find = |name: &[u8; 4]| list.iter().find(|chunk| &chunk.name == name);
    let Some(common) = find(b"COMM") else {
        return Err(Error::Undecodable("an AIFF without a COMM chunk".into()));
    };
    let Some(sound) = find(grammar.sound) else { return Err(Error::Empty) };
    let common = chunks.read(&common.body).map_err(Error::Read)?;
    let layout = layout(&common).map_err(Error::Undecodable)?;
    let head = chunks.read(&(sound.body.start..(sound.body.start + 8).min(sound.body.end)));
    let head = head.map_err(Error::Read)?;
    let offset = Bytes::new(&head, Order::Big).u32().unwrap_or(0);
    let start = (sound.body.start + 8).saturating_add(u64::from(offset)).min(sound.body.end);
    let ranges = std::iter::once(start..sound.body.end).collect();
    Ok(Sound::Blocks { layout, ranges, missing: sound.missing })
}

/// Reads the body of a `COMM` chunk. The number of frames in it is not believed.
fn layout(common: &[u8]) -> Result<Layout, String> {
    let mut fields = Bytes::new(common, Order::Big);
    let cut = || "its COMM chunk is cut off".to_owned();
    let channels = fields.u16().ok_or_else(cut)?;
    let _frames = fields.u32().ok_or_else(cut)?;
    let bits = fields.u16().ok_or_else(cut)?;
    let rate = whole_number(fields.array().ok_or_else(cut)?).ok_or("it has no sample rate")?;
    if channels == 0 {
        return Err("an AIFF with 0 channels".into());
    }
    let bytes = bits.div_ceil(8);
    let codec = match &fields.array::<4>().unwrap_or(*b"NONE") {
        b"NONE" | b"twos" => blocks::signed(bytes, Order::Big),
        b"sowt" => blocks::signed(bytes, Order::Little),
        b"in24" => return pcm(blocks::signed(3, Order::Big), 3, rate, channels),
        b"in32" => return pcm(blocks::signed(4, Order::Big), 4, rate, channels),
        b"23ni" => return pcm(blocks::signed(4, Order::Little), 4, rate, channels),
        b"42ni" => return pcm(blocks::signed(3, Order::Little), 3, rate, channels),
        b"fl32" | b"FL32" => return pcm(blocks::float(4, Order::Big), 4, rate, channels),
        b"fl64" | b"FL64" => return pcm(blocks::float(8, Order::Big), 8, rate, channels),
        b"raw " => return pcm(Some(CODEC_ID_PCM_U8), 1, rate, channels),
        b"alaw" | b"ALAW" => return pcm(Some(CODEC_ID_PCM_ALAW), 1, rate, channels),
        b"ulaw" | b"ULAW" => return pcm(Some(CODEC_ID_PCM_MULAW), 1, rate, channels),
        // 64 samples in 34 bytes, one channel after the other.
        b"ima4" if channels <= 2 => {
            let block_bytes = 34 * u64::from(channels);
            let codec = CODEC_ID_ADPCM_IMA_QT;
            return Ok(Layout { codec, rate, channels, block_bytes, block_frames: 64 });
        }
        other => {
            let name = String::from_utf8_lossy(other).into_owned();
            return Err(super::refusal(&format!("an AIFF-C with codec {name:?}")));
        }
    };
    pcm(codec, bytes, rate, channels).map_err(|_| format!("samples of {bits} bits"))
}

fn pcm(
    codec: Option<symphonia::core::codecs::audio::AudioCodecId>,
    bytes: u16,
    rate: u32,
    channels: u16,
) -> Result<Layout, String> {
    let codec = codec.ok_or_else(|| format!("samples of {bytes} bytes"))?;
    Ok(Layout::of_pcm(codec, bytes, rate, channels))
}

/// An 80-bit floating-point number, whose value is a sample rate.
fn whole_number(extended: [u8; 10]) -> Option<u32> {
    let [high, low, mantissa @ ..] = extended;
    let exponent = i32::from(u16::from_be_bytes([high & 0x7f, low])) - 16_383;
    let shift = u32::try_from(63 - exponent).ok().filter(|shift| *shift < 64)?;
    u32::try_from(u64::from_be_bytes(mantissa) >> shift).ok()
}
