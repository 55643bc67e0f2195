//! Broken files: whatever is cut or flipped ends in an error or in a file of the same shape, and
//! never in a panic or in memory that the file does not account for.

use std::io::{Cursor, sink};
use std::ops::Range;

use super::synthetic::{self, ENGLISH, Random, Stored};
use crate::model::bounded::{Bounded, ReadError};
use crate::model::check::check;
use crate::model::convert::Plan;
use crate::model::ct2::Variables;
use crate::model::safetensors::Tensors;
use crate::model::silero;
use crate::model::tensor::TensorType;
use crate::model::vocabulary::{self, Form};
use crate::model::{ModelInfo, hyper::Hyper};

/// Reads bytes as one of the formats; what it says of them is to stay the same.
type Parse<T> = fn(&[u8]) -> Result<T, ReadError>;

fn bounded(bytes: &[u8]) -> Bounded<Cursor<&[u8]>> {
    Bounded::new(Cursor::new(bytes)).expect("memory can be read")
}

fn ct2(bytes: &[u8]) -> Result<Hyper, ReadError> {
    Variables::read(&mut bounded(bytes)).and_then(|v| Plan::new(&v)).map(|plan| plan.hyper)
}

fn safetensors(bytes: &[u8]) -> Result<(), ReadError> {
    Tensors::read(&mut bounded(bytes)).and_then(|t| silero::Plan::new(&t)).map(drop)
}

fn ggml(bytes: &[u8]) -> Result<ModelInfo, ReadError> {
    check(&mut bounded(bytes))
}

/// Cuts the file at each of `ends`: all must be refused.
fn cuts<T>(file: &[u8], ends: impl Iterator<Item = usize>, parse: Parse<T>) -> usize {
    let refused = |end: usize| assert!(parse(&file[..end]).is_err(), "cut at {end}");
    ends.inspect(|end| refused(*end)).count()
}

/// Flips each bit of `places`, one at a time: each must be refused, or read as before.
fn flips<T: PartialEq + std::fmt::Debug>(
    file: &[u8],
    places: impl Iterator<Item = usize>,
    parse: Parse<T>,
) -> (usize, usize) {
    let good = parse(file).expect("it is good as it is");
    let mut file = file.to_vec();
    let (mut refused, mut passed) = (0, 0);
    for place in places {
        for bit in 0..8 {
            file[place] ^= 1 << bit;
            match parse(&file) {
                Ok(read) => {
                    assert_eq!(read, good, "bit {bit} of byte {place}");
                    passed += 1;
                }
                Err(_) => refused += 1,
            }
            file[place] ^= 1 << bit;
        }
    }
    (refused, passed)
}

/// Overwrites a few random bytes among `places`, many times: nothing may panic.
fn scribbles<T>(file: &[u8], places: &[usize], parse: Parse<T>) {
    let mut random = Random::new(3);
    let mut scribbled = file.to_vec();
    for _ in 0..2000 {
        let hits: Vec<usize> =
            (0..4).map(|_| places[random.next() as usize % places.len()]).collect();
        hits.iter().for_each(|hit| scribbled[*hit] = random.next() as u8);
        // Either is fine, as long as it comes back.
        let _ = parse(&scribbled);
        hits.iter().for_each(|hit| scribbled[*hit] = file[*hit]);
    }
}

/// The places of a `model.bin` that are not data, by the format and not by the code under test.
fn ct2_structure(file: &[u8]) -> Vec<usize> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let u32_at =
        |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes")) as usize;
    let mut at = 4 + 2 + u16_at(4) + 4;
    let variables = u32_at(at);
    at += 4;
    let mut structure: Vec<usize> = (0..at).collect();
    for _ in 0..variables {
        let start = at;
        at += 2 + u16_at(at);
        at += 1 + 4 * usize::from(file[at]) + 1;
        let bytes = u32_at(at);
        at += 4;
        structure.extend(start..at);
        at += bytes;
    }
    structure.extend(at..file.len());
    structure
}

#[test]
fn ctranslate2() {
    for stored in [Stored::F16, Stored::Int8] {
        let file = synthetic::model_bin(&synthetic::numbers(&ENGLISH), stored);
        let structure = ct2_structure(&file);
        assert_eq!(cuts(&file, structure.iter().copied(), ct2), structure.len());
        assert!(cuts(&file, (0..file.len()).step_by(9973), ct2) > 300);
        let (refused, passed) = flips(&file, structure.iter().copied(), ct2);
        // What passes: the revision, names nobody asks for, f16 read as bf16.
        assert!(refused > 9 * passed, "{refused} refused, {passed} passed");
        scribbles(&file, &structure, ct2);
    }
}

#[test]
fn what_passes_in_a_ctranslate2_file_can_be_converted() {
    let hyper = ENGLISH;
    let words = synthetic::words(&hyper).join("\n");
    let tokens = vocabulary::tokens(words.as_bytes(), Form::Lines, &hyper).expect("a vocabulary");
    let good = synthetic::model_bin(&synthetic::numbers(&hyper), Stored::F16);
    let mut random = Random::new(4);
    let mut converted = 0;
    for _ in 0..24 {
        let mut file = good.clone();
        // Among the data nearly always: any bytes are numbers there.
        for _ in 0..8 {
            let place = random.next() as usize % file.len();
            file[place] = random.next() as u8;
        }
        let mut file = bounded(&file);
        let Ok(plan) = Variables::read(&mut file).and_then(|v| Plan::new(&v)) else { continue };
        for weights in [TensorType::F16, TensorType::Q8_0] {
            plan.write(&mut file, &tokens, weights, &mut sink()).expect("it converts");
        }
        converted += 1;
    }
    assert!(converted > 12, "{converted}");
}

#[test]
fn vocabularies() {
    let lines = synthetic::words(&ENGLISH).join("\n");
    let json = serde_json::to_string(&synthetic::words(&ENGLISH)).expect("words are JSON");
    for (text, form) in [(lines, Form::Lines), (json, Form::Json)] {
        let tokens = |text: &[u8]| vocabulary::tokens(text, form, &ENGLISH);
        let good = tokens(text.as_bytes()).expect("a vocabulary");
        assert_eq!(good.len(), 50_257);
        let end = text.find("<|endoftext|>").expect("the end of text");
        for cut in (0..end).step_by(4999) {
            assert!(tokens(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        let mut bytes = text.clone().into_bytes();
        for place in (0..bytes.len()).step_by(4999) {
            bytes[place] ^= 1 << (place % 8);
            if let Ok(read) = tokens(&bytes) {
                assert_eq!(read.len(), good.len(), "byte {place}");
            }
            bytes[place] ^= 1 << (place % 8);
        }
    }
}

#[test]
fn safetensors_files() {
    let file = synthetic::safetensors();
    let header = 8 + u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    assert_eq!(cuts(&file, 0..header, safetensors), header);
    assert!(cuts(&file, (header..file.len()).step_by(997), safetensors) > 1000);
    let (refused, passed) = flips(&file, 0..header, safetensors);
    // What passes: the metadata, and spaces that become other spaces.
    assert!(refused > 9 * passed, "{refused} refused, {passed} passed");
    scribbles(&file, &(0..header).collect::<Vec<_>>(), safetensors);
}

fn silero_ggml() -> Vec<u8> {
    let source = synthetic::safetensors();
    let mut source = bounded(&source);
    let plan = Tensors::read(&mut source).and_then(|t| silero::Plan::new(&t)).expect("a detector");
    let mut file = Vec::new();
    plan.write(&mut source, &mut file).expect("it converts");
    file
}

/// The places of a ggml file's tensors that are not data, from `at` on.
fn ggml_structure(file: &[u8], mut at: usize) -> Vec<usize> {
    let u32_at =
        |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes")) as usize;
    let mut structure = Vec::new();
    while at < file.len() {
        let (rank, name, stored) = (u32_at(at), u32_at(at + 4), u32_at(at + 8));
        let elements: usize = (0..rank).map(|i| u32_at(at + 12 + 4 * i)).product();
        let end = at + 12 + 4 * rank + name;
        structure.extend(at..end);
        at = end
            + match stored {
                0 => elements * 4,
                1 => elements * 2,
                8 => elements / 32 * 34,
                other => panic!("no such type is written: {other}"),
            };
    }
    structure
}

#[test]
fn ggml_voice_detectors() {
    const HEADER: usize = 4 + 4 + 10 + 3 * 4 + 19 * 4;
    const VERSION: Range<usize> = 18..30;
    let file = silero_ggml();
    let mut structure: Vec<usize> = (0..HEADER).filter(|i| !VERSION.contains(i)).collect();
    structure.extend(ggml_structure(&file, HEADER));
    assert_eq!(cuts(&file, structure.iter().copied(), ggml), structure.len());
    assert!(cuts(&file, (HEADER..file.len()).step_by(997), ggml) > 800);
    let (refused, passed) = flips(&file, structure.iter().copied(), ggml);
    // A last convolution of one dimension more, whose length is one, is the same.
    assert!(passed < 8, "{refused} refused, {passed} passed");
    scribbles(&file, &structure, ggml);
}

#[test]
fn ggml_whisper_models() {
    let words = synthetic::words(&ENGLISH).join("\n");
    let tokens = vocabulary::tokens(words.as_bytes(), Form::Lines, &ENGLISH).expect("a vocabulary");
    let source = synthetic::model_bin(&synthetic::numbers(&ENGLISH), Stored::F16);
    let mut source = bounded(&source);
    let plan = Variables::read(&mut source).and_then(|v| Plan::new(&v)).expect("a model");
    let mut file = Vec::new();
    plan.write(&mut source, &tokens, TensorType::Q8_0, &mut file).expect("it converts");

    let filters = 48 + 8 + 80 * 201 * 4;
    let text = 4 + tokens.iter().map(|token| 4 + token.len()).sum::<usize>();
    let tensors = ggml_structure(&file, filters + text);
    // A walk takes the time of 50,000 tokens: every place of the header, a sample of the others.
    let header = (0..56).chain(filters..filters + 8);
    let sample = || tensors.iter().copied().step_by(23);
    assert_eq!(cuts(&file, header.clone(), ggml), 64);
    assert!(cuts(&file, (64..filters + text).step_by(9973).chain(sample()), ggml) > 100);
    let (refused, passed) = flips(&file, header.chain(sample()), ggml);
    // The quantisation's version, and the first token's text or the length that hides in it.
    assert!(refused > 100 * passed, "{refused} refused, {passed} passed");
}
