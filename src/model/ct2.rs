//! CTranslate2's `model.bin`, the form in which faster-whisper and its kin keep models: an index of
//! its variables, without their data.
//!
//! The file, little-endian: u32 version 6, the name of the specification, u32 revision, u32 count of
//! variables; per variable its name, u8 rank, u32 per dimension, u8 element type, u32 bytes, data;
//! u32 count of aliases; per alias its name and the variable it stands for. A name is a u16 length
//! and that many bytes, the last a NUL.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::bounded::{Bounded, ReadError};
use super::hyper::Hyper;
use super::layout::Source;
use super::tensor::Element;

const VERSION: u32 = 6;
const MAX_NAME: u64 = 512;
/// The largest Whisper model has about 1,300.
const MAX_VARIABLES: u32 = 16_384;
const MAX_RANK: u8 = 4;

/// Where a variable's data are and how to read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) shape: Vec<u64>,
    pub(super) element: Element,
    /// Of the first byte in the file.
    pub(super) offset: u64,
}

impl Variable {
    /// Elements of one step along the outermost dimension.
    pub(super) fn row(&self) -> u64 {
        self.shape.iter().skip(1).product()
    }
}

/// The variables of a file by name, aliases among them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variables(HashMap<String, Variable>);

impl Variables {
    /// Reads the index. The data are passed over, and lie within the file.
    pub(super) fn read<R: Read + Seek>(file: &mut Bounded<R>) -> Result<Variables, ReadError> {
        let version = file.u32()?;
        if version != VERSION {
            return Err(ReadError::malformed(format!(
                "it is not a CTranslate2 model of version {VERSION}"
            )));
        }
        let specification = name(file)?;
        if specification != "WhisperSpec" {
            return Err(ReadError::malformed(format!(
                "it is a CTranslate2 model, but of {specification}, not of Whisper"
            )));
        }
        let _revision = file.u32()?;
        let mut variables = HashMap::new();
        for _ in 0..count(file, "variables")? {
            let name = name(file)?;
            let variable = variable(file, &name)?;
            insert(&mut variables, name, variable)?;
        }
        for _ in 0..count(file, "aliases")? {
            let (alias, name) = (name(file)?, name(file)?);
            let Some(variable) = variables.get(&name).cloned() else {
                return Err(ReadError::malformed(format!(
                    "{alias} stands for {name}, which is not there"
                )));
            };
            insert(&mut variables, alias, variable)?;
        }
        if file.left() > 0 {
            return Err(ReadError::malformed("there are more bytes than its index tells of"));
        }
        Ok(Variables(variables))
    }

    pub(super) fn get(&self, name: &str) -> Result<&Variable, ReadError> {
        self.0.get(name).ok_or_else(|| ReadError::malformed(format!("{name} is missing")))
    }

    /// The scale that quantised weights were multiplied by.
    pub(super) fn scale_of(&self, source: &Source) -> Result<&Variable, ReadError> {
        self.get(&format!("{}_scale", source.variable))
    }

    /// The shape of the model, from the shapes of its variables.
    pub(super) fn hyper(&self) -> Result<Hyper, ReadError> {
        let embeddings = self.dimensions::<2>("decoder/embeddings/weight")?;
        let convolution = self.dimensions::<3>("encoder/conv1/weight")?;
        Hyper {
            vocabulary: embeddings[0],
            state: embeddings[1],
            encoder_layers: self.layers("encoder")?,
            decoder_layers: self.layers("decoder")?,
            mels: convolution[1],
        }
        .checked()
    }

    fn dimensions<const N: usize>(&self, name: &str) -> Result<[u32; N], ReadError> {
        let shape = &self.get(name)?.shape;
        let dimensions: Option<Vec<u32>> = shape.iter().map(|n| u32::try_from(*n).ok()).collect();
        dimensions.and_then(|shape| <[u32; N]>::try_from(shape).ok()).ok_or_else(|| {
            ReadError::malformed(format!("{name} has the shape {shape:?}, which cannot be"))
        })
    }

    /// One more than the highest layer that any variable of this side belongs to.
    fn layers(&self, side: &str) -> Result<u32, ReadError> {
        let prefix = format!("{side}/layer_");
        let mut layers = 0;
        for name in self.0.keys() {
            let Some((number, _)) = name.strip_prefix(&prefix).and_then(|n| n.split_once('/'))
            else {
                continue;
            };
            // `layer_norm` is not numbered.
            if let Ok(number) = number.parse::<u32>() {
                layers = layers.max(number.saturating_add(1));
            }
        }
        Ok(layers)
    }
}

fn insert(
    variables: &mut HashMap<String, Variable>,
    name: String,
    variable: Variable,
) -> Result<(), ReadError> {
    match variables.entry(name) {
        std::collections::hash_map::Entry::Occupied(taken) => {
            Err(ReadError::malformed(format!("{} is there twice", taken.key())))
        }
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(variable);
            Ok(())
        }
    }
}

fn count<R: Read + Seek>(file: &mut Bounded<R>, what: &str) -> Result<u32, ReadError> {
    let count = file.u32()?;
    if count > MAX_VARIABLES {
        return Err(ReadError::malformed(format!("{count} {what} are more than there can be")));
    }
    Ok(count)
}

fn name<R: Read + Seek>(file: &mut Bounded<R>) -> Result<String, ReadError> {
    let len = file.u16()?;
    let mut bytes = file.bytes(u64::from(len), MAX_NAME, "a name")?;
    if bytes.pop() != Some(0) {
        return Err(ReadError::malformed("a name does not end in NUL"));
    }
    String::from_utf8(bytes).map_err(|_| ReadError::malformed("a name is not text"))
}

fn variable<R: Read + Seek>(file: &mut Bounded<R>, name: &str) -> Result<Variable, ReadError> {
    let rank = file.u8()?;
    if rank > MAX_RANK {
        return Err(ReadError::malformed(format!("{name} has {rank} dimensions")));
    }
    let shape =
        (0..rank).map(|_| file.u32().map(u64::from)).collect::<Result<Vec<u64>, ReadError>>()?;
    let element = match file.u8()? {
        0 => Element::F32,
        1 => Element::I8,
        2 => Element::I16,
        3 => Element::I32,
        4 => Element::F16,
        5 => Element::Bf16,
        other => {
            return Err(ReadError::malformed(format!("{name} has the unknown type {other}")));
        }
    };
    let bytes = u64::from(file.u32()?);
    let needed = shape.iter().try_fold(element.bytes(), |n, dimension| n.checked_mul(*dimension));
    if needed != Some(bytes) {
        return Err(ReadError::malformed(format!(
            "{name} has {bytes} bytes, which is not what its shape {shape:?} takes"
        )));
    }
    let offset = file.at();
    file.skip(bytes)?;
    Ok(Variable { shape, element, offset })
}
