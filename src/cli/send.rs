//! `ringback send`: files in, their transcripts out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringback::State;
use ringback::client::{Client, Job, Submitted, Upload};

use super::units::duration;
use super::{Failure, ServerArgs, out};

/// How long the result is waited for where `--wait` does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub(super) struct SendArgs {
    /// The files to send, each a job of its own. `-` is standard input; pipes are read to their end.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,

    /// Have the outcome sent to this URL as well (`POST /send`), and do not wait for it here.
    #[arg(long, env = "RINGBACK_CALLBACK", value_name = "URL")]
    callback: Option<String>,

    /// How long to wait for the result, such as 90s or 2h; 0s hands the file over only [default: 1h,
    /// with --callback 0s].
    #[arg(long, env = "RINGBACK_WAIT", value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,

    /// The task to run [default: the server's first one].
    #[arg(long, env = "RINGBACK_TASK", value_name = "NAME")]
    task: Option<String>,

    /// A parameter of the task, such as language=es; may be given several times.
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,

    /// The form of the result, such as srt or json [default: the task's own].
    #[arg(long, env = "RINGBACK_FORMAT", value_name = "NAME")]
    format: Option<String>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give NAME=VALUE, such as language=es".to_owned()),
    }
}

pub(super) fn run(args: SendArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    if let [file] = args.files.as_slice() {
        let sent = send(&client, &args, file)?;
        return finish(&client, &args, sent);
    }
    // All are queued before the first is waited for.
    let sent: Vec<_> = args.files.iter().map(|file| (file, send(&client, &args, file))).collect();
    let mut failed = 0;
    for (file, sent) in sent {
        out::line(format_args!("==> {} <==", file.display()))?;
        match sent.and_then(|sent| finish(&client, &args, sent)) {
            Ok(()) => {}
            Err(Failure::ReaderGone) => return Err(Failure::ReaderGone),
            Err(failure) => {
                out::note(format_args!("ringback: {}: {failure}", file.display()));
                failed += 1;
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::failed(format!("{failed} of {} files failed", args.files.len()))),
    }
}

/// A file that the server has taken.
struct Sent {
    submitted: Submitted,
    began: Instant,
    took: Duration,
}

fn send(client: &Client, args: &SendArgs, file: &Path) -> Result<Sent, Failure> {
    let mut upload = match file.to_str() {
        Some("-") => Upload::reader("input", io::stdin()),
        _ => Upload::file(file)?,
    };
    for (name, value) in &args.parameters {
        upload = upload.parameter(name, value);
    }
    let began = Instant::now();
    let submitted = match (&args.callback, &args.task) {
        (Some(callback), None) => client.send(upload.callback(callback))?,
        (Some(callback), Some(task)) => client.submit(upload.callback(callback).task(task))?,
        (None, Some(task)) => client.submit(upload.task(task))?,
        (None, None) => client.submit(upload)?,
    };
    Ok(Sent { submitted, began, took: began.elapsed() })
}

/// Waits for what comes of a file, and prints it.
fn finish(client: &Client, args: &SendArgs, sent: Sent) -> Result<(), Failure> {
    let Sent { submitted, began, took } = sent;
    // A result that is waited for is all that stands on stdout; else the reply is the result.
    let default = if submitted.status == 204 { Duration::ZERO } else { DEFAULT_WAIT };
    let wait = args.wait.unwrap_or(default);
    if wait.is_zero() {
        let reply = if submitted.status == 204 { "204 No Content" } else { "202 Accepted" };
        out::line(format_args!("{reply} after {:.1} ms", took.as_secs_f64() * 1e3))?;
        return out::line(format_args!("Location: {}", submitted.url));
    }
    log::debug!("{} after {took:?}", submitted.url);
    let job = client.wait(submitted.id, began + wait)?;
    print_warnings(&job);
    match (job.state, job.error) {
        (State::Succeeded, _) => print_result(client, job.id, args.format.as_deref()),
        (_, Some(error)) => Err(Failure::failed(format!("{} ({})", error.message, error.code))),
        (state, None) => Err(Failure::failed(format!("the job was {state}"))),
    }
}

/// On stderr: the result stands on stdout alone.
fn print_warnings(job: &Job) {
    for warning in &job.warnings {
        let at =
            warning.position().map_or(String::new(), |at| format!(" at {:.1} s", at.as_secs_f64()));
        out::note(format_args!("warning{at}: {} ({})", warning.message(), warning.code()));
    }
}

fn print_result(client: &Client, id: ringback::JobId, format: Option<&str>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let content_type = client.result(id, format, &mut stdout)?;
    if content_type.starts_with("text/") || content_type.starts_with("application/json") {
        out::written(writeln!(stdout))?;
    }
    out::written(stdout.flush())
}
