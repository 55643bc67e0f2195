//! Any sample rate to 16 kHz, in a stream.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

use super::{Error, SAMPLE_RATE};

/// Input samples per step, at least. The filter gets steeper with it: 4096 pass 7 kHz whole and
/// leave nothing over 8 kHz, where the library's usual 1024 lose 14 dB at 7 kHz.
const CHUNK: usize = 4096;
/// Rates that recordings have.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// The longest period that a rate may have in common with 16 kHz, in samples. A step is a whole number
/// of periods, and takes some 120 bytes of memory for each sample: 24 MB at most. Whatever is recorded
/// faster than this has a round number of samples in a second: 250,000, 312,500, 384,000.
const PERIOD_MAX: u32 = 200_000;

/// Converts one channel to 16 kHz.
pub(super) struct Resampler {
    rate: u32,
    conversion: Option<Conversion>,
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// What is under way when the rates differ.
struct Conversion {
    fft: Fft<f32>,
    /// Input that does not fill a step yet.
    waiting: Vec<f32>,
    step: Vec<f32>,
    /// Output samples to drop still: the filter's delay.
    delay: usize,
    consumed: u64,
    produced: u64,
}

impl Resampler {
    /// From `rate` samples a second.
    pub(super) fn from(rate: u32) -> Result<Resampler, Error> {
        if !RATES.contains(&rate) || rate / common_divisor(rate, SAMPLE_RATE) > PERIOD_MAX {
            return Err(Error::Undecodable(format!("a sample rate of {rate} Hz")));
        }
        let conversion = (rate != SAMPLE_RATE).then(|| Conversion::new(rate)).transpose()?;
        Ok(Resampler { rate, conversion })
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Appends to `output` what `input` makes possible.
    pub(super) fn push(&mut self, input: &[f32], output: &mut Vec<f32>) {
        match &mut self.conversion {
            None => output.extend_from_slice(input),
            Some(conversion) => conversion.push(input, output),
        }
    }

    /// Appends the rest: as much output altogether as the input has playing time. Nothing is
    /// pushed after it.
    pub(super) fn finish(&mut self, output: &mut Vec<f32>) {
        if let Some(conversion) = &mut self.conversion {
            conversion.finish(self.rate, output);
        }
    }
}

impl Conversion {
    fn new(rate: u32) -> Result<Conversion, Error> {
        let window = WindowFunction::BlackmanHarris2;
        let (from, to) = (rate as usize, SAMPLE_RATE as usize);
        let fft = Fft::new_custom(from, to, CHUNK, 1, 1, window, FixedSync::Both)
            .map_err(|error| Error::Undecodable(error.to_string()))?;
        let step = vec![0.0; fft.output_frames_max()];
        let delay = fft.output_delay();
        Ok(Conversion { fft, waiting: Vec::new(), step, delay, consumed: 0, produced: 0 })
    }

    fn push(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.waiting.extend_from_slice(input);
        let step = self.fft.input_frames_next();
        let mut done = 0;
        while self.waiting.len() - done >= step {
            self.convert(done..done + step, output);
            done += step;
        }
        self.waiting.drain(..done);
    }

    fn finish(&mut self, rate: u32, output: &mut Vec<f32>) {
        let total = self.consumed + self.waiting.len() as u64;
        let wanted = (total * u64::from(SAMPLE_RATE)).div_ceil(u64::from(rate));
        let step = self.fft.input_frames_next();
        while self.produced < wanted {
            // Silence behind the end pushes out what the filter holds back.
            self.waiting.resize(step, 0.0);
            self.convert(0..step, output);
            self.waiting.clear();
        }
        let surplus = usize::try_from(self.produced - wanted).unwrap_or(0);
        output.truncate(output.len().saturating_sub(surplus));
    }

    /// One step of the filter.
    fn convert(&mut self, range: std::ops::Range<usize>, output: &mut Vec<f32>) {
        let input = &self.waiting[range];
        let frames = self.step.len();
        let whole = "invariant: one channel of exactly the length that the filter asks for";
        let source = InterleavedSlice::new(input, 1, input.len()).expect(whole);
        let mut target = InterleavedSlice::new_mut(&mut self.step, 1, frames).expect(whole);
        let (taken, given) = self
            .fft
            .process_into_buffer(&source, &mut target, Some(&Indexing::new()))
            .expect(whole);
        let delayed = self.delay.min(given);
        self.delay -= delayed;
        output.extend_from_slice(&self.step[delayed..given]);
        self.consumed += taken as u64;
        self.produced += (given - delayed) as u64;
    }
}
