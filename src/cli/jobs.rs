//! `ringback jobs`: what a server has to do and has done.

use std::time::Duration;

use clap::Subcommand;
use ringback::client::{Client, Job};
use ringback::{JobId, State, Timestamp};

use super::{Failure, ServerArgs, out};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    command: Option<JobsCommand>,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// List jobs, newest first.
    List(ListArgs),
    /// Show all that is known of a job, as JSON.
    Show(OneArgs),
    /// Cancel a queued or running job; forget a finished one.
    Cancel(OneArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Only jobs in this state: queued, running, succeeded, failed or canceled.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,

    /// How many jobs at most, 1 to 100.
    #[arg(long, env = "RINGBACK_LIMIT", default_value_t = 20, value_name = "JOBS",
          value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,

    /// Only jobs older than this one: the last id of the page before.
    #[arg(long, value_name = "ID", value_parser = id)]
    after: Option<JobId>,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// The job's id.
    #[arg(value_parser = id)]
    id: JobId,
}

fn state(word: &str) -> Result<State, String> {
    word.parse().map_err(|()| {
        let words: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        format!("give one of {}", words.join(", "))
    })
}

fn id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "not a job's id, which `ringback jobs` lists".to_owned())
}

pub(super) fn run(args: JobsArgs) -> Result<(), Failure> {
    match args.command {
        None => list(&args.list),
        Some(JobsCommand::List(args)) => list(&args),
        Some(JobsCommand::Show(args)) => show(&args.server.client()?, args.id),
        Some(JobsCommand::Cancel(args)) => Ok(args.server.client()?.cancel(args.id)?),
    }
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let page = args.server.client()?.list(args.state, usize::from(args.limit), args.after)?;
    let now = Timestamp::now();
    out::line(format_args!(
        "{:36}  {:9}  {:>8}  {:12}  {:9}  INPUT",
        "ID", "STATE", "AGE", "TASK", "CALLBACK"
    ))?;
    for job in &page.jobs {
        out::line(format_args!("{}", line(job, now)))?;
    }
    if let (Some(_), Some(last)) = (&page.next, page.jobs.last()) {
        out::line(format_args!("There are more: --after {}", last.id))?;
    }
    Ok(())
}

fn line(job: &Job, now: Timestamp) -> String {
    let age = humantime::format_duration(coarse(now.since(job.created_at))).to_string();
    let callback = match &job.callback {
        Some(callback) => format!("{:?}", callback.state).to_lowercase(),
        None => "-".to_owned(),
    };
    let input = job.input.name.as_deref().unwrap_or("-");
    let Job { id, state, task, .. } = job;
    format!("{id}  {:9}  {age:>8}  {task:12}  {callback:9}  {input}", state.as_str())
}

/// Two units are enough for an age: `3m 12s`, `2h 5m`.
fn coarse(age: Duration) -> Duration {
    let seconds = age.as_secs();
    Duration::from_secs(match seconds {
        0..3600 => seconds,
        3600..86_400 => seconds - seconds % 60,
        _ => seconds - seconds % 3600,
    })
}

fn show(client: &Client, id: JobId) -> Result<(), Failure> {
    let job = client.job(id)?;
    let json = serde_json::to_string_pretty(&job)
        .map_err(|error| Failure::failed(format!("the job cannot be shown: {error}")))?;
    out::line(format_args!("{json}"))
}
