//! Channels into one. Their mean is silence where one is the other turned upside down, as a miswired
//! cable or a karaoke filter leaves it. So channels are turned to agree with the loudest before they are
//! added, block by block, and a channel without sound does not make the others quieter.

use symphonia::core::audio::GenericAudioBufferRef;

use super::clipping::Clipping;

/// Samples larger than this are taken for noise of a broken file. Files in float may go over 1,
/// and some hold 16-bit values unscaled.
const LOUDEST: f32 = 32_768.0;
/// Blocks in a second. A channel that turns over within a block is cancelled for that long at most.
const BLOCKS: u32 = 20;
/// Part of a second in which one mix passes into the next: a jump would click.
const FADES: u32 = 200;
/// Correlation with the loudest channel from which a channel is turned over, or back. Between the two it
/// stays: voices that have nothing to do with each other come this close by chance.
const OPPOSED: f64 = -0.3;
const AGREEING: f64 = 0.3;
/// A block shorter than this says nothing about channels, in frames.
const TELLING: usize = 32;
/// Mean square of a channel with sound in it: -80 dB.
const AUDIBLE: f64 = 1e-8;

/// Mixes the channels of one track.
pub(super) struct Mixer {
    rate: u32,
    /// Frames that do not fill a block yet.
    waiting: Vec<f32>,
    channels: Vec<Channel>,
    /// No block has been mixed.
    is_new: bool,
    pub(super) clipping: Clipping,
}

/// One channel's part in the mix.
#[derive(Clone, Default)]
struct Channel {
    is_turned: bool,
    /// There has been sound in it.
    is_audible: bool,
    weight: f32,
    /// Last sample of the block before.
    last: f32,
}

impl Mixer {
    pub(super) fn new(rate: u32, channels: usize) -> Mixer {
        let clipping = Clipping::new(channels);
        let channels = vec![Channel::default(); channels];
        Mixer { rate, waiting: Vec::new(), channels, is_new: true, clipping }
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    pub(super) fn fits(&self, decoded: &GenericAudioBufferRef<'_>) -> bool {
        self.rate == decoded.spec().rate() && self.channels.len() == decoded.num_planes()
    }

    /// Appends what can be mixed so far to `mono`.
    pub(super) fn push(&mut self, interleaved: &mut [f32], mono: &mut Vec<f32>) {
        for sample in interleaved.iter_mut() {
            *sample = sane(*sample);
        }
        self.clipping.push(interleaved);
        match self.channels.len() {
            0 => {}
            1 => mono.extend_from_slice(interleaved),
            channels => {
                self.waiting.extend_from_slice(interleaved);
                let block = (self.rate / BLOCKS).max(1) as usize * channels;
                let mut done = 0;
                while self.waiting.len() - done >= block {
                    self.mix(done..done + block, mono);
                    done += block;
                }
                self.waiting.drain(..done);
            }
        }
    }

    /// Appends the rest. More may follow it.
    pub(super) fn finish(&mut self, mono: &mut Vec<f32>) {
        if !self.waiting.is_empty() {
            self.mix(0..self.waiting.len(), mono);
            self.waiting.clear();
        }
    }

    fn mix(&mut self, block: std::ops::Range<usize>, mono: &mut Vec<f32>) {
        let block = &self.waiting[block];
        let frames = block.len() / self.channels.len();
        if self.is_new || frames >= TELLING {
            turn(&mut self.channels, block);
        }
        let audible = self.channels.iter().filter(|channel| channel.is_audible).count();
        let before: Vec<f32> = self.channels.iter().map(|channel| channel.weight).collect();
        let all = self.channels.len();
        for channel in &mut self.channels {
            let weight = match (audible, channel.is_audible) {
                (0, _) => 1.0 / all as f32,
                (audible, true) => 1.0 / audible as f32,
                (_, false) => 0.0,
            };
            channel.weight = if channel.is_turned { -weight } else { weight };
        }
        let fade = if self.is_new { 0 } else { (self.rate / FADES) as usize };
        mono.extend(block.chunks_exact(all).enumerate().map(|(at, frame)| {
            let part = if at < fade { (at + 1) as f32 / (fade + 1) as f32 } else { 1.0 };
            let channels = self.channels.iter().zip(&before).zip(frame);
            channels
                .map(|((channel, before), sample)| {
                    let weight = if at < fade {
                        before + (channel.weight - before) * part
                    } else {
                        channel.weight
                    };
                    weight * sample
                })
                .sum::<f32>()
        }));
        if let Some(frame) = block.chunks_exact(all).next_back() {
            for (channel, sample) in self.channels.iter_mut().zip(frame) {
                channel.last = *sample;
            }
        }
        self.is_new = false;
    }
}

/// A product for one channel, of a frame and the frame before it.
type Measure<'a> = dyn Fn(&[f32], &[f32], usize) -> f64 + 'a;

/// Finds out which channels have sound, and which are to be turned over. Differences from sample to
/// sample are compared: hum and offset, which channels share, weigh next to nothing in them.
fn turn(channels: &mut [Channel], block: &[f32]) {
    let count = channels.len();
    let frames = (block.len() / count).max(1);
    let sums = |of: &Measure| -> Vec<f64> {
        let mut last: Vec<f32> = channels.iter().map(|channel| channel.last).collect();
        let mut sums = vec![0.0; count];
        for frame in block.chunks_exact(count) {
            for (channel, sum) in sums.iter_mut().enumerate() {
                *sum += of(frame, &last, channel);
            }
            last.copy_from_slice(frame);
        }
        sums
    };
    let step =
        |frame: &[f32], last: &[f32], channel: usize| f64::from(frame[channel] - last[channel]);
    let levels = sums(&|frame, _, channel| f64::from(frame[channel]).powi(2));
    let steps = sums(&|frame, last, channel| step(frame, last, channel).powi(2));
    let loudest = (0..count).max_by(|a, b| steps[*a].total_cmp(&steps[*b])).unwrap_or(0);
    let shared =
        sums(&|frame, last, channel| step(frame, last, channel) * step(frame, last, loudest));
    let turned = channels[loudest].is_turned;
    for (at, channel) in channels.iter_mut().enumerate() {
        channel.is_audible |= levels[at] / frames as f64 > AUDIBLE;
        let power = (steps[at] * steps[loudest]).sqrt();
        if at == loudest || power == 0.0 {
            continue;
        }
        match shared[at] / power {
            ..OPPOSED => channel.is_turned = !turned,
            AGREEING.. => channel.is_turned = turned,
            _ => {}
        }
    }
}

/// A sample that arithmetic can bear: broken float files hold NaN and infinities.
fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    /// Two seconds that are as irregular as speech.
    fn voice(seed: u32) -> Vec<f32> {
        let mut noise = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut level = 0.0_f32;
        (0..2 * RATE)
            .map(|n| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                level = level * 0.9 + (noise >> 40) as f32 / 167_772_160.0 - 0.05;
                level * (1.0 + (n as f32 / 1500.0).sin())
            })
            .collect()
    }

    fn mix(channels: &[Vec<f32>]) -> Vec<f32> {
        let mut mixer = Mixer::new(RATE, channels.len());
        let mut frames: Vec<f32> = (0..channels[0].len())
            .flat_map(|n| channels.iter().map(move |channel| channel[n]))
            .collect();
        let mut mono = Vec::new();
        // As packets come, which fill no whole block.
        for packet in frames.chunks_mut(1152 * channels.len()) {
            mixer.push(packet, &mut mono);
        }
        mixer.finish(&mut mono);
        assert_eq!(mono.len(), channels[0].len());
        mono
    }

    fn level(samples: &[f32]) -> f32 {
        (samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32).sqrt()
    }

    fn scaled(samples: &[f32], by: f32) -> Vec<f32> {
        samples.iter().map(|sample| sample * by).collect()
    }

    fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a + b).collect()
    }

    /// How loud the voice is in each eighth of the mix, of its own level.
    fn kept(mix: &[f32], voice: &[f32]) -> Vec<f32> {
        let eighth = voice.len() / 8;
        let part = |(mix, voice): (&[f32], &[f32])| {
            let shared: f32 = mix.iter().zip(voice).map(|(m, v)| m * v).sum();
            (shared / voice.iter().map(|v| v * v).sum::<f32>()).abs()
        };
        mix.chunks_exact(eighth).zip(voice.chunks_exact(eighth)).map(part).collect()
    }

    #[test]
    fn channels_that_cancelled_each_other_left_silence() {
        let (voice, other, third) = (voice(1), voice(2), voice(3));
        let silence = vec![0.0; voice.len()];
        let hum: Vec<f32> = (0..voice.len())
            .map(|n| (n as f32 * 50.0 * std::f32::consts::TAU / RATE as f32).sin() * 0.5 + 0.1)
            .collect();
        let turned = scaled(&voice, -1.0);
        let midway: Vec<f32> = (0..voice.len())
            .map(|n| if n > RATE as usize { turned[n] } else { voice[n] })
            .collect();
        for (what, channels) in [
            ("opposed", vec![voice.clone(), turned.clone()]),
            ("quieter", vec![voice.clone(), scaled(&voice, -0.6)]),
            ("louder", vec![scaled(&voice, 0.6), turned.clone()]),
            ("with a hum in both", vec![sum(&voice, &hum), sum(&turned, &hum)]),
            ("with noise", vec![voice.clone(), sum(&turned, &scaled(&other, 0.5))]),
            ("from the middle on", vec![voice.clone(), midway]),
            ("beside silence", vec![silence.clone(), voice.clone()]),
            (
                "in one of six",
                [&silence, &silence, &voice, &silence, &silence, &silence].map(Vec::clone).into(),
            ),
            ("in two pairs", vec![voice.clone(), turned.clone(), scaled(&voice, 0.5), turned]),
            (
                "between three",
                vec![sum(&voice, &third), scaled(&voice, -0.5), scaled(&third, -0.5)],
            ),
        ] {
            let kept = kept(&mix(&channels), &voice);
            assert!(kept.iter().all(|kept| *kept > 0.3), "{what}: {kept:?}");
        }
    }

    #[test]
    fn voices_on_channels_of_their_own_are_both_kept() {
        let (voice, other) = (voice(1), voice(2));
        let mix = mix(&[voice.clone(), other.clone()]);
        for voice in [voice, other] {
            assert!(kept(&mix, &voice).iter().all(|kept| (0.3..0.7).contains(kept)));
        }
    }

    #[test]
    fn a_channel_that_turns_over_does_not_click() {
        let tone = |n: usize| (n as f32 * 0.05).sin() * 0.5;
        let left: Vec<f32> = (0..2 * RATE as usize).map(tone).collect();
        // It turns at its zero crossing, and not where a block ends.
        let turn = (std::f32::consts::TAU / 0.05 * 100.0) as usize;
        let right = (0..left.len()).map(|n| if n > turn { -left[n] } else { left[n] }).collect();
        let mix = mix(&[left.clone(), right]);
        let steepest = mix.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.05, "{steepest}");
        assert!(level(&mix) > 0.3);
    }
}
