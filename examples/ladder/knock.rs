//! Knocks at a rung of the ladder and says what came of it.
//!
//! ```text
//! cargo build --no-default-features --examples                       # all rungs and knock
//! cargo run --no-default-features --example knock -- ladder3         # starts it, knocks, kills it
//! cargo run --no-default-features --example knock -- ladder4 16      # with 16 workers
//! cargo run --no-default-features --example knock -- --all           # all eight, as a Markdown table
//! cargo run --no-default-features --example knock -- http://127.0.0.1:8080     # one that runs already
//! ```
//!
//! `--clients` clients (50) send one request after the other, `--requests` (200) in all, and each waits
//! `--patience` milliseconds (2000) for a reply; then it gives up, as a proxy would. Nothing is sent
//! twice. What the server answers is looked at, not assumed: a `200` is the result itself, a
//! `Location` is polled, and each request names a callback, which may be called.
//!
//! A rung that knock started says on its standard output what it has finished, so that work is counted
//! that nobody learns of. It is then started again, given `--jobs` jobs (20), killed (`kill -9`) once a
//! quarter of them is finished, and started a third time: what is never finished is lost.

#[path = "knock/burst.rs"]
mod burst;
#[path = "knock/killed.rs"]
mod killed;
#[path = "knock/ledger.rs"]
mod ledger;
#[path = "knock/program.rs"]
mod program;
#[path = "knock/report.rs"]
mod report;
#[path = "knock/sink.rs"]
mod sink;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use program::Program;
use report::Row;

/// What to do, from the command line.
#[derive(Debug, Clone)]
pub struct Plan {
    target: Target,
    /// The rung's own second argument: how many workers `ladder4` has.
    argument: Option<OsString>,
    pub clients: usize,
    pub requests: usize,
    pub patience: Duration,
    pub jobs: usize,
}

#[derive(Debug, Clone)]
enum Target {
    All,
    Rung(String),
    Url(String),
}

pub type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match plan().and_then(|plan| run(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("knock: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(plan: &Plan) -> Result<(), Failed> {
    match &plan.target {
        Target::Url(url) => {
            let ledger = burst::knock(url, None, plan)?;
            print!("{}", Row::new(url, &ledger, None).report());
        }
        Target::Rung(name) => print!("{}", rung(name, plan)?.report()),
        Target::All => {
            println!("{}", Row::HEAD);
            for number in 1..=8 {
                println!("{}", rung(&format!("ladder{number}"), plan)?.markdown());
            }
        }
    }
    Ok(())
}

/// A program of the ladder, from its start to what it lost.
fn rung(name: &str, plan: &Plan) -> Result<Row, Failed> {
    let folder = tempfile::tempdir()?;
    // The two that keep their jobs are told where; the others what was said behind their name.
    let argument = |data: &str| match name {
        "ladder7" | "ladder8" => Some(folder.path().join(data).into()),
        _ => plan.argument.clone(),
    };
    let program = Program::start(name, argument("burst"))?;
    let ledger = burst::knock(&program.url, Some(&program), plan)?;
    drop(program);
    let lost = killed::lost(name, argument("killed"), plan)?;
    Ok(Row::new(name, &ledger, Some((lost, plan.jobs))))
}

fn plan() -> Result<Plan, Failed> {
    let mut plan = Plan {
        target: Target::All,
        argument: None,
        clients: 50,
        requests: 200,
        patience: Duration::from_millis(2000),
        jobs: 20,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--all" => plan.target = Target::All,
            "--clients" => plan.clients = value()?.parse()?,
            "--requests" => plan.requests = value()?.parse()?,
            "--patience" => plan.patience = Duration::from_millis(value()?.parse()?),
            "--jobs" => plan.jobs = value()?.parse()?,
            url if url.starts_with("http://") => plan.target = Target::Url(word),
            name if name.starts_with("ladder") => plan.target = Target::Rung(word),
            count if count.parse::<usize>().is_ok() => plan.argument = Some(word.into()),
            other => return Err(format!("{other:?} is no rung, URL or flag").into()),
        }
    }
    Ok(plan)
}
