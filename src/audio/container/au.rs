//! Sun's and NeXT's AU.

use symphonia::core::codecs::audio::well_known::{CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW};

use super::Sound;
use super::blocks::{self, Layout, Order};
use super::bytes::Bytes;
use crate::audio::Error;

/// Sizes from here on say that the program did not know the size.
const UNKNOWN: u32 = 0x7fff_0000;

/// Whether a file that begins so is an AU, and the order of its numbers.
pub(super) fn order(head: &[u8]) -> Option<Order> {
    match head.get(..4)? {
        b".snd" => Some(Order::Big),
        b"dns." => Some(Order::Little),
        _ => None,
    }
}

/// Finds the sound: from the header's end to the file's, unless a smaller size is declared.
pub(super) fn read(head: &[u8], bytes: u64, order: Order) -> Result<Sound, Error> {
    header(head, bytes, order).ok_or_else(|| {
        Error::Undecodable("its AU header is cut off, or has no rate or channels".into())
    })?
}

fn header(head: &[u8], bytes: u64, order: Order) -> Option<Result<Sound, Error>> {
    let mut fields = Bytes::new(head.get(4..)?, order);
    let (start, size, encoding) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (rate, channels) = (fields.u32()?, u16::try_from(fields.u32()?).ok()?);
    if channels == 0 || rate == 0 {
        return None;
    }
    let (codec, width) = match encoding {
        1 => (Some(CODEC_ID_PCM_MULAW), 1),
        2..=5 => (blocks::signed(encoding as u16 - 1, order), encoding as u16 - 1),
        6 => (blocks::float(4, order), 4),
        7 => (blocks::float(8, order), 8),
        27 => (Some(CODEC_ID_PCM_ALAW), 1),
        _ => (None, 0),
    };
    let Some(codec) = codec else {
        let name = match encoding {
            23 => "an AU with G.721".to_owned(),
            24 => "an AU with G.722".to_owned(),
            25 | 26 => "an AU with G.723".to_owned(),
            other => format!("an AU with encoding {other}"),
        };
        return Some(Err(Error::Undecodable(super::refusal(&name))));
    };
    let start = u64::from(start).clamp(24, bytes.max(24));
    let rest = bytes.saturating_sub(start);
    let is_known = size != 0 && size < UNKNOWN;
    let missing = if is_known { u64::from(size).saturating_sub(rest) } else { 0 };
    // The length of the file is a size that forgot the header.
    let missing = if missing > start { missing } else { 0 };
    let layout = Layout::of_pcm(codec, width, rate, channels);
    let ranges = std::iter::once(start..start + rest).collect();
    Some(Ok(Sound::Blocks { layout, ranges, missing }))
}
