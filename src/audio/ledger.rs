//! The account of a recording: how much of it was heard, and how much was lost.
//!
//! The rule: a recording that lost more than a little is not decoded. A little is one second, or one
//! percent of the recording where that is more, and never as much as was heard. Within it a
//! [`Warning`] tells what is missing; beyond it, [`Error::Damaged`] says how much was read, and where and
//! why it stopped.
//!
//! Lost is what a packet held that could not be decoded, bytes of a stream that are no packets, and what
//! a container declares and does not have: a file that was cut off. A recording that declares no length,
//! as browsers, pipes and recorders that were killed leave them, is whole if all of its bytes were
//! decoded. Lost time stands as silence in the samples, so that the times of what follows stay right.

use std::time::Duration;

use super::Error;
use super::clipping::Clipping;
use crate::Warning;

/// What may be lost of any recording, in seconds.
const LITTLE: f64 = 1.0;
/// What may be lost of a long one, as a part of it.
const LITTLE_PART: f64 = 0.01;
/// Less is not worth a word, in seconds: a packet.
const WORTH_SAYING: f64 = 0.02;
/// A file that ends so many seconds early has lost its last packet, as recorders leave it.
const EARLY: f64 = 0.1;
/// Streams that are recorded from their middle on begin with packets that need those before, in seconds.
const BEGINNING: f64 = 0.2;
/// Pauses of a recorder that are worth a word, in seconds altogether. Codecs that send nothing in silence
/// leave many short ones.
const PAUSES_WORTH_SAYING: f64 = 1.0;
/// Bytes behind a recording that are worth a word.
const BYTES_WORTH_SAYING: u64 = 32;

/// Where something was first seen, in seconds, and why.
#[derive(Debug)]
struct First {
    at: f64,
    why: String,
}

/// What a part of the file says of its length.
#[derive(Debug)]
struct Declared {
    seconds: f64,
    /// Position at which the part began.
    since: f64,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Seconds of sound.
    heard: f64,
    /// Seconds of silence in place of what is lost or was never recorded.
    silence: f64,
    lost: f64,
    first_loss: Option<First>,
    /// The loss at the end that is due to a file that was cut off.
    cut_at: Option<f64>,
    pauses: f64,
    first_pause: Option<f64>,
    trailing: u64,
    trailing_at: f64,
    declared: Option<Declared>,
    notes: Vec<Warning>,
    /// Why a packet could not be decoded, where nothing else is known.
    complaint: Option<String>,
}

impl Ledger {
    /// The position in what was handed out, in seconds.
    pub(super) fn position(&self) -> f64 {
        self.heard + self.silence
    }

    pub(super) fn lost(&self) -> f64 {
        self.lost
    }

    /// Whether the part has all that it declares.
    pub(super) fn is_complete(&self) -> bool {
        let has_all = |declared: &Declared| {
            self.position() - declared.since > declared.seconds - WORTH_SAYING
        };
        self.declared.as_ref().is_some_and(has_all)
    }

    pub(super) fn hear(&mut self, seconds: f64) {
        self.heard += seconds;
    }

    /// Counts silence that is handed out instead of sound.
    pub(super) fn pass(&mut self, seconds: f64) {
        self.silence += seconds;
    }

    /// Sound that is not to be had.
    pub(super) fn lose(&mut self, seconds: f64, why: &str) {
        if seconds > 0.0 && (self.heard > 0.0 || self.silence + seconds > BEGINNING) {
            self.lost += seconds;
            let at = self.position();
            self.first_loss.get_or_insert_with(|| First { at, why: why.to_owned() });
        }
    }

    /// The file ends so many seconds before the recording.
    pub(super) fn cut(&mut self, missing: f64) {
        if missing > EARLY {
            self.cut_at.get_or_insert(self.position());
            self.lose(missing, "the file ends");
        }
    }

    /// Notes a recording that is clipped. It began at `since` seconds.
    pub(super) fn clip(&mut self, clipping: &Clipping, since: f64, rate: u32) {
        if let Some((first, part)) = clipping.found() {
            let at = since + first as f64 / f64::from(rate.max(1));
            let percent = part * 100.0;
            let message = format!(
                "The recording is clipped: {percent:.1} % of it is too loud for its format."
            );
            self.note(Warning::new("clipped", message).at(Duration::from_secs_f64(at)));
        }
    }

    pub(super) fn complain(&mut self, why: String) {
        self.complaint = Some(why);
    }

    /// Time in which nothing was recorded.
    pub(super) fn pause(&mut self, seconds: f64) {
        self.pauses += seconds;
        self.first_pause.get_or_insert(self.heard + self.silence);
    }

    /// Bytes that are no sound, and no tag.
    pub(super) fn leave(&mut self, bytes: u64) {
        if self.trailing < BYTES_WORTH_SAYING {
            self.trailing_at = self.position();
        }
        self.trailing += bytes;
    }

    pub(super) fn note(&mut self, warning: Warning) {
        if self.notes.iter().all(|note| note.code() != warning.code()) {
            self.notes.push(warning);
        }
    }

    /// Begins a part that plays so long by its own account.
    pub(super) fn declare(&mut self, seconds: Option<f64>) {
        self.settle();
        self.declared = seconds.map(|seconds| Declared { seconds, since: self.position() });
    }

    /// Compares the part that ends here with its account.
    pub(super) fn settle(&mut self) {
        let Some(declared) = self.declared.take() else { return };
        self.cut(declared.seconds - (self.position() - declared.since));
    }

    /// Whether more is lost already than a recording of so many seconds may lose.
    pub(super) fn is_hopeless(&self, longest: f64) -> bool {
        self.lost > (longest * LITTLE_PART).max(LITTLE)
    }

    /// Tells at the end, or where nothing helps any more, if the recording is decoded.
    pub(super) fn verdict(&self) -> Result<(), Error> {
        if self.heard == 0.0 {
            let why = self.complaint.as_ref().or(self.first_loss.as_ref().map(|first| &first.why));
            return Err(why.map_or(Error::Empty, |why| Error::Undecodable(why.clone())));
        }
        let total = self.heard + self.lost;
        let is_much = self.lost > (total * LITTLE_PART).max(LITTLE) || self.lost > self.heard;
        match &self.first_loss {
            Some(first) if is_much => Err(Error::Damaged(format!(
                "read {:.1} of {total:.1} s; at {:.1} s: {}",
                self.heard, first.at, first.why
            ))),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.notes.clone();
        let mut warn = |code, message: String, at: f64| {
            warnings.push(Warning::new(code, message).at(Duration::from_secs_f64(at.max(0.0))));
        };
        if let Some(First { at, why }) =
            self.first_loss.as_ref().filter(|_| self.lost > WORTH_SAYING)
        {
            let (lost, total) = (self.lost, self.heard + self.lost);
            match self.cut_at {
                Some(cut) if cut == *at => warn(
                    "cut_off",
                    format!("The file ends {lost:.1} s before the recording: it was cut off."),
                    cut,
                ),
                Some(_) | None => warn(
                    "damaged",
                    format!(
                        "{lost:.1} of {total:.1} s could not be decoded, first at {at:.1} s: {why}."
                    ),
                    *at,
                ),
            }
        }
        if let Some(at) = self.first_pause.filter(|_| self.pauses > PAUSES_WORTH_SAYING) {
            let pauses = self.pauses;
            warn("gaps", format!("In {pauses:.1} s nothing was recorded, first at {at:.1} s."), at);
        }
        if self.trailing >= BYTES_WORTH_SAYING {
            let bytes = self.trailing;
            let what = format!(
                "{bytes} bytes behind the recording are no sound that is known, and were left out."
            );
            warn("trailing_data", what, self.trailing_at);
        }
        warnings
    }
}
