//! The ladder of `examples/`: every rung runs and keeps what its page says, and the chapter shows the code
//! that is there.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use serde_json::Value;

use crate::support::sink::{Answer, CallbackSink};
use crate::support::{PATIENCE, Target, agent, eventually};

/// A rung in a process of its own, on a port of its own.
struct Rung {
    child: Child,
    addr: SocketAddr,
    /// The texts it says it has finished.
    finished: Receiver<String>,
}

impl Rung {
    fn start(number: usize) -> Rung {
        Rung::start_with(number, None)
    }

    /// Starts it with a second argument.
    fn start_with(number: usize, argument: Option<&Path>) -> Rung {
        let mut child = Command::new(example(&format!("ladder{number}")))
            .arg("0")
            .args(argument)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (said, lines) = unbounded();
        // Ends with the program. The test may have stopped listening.
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).for_each(|line| drop(said.send(line)));
        });
        let (ends, finished) = unbounded();
        let addr = loop {
            let line: String = lines.recv_timeout(PATIENCE).expect("it listens");
            if let Some(addr) = line.strip_prefix("listening on http://") {
                break addr.parse().expect("an address");
            }
            // A rung that goes on where it was may finish something before it listens.
            drop(ends.send(line));
        };
        thread::spawn(move || {
            lines.iter().for_each(|line| drop(ends.send(line)));
        });
        Rung { child, addr, finished }
    }

    fn send(&self, text: &str) -> crate::support::Reply {
        self.post("/jobs", "text/plain", text.as_bytes())
    }

    /// The next text that is finished.
    fn next_finished(&self) -> String {
        let line = self.finished.recv_timeout(PATIENCE).expect("a job is finished");
        line.strip_prefix("finished ").expect("it says nothing else").to_owned()
    }

    /// Asks for a job until it has ended.
    fn ended(&self, place: &str) -> Value {
        eventually("the job's end", || {
            let job = self.get(place).json();
            matches!(job["state"].as_str(), Some("succeeded" | "failed")).then_some(job)
        })
    }

    /// How many threads it has whose names begin so.
    #[cfg(target_os = "linux")]
    fn threads(&self, name: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let names = tasks.filter_map(|task| {
            // A thread may end between the listing and the look at it.
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        });
        names.filter(|found| found.starts_with(name)).count()
    }

    /// Ends it as a power cut would, as far as a process can.
    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a status");
    }
}

impl Target for Rung {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Rung {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where cargo puts an example that it builds with this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/suite");
    let path = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "no {}; type: cargo build --examples", path.display());
    path
}

#[test]
fn blocking_serves_one_after_the_other() {
    let rung = Rung::start(1);
    let began = Instant::now();
    let replies: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..3).map(|_| scope.spawn(|| rung.send("hello").text().to_owned())).collect();
        clients.into_iter().map(|client| client.join().expect("an answer")).collect()
    });
    assert_eq!(replies, ["HELLO"; 3]);
    // Each takes 50 ms of sleep at least.
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
}

#[test]
fn blocking_is_ended_by_one_panic() {
    let mut rung = Rung::start(1);
    let url = rung.url("/jobs");
    let answered = agent().post(url).send("panic");
    assert!(answered.is_err() || answered.is_ok_and(|reply| reply.status() == 500));
    assert!(!rung.child.wait().expect("a status").success());
}

#[test]
fn a_thread_per_request_survives_a_panic() {
    let rung = Rung::start(2);
    assert_eq!(rung.send("panic").status, 500);
    assert_eq!(rung.send("hello").text(), "HELLO");
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_per_request_has_more_threads_the_more_clients_there_are() {
    let (rung, seen) = (Rung::start(2), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                // An end of its own, for when they are never seen.
                let unseen = (0..500).take_while(|_| !seen.load(Ordering::Relaxed));
                unseen.for_each(|_| assert_eq!(rung.send("hello").text(), "HELLO"));
            });
        }
        eventually("many at once", || (rung.threads("request") >= 8).then_some(()));
        seen.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_bounded_queue_says_no_when_it_is_full() {
    let rung = Rung::start(3);
    let refused = (0..10_000).map(|_| rung.send("hello")).find(|reply| reply.status != 202);
    let refused = refused.expect("it is filled faster than it is emptied");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
}

#[test]
fn a_worker_survives_a_panic() {
    for number in [3, 4, 5, 6] {
        let rung = Rung::start(number);
        // As many as there are workers, and one.
        for _ in 0..3 {
            assert_eq!(rung.send("panic").status, 202, "rung {number}");
        }
        assert_eq!(rung.send("hello").status, 202, "rung {number}");
        assert_eq!(rung.next_finished(), "hello", "rung {number}");
    }
}

#[test]
fn workers_do_each_job_once() {
    let rung = Rung::start_with(4, Some(Path::new("3")));
    // A thread has its name when it begins to run, which may be after the first request.
    #[cfg(target_os = "linux")]
    eventually("there are three workers", || (rung.threads("worker-") == 3).then_some(()));
    let texts: BTreeSet<String> = (0..12).map(|number| format!("text {number}")).collect();
    for text in &texts {
        assert_eq!(rung.send(text).status, 202);
    }
    let finished: Vec<String> = texts.iter().map(|_| rung.next_finished()).collect();
    assert_eq!(finished.into_iter().collect::<BTreeSet<_>>(), texts);
}

#[test]
fn the_callback_brings_the_result() {
    let (rung, sink) = (Rung::start(5), CallbackSink::start());
    let path = format!("/jobs?callback={}", sink.url());
    assert_eq!(rung.post(&path, "text/plain", b"hello").status, 202);
    let call = sink.recv_timeout(PATIENCE);
    assert_eq!((call.method.as_str(), call.header("content-type")), ("POST", "application/json"));
    assert_eq!(call.json(), serde_json::json!({ "success": true, "data": "HELLO" }));
    assert_eq!(rung.post(&path, "text/plain", b"panic").status, 202);
    assert_eq!(sink.recv_timeout(PATIENCE).json()["success"], false);
}

#[test]
fn a_dead_receiver_stops_no_worker() {
    let (rung, dead, alive) = (Rung::start(5), CallbackSink::start(), CallbackSink::start());
    dead.answer_next([Answer::Hang]);
    let sent = |sink: &CallbackSink, text: &str| {
        let path = format!("/jobs?callback={}", sink.url());
        assert_eq!(rung.post(&path, "text/plain", text.as_bytes()).status, 202);
    };
    sent(&dead, "first");
    dead.recv_timeout(PATIENCE);
    sent(&alive, "second");
    // The notifier is still with the dead one, or has given it up; the workers never cared.
    assert_eq!([rung.next_finished(), rung.next_finished()], ["first", "second"]);
    assert_eq!(alive.recv_timeout(PATIENCE).json()["data"], "SECOND");
}

#[test]
fn polling_brings_the_result() {
    let rung = Rung::start(6);
    let place = |text: &str| {
        let reply = rung.send(text);
        assert_eq!(reply.status, 202);
        reply.header("location").expect("a location").to_owned()
    };
    let job = rung.ended(&place("hello"));
    assert_eq!((&job["state"], &job["data"]), (&"succeeded".into(), &"HELLO".into()));
    assert_eq!(rung.ended(&place("panic"))["state"], "failed");
    assert_eq!(rung.get("/jobs/4711").status, 404);
    assert_eq!(rung.delete("/jobs/1").status, 405);
}

#[test]
fn a_durable_queue_survives_a_kill() {
    survives_a_kill(7);
}

#[test]
fn ringback_survives_a_kill() {
    survives_a_kill(8);
}

fn survives_a_kill(number: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept");
    let rung = Rung::start_with(number, Some(&kept));
    let places: Vec<(String, String)> = (0..20)
        .map(|number| {
            let text = format!("text {number}");
            let reply = rung.send(&text);
            assert_eq!(reply.status, 202, "{reply:?}");
            (text, reply.header("location").expect("a location").to_owned())
        })
        .collect();
    rung.next_finished();
    rung.kill();
    let rung = Rung::start_with(number, Some(&kept));
    for (text, place) in places {
        let job = rung.ended(&place);
        assert_eq!(job["data"], text.to_uppercase(), "{job}");
    }
}

#[test]
fn a_durable_queue_is_as_bounded_as_one_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let rung = Rung::start_with(7, Some(&folder.path().join("kept")));
    let refused = (0..10_000).map(|_| rung.send("hello")).find(|reply| reply.status != 202);
    assert_eq!(refused.expect("it is filled faster than it is emptied").status, 503);
}

#[test]
fn knock_counts_what_came_back_and_what_was_lost() {
    let arguments = ["ladder7", "--clients", "2", "--requests", "6", "--jobs", "4"];
    let output = Command::new(example("knock")).args(arguments).output().expect("it runs");
    let report = String::from_utf8(output.stdout).expect("UTF-8");
    let cell = |name: &str| {
        let line = report.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {report}")).trim()
    };
    assert_eq!([cell("answered"), cell("finished"), cell("came back")], ["6"; 3], "{report}");
    assert_eq!((cell("by "), cell("lost by `kill -9`")), ("poll", "0 of 4"), "{report}");
}

const LADDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ladder");

/// The rungs' pages, in order.
fn rungs() -> Vec<(String, String)> {
    let files = std::fs::read_dir(LADDER).expect("a folder");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
    let names: BTreeSet<String> =
        names.filter(|n| n.starts_with(|c: char| c.is_ascii_digit())).collect();
    let read = |name: &str| std::fs::read_to_string(format!("{LADDER}/{name}")).expect("UTF-8");
    names.into_iter().map(|name| (read(&name), name)).map(|(page, name)| (name, page)).collect()
}

#[test]
fn each_rung_is_one_page() {
    let rungs = rungs();
    assert_eq!(rungs.len(), 8);
    for (number, (name, page)) in (1..).zip(&rungs) {
        assert!(page.starts_with(&format!("//! Rung {number}: ")), "{name}");
        assert!(page.lines().count() < 100, "{name} has {} lines", page.lines().count());
        if number > 1 {
            assert!(page.contains("//! What hurt: "), "{name}");
            assert!(page.contains("//! What this mends: "), "{name}");
        }
    }
}

/// Every line of the chapter's Rust stands in a rung, in this order; `// …` leaves lines out.
#[test]
fn the_chapter_quotes_the_code_that_is_there() {
    let (chapter, rungs) = (chapter(), rungs());
    let blocks: Vec<&str> = chapter.split("```rust\n").skip(1).map(block).collect();
    assert!(blocks.len() >= 7, "only {} quotes", blocks.len());
    for quote in blocks {
        assert!(rungs.iter().any(|(_, page)| quotes(quote, page)), "no rung has this:\n{quote}");
    }
}

fn block(text: &str) -> &str {
    text.split_once("```").expect("the block ends").0
}

fn quotes(quote: &str, page: &str) -> bool {
    let mut page = page.lines().map(str::trim);
    quote.split("// …").all(|piece| {
        let mut lines = piece.lines().map(str::trim).filter(|line| !line.is_empty());
        let Some(first) = lines.next() else { return true };
        page.any(|line| line == first)
            && lines.all(|line| page.find(|other| !other.is_empty()) == Some(line))
    })
}

#[test]
fn the_chapters_links_lead_somewhere() {
    let chapter = chapter();
    let links = chapter.split("](").skip(1).map(|rest| rest.split(')').next().expect("an end"));
    let links: Vec<&str> = links.filter(|link| !link.contains("://")).collect();
    assert!(links.len() > 20, "only {} links", links.len());
    for link in links {
        let path = link.split('#').next().expect("a path");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path);
        assert!(path.exists(), "{link} leads nowhere");
    }
}

fn chapter() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/README.md");
    std::fs::read_to_string(path).expect("the chapter")
}
