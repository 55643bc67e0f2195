//! A long queue: what it costs, and where a job stands in it.

use std::time::Duration;

use ringback::{Attempt, Output, Server};

use crate::support::{Target, TestServer, gated};

#[cfg(all(feature = "cli", feature = "whisper", target_os = "linux"))]
#[test]
fn a_queue_that_may_grow_long_took_its_memory_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--demo", "--max-queued", "100000000"];
    let server = crate::support::binary::Binary::serve_without_model(folder.path(), &arguments);
    let reply = server.post("/jobs?seconds=0", "text/plain", b"x");
    server.finished(reply.header("location").expect("a location"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 200 * 1024, "{kib} KiB");
}

#[test]
fn a_place_is_right_after_cancels_and_a_restart() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.drain(Duration::from_millis(1)));
    let running = server.submit(b"running");
    gate.next();
    let jobs: Vec<String> = (0..100).map(|n| server.submit(format!("{n}").as_bytes())).collect();
    let place = |server: &TestServer, n: usize| server.get(&jobs[n]).json()["position"].as_u64();
    assert_eq!([0, 70, 99].map(|n| place(&server, n)), [Some(1), Some(71), Some(100)]);
    for job in &jobs[10..30] {
        assert_eq!(server.delete(job).status, 200);
    }
    assert_eq!([9, 20, 70].map(|n| place(&server, n)), [Some(10), None, Some(51)]);
    // The running job goes back to its place before all others.
    let folder = server.stop();
    let (builder, gate) = gated();
    let server = TestServer::start_on(folder, builder);
    gate.next();
    assert_eq!(server.get(&running).json()["state"], "running");
    assert_eq!([0, 70, 99].map(|n| place(&server, n)), [Some(1), Some(51), Some(80)]);
}

#[test]
fn every_job_of_a_queue_longer_than_the_hints_is_done() {
    let (begun, begins) = crossbeam_channel::bounded::<()>(0);
    let task = move |_: &Attempt| {
        // The first attempts wait until all jobs are queued.
        let _ = begins.recv_timeout(crate::support::PATIENCE);
        Ok(Output::text("done"))
    };
    let builder = Server::builder().task("wait", task).workers(2).max_queued(10_000);
    let server = TestServer::start(builder);
    let jobs: Vec<String> = (0..1_300).map(|n| server.submit(format!("{n}").as_bytes())).collect();
    drop(begun);
    server.finished(&jobs[jobs.len() - 1]);
    for state in ["queued", "running"] {
        crate::support::eventually("all jobs end", || {
            let jobs = server.get(&format!("/jobs?state={state}")).json();
            jobs["jobs"].as_array().expect("jobs").is_empty().then_some(())
        });
    }
}
