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
        match strace.stderr(Stdio::null()).spawn() {
            Ok(strace) => Some(Fault { strace }),
            Err(error) => {
                eprintln!("not tried: strace cannot be run here: {error}");
                None
            }
        }
    }
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
