//! Drives a server and says what it did: how many jobs a second it takes, how long a reply takes, how
//! long a job waits for a worker, how long its outcome takes to the callback, and the memory for all of it.
//!
//! ```text
//! cargo run --release --example load                     # 16 connections, 32 KiB each, for 10 s
//! cargo run --release --example load -- --url http://127.0.0.1:5000/send
//! cargo run --release --example load -- --scenario idle
//! cargo run --release --example load -- --scenario backlog
//! cargo run --release --example load -- --scenario depth
//! cargo run --release --example load -- --scenario waiting
//! cargo run --release --example load -- --scenario slow
//! cargo run --release --example load -- --scenario pollers
//! cargo run --release --example load -- --scenario receivers
//! ```
//!
//! | scenario | what it does |
//! |---|---|
//! | `submit` | as many `POST /send` as go through `--connections` in `--seconds`, then waits for the callbacks |
//! | `idle` | one job at a time, each to a server with nothing to do, `--jobs` of them |
//! | `backlog` | `--jobs` jobs wait (default 10,000), workers work, and single jobs are polled; then the server is killed and started again |
//! | `depth` | submits, polls and lists in turns on four servers: with 1,000 queued jobs, with a fifth of `--jobs` and with `--jobs` (default 500,000), and with 100,000 ended ones whose delivery is pending |
//! | `waiting` | polls while nobody waits, and again while `--connections` clients (default 500) sit in `?wait=30` |
//! | `slow` | polls on 4 connections while nobody else is there, and again beside `--connections` clients (default 500) that are slow in every way |
//! | `pollers` | what `--connections` clients (default 1000) that do nothing but wait cost in a minute, and how soon the result of each of `--jobs` fresh jobs (default 500) is with its client beside them |
//! | `receivers` | how soon each of `--jobs` callbacks (default 300) is with a live receiver: alone, beside `--connections` receivers (default 20) that hang, and beside as many dead ports |
//!
//! Without `--url` it starts a server of its own, in a process of its own, with a task that takes
//! `--work` milliseconds. `--bytes` is the size of each input.

mod connection;
mod depth;
mod measure;
mod pollers;
mod receivers;
mod scenarios;
mod server;
mod sink;
mod slow;

use std::process::ExitCode;
use std::time::Duration;

/// What to do, from the command line.
#[derive(Debug, Clone)]
pub struct Plan {
    pub url: Option<String>,
    pub scenario: String,
    pub connections: Option<usize>,
    pub seconds: u64,
    pub jobs: Option<usize>,
    pub bytes: usize,
    pub work: Duration,
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    if let Some(served) = server::serve_if_child() {
        return report(served);
    }
    report(plan().and_then(|plan| match plan.scenario.as_str() {
        "submit" => scenarios::submit(&plan),
        "idle" => scenarios::idle(&plan),
        "depth" => depth::depth(&plan),
        "backlog" => scenarios::backlog(&plan),
        "waiting" => scenarios::waiting(&plan),
        "slow" => slow::slow(&plan),
        "pollers" => pollers::pollers(&plan),
        "receivers" => receivers::receivers(&plan),
        other => Err(format!("no scenario is named {other:?}").into()),
    }))
}

fn report(result: Result<(), Failed>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan() -> Result<Plan, Failed> {
    let mut plan = Plan {
        url: None,
        scenario: "submit".into(),
        connections: None,
        seconds: 10,
        jobs: None,
        bytes: 32 * 1024,
        work: Duration::ZERO,
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--url" => plan.url = Some(value),
            "--scenario" => plan.scenario = value,
            "--connections" => plan.connections = Some(value.parse()?),
            "--seconds" => plan.seconds = value.parse()?,
            "--jobs" => plan.jobs = Some(value.parse()?),
            "--bytes" => plan.bytes = value.parse()?,
            "--work" => plan.work = Duration::from_millis(value.parse()?),
            _ => return Err(format!("no flag is named {flag}").into()),
        }
    }
    Ok(plan)
}
