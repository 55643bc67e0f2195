//! Whatever was acknowledged outlives the process.

use crate::support::binary::Binary;
use crate::support::{Target, eventually};

fn speech(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/audio/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("a recording")
}

#[test]
fn every_acknowledged_job_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Binary::serve(folder.path(), &["--workers", "1"]);
    let recordings = [speech("austen-2.wav"), speech("austen-1.wav"), speech("jfk.wav")];
    let jobs: Vec<String> = (0..9)
        .map(|n| {
            let path = format!("/jobs?coalesce=false&prompt={n}");
            let reply = first.post(&path, "audio/wav", &recordings[n % 3]);
            assert_eq!(reply.status, 202, "{reply:?}");
            reply.header("location").expect("a location").to_owned()
        })
        .collect();
    eventually("one of them runs", || {
        (first.get(&jobs[0]).json()["state"] != "queued").then_some(())
    });
    first.kill();

    let second = Binary::serve(folder.path(), &[]);
    for job in &jobs {
        let job = second.finished(job);
        assert_eq!(job["state"], "succeeded", "{job}");
        assert!(!job["data"].as_str().expect("text").is_empty());
    }
}

#[test]
fn a_terminated_server_finishes_what_runs_and_exits_with_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve(folder.path(), &["--workers", "1"]);
    let reply = server.post("/jobs", "audio/wav", &speech("austen-2.wav"));
    let job = reply.header("location").expect("a location").to_owned();
    eventually("it runs", || (server.get(&job).json()["state"] != "queued").then_some(()));
    server.signal("TERM");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said:#?}");

    let again = Binary::serve(folder.path(), &[]);
    let job = again.get(&job).json();
    assert_eq!((job["state"].as_str(), &job["attempt"]), (Some("succeeded"), &1.into()), "{job}");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve(folder.path(), &["--workers", "1", "--drain", "10m"]);
    let reply = server.post("/jobs", "audio/wav", &speech("jfk.wav"));
    let job = reply.header("location").expect("a location").to_owned();
    eventually("it runs", || (server.get(&job).json()["state"] == "running").then_some(()));
    server.signal("INT");
    eventually("it drains", || (server.get("/readyz").status == 503).then_some(()));
    server.signal("INT");
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(130));

    let again = Binary::serve(folder.path(), &[]);
    assert_eq!(again.finished(&job)["state"], "succeeded");
}

#[test]
fn two_servers_never_share_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Binary::serve(folder.path(), &[]);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .arg("--model")
        .arg(crate::support::binary::model())
        .output()
        .expect("the program starts");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&*folder.path().to_string_lossy()), "{said}");
}
