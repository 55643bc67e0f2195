//! What can be measured.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::measure::{counts, memory, milliseconds, percentiles};
use crate::server::Started;
use crate::sink::Sink;
use crate::{Failed, Plan};

/// How long a callback or a state may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where to send to: a server of our own, or somebody else's.
pub struct Target {
    pub addr: SocketAddr,
    path: String,
    pub own: Option<Started>,
}

impl Target {
    pub fn new(plan: &Plan, folder: &tempfile::TempDir) -> Result<Target, Failed> {
        let Some(url) = &plan.url else {
            let own = Started::start(folder.path(), plan.work)?;
            return Ok(Target { addr: own.addr, path: "/send".into(), own: Some(own) });
        };
        let rest = url.strip_prefix("http://").ok_or("--url must begin with http://")?;
        let (addr, path) = rest.split_once('/').unwrap_or((rest, "send"));
        Ok(Target { addr: addr.parse()?, path: format!("/{path}"), own: None })
    }

    pub fn memory(&self) -> String {
        self.own.as_ref().map_or("not our process".into(), |own| memory(own.pid()))
    }

    /// Its memory, threads and open files.
    pub fn state(&self) -> String {
        let counts = self.own.as_ref().map_or(String::new(), |own| counts(own.pid()));
        format!("{}{counts}", self.memory())
    }
}

/// An input like no other: equal ones would be taken for the same job.
pub fn input(bytes: usize, number: usize) -> Vec<u8> {
    let mut input = vec![b'x'; bytes];
    let number = number.to_le_bytes();
    let length = number.len().min(bytes);
    input[..length].copy_from_slice(&number[..length]);
    input
}

/// As many jobs as the server takes.
pub fn submit(plan: &Plan) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let target = Target::new(plan, &folder)?;
    let sink = Sink::open()?;
    let connections = plan.connections.unwrap_or(16);
    let open = (0..connections).map(|_| Connection::in_use(target.addr));
    let open = open.collect::<Result<Vec<_>, _>>()?;
    let (began, counter) = (Instant::now(), AtomicUsize::new(0));
    let until = began + Duration::from_secs(plan.seconds);
    let replies: Vec<Sent> = std::thread::scope(|scope| {
        let threads: Vec<_> = open
            .into_iter()
            .map(|connection| {
                let (target, callback, counter) = (&target, &sink.url, &counter);
                scope.spawn(move || send_until(until, plan, target, connection, callback, counter))
            })
            .collect();
        threads.into_iter().map(|t| t.join().expect("a sender panicked")).collect::<Result<_, _>>()
    })?;
    let took = began.elapsed();
    let accepted: usize = replies.iter().map(|sent| sent.replies.len()).sum();
    let refused: usize = replies.iter().map(|sent| sent.refused).sum();
    let peak = target.memory();
    let arrivals = sink.wait_for(accepted, PATIENCE);
    let all_done = began.elapsed();
    let ids: Vec<String> = replies.iter().flat_map(|sent| sent.jobs.iter().cloned()).collect();
    println!("{connections} connections, {} bytes each, {took:.1?}", plan.bytes);
    println!(
        "accepted           {:.0}/s ({accepted}, {refused} refused)",
        accepted as f64 / took.as_secs_f64()
    );
    println!(
        "reply              {}",
        percentiles(replies.into_iter().flat_map(|sent| sent.replies).collect())
    );
    println!("callbacks          {} of {accepted}, all after {all_done:.1?}", arrivals.len());
    if target.own.is_some() {
        println!("accepted to start  {}", percentiles(starts(target.addr, &ids, 2_000)?));
    }
    println!(
        "finish to callback {}",
        percentiles(arrivals.into_iter().filter_map(|a| a.took).collect())
    );
    println!("memory             {peak}");
    Ok(())
}

#[derive(Default)]
struct Sent {
    replies: Vec<Duration>,
    jobs: Vec<String>,
    refused: usize,
}

fn send_until(
    until: Instant,
    plan: &Plan,
    target: &Target,
    mut connection: Connection,
    callback: &str,
    counter: &AtomicUsize,
) -> Result<Sent, Failed> {
    let mut sent = Sent::default();
    while Instant::now() < until {
        let file = input(plan.bytes, counter.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        let reply = connection.send(&target.path, &file, callback)?;
        match reply.status {
            204 => {
                sent.replies.push(began.elapsed());
                sent.jobs.extend(reply.location);
            }
            503 | 429 => sent.refused += 1,
            status => return Err(format!("{status} to a good request").into()),
        }
    }
    Ok(sent)
}

/// How long jobs (at most `most` of them, spread evenly) waited for a worker.
fn starts(addr: SocketAddr, jobs: &[String], most: usize) -> Result<Vec<Duration>, Failed> {
    let mut connection = Connection::open(addr)?;
    let step = jobs.len().div_ceil(most).max(1);
    jobs.iter().step_by(step).map(|job| started_after(&mut connection, job)).collect()
}

fn started_after(connection: &mut Connection, job: &str) -> Result<Duration, Failed> {
    let reply = connection.get(job)?;
    let job: serde_json::Value = serde_json::from_slice(&reply.body)?;
    let time = |name: &str| -> Result<_, Failed> {
        let text = job.get(name).and_then(|time| time.as_str());
        Ok(humantime::parse_rfc3339(text.ok_or_else(|| format!("a job without {name}: {job}"))?)?)
    };
    Ok(time("started_at")?.duration_since(time("created_at")?).unwrap_or_default())
}

/// One job at a time to a server that has nothing else to do.
pub fn idle(plan: &Plan) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let target = Target::new(plan, &folder)?;
    let sink = Sink::open()?;
    let mut connection = Connection::open(target.addr)?;
    println!("memory when idle   {}", target.memory());
    let (mut replies, mut jobs, mut callbacks) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..plan.jobs.unwrap_or(500) {
        let began = Instant::now();
        let reply = connection.send(&target.path, &input(plan.bytes, number), &sink.url)?;
        replies.push(began.elapsed());
        jobs.extend(reply.location);
        callbacks.extend(sink.wait_for(1, PATIENCE).into_iter().filter_map(|a| a.took));
    }
    println!("reply              {}", percentiles(replies));
    if target.own.is_some() {
        println!("accepted to start  {}", percentiles(starts(target.addr, &jobs, usize::MAX)?));
    }
    println!("finish to callback {}", percentiles(callbacks));
    println!("memory at the end  {}", target.memory());
    Ok(())
}

/// Polls while many jobs wait, then a kill and a restart.
pub fn backlog(plan: &Plan) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let slow = Plan { work: plan.work.max(Duration::from_millis(50)), ..plan.clone() };
    let target = Target::new(&slow, &folder)?;
    let count = plan.jobs.unwrap_or(10_000);
    let mut connection = Connection::open(target.addr)?;
    let mut jobs = Vec::new();
    // Nobody listens there: the outcome of each waits too.
    let nowhere = "http://127.0.0.1:9/";
    for number in 0..count {
        let reply = connection.send("/send", &input(plan.bytes.min(4096), number), nowhere)?;
        jobs.push(reply.location.ok_or_else(|| format!("{} to a good request", reply.status))?);
    }
    println!("{count} jobs sent; {} wait", waiting_jobs(&mut connection, &jobs)?);
    let mut polls = Vec::new();
    for job in jobs.iter().rev().step_by(count.div_ceil(2_000)) {
        let began = Instant::now();
        connection.get(job)?;
        polls.push(began.elapsed());
    }
    println!("poll of one job    {}", percentiles(polls));
    println!("memory             {}", target.memory());
    let Some(own) = target.own else { return Ok(()) };
    own.kill()?;
    let began = Instant::now();
    let again = Started::start(folder.path(), slow.work)?;
    let mut connection = Connection::open(again.addr)?;
    while connection.get("/readyz")?.status != 200 {
        if began.elapsed() > PATIENCE {
            return Err("the server does not get ready".into());
        }
    }
    println!("ready after a kill {}", milliseconds(began.elapsed()));
    println!("{} wait", waiting_jobs(&mut connection, &jobs)?);
    Ok(())
}

/// How many are queued: the position of the youngest.
fn waiting_jobs(connection: &mut Connection, jobs: &[String]) -> Result<u64, Failed> {
    let youngest = jobs.last().ok_or("no jobs")?;
    let job: serde_json::Value = serde_json::from_slice(&connection.get(youngest)?.body)?;
    Ok(job.get("position").and_then(serde_json::Value::as_u64).unwrap_or(0))
}

/// Polls beside many clients that wait for an outcome.
pub fn waiting(plan: &Plan) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let slow = Plan { work: Duration::from_secs(3600), ..plan.clone() };
    let target = Target::new(&slow, &folder)?;
    let mut connection = Connection::open(target.addr)?;
    let sent = connection.send("/send", &input(plan.bytes, 0), "http://127.0.0.1:9/")?;
    let job = sent.location.ok_or("the job was not taken")?;
    let alone = polls(&mut connection, &job)?;
    println!("nobody waits       {}", percentiles(alone));
    let count = plan.connections.unwrap_or(500);
    let (job, addr) = (job.as_str(), target.addr);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(move || -> Result<(), Failed> {
                Connection::open(addr)?.get(&format!("{job}?wait=30"))?;
                Ok(())
            });
        }
        // The threads of the waiting clients need a moment to send; polling is what passes it.
        let settled = Instant::now() + Duration::from_secs(3);
        while Instant::now() < settled {
            connection.get(job)?;
        }
        let beside = polls(&mut connection, job)?;
        println!("{count} wait           {}", percentiles(beside));
        println!("memory             {}", target.memory());
        // Ends the wait of all of them.
        drop(target);
        Ok(())
    })
}

fn polls(connection: &mut Connection, job: &str) -> Result<Vec<Duration>, Failed> {
    let poll = |_| {
        let began = Instant::now();
        connection.get(job)?;
        Ok(began.elapsed())
    };
    (0..5_000).map(poll).collect()
}
