//! What is in a folder, and what comes into it.

use std::fs;
use std::path::{Path, PathBuf};

use super::synthetic::{self, ENGLISH, MULTILINGUAL, Stored};
use crate::model::hyper::Hyper;
use crate::model::layout;
use crate::model::tensor::TensorType;
use crate::model::{
    Here, ImportOptions, KNOWN, ModelError, Verified, Weights, check_file, file_of, import, known,
    leftovers_in, models_in, name_of, only_model, resolve, verify,
};

/// A folder with a voice detector `voice` and the source it was made of.
fn with_voice() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("voice.safetensors");
    fs::write(&source, synthetic::safetensors()).expect("a file");
    import_as(&source, folder.path(), "voice").expect("it converts");
    (folder, source)
}

fn import_as(source: &Path, folder: &Path, name: &str) -> Result<PathBuf, ModelError> {
    let options = ImportOptions { name: Some(name.to_owned()), weights: None };
    import(source, folder, &options).map(|imported| imported.path)
}

fn only_here(folder: &Path) -> Here {
    let mut models = models_in(folder).expect("a folder");
    assert_eq!(models.len(), 1);
    models.remove(0)
}

fn names(folder: &Path) -> Vec<String> {
    let listing = fs::read_dir(folder).expect("a folder");
    let name = |item: std::io::Result<fs::DirEntry>| item.expect("an item").file_name();
    let mut names: Vec<String> =
        listing.map(|item| name(item).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn names_cannot_leave_the_folder() {
    let folder = Path::new("models");
    for bad in ["", ".", "..", "../x", "a/b", "-x", ".x", "a b", "ü", &"x".repeat(101)] {
        assert!(matches!(file_of(bad, folder), Err(ModelError::BadName(_))), "{bad}");
    }
    for model in KNOWN {
        let file = file_of(model.name, folder).expect("a good name");
        assert_eq!(name_of(&file), Some(model.name));
    }
}

#[test]
fn published_names_and_digests_are_well_formed_and_unique() {
    for (i, model) in KNOWN.iter().enumerate() {
        assert_eq!(known(model.name), Some(model));
        assert_eq!(model.sha256.len(), 64, "{}", model.name);
        assert!(model.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        assert!(KNOWN[..i].iter().all(|other| other.sha256 != model.sha256), "{}", model.name);
    }
}

/// Bytes of a model's file without its tokens.
fn bytes_without_tokens(hyper: &Hyper, weights: TensorType) -> u64 {
    let tensors = layout::tensors(hyper).into_iter().map(|tensor| {
        let (rank, shape) = (tensor.shape.len() as u64, tensor.ggml_shape());
        let rows = shape[1..].iter().product();
        let data = tensor.stored(weights).bytes(shape[0], rows).expect("whole blocks");
        12 + 4 * rank + tensor.name.len() as u64 + data
    });
    48 + 8 + u64::from(hyper.mels) * 201 * 4 + tensors.sum::<u64>()
}

#[test]
fn published_lengths_are_those_of_the_shape_they_name() {
    let types = [TensorType::F16, TensorType::Q5_0, TensorType::Q5_1, TensorType::Q8_0];
    let mut tokens = std::collections::BTreeSet::new();
    for model in KNOWN.iter().filter(|model| !model.name.starts_with("silero")) {
        let of_type = |name: &str| types.into_iter().find(|t| name.ends_with(t.name()));
        let weights = of_type(model.name).unwrap_or(TensorType::F16);
        let is_english = model.name.contains(".en");
        let is_v3 = model.name.starts_with("large-v3");
        let (state, encoder_layers) = match model.name.split(['.', '-']).next() {
            Some("tiny") => (384, 4),
            Some("base") => (512, 6),
            Some("small") => (768, 12),
            Some("medium") => (1024, 24),
            _ => (1280, 32),
        };
        let is_turbo = model.name.contains("turbo");
        let hyper = Hyper {
            vocabulary: 51_865 + u32::from(is_v3) - u32::from(is_english),
            state,
            encoder_layers,
            decoder_layers: if is_turbo { 4 } else { encoder_layers },
            mels: if is_v3 { 128 } else { 80 },
        };
        tokens.insert((is_english, model.bytes - bytes_without_tokens(&hyper, weights)));
    }
    // All models of a language have the same tokens, but that tinydiarize's lacks the 13 bytes of
    // `<|endoftext|>` and their length.
    let lengths: Vec<(bool, u64)> = tokens.into_iter().collect();
    let [(false, _), (true, tinydiarize), (true, english)] = lengths[..] else {
        panic!("{lengths:?}");
    };
    assert_eq!(english - tinydiarize, 17);
}

#[test]
fn a_missing_model_is_told_with_the_command_that_brings_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |name: &str| resolve(name, folder.path()).expect_err("not there").to_string();
    let command = format!("ringback model get tiny.en --models {}", folder.path().display());
    assert!(told("tiny.en").contains(&command), "{}", told("tiny.en"));
    assert!(told("mine").contains("ringback model import PATH --name mine"), "{}", told("mine"));
    assert!(told("/nowhere/ggml-x.bin").contains("cannot open /nowhere/ggml-x.bin"));
    let none = only_model(folder.path()).expect_err("none").to_string();
    assert!(none.contains(&command), "{none}");
    let default = resolve("base", Path::new("./ringback-data/models")).expect_err("not there");
    assert!(default.to_string().ends_with("`ringback model get base`"), "{default}");
}

#[test]
fn a_name_or_a_path_is_found() {
    let (folder, _) = with_voice();
    let file = folder.path().join("ggml-voice.bin");
    assert_eq!(resolve("voice", folder.path()).expect("by name"), file);
    let path = file.to_str().expect("a path");
    assert_eq!(resolve(path, Path::new("elsewhere")).expect("by path"), file);
}

#[test]
fn the_only_whisper_model_is_the_default() {
    let (folder, _) = with_voice();
    let model = synthetic::model_bin(&synthetic::numbers(&ENGLISH), Stored::F16);
    let source = tempfile::tempdir().expect("a folder");
    synthetic::ct2_folder(source.path(), &ENGLISH, &model);
    assert!(matches!(only_model(folder.path()), Err(ModelError::NoModel { .. })));
    let broken = folder.path().join("ggml-broken.bin");
    fs::write(&broken, "rubbish").expect("a file");
    let told = only_model(folder.path()).expect_err("broken").to_string();
    assert!(told.ends_with("ggml-broken.bin: it is not a ggml model"), "{told}");
    // By the file in the folder as well as by the folder.
    let first =
        import_as(&source.path().join("model.bin"), folder.path(), "first").expect("it converts");
    assert_eq!(only_model(folder.path()).expect("one"), first);
    import_as(&first, folder.path(), "second").expect("it is copied");
    let several = only_model(folder.path()).expect_err("two").to_string();
    assert!(several.contains("first, second"), "{several}");
}

#[test]
fn an_import_leaves_only_the_model_and_its_digest() {
    let (folder, source) = with_voice();
    assert_eq!(
        names(folder.path()),
        ["ggml-voice.bin", "ggml-voice.bin.sha256", "voice.safetensors"]
    );
    assert!(matches!(import_as(&source, folder.path(), "voice"), Err(ModelError::Exists(_))));
    let mut cut = fs::read(&source).expect("a file");
    cut.truncate(cut.len() - 1);
    fs::write(&source, cut).expect("a file");
    assert!(matches!(import_as(&source, folder.path(), "cut"), Err(ModelError::Broken { .. })));
    assert_eq!(
        names(folder.path()),
        ["ggml-voice.bin", "ggml-voice.bin.sha256", "voice.safetensors"]
    );
}

#[test]
fn an_import_that_broke_off_is_written_over() {
    let (folder, source) = with_voice();
    let leftover = folder.path().join("ggml-again.bin.importing");
    fs::write(&leftover, vec![7; 2_000_000]).expect("a file");
    assert_eq!(leftovers_in(folder.path()).expect("a folder"), [leftover]);
    let again = import_as(&source, folder.path(), "again").expect("it converts");
    let first = folder.path().join("ggml-voice.bin");
    assert_eq!(fs::read(again).expect("a file"), fs::read(first).expect("a file"));
    assert_eq!(leftovers_in(folder.path()).expect("a folder").len(), 0);
}

#[test]
fn what_cannot_be_taken_in_says_why() {
    let (folder, source) = with_voice();
    let told = |path: &Path, weights| {
        let options = ImportOptions { name: Some("x".to_owned()), weights };
        import(path, folder.path(), &options).expect_err("refused").to_string()
    };
    let voice = folder.path().join("ggml-voice.bin");
    assert!(told(&voice, Some(Weights::F16)).contains("leave `--type` out"));
    assert!(told(&source, Some(Weights::Q8_0)).contains("leave `--type` out"));
    assert!(told(folder.path(), None).contains("no model.bin"));
    let other = folder.path().join("other");
    fs::write(&other, "some text").expect("a file");
    assert!(told(&other, None).contains("neither a CTranslate2 folder"));
    assert!(told(Path::new("/nowhere"), None).contains("cannot open /nowhere"));
    let model = folder.path().join("ct2");
    fs::create_dir(&model).expect("a folder");
    let bin = synthetic::model_bin(&synthetic::numbers(&ENGLISH), Stored::F16);
    fs::write(model.join("model.bin"), &bin).expect("a file");
    assert!(told(&model, None).contains("neither vocabulary.json nor vocabulary.txt"));
    // The vocabulary of a multilingual model has one token more.
    let words = synthetic::words(&MULTILINGUAL).join("\n");
    fs::write(model.join("vocabulary.txt"), words).expect("a file");
    assert!(told(&model, None).contains("is not <|endoftext|>"));
    assert_eq!(leftovers_in(folder.path()).expect("a folder").len(), 0);
}

#[test]
fn keys_with_a_bias_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut numbers = synthetic::numbers(&ENGLISH);
    let (_, bias) = numbers.get_mut("decoder/layer_0/attention/linear_1/bias").expect("a bias");
    bias[63] = 0.25;
    synthetic::ct2_folder(folder.path(), &ENGLISH, &synthetic::model_bin(&numbers, Stored::F32));
    let error = import_as(folder.path(), folder.path(), "x").expect_err("refused").to_string();
    assert!(error.contains("attention keys have a bias"), "{error}");
}

#[test]
fn verify_finds_a_flipped_bit_among_the_weights() {
    let (folder, _) = with_voice();
    let (_, verified) = verify(only_here(folder.path())).expect("good");
    assert_eq!(verified, Verified::Recorded);
    let path = folder.path().join("ggml-voice.bin");
    let mut bytes = fs::read(&path).expect("a file");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).expect("a file");
    check_file(&path).expect("the structure is as it was");
    assert!(matches!(verify(only_here(folder.path())), Err(ModelError::Checksum { .. })));
    // Without a record, nothing is known of the bytes of a model that is not published.
    fs::remove_file(folder.path().join("ggml-voice.bin.sha256")).expect("a file");
    let (_, verified) = verify(only_here(folder.path())).expect("good as far as is known");
    assert_eq!(verified, Verified::Structure);
    // Under a published name, the published bytes are expected.
    fs::rename(&path, folder.path().join("ggml-silero-v6.2.0.bin")).expect("a file");
    assert!(matches!(verify(only_here(folder.path())), Err(ModelError::Checksum { .. })));
    bytes.truncate(100);
    fs::write(folder.path().join("ggml-silero-v6.2.0.bin"), bytes).expect("a file");
    assert!(matches!(verify(only_here(folder.path())), Err(ModelError::Broken { .. })));
}

#[test]
fn two_processes_do_not_write_one_model() {
    let (folder, source) = with_voice();
    let target = folder.path().join("ggml-busy.bin");
    let _writing = crate::model::part::Part::open(&target, ".importing").expect("a part");
    let error = import_as(&source, folder.path(), "busy").expect_err("refused");
    assert!(matches!(error, ModelError::Busy(_)), "{error}");
}
