//! The safetensors format: a u64 length, that many bytes of JSON which describe each tensor, then
//! the data.

use std::collections::HashMap;
use std::io::{Read, Seek};

use serde::Deserialize;

use super::bounded::{Bounded, ReadError};
use super::tensor::Element;

/// Silero's takes 1,208 bytes.
const MAX_HEADER: u64 = 1024 * 1024;

/// Where the tensors of a file are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tensors(HashMap<String, Stored>);

/// One tensor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) shape: Vec<u64>,
    pub(super) element: Element,
    /// Of its first byte in the file.
    pub(super) offset: u64,
}

#[derive(Deserialize)]
struct Description {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Tensors {
    /// Reads the descriptions. All data lie within the file, and end where it does.
    pub(super) fn read<R: Read + Seek>(file: &mut Bounded<R>) -> Result<Tensors, ReadError> {
        let len = file.u64()?;
        let header = file.bytes(len, MAX_HEADER, "its header")?;
        let (start, room) = (file.at(), file.left());
        let described: HashMap<String, serde_json::Value> = serde_json::from_slice(&header)
            .map_err(|error| ReadError::malformed(format!("its header is not JSON: {error}")))?;
        let mut tensors = HashMap::new();
        let mut end = 0;
        for (name, value) in described {
            if name == "__metadata__" {
                continue;
            }
            let description = Description::deserialize(value).map_err(|error| {
                ReadError::malformed(format!("{name} is not described: {error}"))
            })?;
            end = end.max(description.data_offsets.1);
            let stored = stored(&name, description, start, room)?;
            tensors.insert(name, stored);
        }
        if end != room {
            return Err(ReadError::malformed("its data do not end where the file does"));
        }
        Ok(Tensors(tensors))
    }

    /// The tensor of this name, which must have this shape.
    pub(super) fn get(&self, name: &str, shape: &[u64]) -> Result<&Stored, ReadError> {
        match self.0.get(name) {
            Some(stored) if stored.shape == shape => Ok(stored),
            Some(stored) => Err(ReadError::malformed(format!(
                "{name} has the shape {:?} instead of {shape:?}",
                stored.shape
            ))),
            None => Err(ReadError::malformed(format!("{name} is missing"))),
        }
    }
}

fn stored(
    name: &str,
    description: Description,
    start: u64,
    room: u64,
) -> Result<Stored, ReadError> {
    let element = match description.dtype.as_str() {
        "F32" => Element::F32,
        "F16" => Element::F16,
        "BF16" => Element::Bf16,
        other => return Err(ReadError::malformed(format!("{name} has the type {other}"))),
    };
    let (from, to) = description.data_offsets;
    let shape = description.shape;
    let needed = shape.iter().try_fold(element.bytes(), |n, dimension| n.checked_mul(*dimension));
    let held = to.checked_sub(from).filter(|_| to <= room);
    if needed.is_none() || needed != held {
        return Err(ReadError::malformed(format!("the data of {name} are not where it says")));
    }
    Ok(Stored { shape, element, offset: start + from })
}
