//! The numbers that fix the shape of a Whisper model, and which of them can be.

use super::bounded::ReadError;

/// Positions of the encoder: 30 s of sound.
pub(super) const AUDIO_CONTEXT: u32 = 1500;
/// Positions of the decoder.
pub(super) const TEXT_CONTEXT: u32 = 448;
/// Width of an attention head in every Whisper model.
const HEAD: u32 = 64;
/// Tokens of an English-only model; one more is multilingual, two more know Cantonese.
const ENGLISH_VOCABULARY: u32 = 51_864;

/// The shape of a Whisper model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hyper {
    /// Tokens the decoder can say.
    pub(super) vocabulary: u32,
    /// Width of both sides.
    pub(super) state: u32,
    pub(super) encoder_layers: u32,
    pub(super) decoder_layers: u32,
    /// Mel bands of the sound's spectrogram.
    pub(super) mels: u32,
}

impl Hyper {
    /// Refuses shapes that are no Whisper model's. Bounds everything that is derived from them.
    pub(super) fn checked(self) -> Result<Hyper, ReadError> {
        let expect = |is: bool, what: &str, value: u32| {
            if is {
                Ok(())
            } else {
                Err(ReadError::malformed(format!("no Whisper model has {value} {what}")))
            }
        };
        expect(
            (ENGLISH_VOCABULARY..=ENGLISH_VOCABULARY + 2).contains(&self.vocabulary),
            "tokens",
            self.vocabulary,
        )?;
        expect(
            self.state.is_multiple_of(HEAD) && (HEAD..=2048).contains(&self.state),
            "as its width",
            self.state,
        )?;
        expect((1..=64).contains(&self.encoder_layers), "encoder layers", self.encoder_layers)?;
        expect((1..=64).contains(&self.decoder_layers), "decoder layers", self.decoder_layers)?;
        expect(matches!(self.mels, 80 | 128), "mel bands", self.mels)?;
        Ok(self)
    }

    /// Attention heads of each layer.
    pub(super) fn heads(&self) -> u32 {
        self.state / HEAD
    }

    pub(super) fn is_multilingual(&self) -> bool {
        self.vocabulary > ENGLISH_VOCABULARY
    }

    /// The number of the token `<|endoftext|>`, which is also how many tokens stand for text.
    pub(super) fn end_of_text(&self) -> usize {
        50_256 + usize::from(self.is_multilingual())
    }

    /// The name that the published model of this shape has, without its version.
    pub(super) fn size_name(&self) -> Option<&'static str> {
        Some(match (self.state, self.encoder_layers, self.decoder_layers) {
            (384, 4, 4) => "tiny",
            (512, 6, 6) => "base",
            (768, 12, 12) => "small",
            (1024, 24, 24) => "medium",
            (1280, 32, 32) => "large",
            (1280, 32, 4) => "large-v3-turbo",
            _ => return None,
        })
    }
}
