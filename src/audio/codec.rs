//! Decoders of single tracks.

use std::sync::LazyLock;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::Track;

use super::aac::AacDecoder;
use super::container;
use super::format::surviving;
use super::opus::OpusDecoder;

/// The most channels. A header of some bytes can name 65,535, for each of which a decoder makes buffers.
const CHANNELS_MAX: usize = 64;
/// The most samples in a packet, of all channels together: 8 MiB of them decoded.
const PACKET_MAX: u64 = 2 * 1024 * 1024;

static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<AacDecoder>();
    codecs.register_audio_decoder::<OpusDecoder>();
    codecs
});

/// A decoder for the track, or why there is none.
pub(super) fn decoder(track: &Track) -> Result<Box<dyn AudioDecoder>, String> {
    // A track of unknown type may be a sound track of unknown codec.
    let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
        return Err("its codec is not known".to_owned());
    };
    check_size(parameters)?;
    // Frames of MPEG audio are cut by a length that is a guess where no header tells it.
    let is_guessed = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3].contains(&parameters.codec);
    let options = AudioDecoderOptions::default().gapless(!is_guessed);
    match surviving(|| CODECS.make_audio_decoder(parameters, &options)) {
        Ok(Ok(decoder)) => Ok(decoder),
        Ok(Err(error)) => {
            Err(container::refused_codec(parameters.codec).unwrap_or_else(|| error.to_string()))
        }
        Err(gave_up) => Err(MediaError::from(gave_up).to_string()),
    }
}

/// Refuses a track whose decoder would make larger buffers than recordings need.
fn check_size(parameters: &AudioCodecParameters) -> Result<(), String> {
    let channels = parameters.channels.as_ref().map_or(1, Channels::count);
    let frames = parameters.max_frames_per_packet.max(parameters.frames_per_block).unwrap_or(0);
    if channels > CHANNELS_MAX {
        return Err(format!("it has {channels} channels"));
    }
    if frames.saturating_mul(channels as u64) > PACKET_MAX {
        return Err(format!("it has packets of {frames} samples in {channels} channels"));
    }
    Ok(())
}
