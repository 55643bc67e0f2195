//! Headers of MPEG audio frames (layers 1 to 3) and of AAC in ADTS. A sync word alone is found in any
//! file, so a stream is believed only where consistent frames follow one another.

use symphonia::core::audio::{Channels, layouts};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3,
};

/// Bytes that a header needs to be read.
pub(in crate::audio) const HEADER: usize = 7;
/// Frames in a row that prove a stream somewhere in a file.
const PROOF: usize = 3;

/// The two ways of framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audio) enum Framing {
    Mpeg,
    Adts,
}

/// What a frame's header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audio) struct Frame {
    pub(in crate::audio) format: Format,
    /// In bytes, with the header.
    pub(in crate::audio) length: usize,
    /// Of the header that the decoder does not want, in bytes.
    pub(in crate::audio) header: usize,
    pub(in crate::audio) samples: u64,
}

/// What stays the same from one frame to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audio) struct Format {
    pub(in crate::audio) framing: Framing,
    /// 1 to 3 of MPEG audio, 0 of AAC.
    layer: u8,
    /// The version of MPEG audio, or the profile of AAC.
    version: u8,
    rate: u32,
    /// As AAC's channel configuration counts them.
    channels: u8,
}

impl Format {
    pub(in crate::audio) fn rate(&self) -> u32 {
        self.rate
    }

    /// The channel configuration of AAC.
    pub(in crate::audio) fn layout(&self) -> u32 {
        u32::from(self.channels)
    }

    /// What a decoder must be told.
    pub(in crate::audio) fn parameters(&self) -> AudioCodecParameters {
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(match (self.framing, self.layer) {
                (Framing::Adts, _) => CODEC_ID_AAC,
                (Framing::Mpeg, 1) => CODEC_ID_MP1,
                (Framing::Mpeg, 2) => CODEC_ID_MP2,
                (Framing::Mpeg, _) => CODEC_ID_MP3,
            })
            .with_sample_rate(self.rate);
        match self.channels {
            0 => {}
            1 => _ = parameters.with_channels(layouts::CHANNEL_LAYOUT_MONO),
            2 => _ = parameters.with_channels(layouts::CHANNEL_LAYOUT_STEREO),
            7 => _ = parameters.with_channels(Channels::Discrete(8)),
            more => _ = parameters.with_channels(Channels::Discrete(u16::from(more))),
        }
        parameters
    }

    /// Whether frames of both can be of one stream. Between stereo and mono many a stream switches.
    fn agrees(&self, other: &Format) -> bool {
        Format { channels: 0, ..*self } == Format { channels: 0, ..*other }
    }
}

/// The frame that begins here.
pub(in crate::audio) fn frame(bytes: &[u8], framing: Framing) -> Option<Frame> {
    match framing {
        Framing::Mpeg => mpeg_frame(bytes),
        Framing::Adts => adts_frame(bytes),
    }
}

fn mpeg_frame(bytes: &[u8]) -> Option<Frame> {
    const LAYER_1: [[u16; 14]; 2] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    ];
    const LAYER_2: [u16; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const LAYER_3: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const LATER: [u16; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let &[0xff, second, third, fourth, ..] = bytes else { return None };
    if second & 0xe0 != 0xe0 || fourth & 3 == 2 {
        return None;
    }
    // 0 is MPEG 2.5, 2 is MPEG 2 and 3 is MPEG 1.
    let version = second >> 3 & 3;
    let layer = 4 - (second >> 1 & 3);
    if version == 1 || layer == 4 || (version == 0 && layer != 3) {
        return None;
    }
    let (first, rate) = (version == 3, usize::from(third >> 2 & 3));
    let halved = match version {
        3 => 0,
        2 => 1,
        _ => 2,
    };
    let rate = *[44_100_u32, 48_000, 32_000].get(rate)? >> halved;
    let column = usize::from(third >> 4).checked_sub(1)?;
    let kilobits = *match (first, layer) {
        (true, 1) => LAYER_1[0].get(column),
        (false, 1) => LAYER_1[1].get(column),
        (true, 2) => LAYER_2.get(column),
        (true, _) => LAYER_3.get(column),
        (false, _) => LATER.get(column),
    }?;
    let samples: u32 = match layer {
        1 => 384,
        3 if !first => 576,
        _ => 1152,
    };
    // Layer 1 counts in slots of four bytes.
    let slot = if layer == 1 { 4 } else { 1 };
    let padding = u32::from(third >> 1 & 1);
    let slots = samples / 8 * u32::from(kilobits) * 1000 / rate / slot + padding;
    let channels = if fourth >> 6 == 3 { 1 } else { 2 };
    let format = Format { framing: Framing::Mpeg, layer, version, rate, channels };
    let length = (slots * slot) as usize;
    Some(Frame { format, length, header: 0, samples: u64::from(samples) })
}

fn adts_frame(bytes: &[u8]) -> Option<Frame> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    let &[0xff, second, third, fourth, fifth, sixth, seventh, ..] = bytes else { return None };
    if second & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(third >> 2 & 15))?;
    let channels = (third & 1) << 2 | fourth >> 6;
    let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth) >> 5;
    // A checksum follows where the protection is not absent.
    let header = if second & 1 == 0 { 9 } else { 7 };
    // More than one block in a frame is allowed, and no program is known to write it.
    if length <= header || seventh & 3 != 0 {
        return None;
    }
    let format = Format { framing: Framing::Adts, layer: 0, version: third >> 6, rate, channels };
    Some(Frame { format, length, header, samples: 1024 })
}

/// The offset of the first frame, and its framing. `is_whole` tells that the file ends with the bytes.
pub(in crate::audio) fn first_frame(bytes: &[u8], is_whole: bool) -> Option<Framing> {
    [Framing::Mpeg, Framing::Adts].into_iter().find(|framing| {
        let frames = consistent_frames(bytes, *framing);
        // A short file ends with its first frame.
        frames >= 2 || (frames == 1 && is_whole && ends_after(bytes, *framing))
    })
}

/// Where a stream begins in bytes that are something else at first.
pub(in crate::audio) fn search(bytes: &[u8]) -> Option<(usize, Framing)> {
    memchr::memchr_iter(0xff, bytes).find_map(|at| {
        [Framing::Mpeg, Framing::Adts]
            .into_iter()
            .find(|framing| consistent_frames(&bytes[at..], *framing) >= PROOF)
            .map(|framing| (at, framing))
    })
}

/// Frames of one format in a row, as far as it matters.
fn consistent_frames(bytes: &[u8], framing: Framing) -> usize {
    let (mut at, mut frames) = (0, 0);
    let mut format: Option<Format> = None;
    while frames < PROOF
        && let Some(frame) = bytes.get(at..).and_then(|rest| frame(rest, framing))
        && format.is_none_or(|format| format.agrees(&frame.format))
    {
        format = Some(frame.format);
        frames += 1;
        at += frame.length;
    }
    frames
}

fn ends_after(bytes: &[u8], framing: Framing) -> bool {
    frame(bytes, framing)
        .and_then(|frame| bytes.get(frame.length..))
        .is_some_and(|rest| rest.len() < HEADER || rest.starts_with(b"TAG"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_long_as_their_headers_say() {
        let frame =
            |bytes: [u8; 4]| mpeg_frame(&bytes).map(|frame| (frame.length, frame.format.rate));
        assert_eq!(frame([0xff, 0xfb, 0x90, 0x00]), Some((417, 44_100)));
        assert_eq!(frame([0xff, 0xf3, 0x84, 0xc4]), Some((192, 24_000)));
        assert_eq!(frame([0xff, 0xe3, 0x48, 0xc4]), Some((288, 8_000)));
        assert_eq!(frame([0xff, 0xfd, 0xa4, 0x00]), Some((576, 48_000)));
        assert_eq!(frame([0xff, 0xff, 0x90, 0x00]), Some((312, 44_100)));
        assert_eq!(frame([0xff, 0xfb, 0xf0, 0x00]), None);
    }
}
