//! A job that kills the process, beside innocent ones. The server runs in a process of its own: this
//! test binary, asked by a variable to be the victim.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringback::{Attempt, Output, Server, TaskError};
use serde_json::Value;

use crate::support::{PATIENCE, Target};

/// Names the folder that the victim works in.
const FOLDER: &str = "RINGBACK_TEST_POISONED";
const WORKERS: usize = 4;
/// Attempts of a job, which is how often one poison job can end the process.
const ATTEMPTS: usize = 3;

#[test]
fn a_poison_job_took_innocents_with_it() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        be_the_victim(Path::new(&folder));
    }
    for (poisons, innocents) in [(1, 6), (3, 6)] {
        let folder = tempfile::tempdir().expect("a folder");
        let killed = outlive(folder.path(), "abort", poisons, innocents, |_| {});
        assert!((ATTEMPTS..=ATTEMPTS * poisons).contains(&killed), "{killed} restarts");
    }
}

#[test]
fn a_job_that_is_killed_for_memory_took_innocents_with_it() {
    const BOUND: u64 = 190 * 1024 * 1024;
    let Some(group) = MemoryGroup::make(BOUND) else {
        eprintln!("skipped: no memory control group can be made here");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let killed = outlive(folder.path(), "swallow", 1, 4, |pid| group.add(pid));
    assert_eq!(killed, ATTEMPTS);
}

/// Has the victim work off jobs of which some kill it, and starts it again each time. Returns how often
/// it died.
fn outlive(
    folder: &Path,
    poison: &str,
    poisons: usize,
    innocents: usize,
    confine: impl Fn(u32),
) -> usize {
    let mut victim = Victim::start(folder);
    confine(victim.child.id());
    // Innocent and poison jobs by turns.
    let inputs = (0..innocents.max(poisons)).flat_map(|n| {
        let poison = (n < poisons).then(|| (format!("{poison} {n}"), "failed"));
        let innocent = (n < innocents).then(|| (format!("innocent {n}"), "succeeded"));
        [innocent, poison].into_iter().flatten()
    });
    let jobs: HashMap<String, &str> =
        inputs.map(|(input, end)| (victim.submit(input.as_bytes()), end)).collect();
    std::fs::write(folder.join("go"), "").expect("a file");
    let deadline = Instant::now() + 3 * PATIENCE;
    let mut killed = 0;
    loop {
        assert!(Instant::now() < deadline, "some job does not end; killed {killed} times");
        if victim.child.try_wait().expect("a status").is_some() {
            killed += 1;
            victim = Victim::start(folder);
            confine(victim.child.id());
        } else if let Some(ended) = victim.all_ended() {
            for job in ended {
                let address = format!("/jobs/{}", job["id"].as_str().expect("an id"));
                assert_eq!(job["state"], jobs[&address], "after {killed} restarts: {job}");
                if job["state"] == "failed" {
                    assert_eq!(job["error"]["code"], "gave_up");
                }
            }
            return killed;
        }
    }
}

/// The server's process.
struct Victim {
    child: Child,
    addr: SocketAddr,
}

impl Victim {
    fn start(folder: &Path) -> Victim {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "poison::a_poison_job_took_innocents_with_it"])
            .args(["--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let addr = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listening on ")?.1.parse().ok())
            .expect("it listens");
        Victim { child, addr }
    }

    /// Every job, once all have ended. `None` as well where the process dies meanwhile.
    fn all_ended(&self) -> Option<Vec<Value>> {
        let reply = crate::support::agent().get(self.url("/jobs?limit=100")).call();
        let mut reply = reply.ok()?;
        let listed: Value =
            serde_json::from_slice(&reply.body_mut().read_to_vec().ok()?).expect("JSON");
        let jobs = listed["jobs"].as_array().expect("jobs").clone();
        let is_ended = |job: &Value| !matches!(job["state"].as_str(), Some("queued" | "running"));
        jobs.iter().all(is_ended).then_some(jobs)
    }
}

impl Target for Victim {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with poison among its inputs, until it dies.
fn be_the_victim(folder: &Path) -> ! {
    let go = folder.join("go");
    let task = move |attempt: &Attempt| -> Result<Output, TaskError> {
        while !go.exists() {
            attempt.sleep(Duration::from_millis(5))?;
        }
        let input = String::from_utf8_lossy(&attempt.input().bytes()?).into_owned();
        match input.split(' ').next() {
            Some("abort") => {
                attempt.sleep(Duration::from_millis(20))?;
                std::process::abort()
            }
            Some("swallow") => Err(swallow_memory()),
            // Long enough to be running when the process dies.
            _ => attempt.sleep(Duration::from_millis(60)).map(|()| Output::text("done")),
        }
    };
    let server = Server::builder()
        .workers(WORKERS)
        .data(folder)
        .task("poisoned", task)
        .bind("127.0.0.1:0")
        .expect("it binds");
    // Past the harness, which prints the test's name without a line's end.
    println!("\nlistening on {}", server.addr());
    let _running = server.start().expect("it starts");
    loop {
        std::thread::park();
    }
}

/// Writes to more memory than the group has; comes back where nobody minds.
fn swallow_memory() -> TaskError {
    const STEP: usize = 16 * 1024 * 1024;
    let swallowed: Vec<Vec<u8>> = (0..64).map(|n| vec![n | 1; STEP]).collect();
    TaskError::permanent(format!("{} MiB are no trouble", swallowed.len() * 16))
}

/// A control group of the kernel's that bounds memory, of either version.
struct MemoryGroup {
    folder: std::path::PathBuf,
}

impl MemoryGroup {
    fn make(bound: u64) -> Option<MemoryGroup> {
        let name = format!("ringback-test-{}", std::process::id());
        let [unified, memory] = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"].map(Path::new);
        let bounds: &[(&str, u64)] = match memory.is_dir() {
            // The second counts swap as well, and is missing where swap is not counted.
            true => &[("memory.limit_in_bytes", bound), ("memory.memsw.limit_in_bytes", bound)],
            false => &[("memory.max", bound), ("memory.swap.max", 0)],
        };
        let folder = if memory.is_dir() { memory } else { unified }.join(name);
        std::fs::create_dir(&folder).ok()?;
        let group = MemoryGroup { folder };
        let mut set = bounds.iter().map(|(file, bytes)| {
            std::fs::write(group.folder.join(file), bytes.to_string()).is_ok()
        });
        set.next().is_some_and(|set| set).then_some(())?;
        set.for_each(drop);
        Some(group)
    }

    fn add(&self, pid: u32) {
        std::fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("it is confined");
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The victim's end may not have come through yet; an empty group costs nothing.
        let _ = std::fs::remove_dir(&self.folder);
    }
}
