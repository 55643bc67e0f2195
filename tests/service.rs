//! The server as a service: the recipes in examples/deploy keep up with the program, and strangers
//! do not write the log.

use std::path::Path;

use crate::support::Target;
use crate::support::binary::Binary;

fn recipe(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(name);
    std::fs::read_to_string(path).expect("a recipe")
}

/// What follows the first `key` in a recipe, up to the end of the line or of the statement.
fn setting<'r>(recipe: &'r str, key: &str) -> &'r str {
    let (_, rest) = recipe.split_once(key).unwrap_or_else(|| panic!("no {key:?}"));
    rest.split(['\n', ';']).next().unwrap_or_default().trim()
}

fn seconds(setting: &str) -> u32 {
    setting.trim_end_matches('s').parse().expect("seconds")
}

#[test]
fn the_units_command_starts_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = tempfile::tempdir().expect("a folder");
    std::fs::write(secrets.path().join("api-keys"), "# a client\n5f1d0c9b7a3e4f28\n")
        .expect("a file");
    let unit = recipe("ringback.service").replace("\\\n", " ");
    let command = setting(&unit, "\nExecStart=/usr/local/bin/ringback serve")
        .replace("${CREDENTIALS_DIRECTORY}", &secrets.path().to_string_lossy());
    // These are the test's own.
    let here = ["--listen", "--data", "--models"];
    let words: Vec<&str> = command.split_whitespace().collect();
    let (pairs, rest) = words.as_chunks::<2>();
    assert!(rest.is_empty(), "every flag has a value: {words:?}");
    let arguments: Vec<&str> =
        pairs.iter().filter(|[flag, _]| !here.contains(flag)).flatten().copied().collect();
    assert_eq!(arguments.len(), words.len() - 2 * here.len());
    let server = Binary::serve(folder.path(), &arguments);
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get("/jobs").status, 401, "a service behind a proxy asks for a key");
}

#[test]
fn the_recipes_agree_with_the_server() {
    let (unit, nginx, caddy) =
        (recipe("ringback.service"), recipe("nginx.conf"), recipe("Caddyfile"));
    // README, "Limits that have no flag".
    let (longest_wait, idle, stall) = (60, 60, 30);
    let drain = seconds(setting(&unit, "--drain "));
    assert!(seconds(setting(&unit, "\nTimeoutStopSec=")) > drain + 10);
    assert!(seconds(setting(&nginx, "proxy_read_timeout")) > longest_wait);
    assert!(seconds(setting(&caddy, "response_header_timeout")) > longest_wait);
    assert!(seconds(setting(&nginx, "keepalive_timeout")) < idle);
    assert!(seconds(setting(&caddy, "keepalive")) < idle);
    assert!(seconds(setting(&nginx, "client_body_timeout")) > stall);
    assert_eq!(setting(&nginx, "client_max_body_size"), "512m");
    assert_eq!(setting(&caddy, "max_size"), "512MiB");
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(["serve", "--help"])
        .env_remove("RINGBACK_MAX_BODY")
        .output()
        .expect("the program starts");
    assert!(String::from_utf8_lossy(&help.stdout).contains("[default: 512MiB]"));
}

#[test]
fn the_threads_are_those_of_the_table() {
    use std::collections::BTreeSet;

    let architecture = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let architecture = std::fs::read_to_string(architecture).expect("ARCHITECTURE.md");
    let (_, section) = architecture.split_once("\n## Threads\n").expect("a section");
    let section = section.split("\n## ").next().expect("its end");
    // Some threads are there for one connection or one look-up only, or once a model was loaded.
    let is_passing =
        |how_many: &str| how_many.contains("one a ") || how_many.contains("from the first");
    let (passing, lasting): (Vec<&str>, Vec<&str>) = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .partition(|line| is_passing(line.split('|').nth(2).expect("how many")));
    let names = |rows: &[&str]| -> BTreeSet<String> {
        rows.iter().map(|row| row.split('`').nth(1).expect("a name").to_owned()).collect()
    };
    let (passing, lasting) = (names(&passing), names(&lasting));

    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve_without_model(folder.path(), &["--demo"]);
    // Everything is started, and a callback was tried.
    let receiver = crate::support::sink::CallbackSink::start();
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let reply = server.post(&format!("/jobs?seconds=0&callback={url}"), "text/plain", b"x");
    server.finished(reply.header("location").expect("a location"));
    receiver.recv_timeout(crate::support::PATIENCE);
    let numbered = |name: &str| match name.trim_end().rsplit_once('-') {
        Some((kind, number)) if number.parse::<u32>().is_ok() => format!("{kind}-N"),
        Some(_) | None => name.trim_end().to_owned(),
    };
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("proc(5)");
    let seen: BTreeSet<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| numbered(&name))
        // The main thread, and tiny_http's, which have no names.
        .filter(|name| name != "ringback")
        .filter(|name| !passing.contains(name))
        .collect();
    assert_eq!(seen, lasting, "the threads of a server, and those of ARCHITECTURE.md's table");
}

#[test]
fn a_recording_full_of_what_its_decoder_complains_of_writes_no_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Binary::serve(folder.path(), &[]);
    let path = format!("{}/tests/audio/austen-2.mp3", env!("CARGO_MANIFEST_DIR"));
    let mut recording = std::fs::read(path).expect("a recording");
    // The frame that says how long the recording is. Every further one is worth a warning.
    const SYNC: &[u8] = b"\xff\xf3\x68";
    let frames: Vec<usize> = recording
        .windows(SYNC.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == SYNC).then_some(at))
        .take(2)
        .collect();
    let frame = recording[frames[0]..frames[1]].to_vec();
    assert!(frame.windows(4).any(|bytes| bytes == b"Info"));
    recording.extend(frame.repeat(10_000));
    let reply = server.post("/jobs", "audio/mpeg", &recording);
    let job = server.finished(reply.header("location").expect("a location"));
    // Most of its frames have no sound.
    assert_eq!(job["error"]["code"], "undecodable", "{job}");
    server.signal("TERM");
    let (_, said) = server.wait();
    assert!(said.len() < 100, "{} lines, such as {}", said.len(), said[0]);
}
