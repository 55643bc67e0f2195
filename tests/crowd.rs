//! Many receivers that hang or fail, beside a live one.

use std::time::{Duration, Instant};

use crate::callbacks::send;
use crate::support::sink::{Answer, CallbackSink};
use crate::support::{PATIENCE, Target, TestServer, echo};

const TICK: Duration = Duration::from_millis(20);

/// Sends one job after the other to `sink`, and returns how long each took to its callback, sorted.
fn times(server: &TestServer, sink: &CallbackSink, jobs: usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..jobs)
        .map(|n| {
            let began = Instant::now();
            send(server, format!("live {n}").as_bytes(), &sink.url());
            sink.recv_timeout(PATIENCE);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

/// Half of the times within some milliseconds of those without, and nearly all of them. What is
/// mended here were tens of seconds: the machine may be a busy one.
#[track_caller]
fn assert_as_quick(beside: &[Duration], alone: &[Duration]) {
    let (p50, p98) = (beside.len() / 2, beside.len() * 98 / 100);
    assert!(beside[p50] < alone[p50] * 3 + Duration::from_millis(50), "{beside:?}, {alone:?}");
    assert!(beside[p98] < alone[p98] * 3 + Duration::from_millis(500), "{beside:?}, {alone:?}");
}

#[test]
fn twenty_receivers_that_hang_stalled_a_live_one() {
    let live = CallbackSink::start();
    let server = TestServer::start(echo().workers(2).drain(Duration::from_millis(200)));
    let alone = times(&server, &live, 50);
    let hanging: Vec<CallbackSink> = (0..20).map(|_| CallbackSink::start()).collect();
    for sink in &hanging {
        sink.answer_always(Answer::Hang);
        for n in 0..5 {
            send(&server, format!("hang {n}").as_bytes(), &sink.url());
        }
    }
    for sink in &hanging {
        sink.recv_timeout(PATIENCE);
    }
    assert_as_quick(&times(&server, &live, 50), &alone);
    // One that nobody has called yet is as quick.
    assert_as_quick(&times(&server, &CallbackSink::start(), 50), &alone);
}

#[test]
fn five_hundred_dead_ports_kept_a_core_and_the_log_busy() {
    let live = CallbackSink::start();
    let server = TestServer::start(echo().workers(2).callback_waits([TICK; 9]));
    let alone = times(&server, &live, 50);
    let dead: Vec<CallbackSink> = (0..500).map(|_| CallbackSink::start_down()).collect();
    let began = Instant::now();
    let jobs: Vec<String> = dead.iter().map(|sink| send(&server, b"dead", &sink.url())).collect();
    assert_as_quick(&times(&server, &live, 50), &alone);
    let job = |job: &String| server.get(job).json()["callback"]["attempts"].as_u64();
    let attempts: u64 = jobs.iter().filter_map(job).sum();
    // Each once, and 100 retries and 20 a second.
    let most = 500 + 100 + 20 * (1 + began.elapsed().as_secs());
    assert!((10..=most).contains(&attempts), "{attempts} attempts, at most {most}");
}
