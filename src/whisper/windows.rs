//! Cuts a long recording into windows that fit in memory, where it is quietest.

use std::ops::Range;
use std::time::Duration;

use crate::audio::{self, Reader, SAMPLE_RATE};

const RATE: usize = SAMPLE_RATE as usize;

/// How a recording is cut, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cuts {
    /// The longest window that another one follows.
    pub(super) longest: usize,
    /// How far back from there a quiet place is looked for.
    pub(super) search: usize,
    /// A recording that is over `longest` by less than this is left whole: Whisper makes up words
    /// for a scrap.
    pub(super) scrap: usize,
}

impl Cuts {
    /// Windows of at most this length (and no less than 3 s), cut in the last 20 seconds; what is
    /// left for the last one is 30 seconds at least. Short windows do with a part of that.
    pub(super) fn every(longest: Duration) -> Cuts {
        let samples = longest.as_secs().saturating_mul(u64::from(SAMPLE_RATE));
        let longest = usize::try_from(samples).unwrap_or(usize::MAX / 2).max(3 * RATE);
        Cuts { longest, search: (20 * RATE).min(longest / 3), scrap: (30 * RATE).min(longest / 3) }
    }
}

/// The quiet that is looked for is this long: 0.3 s, more than the pause within a word.
const PAUSE: usize = RATE * 3 / 10;
/// Loudness is measured in steps of this many samples: 10 ms.
const STEP: usize = RATE / 100;

/// Silences that are left out are at least this long: 10 s.
const LONG_SILENCE: usize = 10 * RATE;
/// As much of a silence as stays next to sound: 0.5 s.
const PAD: usize = RATE / 2;
/// A step is silent with a power of at most this part of the loudest step's: 40 dB less.
const SILENT_PART: f32 = 1e-4;
/// Power that is always silence, and the greatest that may be: -90 and -46 dB of full scale.
const SILENT_ALWAYS: f32 = 1e-9;
const SILENT_MOST: f32 = 2.5e-5;

/// Hands out one window after the other.
pub(super) struct Windows<'a> {
    reader: &'a mut Reader,
    cuts: Cuts,
    /// The window that was handed out last, and what has been read beyond it.
    samples: Vec<f32>,
    /// How much of `samples` has been handed out.
    given: usize,
    /// Where `samples` begins in the recording.
    begins: u64,
}

/// A stretch of the recording.
pub(super) struct Window<'a> {
    /// Where it begins in the recording, in samples.
    pub(super) begins: u64,
    pub(super) samples: &'a [f32],
    /// How much of the recording is done with this window, from 0 to 1.
    pub(super) done_with_it: f32,
}

impl<'a> Windows<'a> {
    pub(super) fn new(reader: &'a mut Reader, cuts: Cuts) -> Windows<'a> {
        Windows { reader, cuts, samples: Vec::new(), given: 0, begins: 0 }
    }

    /// The next window, `None` at the end. A recording no longer than one window is handed out
    /// whole, but for silences of ten seconds and more: Whisper makes up words for those, and loses
    /// some of what follows.
    pub(super) fn next(&mut self) -> Result<Option<Window<'_>>, audio::Error> {
        loop {
            self.fill()?;
            if self.given == 0 {
                return Ok(None);
            }
            match long_silence(&self.samples[..self.given]) {
                None => break,
                Some(silence) if silence.start > 0 => {
                    self.given = silence.start;
                    break;
                }
                Some(silence) => self.given = silence.end,
            }
        }
        // The reader has read on to the end of `samples`.
        let read = self.begins + self.samples.len() as u64;
        let part = (self.begins + self.given as u64) as f32 / read as f32;
        Ok(Some(Window {
            begins: self.begins,
            samples: &self.samples[..self.given],
            done_with_it: self.reader.fraction_read() * part,
        }))
    }

    /// Passes by what was given, reads on, and decides how much to give next: 0 at the end.
    fn fill(&mut self) -> Result<(), audio::Error> {
        self.samples.drain(..self.given);
        self.begins += self.given as u64;
        self.given = 0;
        let whole = self.cuts.longest + self.cuts.scrap;
        while self.samples.len() < whole {
            let Some(block) = self.reader.next_block()? else { break };
            self.samples.extend_from_slice(block);
        }
        self.given = if self.samples.len() < whole {
            self.samples.len()
        } else {
            quietest(&self.samples, self.cuts.longest - self.cuts.search..self.cuts.longest)
        };
        Ok(())
    }
}

/// The first silence of ten seconds or more, without the half second next to sound.
fn long_silence(samples: &[f32]) -> Option<Range<usize>> {
    let power: Vec<f32> = samples
        .chunks(STEP)
        .map(|step| step.iter().map(|sample| sample * sample).sum::<f32>() / step.len() as f32)
        .collect();
    let loudest = power.iter().copied().fold(0.0, f32::max);
    let limit = (loudest * SILENT_PART).clamp(SILENT_ALWAYS, SILENT_MOST);
    let mut start = 0;
    for end in 0..=power.len() {
        if power.get(end).is_some_and(|power| *power <= limit) {
            continue;
        }
        if (end - start) * STEP >= LONG_SILENCE {
            let from = if start == 0 { 0 } else { start * STEP + PAD };
            let to = if end == power.len() { samples.len() } else { end * STEP - PAD };
            return Some(from..to);
        }
        start = end + 1;
    }
    None
}

/// The middle of the quietest pause inside `range`.
fn quietest(samples: &[f32], range: Range<usize>) -> usize {
    let loudness: Vec<f64> = samples[range.clone()]
        .chunks_exact(STEP)
        .map(|step| step.iter().map(|sample| f64::from(*sample).powi(2)).sum())
        .collect();
    let steps = PAUSE / STEP;
    let quietest = loudness
        .windows(steps)
        .map(|pause| pause.iter().sum::<f64>())
        .enumerate()
        // The last of equals: the longer the window, the fewer there are.
        .min_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
        .map_or(loudness.len(), |(step, _)| step + steps / 2);
    range.start + quietest * STEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tests::{open, wav};

    const SMALL: Cuts = Cuts { longest: 4 * RATE, search: 2 * RATE, scrap: RATE };

    fn hum(seconds: f32) -> Vec<f32> {
        (0..(seconds * RATE as f32) as usize).map(|n| (n as f32 * 0.3).sin() * 0.5).collect()
    }

    fn lengths(samples: &[f32]) -> Vec<(u64, usize)> {
        let mut reader = open(wav(SAMPLE_RATE, 1, samples)).unwrap();
        let mut windows = Windows::new(&mut reader, SMALL);
        let (mut seen, mut joined) = (Vec::new(), Vec::new());
        let mut done = 0.0;
        while let Some(window) = windows.next().unwrap() {
            seen.push((window.begins, window.samples.len()));
            joined.extend_from_slice(window.samples);
            assert!(window.done_with_it >= done && window.done_with_it <= 1.0);
            done = window.done_with_it;
        }
        assert!(joined == samples, "nothing is lost or doubled at the cuts");
        assert_eq!(done, 1.0);
        seen
    }

    #[test]
    fn a_recording_of_a_window_and_a_scrap_stays_whole() {
        let samples = hum(4.99);
        assert_eq!(lengths(&samples), [(0, samples.len())]);
    }

    #[test]
    fn a_long_one_is_cut_in_its_pauses() {
        let mut samples = hum(12.0);
        for pause in [3.1, 6.5] {
            let start = (pause * RATE as f32) as usize;
            samples[start..start + PAUSE].fill(0.001);
        }
        let cuts = lengths(&samples);
        let near = |at: u64, seconds: f32| (at as f32 / RATE as f32 - seconds).abs() < 0.1;
        assert_eq!(cuts.len(), 4);
        assert!(near(cuts[1].0, 3.25), "{cuts:?}");
        assert!(near(cuts[2].0, 6.65), "{cuts:?}");
        assert!(cuts.last().unwrap().1 >= RATE, "no scrap at the end: {cuts:?}");
    }

    #[test]
    fn speech_behind_a_long_silence_was_lost() {
        let [hum, silence] = [hum(3.0), vec![0.0; 40 * RATE]];
        let samples = [&silence[..], &hum, &silence, &hum, &silence[..5 * RATE], &hum].concat();
        let mut reader = open(wav(SAMPLE_RATE, 1, &samples)).unwrap();
        let mut windows = Windows::new(&mut reader, Cuts::every(Duration::from_secs(300)));
        let (mut seen, mut done) = (Vec::new(), 0.0);
        while let Some(window) = windows.next().unwrap() {
            seen.push((window.begins as usize, window.begins as usize + window.samples.len()));
            assert!(window.done_with_it > done && window.done_with_it <= 1.0);
            done = window.done_with_it;
        }
        let at = |seconds: f32| (seconds * RATE as f32) as usize;
        // A silence of five seconds is one of the speaker's.
        assert_eq!(seen, [(at(39.5), at(43.5)), (at(82.5), at(94.0))]);
        assert_eq!(done, 1.0);
    }

    #[test]
    fn what_is_only_low_is_no_silence() {
        let quiet: Vec<f32> = hum(20.0).iter().map(|sample| sample * 0.002).collect();
        assert_eq!(long_silence(&quiet), None);
        assert_eq!(long_silence(&vec![0.0; 9 * RATE]), None);
        assert_eq!(long_silence(&vec![0.0; 11 * RATE]), Some(0..11 * RATE));
        let noise: Vec<f32> =
            hum(1.0).into_iter().chain(hum(20.0).iter().map(|s| s * 0.05)).collect();
        assert_eq!(long_silence(&noise), None, "noise may be somebody far away");
    }

    #[test]
    fn ten_minutes_are_cut_in_their_last_twenty_seconds() {
        let expected = Cuts { longest: 600 * RATE, search: 20 * RATE, scrap: 30 * RATE };
        assert_eq!(Cuts::every(Duration::from_secs(600)), expected);
        let shortest = Cuts { longest: 3 * RATE, search: RATE, scrap: RATE };
        assert_eq!(Cuts::every(Duration::ZERO), shortest);
        Cuts::every(Duration::MAX);
    }

    #[test]
    fn silence_is_cut_late() {
        let cuts = lengths(&vec![0.0; 9 * RATE]);
        assert!(cuts[0].1 > SMALL.longest - PAUSE, "{cuts:?}");
    }
}
