//! AAC with more than two channels, and HE-AAC, which the library's decoder refuses. It decodes the
//! elements of a packet one by one here, and of HE-AAC the part that holds the voice: its core at half
//! the rate, without the high frequencies that are made from it.

mod bits;
mod elements;
mod tables;

use symphonia::core::audio::{
    AsGenericAudioBufferRef, Audio, AudioBuffer, AudioMut, AudioSpec, Channels,
    GenericAudioBufferRef, layouts,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Result, decode_error, unsupported_error};
use symphonia::core::packet::{Packet, PacketRef};
use symphonia::default::codecs;

use super::container::mpeg::{self, Framing};
use bits::{BitWriter, Bits};

/// Samples of a channel in a packet.
const SAMPLES: usize = 1024;
/// Sample rates by their index.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// A stream's configuration, without what extends the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Config {
    rate: u32,
    /// As the standard numbers layouts; 0 is one that the stream describes.
    layout: u32,
}

impl Config {
    fn of(parameters: &AudioCodecParameters) -> Result<Config> {
        if let Some(bytes) = &parameters.extra_data {
            return Config::read(bytes);
        }
        let Some(rate) = parameters.sample_rate else {
            return unsupported_error("aac: no sample rate");
        };
        let layout = match parameters.channels.as_ref().map_or(0, Channels::count) {
            8 => 7,
            channels => channels as u32,
        };
        Ok(Config { rate, layout })
    }

    /// Reads an AudioSpecificConfig.
    fn read(bytes: &[u8]) -> Result<Config> {
        let mut bits = Bits::new(bytes);
        let Some((mut kind, rate, layout)) = read_head(&mut bits) else {
            return decode_error("aac: a configuration that is cut off");
        };
        // HE-AAC: the rate of what is made from the core, and the core's own kind.
        if matches!(kind, 5 | 29) {
            kind = read_rate(&mut bits).and_then(|_| read_kind(&mut bits)).unwrap_or(0);
        }
        match kind {
            2 => {}
            1 => return unsupported_error("AAC of the Main profile is not taken: convert it"),
            3 => return unsupported_error("AAC of the SSR profile is not taken: convert it"),
            4 => return unsupported_error("AAC of the LTP profile is not taken: convert it"),
            23 | 39 => return unsupported_error("AAC-LD and AAC-ELD are not taken: convert it"),
            42 => return unsupported_error("xHE-AAC (USAC) is not taken: convert it"),
            _ => return unsupported_error("an MPEG-4 codec that is not taken: convert it"),
        }
        if bits.flag() == Some(true) {
            return unsupported_error("AAC in packets of 960 samples is not taken: convert it");
        }
        Ok(Config { rate, layout })
    }

    /// The configuration for a decoder of one element.
    fn parameters(self, channels: u8) -> AudioCodecParameters {
        let mut bits = BitWriter::default();
        bits.push(2, 5);
        match RATES.iter().position(|rate| *rate == self.rate) {
            Some(index) => bits.push(index as u32, 4),
            None => {
                bits.push(15, 4);
                bits.push(self.rate, 24);
            }
        }
        bits.push(u32::from(channels), 4);
        bits.push(0, 3);
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(CODEC_ID_AAC)
            .with_sample_rate(self.rate)
            .with_extra_data(bits.into_bytes().into());
        parameters
    }

    fn decoder(self, channels: u8) -> Result<codecs::AacDecoder> {
        codecs::AacDecoder::try_new(&self.parameters(channels), &AudioDecoderOptions::default())
    }
}

fn read_head(bits: &mut Bits<'_>) -> Option<(u32, u32, u32)> {
    Some((read_kind(bits)?, read_rate(bits)?, bits.read(4)?))
}

fn read_kind(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.read(5)? {
        31 => Some(32 + bits.read(6)?),
        kind => Some(kind),
    }
}

fn read_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.read(4)? {
        15 => bits.read(24),
        index => RATES.get(index as usize).copied(),
    }
}

/// A decoder for one track. Packets may have their ADTS headers, which then tell what changes.
pub(super) struct AacDecoder {
    parameters: AudioCodecParameters,
    config: Config,
    inner: Inner,
}

impl Inner {
    fn new(config: Config) -> Result<Inner> {
        Ok(match config.layout {
            1 => Inner::Plain(config.decoder(1)?.into()),
            2 => Inner::Plain(config.decoder(2)?.into()),
            _ => Inner::Elements(Elements::new(config)),
        })
    }
}

enum Inner {
    /// One channel or two.
    Plain(Box<codecs::AacDecoder>),
    Elements(Elements),
}

impl AudioDecoder for AacDecoder {
    fn reset(&mut self) {
        match &mut self.inner {
            Inner::Plain(decoder) => decoder.reset(),
            Inner::Elements(elements) => {
                elements.decoders.iter_mut().for_each(|(_, decoder)| decoder.reset());
            }
        }
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        let mut packet = *packet;
        // No packet begins with these bits but one that is empty.
        if let Some(frame) = mpeg::frame(packet.data, Framing::Adts) {
            let config = Config { rate: frame.format.rate(), layout: frame.format.layout() };
            if config != self.config {
                self.inner = Inner::new(config)?;
                self.config = config;
            }
            packet.data = packet.data.get(frame.header..).unwrap_or_default();
        }
        match &mut self.inner {
            Inner::Plain(decoder) => decoder.decode_ref(&packet),
            Inner::Elements(elements) => elements.decode(&packet),
        }
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        match &self.inner {
            Inner::Plain(decoder) => decoder.last_decoded(),
            Inner::Elements(elements) => elements.decoded.as_generic_audio_buffer_ref(),
        }
    }
}

impl RegisterableAudioDecoder for AacDecoder {
    fn try_registry_new(
        parameters: &AudioCodecParameters,
        _options: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        let config = Config::of(parameters)?;
        let inner = Inner::new(config)?;
        let mut parameters = parameters.clone();
        parameters.with_sample_rate(config.rate);
        Ok(Box::new(AacDecoder { parameters, config, inner }))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &[SupportedAudioCodec {
            id: CODEC_ID_AAC,
            info: CodecInfo {
                short_name: "aac",
                long_name: "Advanced Audio Coding",
                profiles: &[],
            },
        }]
    }
}

/// A decoder for each element of a packet.
struct Elements {
    config: Config,
    /// The channels of each, and its decoder.
    decoders: Vec<(u8, codecs::AacDecoder)>,
    interleaved: Vec<f32>,
    decoded: AudioBuffer<f32>,
}

impl Elements {
    fn new(config: Config) -> Elements {
        let decoded = buffer(config.rate, 0);
        Elements { config, decoders: Vec::new(), interleaved: Vec::new(), decoded }
    }

    fn decode(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.decoded.clear();
        let elements = match elements::split(packet.data, self.config.rate) {
            Ok(elements) if elements.is_empty() => return decode_error("aac: an empty packet"),
            Ok(elements) => elements,
            Err(why) => return decode_error(why),
        };
        let shape: Vec<u8> = elements.iter().map(|element| element.channels).collect();
        if !shape.iter().eq(self.decoders.iter().map(|(channels, _)| channels)) {
            let made =
                shape.iter().map(|channels| Ok((*channels, self.config.decoder(*channels)?)));
            self.decoders = made.collect::<Result<_>>()?;
            self.decoded = buffer(self.config.rate, shape.iter().map(|n| u16::from(*n)).sum());
        }
        let channels = self.decoded.spec().channels().count();
        self.interleaved.clear();
        self.interleaved.resize(SAMPLES * channels, 0.0);
        let (mut first, mut samples) = (0, Vec::new());
        for (element, (_, decoder)) in elements.into_iter().zip(&mut self.decoders) {
            let own = usize::from(element.channels);
            let part = Packet::new(packet.track_id, packet.pts, packet.dur, element.packet);
            decoder.decode(&part)?.copy_to_vec_interleaved(&mut samples);
            let frames = self.interleaved.chunks_exact_mut(channels);
            for (frame, part) in frames.zip(samples.chunks_exact(own)) {
                frame[first..first + own].copy_from_slice(part);
            }
            first += own;
        }
        self.decoded.render_uninit(Some(SAMPLES));
        self.decoded.copy_from_slice_interleaved(&&self.interleaved[..]);
        Ok(self.decoded.as_generic_audio_buffer_ref())
    }
}

fn buffer(rate: u32, channels: u16) -> AudioBuffer<f32> {
    let channels = match channels {
        1 => layouts::CHANNEL_LAYOUT_MONO,
        2 => layouts::CHANNEL_LAYOUT_STEREO,
        more => Channels::Discrete(more.max(1)),
    };
    AudioBuffer::new(AudioSpec::new(rate, channels), SAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_tells_its_core() {
        let read = |bytes: &[u8]| Config::read(bytes).map_err(|error| error.to_string());
        let config = |rate, layout| Ok(Config { rate, layout });
        assert_eq!(read(b"\x12\x10"), config(44_100, 2));
        assert_eq!(read(b"\x11\xb0"), config(48_000, 6));
        // HE-AAC, and its second version, whose core has one channel.
        assert_eq!(read(b"\x2b\x92\x08\x00"), config(22_050, 2));
        assert_eq!(read(b"\xeb\x8a\x08\x00"), config(22_050, 1));
        assert!(read(b"\x0a\x10").unwrap_err().contains("Main"));
        assert!(read(b"\xf8\xe6\x40\x00").unwrap_err().contains("ELD"));
        assert!(read(b"\x12").is_err());
        let core = Config { rate: 22_050, layout: 2 }.parameters(2);
        assert_eq!(core.extra_data.as_deref(), Some(&b"\x13\x90"[..]));
    }

    #[test]
    fn no_broken_element_panics() {
        // A filling whose length goes on with 0.
        assert!(elements::split(&[&[0xde, 0][..], &[0; 13]].concat(), 48_000).is_err());
        // Numbers that look random and are the same in every run.
        let mut noise = 7_u64;
        for length in 0..2000 {
            let packet: Vec<u8> = (0..length % 300)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (noise >> 56) as u8
                })
                .collect();
            let rate = RATES[length % RATES.len()];
            for element in elements::split(&packet, rate).unwrap_or_default() {
                assert!(element.packet.len() <= packet.len() + 1);
            }
        }
    }
}
