//! WAV: RIFF, its big-endian form RIFX, RF64 and BW64 for more than 4 GiB, and Sony's W64.

use std::io::{Read, Seek};
use std::ops::Range;

use super::Sound;
use super::blocks::Order;
use super::chunks::{Chunks, Grammar};
use super::wave_format::{self, WaveSound};
use crate::audio::Error;

/// The name of a W64's first chunk.
const W64: [u8; 16] = *b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";

/// Whether a file that begins so is a WAV, and how it is written.
pub(super) fn grammar(head: &[u8]) -> Option<Grammar> {
    let short = |order| Grammar { order, first: 12, long: false, sound: b"data" };
    match (head.get(..4)?, head.get(8..12)?) {
        (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => Some(short(Order::Little)),
        (b"RIFX", b"WAVE") => Some(short(Order::Big)),
        _ if head.starts_with(&W64) && head.get(24..28)? == b"wave" => {
            Some(Grammar { order: Order::Little, first: 40, long: true, sound: b"data" })
        }
        _ => None,
    }
}

/// Finds the sound, wherever its chunk is and whatever size it declares.
pub(super) fn read(
    source: &mut (impl Read + Seek),
    bytes: u64,
    grammar: Grammar,
) -> Result<Sound, Error> {
    let mut chunks = Chunks::of(source, bytes, grammar);
    let list = chunks.list().map_err(Error::Read)?;
    let Some(format) = list.iter().find(|chunk| &chunk.name == b"fmt ") else {
        return Err(Error::Undecodable("a WAV without a fmt chunk".into()));
    };
    let format = chunks.read(&format.body).map_err(Error::Read)?;
    let format = wave_format::read(&format, grammar.order).map_err(Error::Undecodable)?;
    let sound: Vec<_> = list.iter().filter(|chunk| &chunk.name == grammar.sound).collect();
    if sound.is_empty() {
        return Err(Error::Empty);
    }
    let ranges: Vec<Range<u64>> = sound.iter().map(|chunk| chunk.body.clone()).collect();
    let missing = sound.iter().map(|chunk| chunk.missing).sum();
    match format {
        WaveSound::Blocks(layout) => Ok(Sound::Blocks { layout, ranges, missing }),
        WaveSound::Mpeg => Ok(Sound::Mpeg(ranges.into_iter().next().unwrap_or_default())),
    }
}
