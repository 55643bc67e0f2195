//! Downloading a model by name: streamed to a part beside its place, gone on with where it broke off,
//! checked, and only then given its name.

mod fetch;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::{ModelInfo, check_file};
use super::error::ModelError;
use super::folder::file_of;
use super::known::{Known, known};
use super::part::Part;

use fetch::{Fetch, Fetched};

/// The longest file that is taken where no length is published: 8 GiB.
const MAX_BYTES: u64 = 8 << 30;
/// Connections that one download may use up, each going on where the last broke off.
const MAX_CONNECTIONS: u32 = 20;

/// What a download may be told.
#[derive(Clone, Debug)]
pub struct GetOptions {
    /// The address of a folder to take the file from instead of its home. With it, names that are
    /// not published can be asked for as well.
    pub from: Option<String>,
    /// How long the server may send nothing. 60 s by default.
    pub idle_timeout: Duration,
}

impl Default for GetOptions {
    fn default() -> GetOptions {
        GetOptions { from: None, idle_timeout: Duration::from_secs(60) }
    }
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here, those of earlier attempts among them.
    pub bytes: u64,
    /// Bytes of the whole file, where that is known.
    pub total: Option<u64>,
}

/// How a model came to be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was here.
    AlreadyHere,
    /// Downloaded; its SHA-256 is the published one.
    Published,
    /// Downloaded; no SHA-256 is published for it, the one it has was noted.
    Unpublished,
}

/// A model that is here now.
#[derive(Clone, Debug)]
pub struct Got {
    /// Its file.
    pub path: PathBuf,
    /// What it holds.
    pub info: ModelInfo,
    /// How it came here.
    pub origin: Origin,
}

/// Brings the model `name` into `folder`, unless it is there. `progress` hears of every piece.
///
/// # Errors
/// [`ModelError::Unknown`] for a name that is not published, [`ModelError::Unreachable`] and its
/// like when the server cannot be had; [`ModelError::Interrupted`] leaves what has come for the next
/// call to go on with.
pub fn get(
    name: &str,
    folder: &Path,
    options: &GetOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Got, ModelError> {
    let path = file_of(name, folder)?;
    let wanted = Wanted::new(name, options)?;
    if path.is_file() {
        // One that is broken is brought again; it is only replaced by one that is whole.
        if let Ok(info) = check_file(&path) {
            return Ok(Got { path, info, origin: Origin::AlreadyHere });
        }
    }
    download(&wanted, &path, options.idle_timeout, &mut progress)
}

/// What is to be downloaded, and what is known of it beforehand.
#[derive(Clone, Debug)]
struct Wanted {
    url: String,
    bytes: Option<u64>,
    sha256: Option<String>,
}

impl Wanted {
    fn new(name: &str, options: &GetOptions) -> Result<Wanted, ModelError> {
        let known = known(name);
        let home = match (&options.from, known) {
            (Some(from), _) => from.trim_end_matches('/'),
            (None, Some(known)) => known.home,
            (None, None) => return Err(ModelError::Unknown(name.to_owned())),
        };
        Ok(Wanted {
            url: format!("{home}/ggml-{name}.bin"),
            bytes: known.map(|known: &Known| known.bytes),
            sha256: known.map(|known| known.sha256.to_owned()),
        })
    }

    fn limit(&self) -> u64 {
        self.bytes.unwrap_or(MAX_BYTES)
    }
}

fn download(
    wanted: &Wanted,
    path: &Path,
    idle_timeout: Duration,
    progress: &mut dyn FnMut(Progress),
) -> Result<Got, ModelError> {
    let mut part = Part::open(path, ".part")?;
    let mut fetch = Fetch::new(wanted, idle_timeout);
    let sha256 = match fetch_whole(wanted, &mut fetch, &mut part, progress) {
        Ok(sha256) => sha256,
        Err(error) => {
            // With bytes in it the next call goes on from there; empty it would only lie about.
            if part.len().is_ok_and(|length| length == 0) {
                fetch.forget(&part);
                part.discard();
            }
            return Err(error);
        }
    };
    let info = match accept(wanted, &part, &sha256) {
        Ok(info) => info,
        Err(error) => {
            // Going on from these bytes cannot end well.
            fetch.forget(&part);
            part.discard();
            return Err(error);
        }
    };
    fetch.forget(&part);
    let path = part.publish(&sha256)?;
    let published = wanted.sha256.is_some();
    let origin = if published { Origin::Published } else { Origin::Unpublished };
    Ok(Got { path, info, origin })
}

/// Brings the whole file, over as many connections as it takes. Returns its SHA-256.
fn fetch_whole(
    wanted: &Wanted,
    fetch: &mut Fetch,
    part: &mut Part,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, ModelError> {
    let mut connections = 0;
    loop {
        connections += 1;
        let before = part.len()?;
        match fetch.go_on(part, progress)? {
            Fetched::Whole { sha256 } => return Ok(sha256),
            // As long as each connection brings something, the next may bring the rest.
            Fetched::Cut { at, .. } if at > before && connections < MAX_CONNECTIONS => {}
            Fetched::Cut { at, why } => {
                return Err(ModelError::Interrupted { url: wanted.url.clone(), at, why });
            }
        }
    }
}

fn accept(wanted: &Wanted, part: &Part, sha256: &str) -> Result<ModelInfo, ModelError> {
    match &wanted.sha256 {
        Some(expected) if expected != sha256 => Err(ModelError::Broken {
            path: part.path.clone(),
            why: format!(
                "{} sent a file with the SHA-256 {sha256}; the published one is {expected}. It was deleted: run the command again, or check `--from`",
                wanted.url
            ),
        }),
        _ => check_file(&part.path),
    }
}
