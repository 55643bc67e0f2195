//! A disk that fails for a while: strace makes the system calls fail, as root or as this user.

use std::process::{Child, Command, Stdio};

use crate::support::binary::Binary;
use crate::support::{Target, eventually};

/// Lets every write and sync of the job store fail with `error`, until it is dropped.
struct Fault {
    strace: Child,
}

impl Fault {
    fn inject(server: &Binary, error: &str) -> Option<Fault> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-p", &server.pid().to_string()]);
        strace.args(["-e", &format!("inject=pwrite64,fsync,fdatasync:error={error}")]);
        let mut strace = match strace.stderr(Stdio::null()).spawn() {
            Ok(strace) => strace,
            Err(error) => {
                eprintln!("not tried: strace cannot be run here: {error}");
                return None;
            }
        };
        let attached = eventually("strace attaches to every thread, or ends", || {
            let ended = strace.try_wait().expect("its status").is_some();
            (ended || is_traced(server.pid())).then_some(!ended)
        });
        if !attached {
            eprintln!("not tried: strace may not attach to a process here");
            return None;
        }
        Some(Fault { strace })
    }
}

/// Whether every thread of a process has a tracer.
fn is_traced(pid: u32) -> bool {
    let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    threads.all(|thread| {
        let status = thread.expect("a thread").path().join("status");
        // A thread that has ended meanwhile has none to give.
        let status = std::fs::read_to_string(status).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

impl Drop for Fault {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

#[test]
fn a_disk_that_fails_is_told_and_forgotten_when_it_is_over() {
    for error in ["EIO", "EROFS"] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Binary::serve_without_model(folder.path(), &["--demo"]);
        let before = server.submit(b"before");
        server.finished(&before);
        let Some(fault) = Fault::inject(&server, error) else { return };
        let mut taken = Vec::new();
        let refused = eventually("a submit is refused", || {
            let reply = server.post("/jobs?task=demo&seconds=0", "a/b", b"meanwhile");
            if reply.status == 202 {
                taken.push(reply.header("location").expect("a location").to_owned());
            }
            (reply.status != 202).then_some(reply)
        });
        assert_eq!((refused.status, &*refused.code()), (503, "store_failed"), "{error}");
        assert!(refused.header("retry-after").is_some());
        for _ in 0..200 {
            assert_eq!(server.post("/jobs?task=demo", "a/b", b"more").status, 503);
        }
        let ready = server.get("/readyz");
        assert_eq!((ready.status, &*ready.code()), (503, "store_failed"), "{error}");
        drop(fault);
        eventually("it is ready again", || (server.get("/readyz").status == 200).then_some(()));
        taken.push(server.submit(b"after"));
        for job in taken {
            assert_eq!(server.finished(&job)["state"], "succeeded");
        }
        server.signal("TERM");
        let (_, said) = server.wait();
        let lines = said.iter().filter(|line| line.contains("ERROR")).count();
        assert!((1..=12).contains(&lines), "{said:#?}");
    }
}

/// As another user's folder is to a server that is not root's.
#[test]
fn a_spool_that_cannot_be_written_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(Binary::serve_without_model(folder.path(), &["--demo"]));
    let incoming = folder.path().join("spool/incoming");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "ro", "tmpfs"]).arg(&incoming).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("not tried: a read-only folder cannot be mounted here");
        return;
    }
    let refused = Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .output()
        .expect("the program starts");
    let unmounted = Command::new("umount").arg(&incoming).status().expect("umount(8)");
    assert!(unmounted.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("incoming cannot be written into"), "{said}");
}
