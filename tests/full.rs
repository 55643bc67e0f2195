//! A disk without room, as far as that can be tried without mounting one: `tests/disk` has real ones.

use crate::support::{Target, TestServer, gated};

#[test]
fn a_disk_that_is_short_refuses_jobs_and_drains_the_others() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let jobs: Vec<String> = (0..3).map(|n| server.submit(format!("{n}").as_bytes())).collect();
    gate.next();
    let folder = server.stop();

    // No disk has so much to leave.
    let server = TestServer::start_on(folder, echo_as_gate().min_free(u64::MAX));
    for job in &jobs {
        assert_eq!(server.finished(job)["state"], "succeeded");
    }
    assert_eq!(server.delete(&jobs[0]).status, 204);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &*ready.code()), (503, "disk_full"));
    assert!(ready.json()["detail"].as_str().expect("a reason").contains("--min-free"));
    for body in [vec![1; 10], vec![1; 100_000]] {
        let reply = server.post("/jobs", "a/b", &body);
        assert_eq!((reply.status, &*reply.code()), (503, "disk_full"));
        assert!(reply.header("retry-after").is_some());
    }
    // Before the body: none is sent.
    let head = "POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n";
    let reply = server.exchange(head.as_bytes());
    assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("disk_full"), "{reply}");
}

fn echo_as_gate() -> ringback::Builder {
    ringback::Server::builder().task("gate", |attempt: &ringback::Attempt| {
        Ok(ringback::Output::text(String::from_utf8_lossy(&attempt.input().bytes()?)))
    })
}

/// A limit on the length of files is a full disk to whoever writes: here, the job store's log.
#[cfg(all(unix, feature = "cli", feature = "whisper"))]
#[test]
fn a_limit_on_files_is_a_full_disk_and_drains() {
    use crate::support::binary::Binary;

    let folder = tempfile::tempdir().expect("a folder");
    let server =
        Binary::serve_with_file_size(4, folder.path(), &["--demo", "--max-queued", "1000"]);
    let mut jobs = Vec::new();
    let refused = (0..200u32).find_map(|n| {
        let mut input = vec![7; 60_000];
        input[..4].copy_from_slice(&n.to_be_bytes());
        let reply = server.post("/jobs?task=demo&seconds=0.01", "a/b", &input);
        if reply.status == 202 {
            jobs.push(reply.header("location").expect("a location").to_owned());
            return None;
        }
        Some(reply)
    });
    let refused = refused.expect("4 MiB do not hold 12 MB");
    assert_eq!((refused.status, &*refused.code()), (503, "disk_full"));
    assert!(jobs.len() > 20, "{}", jobs.len());
    for job in &jobs {
        assert_eq!(server.finished(job)["state"], "succeeded");
    }
    crate::support::eventually("a job is taken again", || {
        (server.post("/jobs?task=demo", "a/b", b"again").status == 202).then_some(())
    });
}

/// Kills a server behind some jobs, cuts `cut` bytes off its log, and gives what the next start says.
#[cfg(all(unix, feature = "cli", feature = "whisper"))]
fn said_after_a_cut(cut: u64) -> Vec<String> {
    use crate::support::binary::Binary;

    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve_without_model(folder.path(), &["--demo"]);
    for n in 0..5 {
        server.finished(&server.submit(format!("{n}").as_bytes()));
    }
    server.kill();
    let log = std::fs::File::options()
        .write(true)
        .open(folder.path().join("ringback.db-wal"))
        .expect("a log");
    let length = log.metadata().expect("a log").len();
    log.set_len(length - cut).expect("it is cut");
    Binary::serve_without_model(folder.path(), &["--demo"]).said_at_start().to_vec()
}

#[cfg(all(unix, feature = "cli", feature = "whisper"))]
#[test]
fn a_start_says_that_the_log_was_cut_and_since_when_jobs_may_be_missing() {
    let said = said_after_a_cut(10_000);
    let warnings: Vec<_> = said.iter().filter(|line| line.contains("cut or damaged")).collect();
    assert_eq!(warnings.len(), 1, "{said:#?}");
    assert!(warnings[0].contains("Jobs sent since 20"), "{warnings:?}");
    let said = said_after_a_cut(0);
    assert!(!said.iter().any(|line| line.contains("WARN")), "{said:#?}");
}
