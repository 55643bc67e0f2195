//! What a `kill -9` in the middle of the work costs.

use std::collections::HashSet;
use std::ffi::OsString;

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select, unbounded};

use crate::burst::{agent, send};
use crate::ledger::Reply;
use crate::program::Program;
use crate::{Failed, Plan};

/// How long a client of this test waits: longer than all of the work takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// A program that has not finished anything for so long will not.
const QUIET: Duration = Duration::from_secs(1);

/// How many of the plan's jobs are never finished when the program is killed after a quarter of them
/// and started again. Jobs are those that were accepted, and those whose clients waited for the result.
pub fn lost(name: &str, argument: Option<OsString>, plan: &Plan) -> Result<usize, Failed> {
    let program = Program::start(name, argument.clone())?;
    let (agent, url) = (&agent(PATIENCE), &format!("{}/jobs", program.url));
    let mut jobs: HashSet<String> = (0..plan.jobs).map(|number| format!("job-{number}")).collect();
    let (report, replies) = unbounded();
    thread::scope(|scope| {
        for text in jobs.clone() {
            let report = report.clone();
            scope.spawn(move || {
                let reply = send(agent, url, &text);
                report.send((text, reply)).expect("invariant: the other end outlives the scope");
            });
        }
        // The clients that still wait are freed by the kill.
        kill_in_the_middle(program, &mut jobs, &replies, plan.jobs)
    })?;
    let again = Program::start(name, argument)?;
    while let Ok((_, text)) = again.finished.recv_timeout(QUIET) {
        jobs.remove(&text);
        if jobs.is_empty() {
            break;
        }
    }
    Ok(jobs.len())
}

/// Takes out of `jobs` what is refused, and what is finished before the program is killed: that is once a
/// quarter is finished, and no client waits to be accepted.
fn kill_in_the_middle(
    program: Program,
    jobs: &mut HashSet<String>,
    replies: &Receiver<(String, Reply)>,
    count: usize,
) -> Result<(), Failed> {
    let (mut replied, mut promises, mut finished) = (0, false, 0);
    let deadline = Instant::now() + PATIENCE;
    while finished < count.div_ceil(4) || (promises && replied < count) {
        select! {
            recv(replies) -> reply => {
                let (text, reply) = reply?;
                replied += 1;
                promises |= matches!(reply, Reply::Accepted { .. });
                if matches!(reply, Reply::Refused) {
                    jobs.remove(&text);
                }
            }
            recv(program.finished) -> one => {
                finished += 1;
                jobs.remove(&one?.1);
            }
            default(deadline.saturating_duration_since(Instant::now())) => {
                return Err("the jobs are not finished".into());
            }
        }
    }
    program.kill().iter().for_each(|(_, text)| {
        jobs.remove(&text);
    });
    Ok(())
}
