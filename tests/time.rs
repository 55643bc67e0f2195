//! The real program on a system's clock that is set while it runs, and between two runs. libfaketime
//! (the package `faketime`) sets it; where it is missing these tests say so and pass.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::binary::Binary;
use crate::support::sink::{Answer, CallbackSink};
use crate::support::{PATIENCE, Target, eventually};

/// The first wait of the schedule of callbacks, and how much later a busy machine may be.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(4);

/// What the system's clock says at first, and what it is set to: by an hour, a day, a year, to the time of
/// a board without a clock, and to now from there.
const STEPS: [(&str, &str); 8] = [
    ("+0", "+3600"),
    ("+0", "-3600"),
    ("+0", "+1d"),
    ("+0", "-1d"),
    ("+0", "+1y"),
    ("+0", "-1y"),
    ("+0", "@1970-01-01 00:05:00"),
    ("@1970-01-01 00:05:00", "+0"),
];

/// A folder, and a server in it whose system's clock can be set.
struct Machine {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Machine {
    /// `None` where there is no libfaketime.
    fn new(clock: &str) -> Option<Machine> {
        let machine =
            Machine { folder: tempfile::tempdir().expect("a folder"), library: libfaketime()? };
        machine.set_clock(clock);
        Some(machine)
    }

    fn clock(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    fn set_clock(&self, to: &str) {
        // Renamed, so that no reader finds half of it.
        let new = self.folder.path().join("clock.new");
        std::fs::write(&new, to).expect("a file");
        std::fs::rename(new, self.clock()).expect("a file");
    }

    fn serve(&self, arguments: &[&str]) -> Binary {
        let data = self.folder.path().join("data");
        let arguments = [&["--demo", "--workers", "1"], arguments].concat();
        Binary::serve_by_clock(&self.library, &self.clock(), &data, &arguments)
    }
}

fn libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let found = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .chain([Path::new("/usr/lib/faketime/libfaketimeMT.so.1").to_owned()])
        .find(|library| library.is_file());
    if found.is_none() {
        eprintln!("skipped: libfaketime is missing; install the package faketime");
    }
    found
}

/// The server's clock says what it was set to: the step is a real one.
fn is_set(server: &Binary, to: &str) {
    let at = server.get("/queue.json").json()["at"].clone();
    let real = humantime::format_rfc3339(std::time::SystemTime::now()).to_string();
    let ahead = seconds_between(&real.into(), &at).abs();
    assert_eq!(ahead >= 3_500.0, to != "+0", "{at} on a clock set to {to}");
}

/// Submits a job that takes this long.
fn submit(server: &Binary, seconds: f64, query: &str) -> String {
    let path = format!("/jobs?task=demo&coalesce=false&seconds={seconds}{query}");
    let reply = server.post(&path, "text/plain", b"anything");
    assert_eq!(reply.status, 202, "{reply:?}");
    reply.header("location").expect("a location").to_owned()
}

/// Seconds from one time of a reply to another.
fn seconds_between(earlier: &Value, later: &Value) -> f64 {
    let [earlier, later] = [earlier, later].map(|time| {
        let time = time.as_str().unwrap_or_else(|| panic!("{time} is no time"));
        humantime::parse_rfc3339(time).expect("a time")
    });
    match later.duration_since(earlier) {
        Ok(time) => time.as_secs_f64(),
        Err(error) => -error.duration().as_secs_f64(),
    }
}

/// Runs each step on a server of its own, all at once.
fn at_each_step(case: impl Fn(&str, &str) + Sync) {
    std::thread::scope(|scope| {
        let cases: Vec<_> =
            STEPS.iter().map(|(from, to)| (from, to, scope.spawn(|| case(from, to)))).collect();
        for (from, to, case) in cases {
            case.join().unwrap_or_else(|_| panic!("from {from:?} to {to:?}"));
        }
    });
}

/// A callback that has failed once, of a job that ended.
struct Failed {
    sink: CallbackSink,
    job: String,
    at: Instant,
}

impl Failed {
    fn begin(server: &Binary) -> Failed {
        let sink = CallbackSink::start();
        sink.answer_next([Answer::Status(500)]);
        let job = submit(server, 0.0, &format!("&callback={}", sink.url()));
        sink.recv_timeout(PATIENCE);
        let at = Instant::now();
        eventually("the failure is stored", || {
            (server.get(&job).json()["callback"]["attempts"] == 1).then_some(())
        });
        Failed { sink, job, at }
    }

    /// Nothing that is told is absurd, while the next attempt is waited for.
    fn is_told_well(&self, server: &Binary) {
        let (job, overview) = (server.get(&self.job).json(), server.get("/queue.json").json());
        let now = &overview["at"];
        let keep = seconds_between(now, &job["expires_at"]);
        assert!((86_300.0..86_401.0).contains(&keep), "{keep} s are left: {job}");
        for time in ["created_at", "started_at", "finished_at"] {
            let ago = seconds_between(&job[time], now);
            assert!((-0.3..60.0).contains(&ago), "{time} is {ago} s ago: {job}");
        }
        let took = seconds_between(&job["started_at"], &job["finished_at"]);
        assert!((0.0..5.0).contains(&took), "it took {took} s: {job}");
        let ledger = server.get(&format!("{}/deliveries", self.job)).json();
        for next in [
            &job["callback"]["next_attempt_at"],
            &overview["deliveries"]["next_attempt_at"],
            &ledger["deliveries"][0]["next_attempt_at"],
        ] {
            // It may be due by now.
            if !next.is_null() {
                let wait = seconds_between(now, next);
                assert!((-LATE.as_secs_f64()..5.6).contains(&wait), "{wait} s: {job}");
            }
        }
        let ago = seconds_between(&ledger["deliveries"][0]["at"], now);
        assert!((-0.3..60.0).contains(&ago), "the first POST was {ago} s ago");
    }

    /// The second attempt comes when it is due, and the job is kept.
    fn is_retried_in_time(&self, server: &Binary) {
        self.sink
            .recv_timeout((self.at + FIRST_WAIT + LATE).saturating_duration_since(Instant::now()));
        let waited = self.at.elapsed();
        assert!(waited + Duration::from_millis(300) >= FIRST_WAIT, "it came after {waited:?}");
        assert_eq!(server.get(&self.job).json()["state"], "succeeded");
    }
}

#[test]
fn a_failed_callback_waited_a_year_when_the_clock_was_set_back() {
    at_each_step(|from, to| {
        let Some(machine) = Machine::new(from) else { return };
        let server = machine.serve(&[]);
        let failed = Failed::begin(&server);
        machine.set_clock(to);
        is_set(&server, to);
        failed.is_told_well(&server);
        failed.is_retried_in_time(&server);
    });
}

#[test]
fn a_failed_callback_waited_a_year_when_the_clock_was_set_back_before_a_restart() {
    at_each_step(|from, to| {
        let Some(machine) = Machine::new(from) else { return };
        let server = machine.serve(&[]);
        let failed = Failed::begin(&server);
        server.kill();
        machine.set_clock(to);
        let server = machine.serve(&[]);
        is_set(&server, to);
        failed.is_told_well(&server);
        failed.is_retried_in_time(&server);
    });
}

#[test]
fn a_job_was_forgotten_when_the_clock_was_set_forward() {
    at_each_step(|from, to| {
        let Some(machine) = Machine::new(from) else { return };
        let server = machine.serve(&["--keep", "4s"]);
        let kept_from = Instant::now();
        let job = submit(&server, 0.0, "");
        server.finished(&job);
        machine.set_clock(to);
        is_set(&server, to);
        eventually("it is forgotten", || (server.get(&job).status == 404).then_some(()));
        let kept = kept_from.elapsed();
        assert!(kept >= Duration::from_secs(4), "it was kept for {kept:?}");
    });
}

#[test]
fn a_clock_that_is_set_leaves_waits_lists_and_estimates_alone() {
    at_each_step(|from, to| {
        let Some(machine) = Machine::new(from) else { return };
        let server = machine.serve(&[]);
        server.finished(&submit(&server, 0.2, ""));
        let running = submit(&server, 20.0, "");
        eventually("it runs", || (server.get(&running).json()["state"] == "running").then_some(()));
        let before = submit(&server, 0.0, "");
        machine.set_clock(to);
        is_set(&server, to);
        let after = submit(&server, 0.0, "");
        let began = Instant::now();
        let job = server.get(&format!("{before}?wait=1")).json();
        assert!((1.0..6.0).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
        assert_eq!((&job["state"], &job["position"]), (&"queued".into(), &1.into()));
        let estimates =
            [&running, &before, &after].map(|job| server.get(job).json()["eta_s"].clone());
        for eta in estimates.iter().filter_map(Value::as_f64) {
            assert!((0.0..120.0).contains(&eta), "{estimates:?}");
        }
        let listed: Vec<String> = server
            .jobs()
            .iter()
            .map(|job| format!("/jobs/{}", job["id"].as_str().expect("an id")))
            .collect();
        assert_eq!(listed[..3], [after.clone(), before.clone(), running], "newest first");
        let id = after.trim_start_matches("/jobs/");
        let older = server.get(&format!("/jobs?limit=1&after={id}")).json();
        assert_eq!(older["jobs"][0]["id"], before.trim_start_matches("/jobs/"));
        let overview = server.get("/queue.json").json();
        let busy = seconds_between(&overview["workers"][0]["since"], &overview["at"]);
        assert!((0.0..60.0).contains(&busy), "{overview}");
    });
}
