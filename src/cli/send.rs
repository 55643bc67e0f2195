//! `ringback send`: a file in, its transcript out.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringback::State;
use ringback::client::{Client, Job, Upload};

use super::units::duration;
use super::{Failure, ServerArgs};

/// How long the result is waited for where `--wait` does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub(super) struct SendArgs {
    /// The file to send.
    file: PathBuf,

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
    let mut upload = Upload::file(&args.file)?;
    for (name, value) in args.parameters {
        upload = upload.parameter(name, value);
    }
    let began = Instant::now();
    let submitted = match (args.callback, args.task) {
        (Some(callback), None) => client.send(upload.callback(callback))?,
        (Some(callback), Some(task)) => client.submit(upload.callback(callback).task(task))?,
        (None, Some(task)) => client.submit(upload.task(task))?,
        (None, None) => client.submit(upload)?,
    };
    let took = began.elapsed();
    // A result that is waited for is all that stands on stdout; else the reply is the result.
    let default = if submitted.status == 204 { Duration::ZERO } else { DEFAULT_WAIT };
    let wait = args.wait.unwrap_or(default);
    if wait.is_zero() {
        let reply = if submitted.status == 204 { "204 No Content" } else { "202 Accepted" };
        let mut stdout = io::stdout();
        writeln!(stdout, "{reply} after {:.1} ms", took.as_secs_f64() * 1e3)?;
        writeln!(stdout, "Location: {}", submitted.url)?;
        return Ok(());
    }
    log::debug!("{} after {took:?}", submitted.url);
    let job = client.wait(submitted.id, began + wait)?;
    print_warnings(&job)?;
    match (job.state, job.error) {
        (State::Succeeded, _) => print_result(&client, job.id, args.format.as_deref()),
        (_, Some(error)) => Err(Failure::failed(format!("{} ({})", error.message, error.code))),
        (state, None) => Err(Failure::failed(format!("the job was {state}"))),
    }
}

/// On stderr: the result stands on stdout alone.
fn print_warnings(job: &Job) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for warning in &job.warnings {
        let at =
            warning.position().map_or(String::new(), |at| format!(" at {:.1} s", at.as_secs_f64()));
        writeln!(stderr, "warning{at}: {} ({})", warning.message(), warning.code())?;
    }
    Ok(())
}

fn print_result(client: &Client, id: ringback::JobId, format: Option<&str>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let content_type = client.result(id, format, &mut stdout)?;
    if content_type.starts_with("text/") || content_type.starts_with("application/json") {
        writeln!(stdout)?;
    }
    stdout.flush()?;
    Ok(())
}
