//! What clients are told to expect, against what then happens.

use std::time::{Duration, Instant};

use ringback::{Attempt, Builder, Output, Parameters, Server, TaskOptions};

use crate::support::{Target, TestServer};

/// Works for as long as the parameter `ms` says, and tells its progress in tenths.
fn timed() -> Builder {
    let time = |given: &Parameters| given.get("ms")?.parse().ok().map(Duration::from_millis);
    let options = TaskOptions::new().playing_time(time);
    Server::builder().workers(2).task_with("timed", options, move |attempt: &Attempt| {
        let time = time(attempt.parameters()).unwrap_or_default();
        for tenth in 1..=10_u8 {
            attempt.sleep(time / 10)?;
            attempt.progress(f32::from(tenth) / 10.0);
        }
        Ok(Output::text("done"))
    })
}

struct Sent {
    job: String,
    at: Instant,
    eta_s: Option<f64>,
}

fn send(server: &TestServer, ms: u64) -> Sent {
    let path = format!("/jobs?ms={ms}&coalesce=false");
    let reply = server.post(&path, "text/plain", b"x");
    assert_eq!(reply.status, 202, "{reply:?}");
    let job = reply.header("location").expect("a location").to_owned();
    Sent { job, at: Instant::now(), eta_s: reply.json()["eta_s"].as_f64() }
}

#[test]
fn a_short_job_behind_two_long_ones_was_told_that_it_is_next() {
    let server = TestServer::start(timed());
    let first = [send(&server, 100), send(&server, 200)];
    first.iter().for_each(|sent| drop(server.finished(&sent.job)));
    let long = [send(&server, 2000), send(&server, 2400)];
    let short = send(&server, 100);
    let told = short.eta_s.expect("an estimate");
    // A running job's estimate falls while its progress stays.
    let (mut last, mut fell) = ((0.0, f64::INFINITY), 0);
    while last.0 < 0.8 {
        let job = server.get(&long[1].job).json();
        let now = (job["progress"].as_f64().unwrap_or(0.0), job["eta_s"].as_f64());
        if let (progress, Some(eta)) = now {
            if progress == last.0 {
                assert!(eta <= last.1, "{eta} after {} at {progress}", last.1);
                fell += usize::from(eta < last.1);
            }
            last = (progress, eta);
        }
    }
    assert!(fell > 0, "it was asked while the progress stayed");
    server.finished(&short.job);
    let took = short.at.elapsed().as_secs_f64();
    assert!((told / took - 1.0).abs() < 0.3, "told {told} s, took {took} s");
}

#[test]
fn estimates_are_off_by_less_than_a_third_in_the_median() {
    let server = TestServer::start(timed());
    let times = [300, 20, 250, 40, 500, 100, 30, 400, 60, 350, 200, 80, 150, 450, 50, 120];
    drop(server.finished(&send(&server, 100).job));
    let sent: Vec<Sent> = times.map(|ms| send(&server, ms)).into();
    let mut off: Vec<f64> = std::thread::scope(|scope| {
        let waits = sent.iter().map(|sent| {
            scope.spawn(|| {
                server.finished(&sent.job);
                let took = sent.at.elapsed().as_secs_f64();
                (sent.eta_s.expect("an estimate") / took - 1.0).abs()
            })
        });
        let waits: Vec<_> = waits.collect();
        waits.into_iter().map(|wait| wait.join().expect("it ends")).collect()
    });
    off.sort_unstable_by(f64::total_cmp);
    assert!(off[off.len() / 2] < 0.3, "{off:?}");
}
