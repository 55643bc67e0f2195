//! The real program in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};

use super::{PATIENCE, Target};

/// The model that `make models` brings.
pub fn model() -> PathBuf {
    let path = std::env::var_os("RINGBACK_TEST_MODEL").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ggml-tiny.en.bin"),
        PathBuf::from,
    );
    assert!(path.is_file(), "no model at {}; type: make models", path.display());
    path
}

/// `ringback serve` on a port of its own.
pub struct Binary {
    child: Child,
    addr: SocketAddr,
    /// What it said before it listened.
    said: Vec<String>,
    stderr: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Binary {
    /// Starts it on `folder` with the test's model and further arguments.
    pub fn serve(folder: &Path, arguments: &[&str]) -> Binary {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringback"));
        program.args(["serve", "--model"]).arg(model());
        Binary::start(program, folder, arguments)
    }

    /// Starts it on `folder` with further arguments and no model.
    pub fn serve_without_model(folder: &Path, arguments: &[&str]) -> Binary {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringback"));
        program.arg("serve");
        Binary::start(program, folder, arguments)
    }

    /// As [`serve_without_model`](Binary::serve_without_model), with a variable in its environment.
    pub fn serve_with_variable(
        (name, value): (&str, &Path),
        folder: &Path,
        arguments: &[&str],
    ) -> Binary {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringback"));
        program.arg("serve").env(name, value);
        Binary::start(program, folder, arguments)
    }

    /// As [`serve`](Binary::serve), where so many files may be open and not more.
    pub fn serve_with_files(files: u32, folder: &Path, arguments: &[&str]) -> Binary {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n $0 && exec \"$@\"", &files.to_string()]);
        shell.arg(env!("CARGO_BIN_EXE_ringback")).args(["serve", "--model"]).arg(model());
        Binary::start(shell, folder, arguments)
    }

    /// As [`serve_without_model`](Binary::serve_without_model), on a system's clock that the file
    /// `clock` sets (libfaketime's words: `+0`, `-1d`, `@1970-01-01 00:05:00`).
    pub fn serve_by_clock(
        library: &Path,
        clock: &Path,
        folder: &Path,
        arguments: &[&str],
    ) -> Binary {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringback"));
        program
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", clock)
            .env("FAKETIME_NO_CACHE", "1")
            // No setting of a system's clock moves the monotonic ones.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .arg("serve");
        Binary::start(program, folder, arguments)
    }

    /// As [`serve_without_model`](Binary::serve_without_model), where no file may be longer than so many MiB.
    pub fn serve_with_file_size(mib: u32, folder: &Path, arguments: &[&str]) -> Binary {
        let mut shell = Command::new("sh");
        // In blocks of 512 bytes. An ignored signal stays so: the write fails instead.
        let limit = "trap '' XFSZ && ulimit -f $0 && exec \"$@\"";
        shell.args(["-c", limit, &(mib * 2048).to_string()]);
        shell.arg(env!("CARGO_BIN_EXE_ringback")).arg("serve");
        Binary::start(shell, folder, arguments)
    }

    fn start(mut program: Command, folder: &Path, arguments: &[&str]) -> Binary {
        let mut child = program
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            // Many servers run beside each other in the tests, and whisper.cpp's threads wait for each
            // other by spinning.
            .args(["--threads", "1"])
            .args(arguments)
            // As it is run: a backtrace of a panic keeps the debugging symbols in memory from then on.
            .env_remove("RUST_BACKTRACE")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (lines, stderr) = unbounded();
        let pipe = BufReader::new(child.stderr.take().expect("a pipe"));
        let reader = std::thread::spawn(move || {
            // The test may have stopped listening; the pipe is read on, so that the program never
            // waits for it.
            pipe.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
        });
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        let addr = loop {
            let line = stderr
                .recv_deadline(deadline)
                .unwrap_or_else(|_| panic!("the program does not listen; it said {said:#?}"));
            if let Some((_, addr)) = line.split_once("listening on http://") {
                break addr.trim().parse().expect("an address");
            }
            said.push(line);
        };
        Binary { child, addr, said, stderr, reader: Some(reader) }
    }

    /// What it said on stderr before it listened.
    pub fn said_at_start(&self) -> &[String] {
        &self.said
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would, as far as a process can.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
    }

    /// Sends a signal by its number.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status()
            .expect("kill(1)");
        assert!(status.success());
    }

    /// Waits for its end; what it said on stderr since it listened comes with it.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        // The pipe closes when the process ends.
        let mut said = Vec::new();
        while let Ok(line) = self.stderr.recv_deadline(deadline) {
            said.push(line);
        }
        assert!(Instant::now() < deadline, "the program does not end; it said {said:#?}");
        (self.child.wait().expect("a status"), said)
    }
}

impl Target for Binary {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader of the pipe");
        }
    }
}
