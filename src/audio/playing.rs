//! One track of one recording, while it is decoded.

use std::io;
use std::num::NonZero;
use std::ops::Range;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::{FormatReader, Track};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::clipping::Clipping;
use super::format::surviving;
use super::mix::Mixer;
use super::parts::{self, Ahead, Kind, Part};
use super::source::{ASIDE_MAX, Source};
use super::tracks::{self, Choice};
use super::{Error, codec};
use crate::Warning;

/// A jump of the timestamps that is a gap and no rounding, in seconds.
const GAP: f64 = 0.1;
/// The longest gap that becomes silence, in seconds. Beyond it a clock was set.
const GAP_MAX: f64 = 3600.0;
/// Part of a container, and bytes beside it, that need not be packets.
const ASIDE_PART: f64 = 0.05;
const ASIDE_BYTES: u64 = 512;
/// Errors of a demuxer in a row after which it is asked no more.
const RETRIES: u32 = 8;

/// Reads packets and decodes them.
pub(super) struct Playing {
    pub(super) kind: Kind,
    range: Range<u64>,
    source: Source,
    format: Box<dyn FormatReader>,
    track: Track,
    codec: Box<dyn AudioDecoder>,
    /// Made when the first packet is decoded.
    mixer: Option<Mixer>,
    interleaved: Vec<f32>,
    /// Time of the recording's first packet, of whatever track, in seconds.
    base: Option<f64>,
    /// Time at which the next packet is due, in seconds.
    due: Option<f64>,
    /// Playing time of the last packet that was decoded, in seconds.
    typical: f64,
    /// A packet that comes after a gap.
    waiting: Option<Packet>,
    last_was_broken: bool,
    errors: u32,
    /// Packets of whatever track, and their bytes.
    packets: u64,
    packet_bytes: u64,
}

/// What became of one packet.
pub(super) enum Step {
    /// Samples, of so many seconds; perhaps none.
    Sound(f64),
    /// It belongs to another track.
    Nothing,
    /// Time that is silent here, in seconds.
    Pause(f64),
    /// A time before the first sound, in seconds.
    Late(f64),
    /// A packet that cannot be decoded: its playing time, and why.
    Lost(f64, String),
    End,
    /// The demuxer cannot go on.
    Broken(MediaError),
}

impl Playing {
    pub(super) fn open(
        source: &Source,
        part: Part,
        wanted: Option<NonZero<u32>>,
    ) -> Result<(Playing, Vec<Warning>), Error> {
        source.allow(ASIDE_MAX);
        let Choice { format, track, codec, notes } = tracks::choose(source, &part, wanted)?;
        let playing = Playing {
            kind: part.kind,
            range: part.range,
            source: source.clone(),
            format,
            track,
            codec,
            mixer: None,
            interleaved: Vec::new(),
            base: None,
            due: None,
            typical: 0.0,
            waiting: None,
            last_was_broken: false,
            errors: 0,
            packets: 0,
            packet_bytes: 0,
        };
        Ok((playing, notes))
    }

    /// The rate of what was decoded last; before that, the one that the file declares.
    pub(super) fn rate(&self) -> u32 {
        // Above 65 kHz an MP4 itself says 0.
        let declared = self.codec.codec_params().sample_rate.filter(|rate| *rate > 0);
        self.mixer.as_ref().map(Mixer::rate).or(declared).unwrap_or(super::SAMPLE_RATE)
    }

    /// The playing time that the container declares, in seconds.
    pub(super) fn declared(&self) -> Option<f64> {
        let of = |duration: Duration, base: TimeBase| duration.get() as f64 * ratio(base);
        match self.kind {
            Kind::Frames(told) => told.declared,
            // A film's length, which its sound need not have.
            Kind::Matroska { .. } => {
                let media = self.format.media_info();
                media.duration.zip(media.time_base).map(|(duration, base)| of(duration, base))
            }
            Kind::Mp4 { .. } | Kind::Flac | Kind::Chunks => self
                .track
                .duration
                .zip(self.track.time_base)
                .map(|(duration, base)| of(duration, base)),
            Kind::Ogg { .. } | Kind::Other => None,
        }
    }

    /// Whether what is declared must be there even where the container ends without an error.
    pub(super) fn is_declared_of_sound(&self) -> bool {
        match self.kind {
            Kind::Frames(_) | Kind::Flac | Kind::Chunks => true,
            Kind::Matroska { is_cut, .. } => is_cut,
            // All samples of its table have been read.
            Kind::Mp4 { .. } | Kind::Ogg { .. } | Kind::Other => false,
        }
    }

    /// Bytes of the part that are no packets, and bytes of those that are; `around` of them are taken to
    /// belong to each packet. The position of the demuxer, which reads ahead, tells it where containers
    /// have much else in them.
    pub(super) fn passed_over(&self, around: u64) -> io::Result<(u64, u64)> {
        let all = match self.kind {
            Kind::Matroska { .. } => {
                parts::cluster_bytes(&mut Ahead::new(&self.source), self.range.clone())?
            }
            Kind::Ogg { broken, .. } if broken > 0 => {
                let whole = (self.range.end - self.range.start).saturating_sub(broken);
                return Ok((broken, whole));
            }
            Kind::Mp4 { is_fragmented: true } => self.range.end - self.range.start,
            _ => {
                let position = self.source.position().clamp(self.range.start, self.range.end);
                return Ok((self.range.end - position, position - self.range.start));
            }
        };
        let packets = self.packet_bytes + self.packets * around;
        let aside = ASIDE_BYTES + (all as f64 * ASIDE_PART) as u64;
        let passed = all.saturating_sub(packets);
        Ok((if passed > aside { passed } else { 0 }, packets))
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    pub(super) fn clipping(&self) -> Option<&Clipping> {
        self.mixer.as_ref().map(|mixer| &mixer.clipping)
    }

    /// Appends to `mono` what the next packet holds.
    pub(super) fn step(&mut self, mono: &mut Vec<f32>) -> Step {
        if let Some(packet) = self.waiting.take() {
            return self.play(&packet, mono);
        }
        self.source.allow(ASIDE_MAX);
        let packet = match surviving(|| self.format.next_packet()) {
            Ok(Ok(Some(packet))) => packet,
            Ok(Ok(None) | Err(MediaError::ResetRequired)) => return Step::End,
            Ok(Err(MediaError::DecodeError(why))) if self.errors < RETRIES => {
                self.errors += 1;
                log::debug!("a packet cannot be read: {why}");
                return Step::Nothing;
            }
            Ok(Err(error)) => return Step::Broken(error),
            Err(gave_up) => return Step::Broken(gave_up.into()),
        };
        self.errors = 0;
        self.packets += 1;
        self.packet_bytes += packet.data.len() as u64;
        let base = match self.base {
            Some(base) => base,
            None => *self.base.insert(self.time_of(&packet)),
        };
        if packet.track_id != self.track.id {
            return Step::Nothing;
        }
        let time = self.time(packet.pts);
        let gap = time - self.due.unwrap_or(base);
        if gap > GAP {
            let is_first = self.due.is_none();
            self.due = Some(time);
            self.finish(mono);
            self.waiting = Some(packet);
            let gap = if gap > GAP_MAX { 0.0 } else { gap };
            return if is_first { Step::Late(gap) } else { Step::Pause(gap) };
        }
        self.play(&packet, mono)
    }

    /// Appends what the mixer holds back.
    pub(super) fn finish(&mut self, mono: &mut Vec<f32>) {
        if let Some(mixer) = &mut self.mixer {
            mixer.finish(mono);
        }
    }

    fn play(&mut self, packet: &Packet, mono: &mut Vec<f32>) -> Step {
        let declared = packet.dur.get() as f64 * self.track.time_base.map_or(0.0, ratio);
        let played = match surviving(|| self.decode(packet, mono)) {
            Ok(Ok(seconds)) => Ok(seconds),
            // The format may have changed: a decoder that is new to it can cope.
            Ok(Err(error)) if !self.last_was_broken => match codec::decoder(&self.track) {
                Ok(codec) => {
                    self.codec = codec;
                    surviving(|| self.decode(packet, mono))
                        .unwrap_or_else(|gave_up| Err(gave_up.into()))
                        .map_err(|_| error)
                }
                Err(_) => Err(error),
            },
            Ok(Err(error)) => Err(error),
            Err(gave_up) => return Step::Broken(gave_up.into()),
        };
        self.last_was_broken = played.is_err();
        let seconds = match &played {
            Ok(seconds) => seconds.max(declared),
            Err(_) if declared > 0.0 => declared,
            Err(_) => self.typical,
        };
        self.due = Some(self.time(packet.pts) + seconds);
        match played {
            Ok(seconds) => {
                self.typical = seconds;
                Step::Sound(seconds)
            }
            Err(error) => {
                self.codec.reset();
                self.finish(mono);
                Step::Lost(seconds, error.to_string())
            }
        }
    }

    /// Appends a packet's samples, and gives their playing time in seconds.
    fn decode(&mut self, packet: &Packet, mono: &mut Vec<f32>) -> Result<f64, MediaError> {
        let decoded = self.codec.decode(packet)?;
        let (rate, channels) = (decoded.spec().rate(), decoded.num_planes());
        if rate == 0 || channels == 0 {
            return Ok(0.0);
        }
        let mixer = fitting(&mut self.mixer, &decoded, mono);
        decoded.copy_to_vec_interleaved(&mut self.interleaved);
        mixer.push(&mut self.interleaved, mono);
        Ok(self.interleaved.len() as f64 / channels as f64 / f64::from(rate))
    }

    /// The time of a packet of any track.
    fn time_of(&self, packet: &Packet) -> f64 {
        let track = self.format.tracks().iter().find(|track| track.id == packet.track_id);
        packet.pts.get() as f64 * track.and_then(|track| track.time_base).map_or(0.0, ratio)
    }

    fn time(&self, at: Timestamp) -> f64 {
        at.get() as f64 * self.track.time_base.map_or(0.0, ratio)
    }
}

/// The mixer for what was decoded. One that does not fit any more gives away what it holds.
fn fitting<'a>(
    mixer: &'a mut Option<Mixer>,
    decoded: &GenericAudioBufferRef<'_>,
    mono: &mut Vec<f32>,
) -> &'a mut Mixer {
    if let Some(old) = mixer.as_mut().filter(|mixer| !mixer.fits(decoded)) {
        old.finish(mono);
        *mixer = None;
    }
    mixer.get_or_insert_with(|| Mixer::new(decoded.spec().rate(), decoded.num_planes()))
}

/// Seconds of a tick.
fn ratio(base: TimeBase) -> f64 {
    f64::from(base.numer.get()) / f64::from(base.denom.get())
}

/// Whether a demuxer ended because there are no more bytes.
pub(super) fn is_end(error: &MediaError) -> bool {
    matches!(error, MediaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof)
}
