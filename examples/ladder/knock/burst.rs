//! Many clients at once, and how each learns its result.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select, tick, unbounded};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, header};

use crate::ledger::{Ledger, Reply, Way};
use crate::program::Program;
use crate::sink::Sink;
use crate::{Failed, Plan};

/// How often the program's threads are counted, and open jobs asked for.
const LOOK: Duration = Duration::from_millis(50);
/// When nothing new has come for so long, nothing more is expected.
const QUIET: Duration = Duration::from_secs(3);
/// A result may come back this long after its job was finished.
const AFTER: Duration = Duration::from_millis(300);

/// A text, what became of its request, and how long the client waited for that.
type Sent = (String, Reply, Duration);

/// Sends the plan's requests to `url` and waits for what comes of them.
pub fn knock(url: &str, program: Option<&Program>, plan: &Plan) -> Result<Ledger, Failed> {
    let sink = Sink::open()?;
    let agent = agent(plan.patience);
    let (post_to, counter) = (format!("{url}/jobs?callback={}", sink.url), AtomicUsize::new(0));
    let (report, sent) = unbounded();
    let watch = Watch { url, program, agent: &agent, sent, results: sink.results.clone() };
    let mut ledger = thread::scope(|scope| {
        for _ in 0..plan.clients {
            let (report, agent, post_to, counter) = (report.clone(), &agent, &post_to, &counter);
            scope.spawn(move || client(plan.requests, agent, post_to, counter, &report));
        }
        drop(report);
        watch.until_quiet()
    });
    ledger.memory = program.and_then(Program::memory);
    Ok(ledger)
}

/// Sends one request after the other, as long as there are any left.
fn client(requests: usize, agent: &Agent, url: &str, counter: &AtomicUsize, report: &Sender<Sent>) {
    loop {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return;
        }
        let (text, began) = (format!("knock-{number}"), Instant::now());
        let reply = send(agent, url, &text);
        report
            .send((text, reply, began.elapsed()))
            .expect("invariant: watched until all have ended");
    }
}

/// Where the news of a burst comes from.
struct Watch<'a> {
    url: &'a str,
    program: Option<&'a Program>,
    agent: &'a Agent,
    sent: Receiver<Sent>,
    results: Receiver<String>,
}

impl Watch<'_> {
    /// Writes down what happens, until nothing more is to be expected.
    fn until_quiet(self) -> Ledger {
        let mut ledger = Ledger::new();
        let (mut sent, looks, mut news) = (self.sent.clone(), tick(LOOK), Instant::now());
        let mut finished = self.program.map_or_else(never, |program| program.finished.clone());
        let mut sending = true;
        loop {
            select! {
                recv(sent) -> one => match one {
                    Ok((text, reply, waited)) => ledger.reply(text, reply, waited),
                    // Every client has ended.
                    Err(_) => (sending, sent) = (false, never()),
                },
                recv(finished) -> one => match one {
                    Ok((at, text)) => ledger.has_finished(at, text),
                    // The program has ended: the clients will hear nothing, and give up.
                    Err(_) => finished = never(),
                },
                recv(self.results) -> text => {
                    ledger.came_back(text.unwrap_or_default(), Way::Callback);
                }
                recv(looks) -> _ => {
                    let threads = self.program.and_then(Program::threads);
                    ledger.threads = ledger.threads.max(threads);
                    let polled = self.poll(&mut ledger);
                    if polled == 0 {
                        if !sending && self.is_over(&ledger, news.elapsed()) {
                            return ledger;
                        }
                        continue;
                    }
                }
            }
            news = Instant::now();
        }
    }

    /// Asks for each job that has a place to ask at; how many have ended.
    fn poll(&self, ledger: &mut Ledger) -> usize {
        let open = ledger.open.iter().filter(|(text, _)| !ledger.returned.contains(*text));
        let ended = open.filter_map(|(text, location)| {
            let place = format!("{}{}", self.url, location.as_ref()?);
            has_ended(self.agent, &place).then(|| text.clone())
        });
        let ended: Vec<String> = ended.collect();
        let count = ended.len();
        ended.into_iter().for_each(|text| ledger.came_back(text, Way::Poll));
        count
    }

    /// Whether all that was accepted is finished and has come back, or will not.
    fn is_over(&self, ledger: &Ledger, quiet: Duration) -> bool {
        let mut open = ledger.open.keys();
        if open.clone().all(|text| ledger.returned.contains(text)) || quiet > QUIET {
            return true;
        }
        let finished =
            self.program.is_some() && open.all(|text| ledger.finished.contains_key(text));
        finished && ledger.ways.is_empty() && quiet > AFTER
    }
}

/// Whether a job has come to an end, by what the server says of it. What cannot be read is asked for again.
fn has_ended(agent: &Agent, url: &str) -> bool {
    let Ok(mut reply) = agent.get(url).header("connection", "close").call() else { return false };
    let body = reply.body_mut().read_to_vec().unwrap_or_default();
    let job: Value = serde_json::from_slice(&body).unwrap_or_default();
    matches!(job["state"].as_str(), Some("succeeded" | "failed"))
}

/// A client that opens a connection for each request, as many clients do.
pub fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .max_idle_connections(0)
        .timeout_global(Some(patience))
        .build()
        .new_agent()
}

/// One request, and what became of it.
pub fn send(agent: &Agent, url: &str, text: &str) -> Reply {
    let post = agent.post(url).header("connection", "close").content_type("text/plain");
    match post.send(text) {
        Ok(reply) if reply.status() == 200 => Reply::Result,
        Ok(reply) if reply.status().is_success() => Reply::Accepted { location: location(&reply) },
        Ok(_) => Reply::Refused,
        Err(_) => Reply::GaveUp,
    }
}

fn location<B>(reply: &Response<B>) -> Option<String> {
    Some(reply.headers().get(header::LOCATION)?.to_str().ok()?.to_owned())
}
