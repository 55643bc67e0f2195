//! Clipped recordings: the microphone's gain was too high, and the tops of the waves are cut flat.

/// From here on a sample stands at the edge of what its format holds. µ-law ends at 0.98.
const EDGE: f32 = 0.97;
/// Beyond this even a lossy codec's samples stand for a flat top.
const FULL: f32 = 0.999;
/// A file whose samples go beyond this is not scaled to 1, so nothing can be told.
const UNSCALED: f32 = 4.0;
/// Samples in a row that make a flat top.
const FLAT: u32 = 3;
/// Part of the samples from which on a recording is called clipped.
const PART: f64 = 0.001;

/// Counts flat tops.
pub(super) struct Clipping {
    runs: Vec<Run>,
    samples: u64,
    flat: u64,
    first: Option<u64>,
    is_unscaled: bool,
}

#[derive(Clone, Copy, Default)]
struct Run {
    last: f32,
    length: u32,
}

impl Clipping {
    pub(super) fn new(channels: usize) -> Clipping {
        let runs = vec![Run::default(); channels];
        Clipping { runs, samples: 0, flat: 0, first: None, is_unscaled: false }
    }

    pub(super) fn push(&mut self, interleaved: &[f32]) {
        let Some(channels) = std::num::NonZero::new(self.runs.len()) else { return };
        for frame in interleaved.chunks_exact(channels.get()) {
            for (run, sample) in self.runs.iter_mut().zip(frame) {
                let size = sample.abs();
                let is_flat = size >= FULL || (size >= EDGE && *sample == run.last);
                self.is_unscaled |= size > UNSCALED;
                run.length = if is_flat { run.length + 1 } else { 0 };
                run.last = *sample;
                if run.length >= FLAT {
                    self.flat += if run.length == FLAT { u64::from(FLAT) } else { 1 };
                    self.first.get_or_insert(self.samples / channels.get() as u64);
                }
                self.samples += 1;
            }
        }
    }

    /// The frame with the first flat top, and the part of all samples that lie in one; where there are
    /// so many that words may have suffered.
    pub(super) fn found(&self) -> Option<(u64, f64)> {
        let part = self.flat as f64 / self.samples.max(1) as f64;
        self.first.filter(|_| !self.is_unscaled && part > PART).map(|first| (first, part))
    }
}
