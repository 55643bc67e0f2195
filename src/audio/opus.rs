//! Opus by libopus, with up to eight channels: more than two are several streams in each packet.

use std::ffi::c_int;
use std::fmt;
use std::ptr::NonNull;

use opusic_sys as lib;
use symphonia::core::audio::{
    AsGenericAudioBufferRef, Audio, AudioBuffer, AudioMut, AudioSpec, Channels,
    GenericAudioBufferRef, layouts,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Result, decode_error, unsupported_error};
use symphonia::core::packet::PacketRef;

/// The rate of everything that libopus decodes here.
const RATE: u32 = 48_000;
/// The longest packet, 120 ms, in samples of one channel.
const PACKET_MAX: usize = 5760;
/// The most channels: those that the layouts of Vorbis name.
const CHANNELS_MAX: u8 = 8;

/// A decoder for one track.
pub(super) struct OpusDecoder {
    parameters: AudioCodecParameters,
    streams: Streams,
    interleaved: Vec<f32>,
    decoded: AudioBuffer<f32>,
    /// Samples to leave out still: what the encoder put before the first one.
    skipped: usize,
}

/// What the identification header says.
struct Head {
    channels: u8,
    pre_skip: u16,
    streams: u8,
    /// The streams that have two channels; they come first.
    coupled: u8,
    /// The stream of each channel.
    mapping: Vec<u8>,
}

impl Head {
    /// Of so many channels, without a header.
    fn plain(channels: u8, pre_skip: u16) -> Head {
        Head { channels, pre_skip, streams: 1, coupled: channels - 1, mapping: vec![0, 1] }
    }

    /// Reads a header, whose numbers are big-endian in MP4, where its version is 0.
    fn read(bytes: &[u8]) -> Option<Head> {
        let &[version, channels, a, b, _, _, _, _, _, _, family, ref rest @ ..] =
            bytes.strip_prefix(b"OpusHead")?
        else {
            return None;
        };
        let pre_skip =
            if version == 0 { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) };
        match (family, rest) {
            (0, _) if matches!(channels, 1 | 2) => Some(Head::plain(channels, pre_skip)),
            (1.., &[streams, coupled, ref mapping @ ..]) => {
                let mapping = mapping.get(..usize::from(channels))?.to_vec();
                Some(Head { channels, pre_skip, streams, coupled, mapping })
            }
            _ => None,
        }
    }

    fn of(parameters: &AudioCodecParameters) -> Option<Head> {
        match &parameters.extra_data {
            Some(bytes) => Head::read(bytes),
            None => match parameters.channels.as_ref().map(Channels::count) {
                Some(1) => Some(Head::plain(1, 0)),
                Some(2) => Some(Head::plain(2, 0)),
                _ => None,
            },
        }
    }
}

impl AudioDecoder for OpusDecoder {
    fn reset(&mut self) {
        self.streams.reset();
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.decoded.clear();
        let frames = self.streams.decode(packet.data, &mut self.interleaved)?;
        self.decoded.render_uninit(Some(frames));
        let samples = frames * self.decoded.spec().channels().count();
        self.decoded.copy_from_slice_interleaved(&&self.interleaved[..samples]);
        let skipped = self.skipped.min(frames);
        self.skipped -= skipped;
        let (start, end) = (packet.trim_start.get(), packet.trim_end.get());
        let amount = |trim| usize::try_from(trim).unwrap_or(usize::MAX);
        self.decoded.trim(amount(start).saturating_add(skipped), amount(end));
        Ok(self.decoded.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.decoded.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for OpusDecoder {
    fn try_registry_new(
        parameters: &AudioCodecParameters,
        _options: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        let Some(head) = Head::of(parameters) else {
            return unsupported_error("opus: no header, or channels without a layout");
        };
        if !(1..=CHANNELS_MAX).contains(&head.channels) {
            return unsupported_error("opus: more than 8 channels");
        }
        let channels = match head.channels {
            1 => layouts::CHANNEL_LAYOUT_MONO,
            2 => layouts::CHANNEL_LAYOUT_STEREO,
            more => Channels::Discrete(u16::from(more)),
        };
        let mut parameters = parameters.clone();
        parameters.with_sample_rate(RATE).with_channels(channels.clone());
        Ok(Box::new(OpusDecoder {
            parameters,
            streams: Streams::new(&head)?,
            interleaved: vec![0.0; PACKET_MAX * usize::from(head.channels)],
            decoded: AudioBuffer::new(AudioSpec::new(RATE, channels), PACKET_MAX),
            skipped: usize::from(head.pre_skip),
        }))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &[SupportedAudioCodec {
            id: CODEC_ID_OPUS,
            info: CodecInfo { short_name: "opus", long_name: "Opus", profiles: &[] },
        }]
    }
}

/// The library's decoder, which is freed with this.
struct Streams {
    decoder: NonNull<lib::OpusMSDecoder>,
    channels: usize,
}

// SAFETY: the library's decoder is plain memory that no thread owns. It is changed only through `&mut`.
unsafe impl Send for Streams {}
// SAFETY: nothing is done with a shared reference.
unsafe impl Sync for Streams {}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Streams {
    fn new(head: &Head) -> Result<Streams> {
        let mut error = lib::OPUS_OK;
        // SAFETY: the mapping has an entry for each channel; the library checks the numbers.
        let decoder = unsafe {
            lib::opus_multistream_decoder_create(
                RATE as i32,
                c_int::from(head.channels),
                c_int::from(head.streams),
                c_int::from(head.coupled),
                head.mapping.as_ptr(),
                &mut error,
            )
        };
        match NonNull::new(decoder) {
            Some(decoder) if error == lib::OPUS_OK => {
                Ok(Streams { decoder, channels: usize::from(head.channels) })
            }
            _ => unsupported_error("opus: channels that are mapped to no stream"),
        }
    }

    /// The frames decoded into `output`, which has room for the longest packet.
    fn decode(&mut self, packet: &[u8], output: &mut [f32]) -> Result<usize> {
        let Ok(length) = i32::try_from(packet.len()) else {
            return decode_error("opus: a packet too long");
        };
        if length == 0 {
            return decode_error("opus: an empty packet");
        }
        let room = (output.len() / self.channels) as c_int;
        // SAFETY: the decoder is alive, and both buffers are as long as is said.
        let frames = unsafe {
            lib::opus_multistream_decode_float(
                self.decoder.as_ptr(),
                packet.as_ptr(),
                length,
                output.as_mut_ptr(),
                room,
                0,
            )
        };
        match usize::try_from(frames) {
            Ok(frames) => Ok(frames),
            Err(_) => decode_error("opus: a broken packet"),
        }
    }

    fn reset(&mut self) {
        // SAFETY: the decoder is alive, and this request takes no argument.
        unsafe {
            lib::opus_multistream_decoder_ctl(self.decoder.as_ptr(), lib::OPUS_RESET_STATE);
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // SAFETY: the decoder is alive, and is used no more.
        unsafe { lib::opus_multistream_decoder_destroy(self.decoder.as_ptr()) }
    }
}
