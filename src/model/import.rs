//! Taking in a model that is on this machine: a CTranslate2 folder and Silero's safetensors are
//! converted, a ggml file is checked and copied.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::bounded::{Bounded, ReadError};
use super::check::{ModelInfo, check_file};
use super::convert::{ConvertError, Plan};
use super::ct2::Variables;
use super::digest::{Digesting, PIECE};
use super::error::ModelError;
use super::folder::{file_of, name_of};
use super::ggml::MAGIC;
use super::hyper::Hyper;
use super::part::Part;
use super::safetensors::Tensors;
use super::silero;
use super::tensor::TensorType;
use super::vocabulary::{self, Form};

/// How converted weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// As they were trained.
    #[default]
    F16,
    /// Half the size, and as good for all that was measured.
    Q8_0,
}

impl Weights {
    fn stored(self) -> TensorType {
        match self {
            Weights::F16 => TensorType::F16,
            Weights::Q8_0 => TensorType::Q8_0,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Weights::F16 => "",
            Weights::Q8_0 => "-q8_0",
        }
    }
}

/// What an import may be told.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The name to give the model, instead of the one that its shape or file suggests.
    pub name: Option<String>,
    /// How to store converted weights; f16 when not said. Not for files that are not converted.
    pub weights: Option<Weights>,
}

/// A model that was taken in.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it holds.
    pub info: ModelInfo,
}

/// Takes the model at `path` into `folder`. `path` is a CTranslate2 folder or the `model.bin` in it,
/// Silero's `silero_vad_16k.safetensors`, or a ggml file.
///
/// # Errors
/// [`ModelError::Broken`] when it is none of these, [`ModelError::Exists`] when the folder has a
/// model of the name. Nothing is left behind.
pub fn import(path: &Path, folder: &Path, options: &ImportOptions) -> Result<Imported, ModelError> {
    let metadata = fs::metadata(path).map_err(ModelError::disk("open", path))?;
    if metadata.is_dir() {
        return import_ct2(path, folder, options);
    }
    match magic(path).map_err(ModelError::disk("read", path))? {
        Some(MAGIC) => import_ggml(path, folder, options),
        _ if path.extension().is_some_and(|e| e == "safetensors") => {
            import_silero(path, folder, options)
        }
        _ if path.file_name().is_some_and(|name| name == "model.bin") => {
            let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            import_ct2(beside.unwrap_or(Path::new(".")), folder, options)
        }
        _ => Err(broken(
            path,
            "it is neither a CTranslate2 folder, nor Silero's safetensors, nor a ggml file",
        )),
    }
}

fn broken(path: &Path, why: &str) -> ModelError {
    ModelError::Broken { path: path.to_owned(), why: why.to_owned() }
}

/// The first number of a file; `None` where it is too short.
fn magic(path: &Path) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    match File::open(path)?.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u32::from_le_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> Result<Bounded<BufReader<File>>, ModelError> {
    let file = File::open(path).map_err(ModelError::disk("open", path))?;
    Bounded::new(BufReader::new(file)).map_err(|error| error.of(path))
}

fn import_ct2(
    source: &Path,
    folder: &Path,
    options: &ImportOptions,
) -> Result<Imported, ModelError> {
    let model = source.join("model.bin");
    if !model.is_file() {
        return Err(broken(source, "there is no model.bin in it: it is not a CTranslate2 folder"));
    }
    let mut file = open(&model)?;
    let plan = Variables::read(&mut file).and_then(|variables| Plan::new(&variables));
    let plan = plan.map_err(|error| error.of(&model))?;
    let tokens = read_vocabulary(source, &plan.hyper)?;
    let weights = options.weights.unwrap_or_default();
    let suggested = plan.hyper.size_name().map(|size| suggested_name(size, &plan.hyper, weights));
    let target = target(folder, options, suggested.as_deref(), source)?;
    write_new(&target, &model, |out| plan.write(&mut file, &tokens, weights.stored(), out))
}

/// `tiny.en-q8_0` and the like. The shape does not tell the first two large ones apart.
fn suggested_name(size: &str, hyper: &Hyper, weights: Weights) -> String {
    let size = match size {
        "large" if hyper.mels == 128 => "large-v3",
        "large" => "large-v2",
        other => other,
    };
    let language = if hyper.is_multilingual() { "" } else { ".en" };
    format!("{size}{language}{}", weights.suffix())
}

fn read_vocabulary(folder: &Path, hyper: &Hyper) -> Result<Vec<Vec<u8>>, ModelError> {
    /// Whisper's own are of about 0.4 and 1 MB.
    const MAX: u64 = 16 * 1024 * 1024;
    for (name, form) in [("vocabulary.json", Form::Json), ("vocabulary.txt", Form::Lines)] {
        let path = folder.join(name);
        if path.is_file() {
            let mut file = open(&path)?;
            let len = file.left();
            return file
                .bytes(len, MAX, "the vocabulary")
                .and_then(|text| vocabulary::tokens(&text, form, hyper))
                .map_err(|error| error.of(&path));
        }
    }
    Err(broken(folder, "there is neither vocabulary.json nor vocabulary.txt in it"))
}

fn import_silero(
    source: &Path,
    folder: &Path,
    options: &ImportOptions,
) -> Result<Imported, ModelError> {
    if options.weights.is_some() {
        return Err(broken(source, "a voice detector is converted as it is: leave `--type` out"));
    }
    let mut file = open(source)?;
    let plan = Tensors::read(&mut file).and_then(|tensors| silero::Plan::new(&tensors));
    let plan = plan.map_err(|error| error.of(source))?;
    let target = target(folder, options, Some(silero::NAME), source)?;
    write_new(&target, source, |out| plan.write(&mut file, out))
}

fn import_ggml(
    source: &Path,
    folder: &Path,
    options: &ImportOptions,
) -> Result<Imported, ModelError> {
    if options.weights.is_some() {
        return Err(broken(source, "it is in ggml's format already: leave `--type` out"));
    }
    check_file(source)?;
    let target = target(folder, options, name_of(source), source)?;
    let mut file = File::open(source).map_err(ModelError::disk("open", source))?;
    write_new(&target, source, |out| copy(&mut file, out))
}

fn copy(file: &mut impl Read, out: &mut impl Write) -> Result<(), ConvertError> {
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(|error| ConvertError::Read(ReadError::Io(error)))? {
            0 => return Ok(()),
            n => out.write_all(&piece[..n]).map_err(ConvertError::Write)?,
        }
    }
}

/// A name, and the file of it that is not there yet.
struct Target {
    name: String,
    path: PathBuf,
}

fn target(
    folder: &Path,
    options: &ImportOptions,
    suggested: Option<&str>,
    source: &Path,
) -> Result<Target, ModelError> {
    let Some(name) = options.name.as_deref().or(suggested) else {
        return Err(broken(source, "it has not the shape of a published model: say `--name NAME`"));
    };
    let path = file_of(name, folder)?;
    if path.exists() {
        return Err(ModelError::Exists(path));
    }
    Ok(Target { name: name.to_owned(), path })
}

/// Writes the target's file, checks it, and gives it its name. `source` is what `write` reads.
fn write_new(
    target: &Target,
    source: &Path,
    write: impl FnOnce(&mut BufWriter<Digesting<&File>>) -> Result<(), ConvertError>,
) -> Result<Imported, ModelError> {
    let part = Part::open(&target.path, ".importing")?;
    match write_part(&part, source, write) {
        Ok((info, sha256)) => {
            let path = part.publish(&sha256)?;
            Ok(Imported { name: target.name.clone(), path, info })
        }
        Err(error) => {
            part.discard();
            Err(error)
        }
    }
}

fn write_part(
    part: &Part,
    source: &Path,
    write: impl FnOnce(&mut BufWriter<Digesting<&File>>) -> Result<(), ConvertError>,
) -> Result<(ModelInfo, String), ModelError> {
    part.clear()?;
    let mut out = BufWriter::with_capacity(PIECE, Digesting::new(&part.file));
    write(&mut out).map_err(|error| match error {
        ConvertError::Read(error) => error.of(source),
        ConvertError::Write(error) => ModelError::disk("write", &part.path)(error),
    })?;
    let digesting = out
        .into_inner()
        .map_err(|error| ModelError::disk("write", &part.path)(error.into_error()))?;
    let (_, sha256) = digesting.finish();
    // What was written must be what whisper.cpp can load, whatever was read.
    let info = check_file(&part.path)?;
    Ok((info, sha256))
}
