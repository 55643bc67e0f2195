//! Measures a live receiver beside receivers that hang or are dead.

use std::net::TcpListener;
use std::time::Duration;

use crate::connection::Connection;
use crate::measure::{percentile, percentiles};
use crate::scenarios::{Target, input};
use crate::sink::Sink;
use crate::{Failed, Plan};

/// Jobs for each receiver that is no good.
const EACH: usize = 5;
/// Receivers that were never called before.
const NEW: usize = 20;
/// The longest wait for a callback.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time that the others get before the live receiver is measured again.
const SETTLING: Duration = Duration::from_secs(2);

/// Calls a live receiver alone, beside `--connections` that hang, and beside as many dead ports.
pub fn receivers(plan: &Plan) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let target = Target::new(plan, &folder)?;
    let jobs = plan.jobs.unwrap_or(300);
    let count = plan.connections.unwrap_or(20);
    let mut client = Connection::open(target.addr)?;
    let sink = Sink::open()?;
    let alone = live(plan, &mut client, &sink, jobs)?;
    println!("alone                  {}", percentiles(alone.clone()));
    // Connections are taken by the system, and nobody answers.
    let hanging: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let urls = |receivers: &[TcpListener]| -> Result<Vec<String>, Failed> {
        receivers.iter().map(|receiver| Ok(format!("http://{}/", receiver.local_addr()?))).collect()
    };
    let (name, hanging_urls) = (format!("{count} that hang"), urls(&hanging)?);
    beside(plan, &target, &mut client, &sink, &new_sinks()?, (&name, &hanging_urls))?;
    let dead: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let dead_urls = urls(&dead)?;
    // Opened first, so that none gets a port that is dead.
    let new = new_sinks()?;
    drop(dead);
    beside(plan, &target, &mut client, &sink, &new, (&format!("{count} dead ports"), &dead_urls))?;
    let again = live(plan, &mut client, &sink, jobs)?;
    println!("p99, to that alone     {:.2}", p99(again).as_secs_f64() / p99(alone).as_secs_f64());
    drop(hanging);
    Ok(())
}

/// Sends jobs for receivers that are no good, then measures a live one, known and new.
fn beside(
    plan: &Plan,
    target: &Target,
    client: &mut Connection,
    sink: &Sink,
    new: &[Sink],
    (name, urls): (&str, &[String]),
) -> Result<(), Failed> {
    for n in 0..EACH {
        for url in urls {
            client.send("/send", &input(plan.bytes, n), url)?;
        }
    }
    let jobs = plan.jobs.unwrap_or(300);
    println!("as they come, {name}  {}", percentiles(live(plan, client, sink, jobs)?));
    std::thread::sleep(SETTLING);
    println!("beside {name}  {}", percentiles(live(plan, client, sink, jobs)?));
    println!("new, beside {name}  {}", percentiles(live(plan, client, &new[0], jobs)?));
    let each_new = each_new(plan, client, &new[1..])?;
    println!("each new, beside {name}  {}", percentiles(each_new));
    println!("{}", target.state());
    Ok(())
}

/// One job after the other, each for a receiver that was never called before.
fn each_new(plan: &Plan, client: &mut Connection, new: &[Sink]) -> Result<Vec<Duration>, Failed> {
    new.iter().map(|sink| Ok(live(plan, client, sink, 1)?.remove(0))).collect()
}

fn new_sinks() -> Result<Vec<Sink>, Failed> {
    (0..=NEW).map(|_| Sink::open()).collect()
}

/// One job after the other: the times from its end to its callback.
fn live(
    plan: &Plan,
    client: &mut Connection,
    sink: &Sink,
    jobs: usize,
) -> Result<Vec<Duration>, Failed> {
    (0..jobs)
        .map(|n| {
            client.send("/send", &input(plan.bytes, n), &sink.url)?;
            let arrival = sink.wait_for(1, PATIENCE).pop().ok_or("a callback did not come")?;
            arrival.took.ok_or_else(|| "a callback does not say when its job ended".into())
        })
        .collect()
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    percentile(&times, 0.99)
}
