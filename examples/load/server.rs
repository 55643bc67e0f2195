//! A server in a process of its own, so that its memory is its own and it can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringback::{Attempt, Output, Server, TaskError};

use crate::Failed;

/// Where the child is told what to do: `FOLDER;MILLISECONDS`.
const VARIABLE: &str = "RINGBACK_LOAD_SERVER";

pub struct Started {
    child: Child,
    pub addr: SocketAddr,
}

impl Started {
    /// Starts a server on `folder` whose task takes `work`, or the job's `work_ms`.
    pub fn start(folder: &Path, work: Duration) -> Result<Started, Failed> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(VARIABLE, format!("{};{}", folder.display(), work.as_millis()))
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the child has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse().map_err(|_| format!("the child said {line:?}"))?;
        Ok(Started { child, addr })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves, where this process was started for that.
pub fn serve_if_child() -> Option<Result<(), Failed>> {
    let told = std::env::var(VARIABLE).ok()?;
    Some(serve(&told))
}

fn serve(told: &str) -> Result<(), Failed> {
    let (folder, work) = told.rsplit_once(';').ok_or("not told what to serve")?;
    let work = Duration::from_millis(work.parse()?);
    let task = move |attempt: &Attempt| -> Result<Output, TaskError> {
        let told = attempt.parameters().get("work_ms").and_then(|ms| ms.parse().ok());
        std::thread::sleep(told.map_or(work, Duration::from_millis));
        Ok(Output::text("done"))
    };
    let server = Server::builder()
        .task("sleep", task)
        .data(folder)
        .max_queued(2_000_000)
        .bind("127.0.0.1:0")?;
    println!("{}", server.addr());
    Ok(server.run()?)
}
