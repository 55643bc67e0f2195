//! Conversions, byte for byte. The digests are of what an independent converter in numpy made of the
//! same folders.

use std::fs;
use std::path::Path;

use super::synthetic::{self, ENGLISH, MULTILINGUAL, Numbers, Stored};
use crate::model::hyper::Hyper;
use crate::model::{ImportOptions, ModelInfo, Weights, digest, import};

fn converted(source: &Path, weights: Option<Weights>) -> (String, ModelInfo) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ImportOptions { name: Some("synthetic".to_owned()), weights };
    let imported = import(source, folder.path(), &options).expect("it converts");
    let sha256 = digest::of_file(&imported.path).expect("a file");
    assert_eq!(digest::recorded(&imported.path).expect("a record"), Some(sha256.clone()));
    (sha256, imported.info)
}

fn ct2(hyper: &Hyper, numbers: &Numbers, stored: Stored) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    synthetic::ct2_folder(folder.path(), hyper, &synthetic::model_bin(numbers, stored));
    folder
}

#[test]
fn f32_to_f16_and_q8_0() {
    let source = ct2(&ENGLISH, &synthetic::numbers(&ENGLISH), Stored::F32);
    let (f16, info) = converted(source.path(), None);
    assert_eq!(info.to_string(), "Whisper of its own shape, English, f16");
    let (q8_0, info) = converted(source.path(), Some(Weights::Q8_0));
    assert_eq!(info.to_string(), "Whisper of its own shape, English, q8_0");
    assert_eq!(f16, "8edd5e5aa7cc0030ad82597e9ca10a6828ee08b9a651b793294541309ba78f9d");
    assert_eq!(q8_0, "a64edf3a39453c957fb6df51d2b28b35349e398d002854acefa62e65e89a4d26");
}

#[test]
fn f16_to_f16_and_q8_0_multilingual() {
    let source = ct2(&MULTILINGUAL, &synthetic::numbers(&MULTILINGUAL), Stored::F16);
    let (f16, info) = converted(source.path(), Some(Weights::F16));
    assert_eq!(info.to_string(), "Whisper of its own shape, multilingual, f16");
    let (q8_0, _) = converted(source.path(), Some(Weights::Q8_0));
    assert_eq!(f16, "b736ae462ac96b14f78471114f45145bbacf810fbf87862d9d5dd7e900cabd18");
    assert_eq!(q8_0, "b910bfefc7c045623e337d1748c0082bb5cf8dc224841fd1b426885b58266a2e");
}

#[test]
fn int8_int16_and_bf16_are_the_numbers_they_stand_for() {
    let numbers = synthetic::numbers(&ENGLISH);
    for stored in [Stored::Int8, Stored::Int16] {
        let quantised = ct2(&ENGLISH, &numbers, stored);
        let plain = ct2(&ENGLISH, &synthetic::requantised(&numbers, stored), Stored::F32);
        assert_eq!(converted(quantised.path(), None), converted(plain.path(), None), "{stored:?}");
    }
    let mut short = numbers.clone();
    let cut = |x: &mut f32| *x = f32::from_bits(x.to_bits() & 0xffff_0000);
    short.values_mut().flat_map(|(_, numbers)| numbers).for_each(cut);
    let bf16 = ct2(&ENGLISH, &numbers, Stored::Bf16);
    let plain = ct2(&ENGLISH, &short, Stored::F32);
    assert_eq!(converted(bf16.path(), None), converted(plain.path(), None));
}

#[test]
fn silero() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("voice.safetensors");
    fs::write(&source, synthetic::safetensors()).expect("a file");
    let (sha256, info) = converted(&source, None);
    assert_eq!(info, ModelInfo::Vad { version: [6, 2, 0] });
    assert_eq!(sha256, "85dcfa07ca5153010a68660ebba2ce05dc8735a6528d7760a99c523edddbb219");
}
