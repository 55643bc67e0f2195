//! A queue that has filled its disk, or finds it filled, drains by itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::mount::{Disk, KINDS, Kind};
use crate::support::binary::Binary;
use crate::support::{Target, eventually};

/// How often the queue is filled and drained on each kind of disk.
fn rounds() -> usize {
    let rounds = std::env::var("RINGBACK_TEST_ROUNDS").ok();
    rounds.map_or(2, |rounds| rounds.parse().expect("a number"))
}

fn serve(disk: &Disk) -> Binary {
    Binary::serve_without_model(&disk.data(), &["--demo", "--workers", "2", "--max-queued", "2000"])
}

/// Sends inputs of `bytes` bytes from sixteen clients. Returns the jobs that were taken; whatever
/// was not was refused for want of room, with a time to come again.
fn send(server: &(impl Target + Sync), inputs: usize, bytes: usize, seconds: &str) -> Vec<String> {
    let (next, jobs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= inputs {
                        return;
                    }
                    let mut input = vec![b'x'; bytes];
                    input[..8].copy_from_slice(&(n as u64).to_be_bytes());
                    let path = format!("/jobs?task=demo&seconds={seconds}");
                    let reply = server.post(&path, "application/octet-stream", &input);
                    if reply.status == 202 {
                        let job = reply.header("location").expect("a location").to_owned();
                        jobs.lock().expect("no panic").push(job);
                    } else {
                        assert_eq!((reply.status, &*reply.code()), (503, "disk_full"));
                        assert!(reply.header("retry-after").is_some());
                    }
                }
            });
        }
    });
    jobs.into_inner().expect("no panic")
}

fn wait_until_drained(server: &impl Target) {
    eventually("the queue drains", || {
        let depth = &server.get("/queue.json").json()["queue"];
        (depth["queued"] == 0 && depth["running"] == 0).then_some(())
    });
}

fn all_succeeded(server: &impl Target, jobs: &[String]) {
    for job in jobs {
        let job = server.get(job).json();
        assert_eq!(job["state"], "succeeded", "{job}");
    }
}

fn wait_until_ready(server: &impl Target) {
    eventually("it is ready again", || (server.get("/readyz").status == 200).then_some(()));
}

#[test]
fn a_queue_that_fills_its_disk_drains() {
    for kind in KINDS {
        for round in 0..rounds() {
            let Some(disk) = Disk::mount(kind, 20, "") else { return };
            let server = serve(&disk);
            // Both workers are busy until the disk is full.
            let busy = send(&server, 2, 1000, "60");
            let jobs = send(&server, 800, 32 * 1024, "0");
            assert!((200..800).contains(&jobs.len()), "{}", jobs.len());
            for job in busy {
                assert_eq!(server.delete(&job).json()["state"], "canceled");
            }
            wait_until_drained(&server);
            all_succeeded(&server, &jobs);
            // There is room again, for inputs in the store and for those in files.
            for bytes in [1000, 500_000] {
                eventually("an input is taken again", || {
                    let reply = server.post("/jobs?task=demo&seconds=0", "a/b", &vec![0; bytes]);
                    (reply.status == 202).then_some(())
                });
            }
            wait_until_ready(&server);
            server.signal("TERM");
            let (status, said) = server.wait();
            assert!(status.success());
            let lines = said.iter().filter(|line| line.contains("ERROR")).count();
            assert!(lines <= 4, "{kind:?}, round {round}: {said:#?}");
        }
    }
}

#[test]
fn large_uploads_at_once_are_not_promised_the_same_room() {
    for kind in KINDS {
        let Some(disk) = Disk::mount(kind, 40, "") else { return };
        let server = serve(&disk);
        let jobs = send(&server, 60, 3_000_000, "0.2");
        assert!(jobs.len() >= 5, "{}", jobs.len());
        wait_until_drained(&server);
        all_succeeded(&server, &jobs);
        wait_until_ready(&server);
    }
}

#[test]
fn a_disk_without_a_free_byte_starts_cancels_forgets_and_drains() {
    for kind in KINDS {
        let Some(disk) = Disk::mount(kind, 20, "") else { return };
        let server = serve(&disk);
        let ended = send(&server, 1, 1000, "0").remove(0);
        server.finished(&ended);
        let jobs = send(&server, 200, 32 * 1024, "0.1");
        let filler = disk.fill();
        server.kill();
        // What the killed process had open is free now.
        let filler_of_the_rest = disk.fill();
        std::mem::forget(filler_of_the_rest);

        let server = serve(&disk);
        assert_eq!(server.get("/readyz").code(), "disk_full");
        assert_eq!(server.post("/jobs?task=demo", "a/b", b"more").code(), "disk_full");
        let canceled = jobs.last().expect("a job");
        assert_eq!(server.delete(canceled).json()["state"], "canceled");
        assert_eq!(server.delete(&ended).status, 204, "a finished job is forgotten");
        // Once more, on what the first start has left.
        server.kill();
        let server = serve(&disk);
        wait_until_drained(&server);
        all_succeeded(&server, &jobs[..jobs.len() - 1]);
        assert_eq!(server.delete(&jobs[0]).status, 204);
        drop(filler);
        wait_until_ready(&server);
        server.submit(b"more");
    }
}

#[test]
fn something_else_fills_the_disk_again_and_again() {
    for kind in KINDS {
        let Some(disk) = Disk::mount(kind, 20, "") else { return };
        let disk = Arc::new(disk);
        let server = serve(&disk);
        let mut jobs = Vec::new();
        for _ in 0..4 {
            let filler = disk.fill();
            jobs.extend(send(&server, 40, 32 * 1024, "0.01"));
            jobs.extend(send(&server, 5, 200_000, "0.01"));
            drop(filler);
            wait_until_ready(&server);
            jobs.extend(send(&server, 40, 32 * 1024, "0.01"));
        }
        wait_until_drained(&server);
        assert!(jobs.len() >= 160, "{}", jobs.len());
        all_succeeded(&server, &jobs);
    }
}

/// Only files are short: what lives in the store is still taken.
#[test]
fn a_disk_without_a_free_file_takes_small_inputs() {
    let Some(disk) = Disk::mount(Kind::Tmpfs, 40, "nr_inodes=200") else { return };
    let server = serve(&disk);
    let mut hoard = 0;
    while std::fs::File::create(disk.path().join(format!("{hoard}"))).is_ok() {
        hoard += 1;
    }
    let large = vec![1; 200_000];
    assert_eq!(server.post("/jobs?task=demo&seconds=0", "a/b", &large).code(), "disk_full");
    assert_eq!(server.get("/readyz").code(), "disk_full");
    let jobs = send(&server, 20, 1000, "0");
    assert_eq!(jobs.len(), 20);
    wait_until_drained(&server);
    all_succeeded(&server, &jobs);
    for n in 0..hoard {
        std::fs::remove_file(disk.path().join(format!("{n}"))).expect("it is there");
    }
    wait_until_ready(&server);
    assert_eq!(server.post("/jobs?task=demo&seconds=0", "a/b", &large).status, 202);
}
