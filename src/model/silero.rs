//! Silero's voice detector: its tensors, the way from safetensors to whisper.cpp's file, and the
//! check of such a file. There is one shape of it.

use std::io::{Read, Seek, Write};

use super::bounded::{Bounded, ReadError};
use super::convert::{ConvertError, Slice};
use super::ggml;
use super::safetensors::Tensors;
use super::tensor::TensorType;

/// The name in the file, where a Whisper model has the size of its vocabulary.
pub(super) const KIND: &[u8] = b"silero-16k";
/// The name of the published model that this shape belongs to.
pub(super) const NAME: &str = "silero-v6.2.0";
const VERSION: [u32; 3] = [6, 2, 0];
/// Samples of a window, samples of the one before that it begins with, layers of the encoder; per
/// layer channels in, channels out and the kernel; width of the memory in and out; channels of the
/// last convolution in and out.
const SHAPE: [u32; 19] =
    [512, 64, 4, 129, 128, 3, 128, 64, 3, 64, 64, 3, 64, 128, 3, 128, 128, 128, 1];

/// One tensor: its name in whisper.cpp, its name in Silero's safetensors, its shape there, its
/// shape in the ggml file (outermost first), its type in the ggml file.
struct Tensor {
    name: &'static str,
    source: &'static str,
    source_shape: &'static [u64],
    shape: &'static [u64],
    stored: TensorType,
}

#[rustfmt::skip]
const TENSORS: [Tensor; 15] = {
    const fn tensor(name: &'static str, source: &'static str, source_shape: &'static [u64], shape: &'static [u64], stored: TensorType) -> Tensor {
        Tensor { name, source, source_shape, shape, stored }
    }
    use TensorType::{F16, F32};
    [
        tensor("_model.encoder.0.reparam_conv.weight", "conv1.weight", &[128, 129, 3], &[128, 129, 3], F16),
        tensor("_model.encoder.0.reparam_conv.bias", "conv1.bias", &[128], &[128], F32),
        tensor("_model.encoder.1.reparam_conv.weight", "conv2.weight", &[64, 128, 3], &[64, 128, 3], F16),
        tensor("_model.encoder.1.reparam_conv.bias", "conv2.bias", &[64], &[64], F32),
        tensor("_model.encoder.2.reparam_conv.weight", "conv3.weight", &[64, 64, 3], &[64, 64, 3], F16),
        tensor("_model.encoder.2.reparam_conv.bias", "conv3.bias", &[64], &[64], F32),
        tensor("_model.encoder.3.reparam_conv.weight", "conv4.weight", &[128, 64, 3], &[128, 64, 3], F16),
        tensor("_model.encoder.3.reparam_conv.bias", "conv4.bias", &[128], &[128], F32),
        tensor("_model.decoder.rnn.weight_ih", "lstm_cell.weight_ih", &[512, 128], &[512, 128], F32),
        tensor("_model.decoder.rnn.weight_hh", "lstm_cell.weight_hh", &[512, 128], &[512, 128], F32),
        tensor("_model.decoder.rnn.bias_ih", "lstm_cell.bias_ih", &[512], &[512], F32),
        tensor("_model.decoder.rnn.bias_hh", "lstm_cell.bias_hh", &[512], &[512], F32),
        tensor("_model.decoder.decoder.2.weight", "final_conv.weight", &[1, 128, 1], &[128], F16),
        tensor("_model.decoder.decoder.2.bias", "final_conv.bias", &[1], &[1], F32),
        tensor("_model.stft.forward_basis_buffer", "stft_conv.weight", &[258, 1, 256], &[258, 1, 256], F16),
    ]
};

/// A conversion whose structure has been checked as a whole.
#[derive(Debug)]
pub(super) struct Plan(Vec<Slice>);

impl Plan {
    /// Finds the data of every tensor.
    pub(super) fn new(tensors: &Tensors) -> Result<Plan, ReadError> {
        TENSORS
            .iter()
            .map(|tensor| {
                let stored = tensors.get(tensor.source, tensor.source_shape)?;
                let elements = tensor.source_shape.iter().product();
                Ok(Slice::whole(stored.offset, stored.element, elements, 1))
            })
            .collect::<Result<Vec<_>, ReadError>>()
            .map(Plan)
    }

    /// Writes the detector as ggml.
    pub(super) fn write<R: Read + Seek>(
        &self,
        file: &mut Bounded<R>,
        out: &mut impl Write,
    ) -> Result<(), ConvertError> {
        write_header(out).map_err(ConvertError::Write)?;
        for (tensor, slice) in TENSORS.iter().zip(&self.0) {
            ggml::write_tensor_header(out, tensor.name, tensor.shape, tensor.stored)
                .map_err(ConvertError::Write)?;
            slice.copy(file, tensor.stored, out)?;
        }
        Ok(())
    }
}

fn write_header(out: &mut impl Write) -> std::io::Result<()> {
    ggml::write_numbers(out, &[ggml::MAGIC, KIND.len() as u32])?;
    out.write_all(KIND)?;
    ggml::write_numbers(out, &VERSION)?;
    ggml::write_numbers(out, &SHAPE)
}

/// Reads what follows the kind in the file, and says the version.
pub(super) fn read_header<R: Read + Seek>(file: &mut Bounded<R>) -> Result<[u32; 3], ReadError> {
    let version = [file.u32()?, file.u32()?, file.u32()?];
    for expected in SHAPE {
        if file.u32()? != expected {
            return Err(ReadError::malformed("it has not the shape of Silero's voice detector"));
        }
    }
    Ok(version)
}

/// The tensors that a file must have: name, shape as ggml compares it, type.
pub(super) fn expected() -> impl Iterator<Item = (String, [u64; 4], TensorType)> {
    TENSORS.iter().map(|tensor| {
        let mut shape = [1; 4];
        for (to, from) in shape.iter_mut().zip(tensor.shape.iter().rev()) {
            *to = *from;
        }
        (tensor.name.to_owned(), shape, tensor.stored)
    })
}

/// The tensors of the safetensors file: name and shape.
#[cfg(test)]
pub(super) fn sources() -> impl Iterator<Item = (&'static str, &'static [u64])> {
    TENSORS.iter().map(|tensor| (tensor.source, tensor.source_shape))
}
