//! The zoo: recordings of one spoken sentence in every container, codec, rate and layout that programs
//! write, and with the defects that programs leave. `make zoo` makes each with ffmpeg or sox, sends it
//! to the real program, and compares the outcome with the one in `catalogue.txt`.
//!
//! `ZOO_ONLY=text` keeps to the recordings whose section, name or description holds the text.
//! `ZOO_UPDATE=1` writes `docs/recordings.md` anew; without it the file is compared.

mod catalogue;
mod outcome;
mod table;

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use catalogue::Recording;
use outcome::Outcome;
use serde_json::Value;
use support::binary::Binary;
use support::{Part, Target};

/// The longest that the whole zoo may take to be transcribed.
const DEADLINE: Duration = Duration::from_secs(900);

/// Recordings that the catalogue must hold at least.
const LEAST: usize = 150;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zoo")
}

fn speech() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio/austen-1.wav")
}

#[test]
fn every_recording_has_the_outcome_of_the_catalogue() {
    let sections = catalogue::read(&folder().join("catalogue.txt"));
    let all: Vec<&Recording> = sections.iter().flat_map(|section| &section.recordings).collect();
    assert!(all.len() >= LEAST, "{} recordings, at least {LEAST} are promised", all.len());
    let only = std::env::var("ZOO_ONLY").unwrap_or_default();
    let chosen: Vec<&Recording> = all.into_iter().filter(|one| one.is_about(&only)).collect();
    assert!(!chosen.is_empty(), "no recording is about {only:?}");

    let data = tempfile::tempdir().expect("a folder");
    let server = Binary::serve(data.path(), &["--workers", "2"]);
    let sent: Vec<(&Recording, Result<String, Outcome>)> =
        chosen.iter().map(|&one| (one, send(&server, one))).collect();
    let deadline = Instant::now() + DEADLINE;
    let mut wrong = Vec::new();
    for (one, job) in &sent {
        let seen = match job {
            Ok(job) => Outcome::of(&finished(&server, job, deadline)),
            Err(refused) => refused.clone(),
        };
        if seen != one.outcome {
            wrong.push(format!("{one}\n    right: {}\n    seen:  {seen}", one.outcome));
        }
    }
    println!("{} of {} recordings as the catalogue says", sent.len() - wrong.len(), sent.len());
    assert!(wrong.is_empty(), "{} are not:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_documents_say_what_the_catalogue_says() {
    let sections = catalogue::read(&folder().join("catalogue.txt"));
    let written = table::markdown(&sections);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recordings.md");
    if std::env::var_os("ZOO_UPDATE").is_some() {
        std::fs::write(&path, &written).expect("the document is written");
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == written, "docs/recordings.md is out of date: type `make zoo UPDATE=1`");
}

/// Makes the recording, submits it, and gives the job's address; or the refusal.
fn send(server: &Binary, one: &Recording) -> Result<String, Outcome> {
    let scratch = tempfile::tempdir().expect("a folder");
    let path = scratch.path().join("out").join(&one.file_name);
    std::fs::create_dir(path.parent().expect("invariant: it was joined")).expect("a folder");
    let script = format!("source {}\n{}", folder().join("bytes.sh").display(), one.command);
    let made = Command::new("bash")
        .args(["-c", &script])
        .current_dir(scratch.path())
        .env("speech", speech())
        .env("out", &path)
        .output()
        .expect("bash");
    let complaint = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{one} cannot be made: {complaint}");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{one} was not made: {error}"));
    let file = Part::File("file", &one.file_name, &one.content_type, &bytes);
    // Recordings that happen to be alike are jobs of their own.
    let reply = server.post_form("/jobs", &[Part::Field("coalesce", "false"), file]);
    match reply.status {
        202 => Ok(reply.header("location").expect("a location").to_owned()),
        _ => Err(Outcome::Refused(reply.code())),
    }
}

fn finished(server: &Binary, job: &str, deadline: Instant) -> Value {
    loop {
        let reply = server.get(&format!("{job}?wait=30"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let job = reply.json();
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            return job;
        }
        assert!(Instant::now() < deadline, "the zoo takes longer than {DEADLINE:?}: {job}");
    }
}
