//! Turning tensors of one form into another, a piece at a time: what is in memory does not grow with
//! the model.

use std::io::{Read, Seek, Write};

use super::bounded::{Bounded, ReadError};
use super::ct2::{Variable, Variables};
use super::ggml;
use super::hyper::Hyper;
use super::layout::{self, Source, Tensor};
use super::tensor::{self, Element, TensorType};

/// Elements converted at a time, in whole rows: 64 Ki, 256 KiB as f32.
const PIECE: u64 = 64 * 1024;

/// A conversion of a CTranslate2 model whose structure has been checked as a whole: what is left to
/// fail is the disk.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) hyper: Hyper,
    tensors: Vec<(Tensor, Slice)>,
    zeros: Vec<Slice>,
}

/// A part of a variable: whole rows of it.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// Of its first byte in the file.
    offset: u64,
    element: Element,
    rows: u64,
    /// Elements of a row.
    columns: u64,
    scale: Option<Scale>,
}

/// Where the factors are that quantised weights were multiplied by: one for the whole variable, or
/// one for each row of the slice.
#[derive(Clone, Debug)]
struct Scale {
    offset: u64,
    element: Element,
    count: u64,
}

impl Plan {
    /// Finds the data of every tensor, and refuses a file that lacks one or has it in another shape.
    pub(super) fn new(variables: &Variables) -> Result<Plan, ReadError> {
        let hyper = variables.hyper()?;
        let tensors = layout::tensors(&hyper)
            .into_iter()
            .map(|tensor| {
                let slice = slice(variables, &tensor.source, &tensor.source_shape())?;
                Ok((tensor, slice))
            })
            .collect::<Result<Vec<_>, ReadError>>()?;
        let zeros = layout::key_biases(&hyper)
            .into_iter()
            .map(|source| {
                let shape = [u64::from(hyper.state) * source.parts];
                slice(variables, &source, &shape)
            })
            .collect::<Result<Vec<_>, ReadError>>()?;
        Ok(Plan { hyper, tensors, zeros })
    }

    /// Writes the model as ggml, its matrices as `weights`.
    pub(super) fn write<R: Read + Seek>(
        &self,
        file: &mut Bounded<R>,
        tokens: &[Vec<u8>],
        weights: TensorType,
        out: &mut impl Write,
    ) -> Result<(), ConvertError> {
        for zero in &self.zeros {
            zero.read(file, |numbers| {
                if numbers.iter().all(|x| *x == 0.0) {
                    Ok(())
                } else {
                    let why = "its attention keys have a bias, which whisper.cpp cannot express";
                    Err(ConvertError::Read(ReadError::malformed(why)))
                }
            })?;
        }
        ggml::write_header(out, &self.hyper, weights, tokens).map_err(ConvertError::Write)?;
        for (tensor, slice) in &self.tensors {
            let stored = tensor.stored(weights);
            ggml::write_tensor_header(out, &tensor.name, &tensor.shape, stored)
                .map_err(ConvertError::Write)?;
            slice.copy(file, stored, out)?;
        }
        Ok(())
    }
}

/// Which side of a conversion failed.
#[derive(Debug)]
pub(super) enum ConvertError {
    Read(ReadError),
    Write(std::io::Error),
}

impl From<ReadError> for ConvertError {
    fn from(error: ReadError) -> ConvertError {
        ConvertError::Read(error)
    }
}

fn slice(variables: &Variables, source: &Source, shape: &[u64]) -> Result<Slice, ReadError> {
    let variable = variables.get(&source.variable)?;
    if variable.shape != shape {
        return Err(ReadError::malformed(format!(
            "{} has the shape {:?} instead of {shape:?}",
            source.variable, variable.shape
        )));
    }
    let mut slice = Slice::of(variable, source);
    if variable.element.is_quantised() {
        slice.scale = Some(scale(variables, source, variable.shape[0], slice.rows)?);
    }
    Ok(slice)
}

fn scale(
    variables: &Variables,
    source: &Source,
    all_rows: u64,
    rows: u64,
) -> Result<Scale, ReadError> {
    let variable = variables.scale_of(source)?;
    let count = variable.shape.iter().product::<u64>();
    let Variable { element, offset, .. } = *variable;
    if element.is_quantised() {
        return Err(ReadError::malformed(format!("the scale of {} is quantised", source.variable)));
    }
    match count {
        1 => Ok(Scale { offset, element, count }),
        n if n == all_rows => Ok(Scale {
            offset: offset + source.part * rows * element.bytes(),
            element,
            count: rows,
        }),
        _ => Err(ReadError::malformed(format!(
            "{} has {count} scales for {all_rows} rows",
            source.variable
        ))),
    }
}

impl Slice {
    fn of(variable: &Variable, source: &Source) -> Slice {
        let rows = variable.shape[0] / source.parts;
        let columns = variable.row();
        Slice {
            offset: variable.offset + source.part * rows * columns * variable.element.bytes(),
            element: variable.element,
            rows,
            columns,
            scale: None,
        }
    }

    /// All of a variable that is not quantised, as one row after the other.
    pub(super) fn whole(offset: u64, element: Element, rows: u64, columns: u64) -> Slice {
        Slice { offset, element, rows, columns, scale: None }
    }

    /// Writes the slice as `stored`, which is a type that this program writes.
    pub(super) fn copy<R: Read + Seek>(
        &self,
        file: &mut Bounded<R>,
        stored: TensorType,
        out: &mut impl Write,
    ) -> Result<(), ConvertError> {
        let encode = match stored {
            TensorType::F16 => tensor::encode_f16,
            TensorType::Q8_0 => tensor::encode_q8_0,
            _ => tensor::encode_f32,
        };
        let mut bytes = Vec::new();
        self.read(file, |numbers| {
            bytes.clear();
            encode(numbers, &mut bytes);
            out.write_all(&bytes).map_err(ConvertError::Write)
        })
    }

    /// Hands the numbers to `take` in pieces of whole rows.
    fn read<R: Read + Seek>(
        &self,
        file: &mut Bounded<R>,
        mut take: impl FnMut(&[f32]) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        let scales = self.scales(file)?;
        let rows_at_once = (PIECE / self.columns.max(1)).max(1);
        let mut bytes = Vec::new();
        let mut numbers = Vec::new();
        let mut row = 0;
        while row < self.rows {
            let rows = rows_at_once.min(self.rows - row);
            bytes.resize((rows * self.columns * self.element.bytes()) as usize, 0);
            file.read_at(self.offset + row * self.columns * self.element.bytes(), &mut bytes)?;
            numbers.clear();
            self.element.decode(&bytes, &mut numbers);
            if !scales.is_empty() {
                let scales = scales.iter().cycle().skip(row as usize % scales.len());
                let rows = numbers.chunks_mut(self.columns as usize);
                rows.zip(scales).for_each(|(row, scale)| row.iter_mut().for_each(|x| *x /= scale));
            }
            take(&numbers)?;
            row += rows;
        }
        Ok(())
    }

    /// The factors to divide the rows by: none, one for all, or one each.
    fn scales<R: Read + Seek>(&self, file: &mut Bounded<R>) -> Result<Vec<f32>, ReadError> {
        let Some(scale) = &self.scale else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; (scale.count * scale.element.bytes()) as usize];
        file.read_at(scale.offset, &mut bytes)?;
        let mut scales = Vec::new();
        scale.element.decode(&bytes, &mut scales);
        Ok(scales)
    }
}
