//! From a file to the samples of its sound, at their own rate: one recording after the other.

use std::io::{self, Read, Seek};
use std::num::NonZero;
use std::time::Duration;

use symphonia::core::errors::Error as MediaError;

use super::ledger::Ledger;
use super::parts::{self, Kind, Part};
use super::playing::{Playing, Step, is_end};
use super::source::Source;
use super::{Error, fragments};
use crate::Warning;

/// Packets in a row without a sample of the track: more than an hour of film before its sound begins. A
/// count of empty ones is not interrupted by anything else.
const FRUITLESS_MAX: u32 = 250_000;
/// The most that Matroska has around a packet, in bytes, and the least that containers have.
const AROUND: u64 = 32;
const AROUND_BROKEN: u64 = 8;
/// How much larger than the loss that times tell an estimate from bytes is that says the same.
const NEAR: f64 = 1.25;
/// Parts in a row without a sample.
const FRUITLESS_PARTS_MAX: u32 = 100;

/// Decodes a file, packet by packet.
pub(super) struct Decoder {
    source: Source,
    /// The sound track to decode, from 1 on.
    wanted: Option<NonZero<u32>>,
    playing: Option<Playing>,
    /// Position of the part that is decoded, in seconds.
    part_at: f64,
    /// Seconds lost before it.
    part_lost: f64,
    /// Rate of what was decoded last.
    rate: u32,
    mono: Vec<f32>,
    /// Silence to hand out, in samples.
    silence: u64,
    fruitless: u32,
    fruitless_parts: u32,
    ledger: Ledger,
    /// The longest recording that is taken, in seconds.
    longest: f64,
}

/// Samples of one rate.
pub(super) struct Samples<'a> {
    pub(super) rate: u32,
    pub(super) mono: &'a [f32],
}

impl Decoder {
    pub(super) fn open(
        file: impl Read + Seek + Send + 'static,
        wanted: Option<NonZero<u32>>,
        longest: Duration,
    ) -> Result<Decoder, Error> {
        let source = Source::new(file).map_err(Error::Read)?;
        if source.bytes() == 0 {
            return Err(Error::Empty);
        }
        fragments::check(&source)?;
        let mut decoder = Decoder {
            source,
            wanted,
            playing: None,
            part_at: 0.0,
            part_lost: 0.0,
            rate: super::SAMPLE_RATE,
            mono: Vec::new(),
            silence: 0,
            fruitless: 0,
            fruitless_parts: 0,
            ledger: Ledger::default(),
            longest: longest.as_secs_f64(),
        };
        let part = parts::next(&decoder.source, 0).map_err(Error::Read)?.part;
        let part = part.ok_or(Error::Empty)?;
        decoder.begin(part, false)?;
        Ok(decoder)
    }

    /// The rate of what comes next, as far as it is known.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    pub(super) fn fraction_read(&self) -> f32 {
        self.source.fraction_read()
    }

    pub(super) fn warnings(&self) -> Vec<Warning> {
        self.ledger.warnings()
    }

    /// The next samples, at least one; `None` at the end.
    pub(super) fn next_samples(&mut self) -> Result<Option<Samples<'_>>, Error> {
        self.mono.clear();
        while self.mono.is_empty() {
            if self.silence > 0 {
                let samples = self.silence.min(u64::from(self.rate));
                self.silence -= samples;
                self.mono.resize(samples as usize, 0.0);
            } else if let Some(mut playing) = self.playing.take() {
                let step = playing.step(&mut self.mono);
                let rate = playing.rate();
                match self.account(&mut playing, step)? {
                    Goes::On => self.playing = Some(playing),
                    Goes::Out => {
                        playing.finish(&mut self.mono);
                        self.leave(playing)?;
                    }
                }
                if self.mono.is_empty() {
                    self.rate = rate;
                } else {
                    return Ok(Some(self.samples(rate)));
                }
            } else {
                self.ledger.settle();
                return self.ledger.verdict().map(|()| None);
            }
        }
        Ok(Some(self.samples(self.rate)))
    }

    fn samples(&mut self, rate: u32) -> Samples<'_> {
        self.fruitless = 0;
        self.fruitless_parts = 0;
        Samples { rate, mono: &self.mono }
    }

    /// Enters a step into the books.
    fn account(&mut self, playing: &mut Playing, step: Step) -> Result<Goes, Error> {
        match step {
            Step::Sound(seconds) => {
                self.ledger.hear(seconds);
                self.fruitless += 1;
            }
            Step::Nothing => self.fruitless += 1,
            Step::Pause(seconds) if playing.kind.is_gapless() => {
                self.lose(seconds, "packets are missing", playing.rate());
            }
            Step::Pause(seconds) => {
                self.ledger.pause(seconds);
                self.pass(seconds, playing.rate());
            }
            Step::Late(seconds) => self.pass(seconds, playing.rate()),
            Step::Lost(seconds, why) => {
                self.fruitless += 1;
                self.lose(seconds, &why, playing.rate());
                self.ledger.complain(why);
            }
            Step::End => {
                // A demuxer of Matroska passes over what it does not know.
                if matches!(playing.kind, Kind::Matroska { .. }) {
                    self.lose_unread(playing, AROUND, "its container is broken")?;
                }
                if matches!(playing.kind, Kind::Ogg { broken: 1.., .. }) {
                    self.lose_unread(playing, AROUND, "pages of it are broken")?;
                }
                return Ok(Goes::Out);
            }
            Step::Broken(error) => {
                self.break_off(playing, error)?;
                return Ok(Goes::Out);
            }
        }
        if self.ledger.is_hopeless(self.longest) {
            self.ledger.verdict()?;
        }
        if self.fruitless >= FRUITLESS_MAX {
            let error = MediaError::DecodeError("it goes on and on without a sample");
            self.break_off(playing, error)?;
            return Ok(Goes::Out);
        }
        Ok(Goes::On)
    }

    /// The container ends here, in the middle of something.
    fn break_off(&mut self, playing: &Playing, error: MediaError) -> Result<(), Error> {
        if let MediaError::IoError(error) = &error
            && error.raw_os_error().is_some()
        {
            return Err(Error::Read(io::Error::new(error.kind(), error.to_string())));
        }
        log::info!("the recording ends early: {error}");
        let why = match &error {
            error if is_end(error) => "the file ends".to_owned(),
            MediaError::IoError(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                "its pictures, notes or tables are longer than 24 MiB".to_owned()
            }
            error => error.to_string(),
        };
        let declared = playing.declared().filter(|_| !playing.is_declared_of_sound());
        let missing = declared.map(|declared| declared - (self.ledger.position() - self.part_at));
        match missing {
            Some(missing) if missing > 0.0 && !is_end(&error) => self.ledger.lose(missing, &why),
            Some(missing) if missing > 0.0 => self.ledger.cut(missing),
            Some(_) | None => self.lose_unread(playing, AROUND_BROKEN, &why)?,
        }
        if !is_end(&error) {
            self.ledger.complain(why);
        }
        Ok(())
    }

    /// Loses what a demuxer did not hand out, whose playing time is as that of the rest. The bytes
    /// `around` a packet belong to it.
    fn lose_unread(&mut self, playing: &Playing, around: u64, why: &str) -> Result<(), Error> {
        if playing.is_declared_of_sound() {
            return Ok(());
        }
        let (unread, read) = playing.passed_over(around).map_err(Error::Read)?;
        // What is counted as lost stands in the position as silence.
        let counted = self.ledger.lost() - self.part_lost;
        let heard = (self.ledger.position() - self.part_at - counted).max(0.0);
        let lost = unread as f64 / read.max(1) as f64 * heard;
        // Times are exact. An estimate that is near what they tell says the same.
        if lost > counted * NEAR {
            self.ledger.lose(lost - counted, why);
        }
        Ok(())
    }

    /// Loses so many seconds, and hands out silence instead.
    fn lose(&mut self, seconds: f64, why: &str, rate: u32) {
        self.ledger.lose(seconds, why);
        self.pass(seconds, rate);
    }

    fn pass(&mut self, seconds: f64, rate: u32) {
        self.ledger.pass(seconds);
        self.silence += (seconds * f64::from(rate)).round() as u64;
    }

    /// Closes a part, and begins the next one.
    fn leave(&mut self, playing: Playing) -> Result<(), Error> {
        if let Some(clipping) = playing.clipping() {
            self.ledger.clip(clipping, self.part_at, playing.rate());
        }
        let (mut range, mut before) = (playing.range(), playing.kind);
        drop(playing);
        self.fruitless_parts += 1;
        while self.fruitless_parts < FRUITLESS_PARTS_MAX {
            let next = parts::next(&self.source, range.end).map_err(Error::Read)?;
            let Some(part) = next.part else {
                self.skip(next.junk.end - next.junk.start, range.end, before);
                return Ok(());
            };
            // Padding within a stream is damage.
            let blank = if part.kind.continues(before) { next.blank } else { 0 };
            self.skip(next.junk.end - next.junk.start + blank, range.end, before);
            let is_continued = part.kind.continues(before);
            (range, before) = (part.range.clone(), part.kind);
            match self.begin(part, is_continued) {
                Ok(()) => return Ok(()),
                Err(Error::Read(error)) => return Err(Error::Read(error)),
                Err(Error::NoAudio | Error::Empty) => {}
                Err(error) => {
                    log::info!("a further part cannot be decoded: {error}");
                    let part = (range.end - range.start) as f64 / range.start.max(1) as f64;
                    let why = "a recording behind it cannot be decoded";
                    self.ledger.lose(part * self.ledger.position(), why);
                }
            }
            self.fruitless_parts += 1;
        }
        self.skip(self.source.bytes() - range.end, range.end, before);
        Ok(())
    }

    fn begin(&mut self, part: Part, is_continued: bool) -> Result<(), Error> {
        let (playing, notes) = Playing::open(&self.source, part, self.wanted)?;
        for note in notes {
            self.ledger.note(note);
        }
        if !is_continued {
            self.ledger.declare(playing.declared().filter(|_| playing.is_declared_of_sound()));
        }
        (self.part_at, self.part_lost) = (self.ledger.position(), self.ledger.lost());
        self.rate = playing.rate();
        self.playing = Some(playing);
        Ok(())
    }

    /// Passes bytes that are no recording, behind so many that were read. In a stream they are lost sound,
    /// as far as it is not known that nothing is missing.
    fn skip(&mut self, bytes: u64, read: u64, before: Kind) {
        if bytes == 0 || !before.is_stream() || self.ledger.is_complete() {
            return self.ledger.leave(bytes);
        }
        let byte = match before {
            Kind::Frames(told) => told.byte,
            _ => self.ledger.position() / read.max(1) as f64,
        };
        self.lose(bytes as f64 * byte, "it is damaged", self.rate);
    }
}

/// Whether a part goes on.
enum Goes {
    On,
    Out,
}
