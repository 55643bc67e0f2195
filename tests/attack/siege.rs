//! The real program under attack: what must hold meanwhile, and what must be as it was afterwards.

use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::tick;
use tempfile::TempDir;

use crate::support::binary::Binary;
use crate::support::{PATIENCE, Part, Target, form};

/// What another client may have to wait for an answer.
const SOON: Duration = Duration::from_secs(1);
/// What an attack may cost at its worst, in KiB of memory over the idle program's.
const MEMORY_KIB: u64 = 64 * 1024;
/// How often the process is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// One attack at a time: the second that an honest client may have to wait is for the attack at
/// hand, not for its neighbours in the test binary.
static FIELD: Mutex<()> = Mutex::new(());

/// `ringback serve` on a folder and a port of its own, with one worker, so that what a second one
/// would take for its state is not counted as an attack's.
pub struct Siege {
    server: Binary,
    /// What is around the program's own folder, and empty.
    around: TempDir,
    idle: Figures,
    began: Instant,
    field: Option<MutexGuard<'static, ()>>,
}

/// What a process has taken of the machine.
#[derive(Clone, Copy, Debug)]
struct Figures {
    threads: usize,
    files: usize,
    resident_kib: u64,
}

impl Siege {
    /// Starts the program, lets it do one honest job, and notes what it takes when it is idle.
    pub fn begin() -> Siege {
        Siege::begin_with(&[])
    }

    /// As [`begin`](Siege::begin), with further arguments.
    pub fn begin_with(arguments: &[&str]) -> Siege {
        Siege::start(|folder| Binary::serve(folder, &with_one_worker(arguments)))
    }

    /// As [`begin`](Siege::begin), where so many files may be open and not more.
    pub fn begin_with_files(files: u32) -> Siege {
        Siege::start(|folder| Binary::serve_with_files(files, folder, &with_one_worker(&[])))
    }

    fn start(start: impl FnOnce(&Path) -> Binary) -> Siege {
        let field = FIELD.lock().unwrap_or_else(PoisonError::into_inner);
        let around = tempfile::tempdir().expect("a folder");
        let server = start(&around.path().join("data"));
        patiently("it is ready", || match server.get("/readyz") {
            ready if ready.status == 200 => Ok(()),
            not_yet => Err(not_yet),
        });
        // The model's memory is taken with the first job.
        assert_transcribes(&server);
        let idle = patiently("nobody is connected", || Figures::of_idle(server.pid()));
        reset_peak(server.pid());
        Siege { server, around, idle, began: Instant::now(), field: Some(field) }
    }

    /// Where the program keeps its things.
    pub fn folder(&self) -> PathBuf {
        self.around.path().join("data")
    }

    /// Where it has no business.
    pub fn around(&self) -> &Path {
        self.around.path()
    }

    /// Another client asks for something and gets it soon.
    #[track_caller]
    pub fn assert_served(&self) {
        let began = Instant::now();
        assert_eq!(self.get("/jobs?limit=1").status, 200);
        let took = began.elapsed();
        assert!(took < SOON, "an honest client waited {took:?}");
    }

    /// Another client brings a job and is told soon that it is kept.
    #[track_caller]
    pub fn assert_takes_uploads(&self) {
        let began = Instant::now();
        let reply = self.post("/jobs?coalesce=false", "audio/wav", &honest_recording());
        assert_eq!(reply.status, 202, "{reply:?}");
        let took = began.elapsed();
        assert!(took < SOON, "an honest upload waited {took:?}");
        let job = reply.header("location").expect("a location");
        assert!([200, 204].contains(&self.delete(job).status), "it is called off");
    }

    /// Attacks from a thread of its own; while that lasts another client is served again and again.
    #[track_caller]
    pub fn during<T: Send>(&self, attack: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let attacking = scope.spawn(attack);
            loop {
                self.assert_served();
                if attacking.is_finished() {
                    break;
                }
            }
            attacking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Waits until no connection is open, for 30 seconds at most.
    #[track_caller]
    pub fn wait_until_alone(&self) {
        patiently("nobody is connected", || Figures::of_idle(self.server.pid()));
    }

    /// The process is the one that was started, and as it was when it was idle: no thread and no
    /// file is left over, it never took much more memory, and an honest job works.
    #[track_caller]
    pub fn assert_unchanged(mut self) -> Siege {
        self.assert_served();
        assert_transcribes(&self.server);
        // The next attack need not wait until this one is over here to the last thread.
        drop(self.field.take());
        let pid = self.server.pid();
        let more = peak_kib(pid).saturating_sub(self.idle.resident_kib);
        // Shown with `--nocapture`.
        println!("{more} KiB more than idle at its worst, {:?} under attack", self.began.elapsed());
        assert!(more <= MEMORY_KIB, "{more} KiB more than when it was idle: {:?}", self.idle);
        patiently("no thread and no file is left over", || {
            let now = Figures::of(pid);
            let left_over = now.threads > self.idle.threads || now.files > self.idle.files;
            if left_over { Err((now, self.idle)) } else { Ok(()) }
        });
        self
    }

    /// Stops the program in good order; what it said on stderr since it listens is returned.
    pub fn end(self) -> Vec<String> {
        self.server.signal("TERM");
        let (status, said) = self.server.wait();
        assert_eq!(status.code(), Some(0), "{said:#?}");
        said
    }
}

impl Target for Siege {
    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }
}

fn with_one_worker<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["--workers", "1"], arguments].concat()
}

/// A recording of three seconds.
pub fn honest_recording() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audio/austen-2.wav");
    fs::read(path).expect("a recording")
}

/// A form of the original's kind works from its first byte to its text.
#[track_caller]
fn assert_transcribes(server: &Binary) {
    let recording = honest_recording();
    let body = form(&[Part::File("file", "a.wav", "audio/wav", &recording)]);
    let reply = server.post("/jobs", crate::support::FORM_TYPE, &body);
    assert_eq!(reply.status, 202, "{reply:?}");
    let job = server.finished(reply.header("location").expect("a location"));
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(job["data"].as_str().expect("text").split(' ').count() > 5, "{job}");
}

impl Figures {
    fn of(pid: u32) -> Figures {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there");
        // Couriers stay once they were needed, 128 of them at most.
        let threads = thread_names(pid).filter(|name| !name.starts_with("courier-")).count();
        Figures { threads, files: files.count(), resident_kib: status_kib(pid, "VmRSS") }
    }

    /// As they are while no connection is open; else says how many are.
    fn of_idle(pid: u32) -> Result<Figures, usize> {
        let connected = thread_names(pid).filter(|name| name.trim() == "http-conn").count();
        if connected == 0 { Ok(Figures::of(pid)) } else { Err(connected) }
    }
}

/// Names of the process's threads. A thread may end while it is looked at.
fn thread_names(pid: u32) -> impl Iterator<Item = String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    tasks.flatten().flat_map(|task| fs::read_to_string(task.path().join("comm")))
}

/// The most memory that the process had at once, since [`reset_peak`].
fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM")
}

fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak is forgotten");
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = line.unwrap_or_else(|| panic!("the process has ended: {status}"));
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Looks again and again, for 30 seconds at most, without taking the processor from those it waits
/// for.
#[track_caller]
pub fn patiently<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let looks = tick(LOOK);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "in vain: {what}; last: {seen:?}"),
        }
        looks.recv().expect("a tick");
    }
}
