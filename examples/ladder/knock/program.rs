//! A rung in a process of its own: started, read, looked at, killed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};

use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::Failed;

/// How long a program may take to listen.
const START: Duration = Duration::from_secs(30);

pub struct Program {
    child: Child,
    pub url: String,
    /// The texts that are finished, and when.
    pub finished: Receiver<(Instant, String)>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts the example `name`, which lies beside this one, on a free port.
    pub fn start(name: &str, argument: Option<OsString>) -> Result<Program, Failed> {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let program = std::env::current_exe()?.with_file_name(file);
        let mut child = Command::new(&program)
            .arg("0")
            .args(argument)
            .stdout(Stdio::piped())
            // It complains about each client that has gone; that is counted on this side.
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}; cargo build --examples", program.display()))?;
        let stdout = child.stdout.take().ok_or("the program has no standard output")?;
        let (listens, url) = unbounded();
        let (ends, finished) = unbounded();
        let reader = thread::Builder::new()
            .name("reader".into())
            .spawn(move || read(stdout, &listens, &ends))?;
        let mut program = Program { child, url: String::new(), finished, reader: Some(reader) };
        program.url = url.recv_timeout(START).map_err(|_| format!("{name} does not listen"))?;
        Ok(program)
    }

    /// How many threads it has now, where the system tells (`/proc`).
    pub fn threads(&self) -> Option<u64> {
        self.status("Threads:")
    }

    /// The most memory it has had, in KiB, where the system tells.
    pub fn memory(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Ends it as `kill -9` does, and gives what it had finished that nobody has read.
    pub fn kill(mut self) -> Receiver<(Instant, String)> {
        self.end();
        self.finished.clone()
    }

    fn end(&mut self) {
        // It may have ended by itself: then there is nothing to kill, and this is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("invariant: the reader does not panic");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads until the program has ended. Who is told may have stopped listening: the pipe is read on, so
/// that the program never waits for it.
fn read(stdout: ChildStdout, listens: &Sender<String>, finished: &Sender<(Instant, String)>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(url) = line.strip_prefix("listening on ") {
            drop(listens.send(url.to_owned()));
        } else if let Some(text) = line.strip_prefix("finished ") {
            drop(finished.send((Instant::now(), text.to_owned())));
        }
    }
}
