//! Names of codecs that containers hold and nothing here decodes.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as codecs;

/// The codec's name, if it is known and not taken.
pub(super) fn name(codec: AudioCodecId) -> Option<&'static str> {
    const NAMES: [(AudioCodecId, &str); 17] = [
        (codecs::CODEC_ID_AC3, "Dolby AC-3"),
        (codecs::CODEC_ID_EAC3, "Dolby E-AC-3"),
        (codecs::CODEC_ID_AC4, "Dolby AC-4"),
        (codecs::CODEC_ID_TRUEHD, "Dolby TrueHD"),
        (codecs::CODEC_ID_DCA, "DTS"),
        (codecs::CODEC_ID_WMA, "Windows Media Audio"),
        (codecs::CODEC_ID_SPEEX, "Speex"),
        (codecs::CODEC_ID_MUSEPACK, "Musepack"),
        (codecs::CODEC_ID_WAVPACK, "WavPack"),
        (codecs::CODEC_ID_MONKEYS_AUDIO, "Monkey's Audio (APE)"),
        (codecs::CODEC_ID_TTA, "True Audio (TTA)"),
        (codecs::CODEC_ID_ATRAC1, "ATRAC"),
        (codecs::CODEC_ID_ATRAC3, "ATRAC3"),
        (codecs::CODEC_ID_ATRAC3PLUS, "ATRAC3plus"),
        (codecs::CODEC_ID_COOK, "RealAudio"),
        (codecs::CODEC_ID_SIPR, "RealAudio"),
        (codecs::CODEC_ID_RALF, "RealAudio"),
    ];
    NAMES.iter().find(|(known, _)| *known == codec).map(|(_, name)| *name)
}
