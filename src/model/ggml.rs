//! Writing the file format of whisper.cpp, little-endian: u32 magic, eleven u32 of the model's
//! shape, mel filters, tokens, tensors. A list of tokens is a u32 count, then per token a u32 length
//! and its bytes. A tensor is u32 rank, u32 length of its name, u32 type, u32 per dimension from the
//! innermost on, its name, its data.

use std::io::{self, Write};

use super::hyper::{AUDIO_CONTEXT, Hyper, TEXT_CONTEXT};
use super::mel;
use super::tensor::TensorType;

/// `ggml` as a number.
pub(super) const MAGIC: u32 = 0x6767_6d6c;

/// Writes everything that stands before the tensors of a Whisper model.
pub(super) fn write_header(
    out: &mut impl Write,
    hyper: &Hyper,
    weights: TensorType,
    tokens: &[Vec<u8>],
) -> io::Result<()> {
    let (state, heads) = (hyper.state, hyper.heads());
    let shape = [
        MAGIC,
        hyper.vocabulary,
        AUDIO_CONTEXT,
        state,
        heads,
        hyper.encoder_layers,
        TEXT_CONTEXT,
        state,
        heads,
        hyper.decoder_layers,
        hyper.mels,
        weights.model_number(),
    ];
    write_numbers(out, &shape)?;
    write_numbers(out, &[hyper.mels, mel::BINS as u32])?;
    for weight in mel::filters(hyper.mels) {
        out.write_all(&weight.to_le_bytes())?;
    }
    write_numbers(out, &[length(tokens.len())])?;
    for token in tokens {
        write_numbers(out, &[length(token.len())])?;
        out.write_all(token)?;
    }
    Ok(())
}

/// Writes what stands before the data of a tensor. `shape` is outermost first.
pub(super) fn write_tensor_header(
    out: &mut impl Write,
    name: &str,
    shape: &[u64],
    stored: TensorType,
) -> io::Result<()> {
    write_numbers(out, &[length(shape.len()), length(name.len()), stored.tensor_number()])?;
    for dimension in shape.iter().rev() {
        write_numbers(out, &[length(*dimension as usize)])?;
    }
    out.write_all(name.as_bytes())
}

pub(super) fn write_numbers(out: &mut impl Write, numbers: &[u32]) -> io::Result<()> {
    numbers.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))
}

fn length(n: usize) -> u32 {
    u32::try_from(n).expect("invariant: shapes, tokens and names were bounded when they were read")
}
