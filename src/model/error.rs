//! Why a model cannot be found, brought or used, told so that the reader knows what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::DEFAULT_FOLDER;

/// Why a model cannot be found, brought or used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelError {
    /// Not a name that a model may have.
    BadName(String),
    /// No published model has this name, so it cannot be downloaded by it.
    Unknown(String),
    /// The model is not in the folder.
    Missing {
        /// The model's name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// No model was named, and there is none in the folder.
    NoModel {
        /// Where one was looked for.
        folder: PathBuf,
    },
    /// No model was named, and there are several in the folder.
    Several {
        /// Where they are.
        folder: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// The file's place is taken.
    Exists(PathBuf),
    /// Another process is writing this file.
    Busy(PathBuf),
    /// The file is not what it should be.
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file's bytes are not the ones it should have.
    Checksum {
        /// The file.
        path: PathBuf,
        /// The SHA-256 it should have.
        expected: String,
        /// The SHA-256 it has.
        found: String,
    },
    /// The address cannot be reached.
    Unreachable {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// The server said no.
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server offers a file of another length than the published one, or too long a one.
    Length {
        /// The address.
        url: String,
        /// The most bytes that were expected.
        expected: u64,
    },
    /// The transfer broke off; what has come stays and the next download goes on from there.
    Interrupted {
        /// The address.
        url: String,
        /// Bytes that are here.
        at: u64,
        /// What happened.
        why: String,
    },
    /// Some of the files in the folder are not good.
    Unsound {
        /// How many.
        files: usize,
    },
    /// The disk refused.
    Disk {
        /// What was being done, as in "cannot … PATH".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ModelError {
    /// Makes a disk error of what the system said, for `map_err`.
    pub(super) fn disk<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> ModelError + 'a {
        move |source| ModelError::Disk { doing, path: path.to_owned(), source }
    }
}

/// The command that downloads a model into `folder`.
fn get_command(name: &str, folder: &Path) -> String {
    if folder.strip_prefix("./").unwrap_or(folder) == Path::new(DEFAULT_FOLDER) {
        format!("ringback model get {name}")
    } else {
        format!("ringback model get {name} --models {}", folder.display())
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelError::BadName(name) => write!(
                f,
                "{name:?} is not a model's name: letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`, at most 100"
            ),
            ModelError::Unknown(name) => write!(
                f,
                "no published model is called {name}: `ringback model list` shows the names; a file from elsewhere comes in with `ringback model import PATH`"
            ),
            ModelError::Missing { name, folder } if super::known(name).is_some() => write!(
                f,
                "the model {name} is not in {}: bring it with `{}`",
                folder.display(),
                get_command(name, folder)
            ),
            ModelError::Missing { name, folder } => write!(
                f,
                "there is no model {name} in {}, and none is published by that name: see `ringback model list`, or bring one with `ringback model import PATH --name {name}`",
                folder.display()
            ),
            ModelError::NoModel { folder } => write!(
                f,
                "there is no model in {}: bring one with `{}`",
                folder.display(),
                get_command("tiny.en", folder)
            ),
            ModelError::Several { folder, names } => write!(
                f,
                "there are several models in {}: choose with `--model` one of {}",
                folder.display(),
                names.join(", ")
            ),
            ModelError::Exists(path) => write!(
                f,
                "{} is already here: delete it first, or give another `--name`",
                path.display()
            ),
            ModelError::Busy(path) => {
                write!(f, "another process is writing {}: wait until it is done", path.display())
            }
            ModelError::Broken { path, why } => write!(f, "{}: {why}", path.display()),
            ModelError::Checksum { path, expected, found } => write!(
                f,
                "{} has the SHA-256 {found} instead of {expected}: delete it and bring it again",
                path.display()
            ),
            ModelError::Unreachable { url, why } => write!(
                f,
                "cannot reach {url}: {why}. Without a way there, use a mirror (`--from URL`) or take in a file that is on this machine with `ringback model import PATH`"
            ),
            ModelError::Refused { url, status } => write!(
                f,
                "{url} answers {status}: {}",
                match status {
                    404 | 410 => "the file is not there; check the name and `--from`",
                    401 | 403 | 407 => "it is not given to everyone",
                    429 | 500..=599 => "try again later; what has come so far is kept",
                    _ => "the download cannot go on",
                }
            ),
            ModelError::Length { url, expected } => write!(
                f,
                "{url} is not the published file: that one has {expected} bytes. Check `--from`"
            ),
            ModelError::Interrupted { url, at, why } => write!(
                f,
                "{url} broke off after {at} bytes: {why}. Run the command again to go on from there"
            ),
            ModelError::Unsound { files: 1 } => f.write_str("one model is not sound"),
            ModelError::Unsound { files } => write!(f, "{files} models are not sound"),
            ModelError::Disk { doing, path, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for ModelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ModelError::Disk { source, .. } => Some(source),
            ModelError::BadName(_)
            | ModelError::Unknown(_)
            | ModelError::Missing { .. }
            | ModelError::NoModel { .. }
            | ModelError::Several { .. }
            | ModelError::Exists(_)
            | ModelError::Busy(_)
            | ModelError::Broken { .. }
            | ModelError::Checksum { .. }
            | ModelError::Unreachable { .. }
            | ModelError::Refused { .. }
            | ModelError::Length { .. }
            | ModelError::Interrupted { .. }
            | ModelError::Unsound { .. } => None,
        }
    }
}
