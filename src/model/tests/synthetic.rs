//! Models of the smallest size that keep to Whisper's shape rules, made of numbers that are the same
//! on every machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::model::hyper::Hyper;
use crate::model::layout;
use crate::model::silero;
use crate::model::tensor;

/// One layer on each side.
pub(in crate::model) const ENGLISH: Hyper =
    Hyper { vocabulary: 51_864, state: 64, encoder_layers: 1, decoder_layers: 1, mels: 80 };
/// As large-v3 has it, but narrow.
pub(in crate::model) const MULTILINGUAL: Hyper =
    Hyper { vocabulary: 51_866, state: 64, encoder_layers: 2, decoder_layers: 1, mels: 128 };

/// Marsaglia's xorshift.
pub(in crate::model) struct Random(u64);

impl Random {
    pub(in crate::model) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(in crate::model) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between -0.5 and 0.5.
    fn number(&mut self) -> f32 {
        ((self.next() >> 40) as f32 - 8_388_608.0) / 16_777_216.0
    }
}

/// The variables of a model by name: shape and numbers.
pub(in crate::model) type Numbers = BTreeMap<String, (Vec<u64>, Vec<f32>)>;

/// Numbers for every variable of a model. The biases of keys are zero.
pub(in crate::model) fn numbers(hyper: &Hyper) -> Numbers {
    let mut random = Random::new(1);
    let mut all = Numbers::new();
    for tensor in layout::tensors(hyper) {
        let shape = tensor.source_shape();
        all.entry(tensor.source.variable).or_insert_with(|| {
            let count = shape.iter().product::<u64>();
            (shape, (0..count).map(|_| random.number()).collect())
        });
    }
    for key in layout::key_biases(hyper) {
        let (_, bias) = all.get_mut(&key.variable).expect("the bias of the fused layer");
        let part = bias.len() / key.parts as usize;
        bias[part * key.part as usize..][..part].fill(0.0);
    }
    all
}

/// How the variables of a model are stored in its file.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) enum Stored {
    F32,
    F16,
    Bf16,
    /// Weights as i8 with a scale for each row, the rest as f32.
    Int8,
    /// Weights as i16 with one scale, the rest as f32.
    Int16,
}

/// A `model.bin`. The final norms' biases are one variable and an alias of it.
pub(in crate::model) fn model_bin(numbers: &Numbers, stored: Stored) -> Vec<u8> {
    let mut variables: Vec<(String, Vec<u64>, u8, Vec<u8>)> = Vec::new();
    for (name, (shape, numbers)) in numbers {
        if name == ALIAS.0 {
            continue;
        }
        let is_weight = name.ends_with("/weight");
        match stored {
            Stored::Int8 if is_weight => {
                let (bytes, scales) = int8(numbers, shape[0]);
                variables.push((name.clone(), shape.clone(), 1, bytes));
                variables.push((format!("{name}_scale"), vec![shape[0]], 0, f32s(&scales)));
            }
            Stored::Int16 if is_weight => {
                let (bytes, scale) = int16(numbers);
                variables.push((name.clone(), shape.clone(), 2, bytes));
                variables.push((format!("{name}_scale"), vec![], 0, f32s(&[scale])));
            }
            Stored::F16 => {
                let mut bytes = Vec::new();
                tensor::encode_f16(numbers, &mut bytes);
                variables.push((name.clone(), shape.clone(), 4, bytes));
            }
            Stored::Bf16 => {
                let high = |x: &f32| ((x.to_bits() >> 16) as u16).to_le_bytes();
                let bytes = numbers.iter().flat_map(high).collect();
                variables.push((name.clone(), shape.clone(), 5, bytes));
            }
            Stored::F32 | Stored::Int8 | Stored::Int16 => {
                variables.push((name.clone(), shape.clone(), 0, f32s(numbers)));
            }
        }
    }
    variables.push(("encoder/num_heads".to_owned(), vec![], 2, vec![1, 0]));
    let mut file = 6_u32.to_le_bytes().to_vec();
    text(&mut file, "WhisperSpec");
    file.extend(3_u32.to_le_bytes());
    file.extend((variables.len() as u32).to_le_bytes());
    for (name, shape, element, bytes) in variables {
        text(&mut file, &name);
        file.push(shape.len() as u8);
        shape.iter().for_each(|n| file.extend((*n as u32).to_le_bytes()));
        file.push(element);
        file.extend((bytes.len() as u32).to_le_bytes());
        file.extend(bytes);
    }
    file.extend(1_u32.to_le_bytes());
    text(&mut file, ALIAS.0);
    text(&mut file, ALIAS.1);
    file
}

/// A variable that is only there as another name of the second.
pub(in crate::model) const ALIAS: (&str, &str) =
    ("encoder/layer_norm/beta", "decoder/layer_norm/beta");

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u16 + 1).to_le_bytes());
    file.extend(text.as_bytes());
    file.push(0);
}

fn f32s(numbers: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    tensor::encode_f32(numbers, &mut bytes);
    bytes
}

/// CTranslate2's way of quantising: rows are multiplied by 127 over their largest number.
fn int8(numbers: &[f32], rows: u64) -> (Vec<u8>, Vec<f32>) {
    let mut scales = Vec::new();
    let mut bytes = Vec::new();
    for row in numbers.chunks(numbers.len() / rows as usize) {
        let most = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let scale = 127.0 / if most == 0.0 { 127.0 } else { most };
        bytes.extend(row.iter().map(|x| (x * scale).round_ties_even() as i8 as u8));
        scales.push(scale);
    }
    (bytes, scales)
}

/// The same with all multiplied by 1024 over the largest.
fn int16(numbers: &[f32]) -> (Vec<u8>, f32) {
    let most = numbers.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = 1024.0 / most;
    let quantise = |x: &f32| ((x * scale).round_ties_even() as i16).to_le_bytes();
    (numbers.iter().flat_map(quantise).collect(), scale)
}

/// The numbers that are left of `numbers` when they are stored as int8 or int16.
pub(in crate::model) fn requantised(numbers: &Numbers, stored: Stored) -> Numbers {
    let mut numbers = numbers.clone();
    for (name, (shape, numbers)) in &mut numbers {
        if !name.ends_with("/weight") {
            continue;
        }
        let columns = numbers.len() / shape[0] as usize;
        match stored {
            Stored::Int8 => {
                let (bytes, scales) = int8(numbers, shape[0]);
                for (i, x) in numbers.iter_mut().enumerate() {
                    *x = f32::from(bytes[i].cast_signed()) / scales[i / columns];
                }
            }
            Stored::Int16 => {
                let (bytes, scale) = int16(numbers);
                for (i, x) in numbers.iter_mut().enumerate() {
                    *x = f32::from(i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])) / scale;
                }
            }
            Stored::F32 | Stored::F16 | Stored::Bf16 => {}
        }
    }
    numbers
}

/// Tokens up to the one after the end of text, as the vocabulary's files write them.
pub(in crate::model) fn words(hyper: &Hyper) -> Vec<String> {
    let single = (0..0x144).filter_map(char::from_u32).filter(|c| {
        // What GPT-2 moves out of the way: controls, spaces, the soft hyphen.
        !matches!(u32::from(*c), 0x00..=0x20 | 0x7f..=0xa0 | 0xad)
    });
    let mut words: Vec<String> = single.map(String::from).collect();
    assert_eq!(words.len(), 256);
    words.extend((256..hyper.end_of_text()).map(|i| format!("Ġ{i:x}")));
    words.extend(["<|endoftext|>", "<|startoftranscript|>"].map(str::to_owned));
    words
}

/// A folder as faster-whisper keeps it.
pub(in crate::model) fn ct2_folder(folder: &Path, hyper: &Hyper, model: &[u8]) {
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("model.bin"), model).expect("model.bin");
    let words = words(hyper);
    if hyper.is_multilingual() {
        let json = serde_json::to_string(&words).expect("words are JSON");
        fs::write(folder.join("vocabulary.json"), json).expect("vocabulary.json");
    } else {
        let text = words.join("\n") + "\n";
        fs::write(folder.join("vocabulary.txt"), text).expect("vocabulary.txt");
    }
}

/// A voice detector in safetensors.
pub(in crate::model) fn safetensors() -> Vec<u8> {
    let mut random = Random::new(2);
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    header.insert("__metadata__".to_owned(), serde_json::json!({ "format": "pt" }));
    for (name, shape) in silero::sources() {
        let start = data.len();
        let count = shape.iter().product::<u64>();
        data.extend((0..count).flat_map(|_| random.number().to_le_bytes()));
        let description = serde_json::json!({
            "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()],
        });
        header.insert(name.to_owned(), description);
    }
    let header = serde_json::to_vec(&header).expect("a header is JSON");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}
