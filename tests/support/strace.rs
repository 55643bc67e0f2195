//! System calls of a running program that fail because a test wants them to (Linux, strace).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// strace on a program. Its end leaves the program alone.
pub struct Injection {
    strace: Child,
    log: PathBuf,
}

impl Injection {
    /// From now on `fault` strikes each of the process's threads, such as `accept4:error=ENFILE:when=1`:
    /// the first call of each. The log is in `folder`. `None` where the system lets nobody trace.
    pub fn begin(pid: u32, fault: &str, folder: &Path) -> Option<Injection> {
        let log = folder.join("strace");
        let syscall = fault.split(':').next().expect("a name");
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-o"])
            .arg(&log)
            .args(["-e", &format!("trace={syscall}"), "-e", &format!("inject={fault}")])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts: install the package strace");
        let mut said = String::new();
        BufReader::new(strace.stderr.as_mut().expect("a pipe")).read_line(&mut said).expect("text");
        if said.contains("attached") {
            return Some(Injection { strace, log });
        }
        strace.wait().expect("a status");
        assert!(said.contains("Operation not permitted"), "strace: {said}");
        eprintln!("not tried, because tracing is not permitted here: {fault}");
        None
    }

    /// Whether a call has failed by now.
    pub fn has_struck(&self) -> bool {
        let log = std::fs::read_to_string(&self.log);
        log.is_ok_and(|log| log.contains("(INJECTED)"))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let pid = self.strace.id().to_string();
        // It lets the program go before it ends.
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.strace.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
