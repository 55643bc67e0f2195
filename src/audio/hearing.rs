//! Which of several tracks somebody speaks on. Editors and recorders leave silent ones, and players show
//! them as the first, or even as the default.

use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::formats::FormatReader;
use symphonia::core::packet::Packet;

use super::format::{self, surviving};
use super::parts::Part;
use super::source::{ASIDE_MAX, Source};

/// Length of the pieces in which loudness is measured, in parts of a second.
const PIECES: u32 = 10;
/// Loud pieces without which a track is silent: a click is no speech.
const LOUD_PIECES: u32 = 3;
/// Mean square of a loud piece: -60 dB.
const LOUD: f64 = 1e-6;
/// A track that is so much weaker than another (by mean square, -40 dB) hears no more than its room.
const MUCH_WEAKER: f64 = 1e-4;
/// How far is listened once one track speaks, in seconds. Until one does there is no end to it.
const PATIENCE: f64 = 600.0;
/// Packets in a row that may hold nothing.
const FRUITLESS_MAX: u32 = 250_000;

/// One track that is listened to.
pub(super) struct Heard {
    pub(super) id: u32,
    codec: Box<dyn AudioDecoder>,
    samples: Vec<f32>,
    seconds: f64,
    /// Of the piece that is not complete yet: squares, samples.
    piece: (f64, u32),
    loud_pieces: u32,
    loudest: f64,
}

impl Heard {
    pub(super) fn new(id: u32, codec: Box<dyn AudioDecoder>) -> Heard {
        let samples = Vec::new();
        Heard { id, codec, samples, seconds: 0.0, piece: (0.0, 0), loud_pieces: 0, loudest: 0.0 }
    }

    fn is_loud(&self) -> bool {
        self.loud_pieces >= LOUD_PIECES
    }

    fn listen(&mut self, packet: &Packet) {
        let Ok(decoded) = self.codec.decode(packet) else { return };
        let (rate, channels) = (decoded.spec().rate(), decoded.num_planes());
        if channels == 0 || rate == 0 {
            return;
        }
        decoded.copy_to_vec_interleaved(&mut self.samples);
        self.seconds += self.samples.len() as f64 / channels as f64 / f64::from(rate);
        for frame in self.samples.chunks_exact(channels) {
            // The loudest channel counts: the others may be empty.
            let loudest = frame
                .iter()
                .filter(|sample| sample.is_finite())
                .fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
            self.piece.0 += f64::from(loudest).powi(2);
            self.piece.1 += 1;
            if self.piece.1 >= rate.div_ceil(PIECES) {
                let level = self.piece.0 / f64::from(self.piece.1);
                self.loud_pieces += u32::from(level > LOUD);
                self.loudest = self.loudest.max(level);
                self.piece = (0.0, 0);
            }
        }
    }
}

/// The tracks, of these, that are not silent. It is listened until all have spoken, or for a while after
/// one has. Broken parts say nothing.
pub(super) fn speaking(source: &Source, part: &Part, mut tracks: Vec<Heard>) -> Vec<u32> {
    source.allow(ASIDE_MAX);
    if let Ok(Ok(mut format)) =
        surviving(|| format::open(source.view(part.range.clone(), part.missing)))
    {
        listen_to(source, format.as_mut(), &mut tracks);
    }
    source.allow(ASIDE_MAX);
    let loudest = tracks.iter().map(|track| track.loudest).fold(0.0, f64::max);
    let speaks = |track: &&Heard| track.is_loud() && track.loudest > loudest * MUCH_WEAKER;
    tracks.iter().filter(speaks).map(|track| track.id).collect()
}

fn listen_to(source: &Source, format: &mut dyn FormatReader, tracks: &mut [Heard]) {
    let mut heard_at = None;
    for _ in 0..FRUITLESS_MAX {
        source.allow(ASIDE_MAX);
        let Ok(Ok(Some(packet))) = surviving(|| format.next_packet()) else { return };
        let Some(track) = tracks.iter_mut().find(|track| track.id == packet.track_id) else {
            continue;
        };
        if surviving(|| track.listen(&packet)).is_err() {
            return;
        }
        let seconds = track.seconds;
        if heard_at.is_none() && track.is_loud() {
            heard_at = Some(seconds);
        }
        let is_long = heard_at.is_some_and(|heard_at| seconds > heard_at + PATIENCE);
        if is_long || tracks.iter().all(Heard::is_loud) {
            return;
        }
    }
}
