//! Outputs that find no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use ringback::{Attempt, Builder, Output, Server};

use crate::mount::{Disk, KINDS};
use crate::support::{Target, eventually};

struct Local(std::net::SocketAddr);

impl Target for Local {
    fn addr(&self) -> std::net::SocketAddr {
        self.0
    }
}

/// A server whose task gives as many bytes of text as its input says, once the sender is dropped.
fn writes(disk: &Disk) -> (ringback::Running, Local, Sender<()>, Arc<AtomicUsize>) {
    let (go, goes) = bounded::<()>(0);
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = Arc::clone(&begun);
    let builder: Builder = Server::builder().workers(2).drain(Duration::from_secs(5));
    let task = move |attempt: &Attempt| {
        let asked = String::from_utf8_lossy(&attempt.input().bytes()?).into_owned();
        begins.fetch_add(1, Ordering::Relaxed);
        // It closes: nothing is ever sent.
        let _ = goes.recv();
        let bytes: usize = asked.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        Ok(Output::text("y".repeat(bytes)))
    };
    let server = builder.task("writes", task).data(disk.data()).bind("127.0.0.1:0").expect("bind");
    let addr = server.addr();
    (server.start().expect("start"), Local(addr), go, begun)
}

#[test]
fn outputs_that_find_no_room_come_when_there_is_some() {
    for kind in KINDS {
        let Some(disk) = Disk::mount(kind, 40, "") else { return };
        let (running, server, go, begun) = writes(&disk);
        let jobs: Vec<String> =
            (0..12).map(|n| server.submit(format!("700000 {n}").as_bytes())).collect();
        let filler = disk.fill();
        drop(go);
        eventually("it says so", || (server.get("/readyz").status == 503).then_some(()));
        // Some fit into what was kept back; the others wait.
        let ended =
            || jobs.iter().filter(|job| server.get(job).json()["state"] == "succeeded").count();
        // Each worker has ended an attempt, well or not.
        eventually("attempts end", || (begun.load(Ordering::Relaxed) >= 4).then_some(()));
        assert!(ended() < jobs.len(), "the disk was not full enough to try anything");
        drop(filler);
        for job in &jobs {
            let job = server.finished(job);
            assert_eq!(job["state"], "succeeded", "{}", job["error"]);
            assert_eq!(job["data"].as_str().map(str::len), Some(700_000));
        }
        eventually("it is ready again", || (server.get("/readyz").status == 200).then_some(()));
        running.stop();
    }
}

#[test]
fn an_output_larger_than_the_disk_fails_with_its_reason() {
    for kind in KINDS {
        let Some(disk) = Disk::mount(kind, 40, "") else { return };
        let (running, server, go, _) = writes(&disk);
        drop(go);
        let jobs = ["25000000 large", "10 small"].map(|input| server.submit(input.as_bytes()));
        let [large, small] = jobs.map(|job| server.finished(&job));
        assert_eq!(
            (&large["state"], &large["error"]["code"]),
            (&"failed".into(), &"disk_full".into())
        );
        assert_eq!(small["state"], "succeeded");
        running.stop();
    }
}

/// It would go onto an empty disk. What an attempt for it costs is not counted against the job.
#[test]
fn an_output_too_large_for_now_waits_and_stops_no_other_job() {
    for kind in KINDS {
        let Some(disk) = Disk::mount(kind, 40, "") else { return };
        let (running, server, go, _) = writes(&disk);
        let filler = disk.fill_to(4 << 20);
        drop(go);
        let large = server.submit(b"8000000 large");
        let small: Vec<String> =
            (0..20).map(|n| server.submit(format!("10 {n}").as_bytes())).collect();
        eventually("it finds no room", || {
            let job = server.get(&large).json();
            (job["state"] == "queued" && !job["started_at"].is_null()).then_some(())
        });
        for job in &small {
            assert_eq!(server.finished(job)["state"], "succeeded");
        }
        drop(filler);
        let job = server.finished(&large);
        assert_eq!(
            (&job["state"], &job["attempt"]),
            (&"succeeded".into(), &1.into()),
            "{}",
            job["error"]
        );
        running.stop();
    }
}
