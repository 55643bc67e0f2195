//! Whether a file is a model that whisper.cpp can load. It trusts its files: one that begins well
//! and goes on with rubbish ends the process. So every number in the file is held against what it
//! must be, and every tensor must be there once, in its shape, within the file. Data are passed
//! over: this takes milliseconds.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::bounded::{Bounded, ReadError};
use super::error::ModelError;
use super::ggml::MAGIC;
use super::hyper::{AUDIO_CONTEXT, Hyper, TEXT_CONTEXT};
use super::layout;
use super::mel;
use super::silero;
use super::tensor::TensorType;

const MAX_TOKEN: u64 = 4096;
const MAX_TENSOR_NAME: u64 = 128;
/// Published English models have as many tokens, or one more.
const LEAST_TOKENS: u32 = 50_256;

/// What a model's file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelInfo {
    /// A Whisper model: turns speech into text.
    Whisper(WhisperInfo),
    /// A voice detector: tells where speech is.
    Vad {
        /// Its version, as in 6.2.0.
        version: [u32; 3],
    },
}

/// What a Whisper model's file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhisperInfo {
    /// The published size it has the shape of, such as `tiny`, where there is one.
    pub size: Option<&'static str>,
    /// Whether it knows other languages than English, and can translate.
    pub multilingual: bool,
    /// How its weights are stored.
    pub weights: TensorType,
    /// Tokens it can say.
    pub vocabulary: u32,
    /// Width of its layers.
    pub width: u32,
    /// Layers of the encoder.
    pub encoder_layers: u32,
    /// Layers of the decoder.
    pub decoder_layers: u32,
    /// Mel bands it hears.
    pub mels: u32,
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelInfo::Whisper(whisper) => whisper.fmt(f),
            ModelInfo::Vad { version: [major, minor, patch] } => {
                write!(f, "Silero voice detector {major}.{minor}.{patch}")
            }
        }
    }
}

impl fmt::Display for WhisperInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Whisper {}, {}, {}",
            self.size.unwrap_or("of its own shape"),
            if self.multilingual { "multilingual" } else { "English" },
            self.weights
        )
    }
}

/// Checks the structure of the ggml file at `path`, and says what it holds.
///
/// # Errors
/// [`ModelError::Broken`] when whisper.cpp could not load it, [`ModelError::Disk`] when it cannot
/// be read.
pub fn check_file(path: &Path) -> Result<ModelInfo, ModelError> {
    let file = File::open(path).map_err(ModelError::disk("open", path))?;
    Bounded::new(BufReader::new(file)).and_then(|mut file| check(&mut file)).map_err(|e| e.of(path))
}

pub(super) fn check<R: Read + Seek>(file: &mut Bounded<R>) -> Result<ModelInfo, ReadError> {
    if file.u32()? != MAGIC {
        return Err(ReadError::malformed("it is not a ggml model"));
    }
    let first = file.u32()?;
    if first as usize == silero::KIND.len() { check_vad(file) } else { check_whisper(file, first) }
}

fn check_vad<R: Read + Seek>(file: &mut Bounded<R>) -> Result<ModelInfo, ReadError> {
    let kind = file.bytes(silero::KIND.len() as u64, MAX_TENSOR_NAME, "its kind")?;
    if kind != silero::KIND {
        return Err(ReadError::malformed("it is neither a Whisper model nor a voice detector"));
    }
    let version = silero::read_header(file)?;
    tensors(file, silero::expected())?;
    Ok(ModelInfo::Vad { version })
}

fn check_whisper<R: Read + Seek>(
    file: &mut Bounded<R>,
    vocabulary: u32,
) -> Result<ModelInfo, ReadError> {
    let (hyper, weights) = shape(file, vocabulary)?;
    if (file.u32()?, file.u32()?) != (hyper.mels, mel::BINS as u32) {
        return Err(ReadError::malformed("its mel filters have not the shape of its model"));
    }
    file.skip(u64::from(hyper.mels) * mel::BINS as u64 * 4)?;
    tokens(file, &hyper)?;
    let expected = layout::tensors(&hyper).into_iter().map(|tensor| {
        let (shape, stored) = (tensor.ggml_shape(), tensor.stored(weights));
        (tensor.name, shape, stored)
    });
    tensors(file, expected)?;
    Ok(ModelInfo::Whisper(WhisperInfo {
        size: hyper.size_name(),
        multilingual: hyper.is_multilingual(),
        weights,
        vocabulary: hyper.vocabulary,
        width: hyper.state,
        encoder_layers: hyper.encoder_layers,
        decoder_layers: hyper.decoder_layers,
        mels: hyper.mels,
    }))
}

fn shape<R: Read + Seek>(
    file: &mut Bounded<R>,
    vocabulary: u32,
) -> Result<(Hyper, TensorType), ReadError> {
    let mut numbers = [0; 10];
    for number in &mut numbers {
        *number = file.u32()?;
    }
    let [
        audio_context,
        state,
        audio_heads,
        encoder_layers,
        text_context,
        text_state,
        text_heads,
        decoder_layers,
        mels,
        weights,
    ] = numbers;
    let hyper = Hyper { vocabulary, state, encoder_layers, decoder_layers, mels }.checked()?;
    let fixed = (audio_context, text_context, text_state, audio_heads, text_heads);
    if fixed != (AUDIO_CONTEXT, TEXT_CONTEXT, state, hyper.heads(), hyper.heads()) {
        return Err(ReadError::malformed("it has not the shape of a Whisper model"));
    }
    let weights = TensorType::of_model(weights).ok_or_else(|| {
        ReadError::malformed(format!("its weights are of the type {weights}, which is not known"))
    })?;
    Ok((hyper, weights))
}

fn tokens<R: Read + Seek>(file: &mut Bounded<R>, hyper: &Hyper) -> Result<(), ReadError> {
    let count = file.u32()?;
    if !(LEAST_TOKENS..=hyper.vocabulary).contains(&count) {
        return Err(ReadError::malformed(format!("it has {count} tokens, which cannot be")));
    }
    for _ in 0..count {
        let len = u64::from(file.u32()?);
        if len > MAX_TOKEN {
            return Err(ReadError::malformed(format!("a token has {len} bytes")));
        }
        file.skip(len)?;
    }
    Ok(())
}

/// Passes over the tensors to the end of the file. Each of `expected` must come once, in any order.
fn tensors<R: Read + Seek>(
    file: &mut Bounded<R>,
    expected: impl Iterator<Item = (String, [u64; 4], TensorType)>,
) -> Result<(), ReadError> {
    let mut expected: HashMap<String, ([u64; 4], TensorType)> =
        expected.map(|(name, shape, stored)| (name, (shape, stored))).collect();
    while file.left() > 0 {
        let (rank, len, stored) = (file.u32()?, u64::from(file.u32()?), file.u32()?);
        let mut shape = [1; 4];
        // whisper.cpp has room for four dimensions and does not count.
        let Some(dimensions) = shape.get_mut(..rank as usize) else {
            return Err(ReadError::malformed(format!("a tensor has {rank} dimensions")));
        };
        for dimension in dimensions {
            *dimension = u64::from(file.u32()?);
        }
        let name = file.bytes(len, MAX_TENSOR_NAME, "the name of a tensor")?;
        let name = String::from_utf8_lossy(&name);
        let Some((needed, needed_type)) = expected.remove(name.as_ref()) else {
            return Err(ReadError::malformed(format!(
                "the tensor {name:?} does not belong here, or is there twice"
            )));
        };
        if shape != needed {
            return Err(ReadError::malformed(format!(
                "{name} has the shape {shape:?} instead of {needed:?}"
            )));
        }
        if TensorType::of_tensor(stored) != Some(needed_type) {
            return Err(ReadError::malformed(format!("{name} is not stored as {needed_type}")));
        }
        let bytes = needed_type.bytes(shape[0], shape[1..].iter().product()).ok_or_else(|| {
            ReadError::malformed(format!("{name} cannot be stored as {needed_type}"))
        })?;
        file.skip(bytes)?;
    }
    match expected.into_keys().min() {
        Some(name) => {
            Err(ReadError::malformed(format!("{name} is missing: the file is cut short")))
        }
        None => Ok(()),
    }
}
