//! Bounds the decoder's work on a stretch of a recording. Whisper's decoder may get stuck: it repeats
//! itself to the last token it has, is tried again at five temperatures with five candidates each, and then
//! moves on by a fraction of a second. Here a pass ends when it repeats itself for longer than
//! anybody speaks, and windows that are too close together are made to end at their end.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use whisper_rs::WhisperTokenData;

use super::repeats::{ENTROPY_SPAN, repeats_itself};
use crate::audio::SAMPLE_RATE;

/// Candidates of a pass with a temperature over 0. The likeliest of them is taken.
pub(super) const CANDIDATES: i32 = 3;
/// What the temperature grows by from one pass over a window to the next, up to 1.
pub(super) const TEMPERATURE_STEP: f32 = 0.4;
/// The longest window in seconds.
const WINDOW_S: f32 = 30.0;
/// Timestamps count in steps of this many seconds.
const TIMESTAMP_S: f32 = 0.02;
/// Windows that any recording may take, and those that ten seconds more may take. Speech takes one
/// for 20 to 30 seconds.
const WINDOWS_FREE: f32 = 2.0;
const WINDOWS_PER_S: f32 = 0.1;

/// The decoder's work on one stretch of a recording. whisper.cpp asks from several threads.
pub(super) struct Effort {
    alphabet: Alphabet,
    /// Length of the stretch in seconds.
    seconds: f32,
    /// How much of the stretch lies before the window, in percent, rounded down.
    percent: AtomicU32,
    windows: AtomicU32,
    /// Passes over the window that have begun.
    passes: AtomicU32,
    /// Tokens of the longest candidate in the pass.
    tokens: AtomicUsize,
    /// Steps of the decoder: tokens worked out, those of every candidate.
    steps: AtomicU64,
}

/// Where the parts of a model's alphabet begin.
#[derive(Clone, Copy)]
pub(super) struct Alphabet {
    /// Ends a pass. Everything before it is text.
    pub(super) end_of_text: i32,
    /// The timestamp of 0 s; later ones follow it.
    pub(super) first_timestamp: i32,
    /// Length of the alphabet.
    pub(super) tokens: usize,
}

impl Alphabet {
    fn is_timestamp(self, token: i32) -> bool {
        token >= self.first_timestamp
    }
}

impl Effort {
    /// For a stretch of so many samples.
    pub(super) fn new(samples: usize, alphabet: Alphabet) -> Effort {
        Effort {
            alphabet,
            seconds: samples as f32 / SAMPLE_RATE as f32,
            percent: AtomicU32::new(0),
            windows: AtomicU32::new(0),
            passes: AtomicU32::new(0),
            tokens: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
        }
    }

    /// So much of the stretch is done.
    pub(super) fn reached(&self, percent: u32) {
        // The last step of whisper.cpp may go over 100.
        self.percent.store(percent.min(100), Ordering::Relaxed);
        self.passes.store(0, Ordering::Relaxed);
        self.tokens.store(0, Ordering::Relaxed);
    }

    /// A window begins there.
    pub(super) fn begin_window(&self) {
        self.windows.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn alphabet(&self) -> Alphabet {
        self.alphabet
    }

    /// Steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// How much of the stretch is done, from 0 to 1, as an estimate within the window.
    pub(super) fn progress(&self) -> f32 {
        let before = self.before();
        let tokens = self.tokens.load(Ordering::Relaxed) as f32;
        let part = (tokens / self.plausible_tokens() as f32).min(1.0);
        // A first pass is mostly the last. Each further one is given a half of what is left.
        let in_window = match self.passes.load(Ordering::Relaxed) {
            0 => 0.0,
            pass => 1.0 - 0.5f32.powi(pass as i32 - 1) * (1.0 - 0.5 * part),
        };
        before + self.window_s() / self.seconds * in_window
    }

    /// How much of the stretch lies before the window, from 0 to 1.
    fn before(&self) -> f32 {
        self.percent.load(Ordering::Relaxed) as f32 / 100.0
    }

    /// Length of the window in seconds, rounded up.
    fn window_s(&self) -> f32 {
        (self.seconds * (1.0 - self.before())).min(WINDOW_S)
    }

    /// Tokens that fast speech of the window's length has: five a second and some over.
    fn plausible_tokens(&self) -> usize {
        (16.0 + 5.0 * self.window_s()) as usize
    }

    /// Tokens that no speech of the window's length has, in any script.
    fn possible_tokens(&self) -> usize {
        (48.0 + 24.0 * self.window_s()) as usize
    }

    /// The timestamp of the window's end.
    fn window_end(&self) -> i32 {
        self.alphabet.first_timestamp + (self.window_s() / TIMESTAMP_S).ceil() as i32
    }

    /// Whether there were more windows so far than this much of a recording may take.
    fn is_behind(&self) -> bool {
        let allowed = WINDOWS_FREE + self.seconds * self.before() * WINDOWS_PER_S;
        self.windows.load(Ordering::Relaxed) as f32 > allowed
    }

    /// One step of one candidate: which tokens may follow those that it has. whisper.cpp has
    /// the logits of the others at minus infinity already.
    pub(super) fn step(&self, candidate: &[WhisperTokenData], logits: &mut [f32]) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        // A pass begins with one step for all of its candidates.
        if candidate.is_empty() {
            self.passes.fetch_add(1, Ordering::Relaxed);
            self.tokens.store(0, Ordering::Relaxed);
        }
        self.tokens.fetch_max(candidate.len(), Ordering::Relaxed);
        if self.is_stuck(candidate) {
            self.close(candidate, logits);
        } else if self.is_behind() {
            let (first, end) = (self.alphabet.first_timestamp, self.window_end());
            let early = logits.get_mut(first as usize + 1..end as usize);
            early.unwrap_or_default().fill(f32::NEG_INFINITY);
        }
    }

    /// Whether the candidate is to end. Past what fast speech needs, whisper.cpp throws a text
    /// that repeats itself away, though at its end only.
    fn is_stuck(&self, candidate: &[WhisperTokenData]) -> bool {
        let length = candidate.len();
        if length <= self.plausible_tokens() {
            return false;
        }
        let tail = candidate.iter().rev().map(|token| token.id);
        let text = tail.filter(|id| *id < self.alphabet.end_of_text).take(ENTROPY_SPAN);
        length > self.possible_tokens() || repeats_itself(text)
    }

    /// Leaves one token to go on with: the timestamp of the window's end, then the end of the text. So the
    /// text that is there counts, and the next window begins behind this one.
    fn close(&self, candidate: &[WhisperTokenData], logits: &mut [f32]) {
        let is_timestamp = |token: &&WhisperTokenData| self.alphabet.is_timestamp(token.id);
        let mut latest = candidate.iter().rev();
        let trailing = latest.clone().take_while(is_timestamp).count();
        let end = latest.find(is_timestamp).map_or(0, |token| token.id).max(self.window_end());
        // After text there may be one timestamp or two.
        let is_closed = trailing > 1 || candidate.last().is_some_and(|last| last.id >= end);
        // Some models have no timestamps.
        let has_timestamps = logits.get(end as usize).is_some_and(|logit| logit.is_finite());
        let next = if is_closed || !has_timestamps { self.alphabet.end_of_text } else { end };
        logits.fill(f32::NEG_INFINITY);
        if let Some(next) = logits.get_mut(next as usize) {
            *next = 0.0;
        }
    }
}

#[cfg(test)]
mod tests;
