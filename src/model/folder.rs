//! The folder that models live in: what their files are called, which are there, and whether they
//! are still what they were.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::check::{ModelInfo, check_file};
use super::digest;
use super::error::ModelError;
use super::known::known;

/// Where models live unless something else is said.
pub const DEFAULT_FOLDER: &str = "ringback-data/models";

const PREFIX: &str = "ggml-";
const SUFFIX: &str = ".bin";

/// The file of the model `name` in `folder`, whether it is there or not.
///
/// # Errors
/// [`ModelError::BadName`] for what cannot be part of a file's name.
pub fn file_of(name: &str, folder: &Path) -> Result<PathBuf, ModelError> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if !begins_well || !name.chars().all(is_safe) || name.len() > 100 {
        return Err(ModelError::BadName(name.to_owned()));
    }
    Ok(folder.join(format!("{PREFIX}{name}{SUFFIX}")))
}

/// The model's name that a file's name tells: `tiny.en` of `ggml-tiny.en.bin`.
#[must_use]
pub fn name_of(file: &Path) -> Option<&str> {
    let name = file.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (!name.is_empty()).then_some(name)
}

/// The file that `name_or_path` means: a model of the folder by its name, or any path with a `/` in
/// it or `.bin` at its end.
///
/// # Errors
/// [`ModelError::Missing`] with the command that brings the model; [`ModelError::Disk`] when there
/// is no file at a path.
pub fn resolve(name_or_path: &str, folder: &Path) -> Result<PathBuf, ModelError> {
    let path = Path::new(name_or_path);
    if name_or_path.contains('/') || name_or_path.ends_with(SUFFIX) {
        return match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(path.to_owned()),
            Ok(_) => Err(ModelError::Broken {
                path: path.to_owned(),
                why: "it is not a file; a folder of another format comes in with `ringback model import PATH`".to_owned(),
            }),
            Err(error) => Err(ModelError::disk("open", path)(error)),
        };
    }
    let file = file_of(name_or_path, folder)?;
    if file.is_file() {
        Ok(file)
    } else {
        Err(ModelError::Missing { name: name_or_path.to_owned(), folder: folder.to_owned() })
    }
}

/// The one Whisper model of the folder, for when none is named.
///
/// # Errors
/// [`ModelError::NoModel`] with the command that brings one; [`ModelError::Several`] when there is a
/// choice; where the only one is broken, what is wrong with it.
pub fn only_model(folder: &Path) -> Result<PathBuf, ModelError> {
    let mut whole = Vec::new();
    let mut broken = None;
    for here in models_in(folder)? {
        match here.info {
            Ok(ModelInfo::Whisper(_)) => whole.push((here.name, here.path)),
            Ok(ModelInfo::Vad { .. }) => {}
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    match (whole.pop(), whole.is_empty(), broken) {
        (Some((_, path)), true, _) => Ok(path),
        (Some((last, _)), false, _) => {
            let names = whole.into_iter().map(|(name, _)| name).chain([last]).collect();
            Err(ModelError::Several { folder: folder.to_owned(), names })
        }
        (None, _, Some(error)) => Err(error),
        (None, _, None) => Err(ModelError::NoModel { folder: folder.to_owned() }),
    }
}

/// A model's file in the folder.
#[derive(Debug)]
pub struct Here {
    /// The model's name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The file's length.
    pub bytes: u64,
    /// What it holds, or what is wrong with it.
    pub info: Result<ModelInfo, ModelError>,
}

/// The models in the folder by name. A folder that is not there has none.
///
/// # Errors
/// [`ModelError::Disk`] when the folder cannot be read.
pub fn models_in(folder: &Path) -> Result<Vec<Here>, ModelError> {
    let mut models = Vec::new();
    for path in files_in(folder)? {
        let Some(name) = name_of(&path) else { continue };
        let metadata = fs::metadata(&path).map_err(ModelError::disk("read", &path))?;
        if metadata.is_file() {
            let (name, bytes) = (name.to_owned(), metadata.len());
            models.push(Here { name, bytes, info: check_file(&path), path });
        }
    }
    Ok(models)
}

/// What is left in the folder of downloads and conversions that broke off.
///
/// # Errors
/// [`ModelError::Disk`] when the folder cannot be read.
pub fn leftovers_in(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let is_part = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str());
        matches!(extension, Some("part" | "importing"))
    };
    Ok(files_in(folder)?.into_iter().filter(is_part).collect())
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(ModelError::disk("read", folder))?,
    };
    let mut paths = listing
        .map(|item| item.map(|item| item.path()))
        .collect::<io::Result<Vec<PathBuf>>>()
        .map_err(ModelError::disk("read", folder))?;
    paths.sort();
    Ok(paths)
}

/// What a model's bytes were held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The SHA-256 that is published.
    Published,
    /// The SHA-256 that was noted when the model was brought.
    Recorded,
    /// Nothing: none is known. Its structure is right.
    Structure,
}

/// Reads a model of the folder from beginning to end, and holds it against the SHA-256 that was
/// noted when it came, or is published for its name.
///
/// # Errors
/// [`ModelError::Broken`] or [`ModelError::Checksum`] when it is not what it was.
pub fn verify(here: Here) -> Result<(ModelInfo, Verified), ModelError> {
    let info = here.info?;
    let recorded = digest::recorded(&here.path)?;
    let published = known(&here.name).map(|known| known.sha256);
    let Some(expected) = recorded.as_deref().or(published) else {
        return Ok((info, Verified::Structure));
    };
    let found = digest::of_file(&here.path)?;
    if found == expected {
        let is_published = published == Some(expected);
        let verified = if is_published { Verified::Published } else { Verified::Recorded };
        Ok((info, verified))
    } else {
        Err(ModelError::Checksum { path: here.path, expected: expected.to_owned(), found })
    }
}
