//! Memory that goes back to the system when nobody needs it.

use crate::support::binary::Binary;
use crate::support::{Target, eventually};

/// What a server without its model takes, with room: the model alone has 75 MiB.
const WITHOUT_MODEL_KB: u64 = 60 * 1024;

/// Memory of a process that is in use, in KiB.
fn resident(server: &Binary) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_model_that_nobody_used_stayed_in_memory_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve(folder.path(), &["--model-idle", "1s"]);
    eventually("the model is loaded", || (server.get("/readyz").status == 200).then_some(()));
    let is_gone = || (resident(&server) < WITHOUT_MODEL_KB).then_some(());
    eventually("the model is let go of", is_gone);
    assert_eq!(server.get("/readyz").status, 200, "the next job brings it back");
    let recording = include_bytes!("audio/austen-2.flac");
    let job = server.post("/jobs", "audio/flac", recording);
    let job = server.finished(job.header("location").expect("a location"));
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(job["data"].as_str().is_some_and(|text| text.len() > 20), "{job}");
    eventually("the model is let go of again", is_gone);
}
