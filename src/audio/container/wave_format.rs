//! The `fmt ` chunk of WAV and its kin: which codec, and how large a block.

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW,
    CODEC_ID_PCM_U8,
};

use super::blocks::{self, Layout, Order};
use super::bytes::Bytes;

const PCM: u16 = 1;
const MS_ADPCM: u16 = 2;
const FLOAT: u16 = 3;
const ALAW: u16 = 6;
const MULAW: u16 = 7;
const IMA_ADPCM: u16 = 0x11;
const MPEG: u16 = 0x50;
const MP3: u16 = 0x55;
const EXTENSIBLE: u16 = 0xfffe;

/// Tags of codecs that are not taken, by their names.
const REFUSED: [(u16, &str); 26] = [
    (0x10, "Oki ADPCM"),
    (0x14, "G.723 ADPCM"),
    (0x22, "TrueSpeech"),
    (0x31, "GSM 6.10"),
    (0x38, "AMR-WB"),
    (0x40, "G.721"),
    (0x41, "G.728"),
    (0x42, "G.723.1"),
    (0x45, "G.726"),
    (0x57, "AMR-NB"),
    (0x58, "AMR-WB"),
    (0x59, "G.726"),
    (0x64, "G.726"),
    (0x65, "G.722"),
    (0x83, "G.729"),
    (0x92, "Dolby AC-3 over S/PDIF"),
    (0xff, "AAC in WAV"),
    (0x130, "ACELP"),
    (0x160, "Windows Media Audio"),
    (0x161, "Windows Media Audio"),
    (0x162, "Windows Media Audio Pro"),
    (0x163, "Windows Media Audio Lossless"),
    (0x2000, "Dolby AC-3"),
    (0x2001, "DTS"),
    (0x674f, "Vorbis in WAV"),
    (0xa109, "Speex in WAV"),
];

/// How the sound of a WAV is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WaveSound {
    Blocks(Layout),
    /// Frames of MPEG audio, layer 1 to 3.
    Mpeg,
}

/// Reads the body of a `fmt ` chunk.
pub(super) fn read(chunk: &[u8], order: Order) -> Result<WaveSound, String> {
    let mut fields = Bytes::new(chunk, order);
    let cut = || "its fmt chunk is cut off".to_owned();
    let mut tag = fields.u16().ok_or_else(cut)?;
    let channels = fields.u16().ok_or_else(cut)?;
    let rate = fields.u32().ok_or_else(cut)?;
    let byte_rate = fields.u32().ok_or_else(cut)?;
    let block = fields.u16().ok_or_else(cut)?;
    // The oldest form of the chunk ends before this.
    let bits = fields.u16().unwrap_or(0);
    if tag == EXTENSIBLE {
        let (_length, _valid_bits, _mask) = (fields.u16(), fields.u16(), fields.u32());
        // The other 14 bytes of the GUID are the same for every codec with a tag.
        tag = fields.u16().unwrap_or(PCM);
    }
    if channels == 0 {
        return Err("a WAV with 0 channels".into());
    }
    let linear = |kind: fn(u16, Order) -> Option<_>| {
        let bytes = sample_bytes(bits, block, channels, byte_rate, rate);
        kind(bytes, order)
            .map(|codec| Layout::of_pcm(codec, bytes, rate, channels))
            .ok_or_else(|| format!("samples of {bits} bits"))
    };
    let adpcm = |codec, frames| adpcm(codec, frames, block, rate, channels);
    let layout = match tag {
        PCM if sample_bytes(bits, block, channels, byte_rate, rate) == 1 => {
            Layout::of_pcm(CODEC_ID_PCM_U8, 1, rate, channels)
        }
        PCM => linear(blocks::signed)?,
        FLOAT => linear(blocks::float)?,
        ALAW => Layout::of_pcm(CODEC_ID_PCM_ALAW, 1, rate, channels),
        MULAW => Layout::of_pcm(CODEC_ID_PCM_MULAW, 1, rate, channels),
        // A header of 7 bytes a channel holds the first two frames, and 4 bits a sample follow.
        MS_ADPCM => adpcm(CODEC_ID_ADPCM_MS, |bytes| Some((bytes.checked_sub(7)?) * 2 + 2))?,
        // A header of 4 bytes a channel holds the first frame.
        IMA_ADPCM if bits == 4 || bits == 0 => {
            adpcm(CODEC_ID_ADPCM_IMA_WAV, |bytes| Some((bytes.checked_sub(4)?) * 2 + 1))?
        }
        MPEG | MP3 => return Ok(WaveSound::Mpeg),
        other => {
            let known = REFUSED.iter().find(|(tag, _)| *tag == other);
            return Err(match known {
                Some((_, name)) => super::refusal(name),
                None => super::refusal(&format!("a WAV with codec 0x{other:04x}")),
            });
        }
    };
    Ok(WaveSound::Blocks(layout))
}

/// The bytes of one sample. Three fields tell it, and programs get one of them wrong: the bytes of a
/// frame are believed against the bits where the bytes of a second agree with them.
fn sample_bytes(bits: u16, block: u16, channels: u16, byte_rate: u32, rate: u32) -> u16 {
    let from_bits = bits.div_ceil(8);
    if block == 0 || !block.is_multiple_of(channels) {
        return from_bits;
    }
    let from_block = block / channels;
    let agrees = u64::from(byte_rate) == u64::from(rate) * u64::from(block);
    if from_bits == 0 || (agrees && from_block >= from_bits) { from_block } else { from_bits }
}

/// The layout of ADPCM, where `frames` tells the frames in so many bytes of one channel.
fn adpcm(
    codec: symphonia::core::codecs::audio::AudioCodecId,
    frames: fn(u64) -> Option<u64>,
    block: u16,
    rate: u32,
    channels: u16,
) -> Result<Layout, String> {
    if channels > 2 {
        return Err(format!("ADPCM with {channels} channels; at most 2 are taken"));
    }
    let block_bytes = u64::from(block);
    let block_frames = frames(block_bytes / u64::from(channels))
        .ok_or_else(|| format!("ADPCM in blocks of {block} bytes"))?;
    Ok(Layout { codec, rate, channels, block_bytes, block_frames })
}
