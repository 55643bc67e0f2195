//! Many clients that wait for a result that does not come, and few whose result does: what the first
//! cost, and how long the second wait.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::connection::Connection;
use crate::measure::{percentiles, processor_time, resident_mb};
use crate::server::Started;
use crate::{Failed, Plan};

/// How long they wait in one request, the longest there is; and how long they are watched, so that
/// each asks once more meanwhile.
const WAIT_S: u64 = 60;
/// How long they may take to be all there.
const PATIENCE: Duration = Duration::from_secs(30);
/// Milliseconds that a fresh job takes.
const WORK_MS: u64 = 20;
/// A waiting client needs little: a request and an answer.
const STACK: usize = 64 * 1024;

pub fn pollers(plan: &Plan) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let server = Started::start(folder.path(), Duration::from_secs(3600))?;
    let mut connection = Connection::open(server.addr)?;
    let endless = submit(&mut connection, "/jobs", b"endless")?;
    // What the first requests of all cost stays out of the figures.
    fresh(&mut connection, 50)?;
    let alone = resident_mb(server.pid(), "VmRSS:").ok_or("the system does not tell memory")?;
    let count = plan.connections.unwrap_or(1_000);
    for _ in 0..count {
        let (addr, path) = (server.addr, format!("{endless}?wait={WAIT_S}"));
        // They end when the server does.
        std::thread::Builder::new().stack_size(STACK).spawn(move || wait_on(addr, &path))?;
    }
    wait_for_all(&mut connection, count)?;
    let beside = resident_mb(server.pid(), "VmRSS:").ok_or("the system does not tell memory")?;
    let idle = idle_share(server.pid())?;
    println!("{count} clients wait for {WAIT_S} s each, again and again");
    println!(
        "memory             {alone:.1} MB without them, {:.1} MB more with them",
        beside - alone
    );
    println!("processor          {:.2} % of a core", idle * 100.0);
    let told = fresh(&mut connection, plan.jobs.unwrap_or(500))?;
    println!("finish to poller   {}", percentiles(told));
    wait_for_all(&mut connection, count)
}

fn wait_on(addr: SocketAddr, path: &str) -> Result<(), Failed> {
    let mut connection = Connection::open(addr)?;
    loop {
        connection.get(path)?;
    }
}

/// Until so many requests wait.
fn wait_for_all(connection: &mut Connection, count: usize) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let overview: Value = serde_json::from_slice(&connection.get("/queue.json")?.body)?;
        let waiting = overview.get("waiting").and_then(Value::as_u64);
        if waiting == Some(count as u64) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{waiting:?} of {count} clients wait").into());
        }
    }
}

/// The share of one core that the process takes while each client asks once.
fn idle_share(pid: u32) -> Result<f64, Failed> {
    let time = || processor_time(pid).ok_or("the system does not tell times");
    let (began, before) = (Instant::now(), time()?);
    std::thread::sleep(Duration::from_secs(WAIT_S));
    Ok((time()? - before).as_secs_f64() / began.elapsed().as_secs_f64())
}

/// One job after the other; for each, the time from its end to its client.
fn fresh(connection: &mut Connection, jobs: usize) -> Result<Vec<Duration>, Failed> {
    let one = |number: usize| -> Result<Duration, Failed> {
        let path = format!("/jobs?work_ms={WORK_MS}");
        let job = submit(connection, &path, &number.to_le_bytes())?;
        let told = connection.get(&format!("{job}?wait={WAIT_S}"))?;
        let now = SystemTime::now();
        let told: Value = serde_json::from_slice(&told.body)?;
        let finished = told.get("finished_at").and_then(Value::as_str);
        let finished = finished.ok_or_else(|| format!("a job that has not ended: {told}"))?;
        Ok(now.duration_since(humantime::parse_rfc3339(finished)?).unwrap_or_default())
    };
    (0..jobs).map(one).collect()
}

/// Hands over a job and returns its address.
fn submit(connection: &mut Connection, path: &str, input: &[u8]) -> Result<String, Failed> {
    let reply = connection.post(path, input)?;
    reply.location.ok_or_else(|| format!("{} to a good request", reply.status).into())
}
