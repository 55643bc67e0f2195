//! `ringback model`: which models there are, and bringing them here.

use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use ringback::model::{
    self, GetOptions, Here, ImportOptions, KNOWN, ModelError, Origin, Progress, Verified, Weights,
};

use super::{Failure, out};

#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// The server's folder, whose folder `models` is meant when --models is not given.
    #[arg(
        long,
        env = "RINGBACK_DATA",
        default_value = "./ringback-data",
        value_name = "FOLDER",
        global = true
    )]
    data: PathBuf,

    /// The folder with models [default: the folder `models` in --data].
    #[arg(long, env = "RINGBACK_MODELS", value_name = "FOLDER", global = true)]
    models: Option<PathBuf>,

    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Show the published models, and which are here.
    List,
    /// Download a published model.
    Get(GetArgs),
    /// Take in a model that is on this machine.
    ///
    /// A CTranslate2 (faster-whisper) folder and Silero's silero_vad_16k.safetensors are converted to
    /// whisper.cpp's format; a file that is in it already is checked and copied.
    Import(ImportArgs),
    /// Print the file of a model.
    Path {
        /// The model's name, such as tiny.en.
        name: String,
    },
    /// Read every model here and tell whether it is still what it was.
    Verify,
}

#[derive(Debug, clap::Args)]
struct GetArgs {
    /// The model's name, such as tiny.en; `ringback model list` shows them.
    name: String,

    /// The address of a folder to take the file from instead of its home on Hugging Face.
    #[arg(long, env = "RINGBACK_MODEL_URL", value_name = "URL")]
    from: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// The folder, or the file.
    path: PathBuf,

    /// How to store the weights of a converted model [default: f16].
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    weights: Option<WeightsArg>,

    /// The name to give the model [default: that of the published model of its shape, or the file's].
    #[arg(long)]
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WeightsArg {
    /// As they were trained.
    #[value(name = "f16")]
    F16,
    /// Half the size.
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<WeightsArg> for Weights {
    fn from(weights: WeightsArg) -> Weights {
        match weights {
            WeightsArg::F16 => Weights::F16,
            WeightsArg::Q8_0 => Weights::Q8_0,
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Failure {
        match error {
            ModelError::BadName(_)
            | ModelError::Unknown(_)
            | ModelError::Missing { .. }
            | ModelError::NoModel { .. }
            | ModelError::Several { .. }
            | ModelError::Exists(_) => Failure::usage(error.to_string()),
            _ => Failure::failed(error.to_string()),
        }
    }
}

pub(super) fn run(args: ModelArgs) -> Result<(), Failure> {
    let folder = args.models.unwrap_or_else(|| args.data.join("models"));
    match args.command {
        ModelCommand::List => list(&folder),
        ModelCommand::Get(args) => get(&folder, args),
        ModelCommand::Import(args) => import(&folder, args),
        ModelCommand::Path { name } => {
            out::line(format_args!("{}", model::resolve(&name, &folder)?.display()))
        }
        ModelCommand::Verify => verify(&folder),
    }
}

fn list(folder: &Path) -> Result<(), Failure> {
    let here = model::models_in(folder)?;
    for known in KNOWN {
        let state = here.iter().find(|here| here.name == known.name).map_or("", state);
        out::line(format_args!("{}", line(known.name, known.bytes, state)))?;
    }
    for other in here.iter().filter(|here| model::known(&here.name).is_none()) {
        out::line(format_args!("{}", line(&other.name, other.bytes, state(other))))?;
    }
    out::note(format_args!("in {}", folder.display()));
    Ok(())
}

fn state(here: &Here) -> &'static str {
    if here.info.is_ok() { "here" } else { "here, broken" }
}

fn line(name: &str, bytes: u64, state: &str) -> String {
    format!("{name:<20} {:>9}  {state}", megabytes(bytes)).trim_end().to_owned()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn get(folder: &Path, args: GetArgs) -> Result<(), Failure> {
    let options = GetOptions { from: args.from, ..GetOptions::default() };
    let mut meter = Meter::new(&args.name);
    let got = model::get(&args.name, folder, &options, |progress| meter.show(progress));
    meter.end();
    let got = got?;
    let how = match got.origin {
        Origin::AlreadyHere => "is already here",
        Origin::Published => "is here, with the published SHA-256",
        Origin::Unpublished => {
            "is here; no SHA-256 is published for it, so the one it has was noted for `verify`"
        }
    };
    out::note(format_args!("{} {how} ({})", args.name, got.info));
    out::line(format_args!("{}", got.path.display()))
}

fn import(folder: &Path, args: ImportArgs) -> Result<(), Failure> {
    let options = ImportOptions { name: args.name, weights: args.weights.map(Weights::from) };
    let imported = model::import(&args.path, folder, &options)?;
    out::note(format_args!("{} is here ({})", imported.name, imported.info));
    out::line(format_args!("{}", imported.path.display()))
}

fn verify(folder: &Path) -> Result<(), Failure> {
    let mut unsound = 0;
    for here in model::models_in(folder)? {
        let name = here.name.clone();
        match model::verify(here) {
            Ok((info, verified)) => {
                out::line(format_args!("{name}: good, {} ({info})", against(verified)))?;
            }
            Err(error) => {
                unsound += 1;
                out::line(format_args!("{name}: BROKEN: {error}"))?;
            }
        }
    }
    for leftover in model::leftovers_in(folder)? {
        out::line(format_args!("{}: what came of a model so far", leftover.display()))?;
    }
    if unsound > 0 { Err(ModelError::Unsound { files: unsound }.into()) } else { Ok(()) }
}

fn against(verified: Verified) -> &'static str {
    match verified {
        Verified::Published => "the published SHA-256",
        Verified::Recorded => "the SHA-256 noted when it came",
        Verified::Structure => "by its structure; no SHA-256 is known",
    }
}

/// The progress of a download on stderr: one line that is written over on a terminal, else a line
/// every ten seconds.
struct Meter<'a> {
    name: &'a str,
    is_terminal: bool,
    shown: Option<Instant>,
}

impl<'a> Meter<'a> {
    fn new(name: &'a str) -> Meter<'a> {
        Meter { name, is_terminal: stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, progress: Progress) {
        let pause =
            if self.is_terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.shown.is_some_and(|shown| shown.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        let (begin, end) = if self.is_terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        let line = format!("{begin}{}{end}", progress_line(self.name, progress));
        // A closed stderr is no reason to give up a download.
        let _ = stderr().write_all(line.as_bytes());
    }

    /// Leaves the line as it is.
    fn end(&self) {
        if self.is_terminal && self.shown.is_some() {
            out::note(format_args!(""));
        }
    }
}

fn progress_line(name: &str, progress: Progress) -> String {
    let bytes = megabytes(progress.bytes);
    match progress.total {
        Some(total) if total > 0 => {
            let percent = progress.bytes.saturating_mul(100) / total;
            format!("{name}: {bytes} of {} ({percent} %)", megabytes(total))
        }
        _ => format!("{name}: {bytes}"),
    }
}
