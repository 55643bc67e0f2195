//! A process that is killed at some moment: what it had acknowledged is there afterwards, and no
//! file is left over. The process is this test binary, asked by a variable to be the victim.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

use super::*;

/// Names the folder that the victim works in.
const FOLDER: &str = "RINGBACK_TEST_VICTIM";

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        be_the_victim(Path::new(&folder));
    }
    for acknowledged in [1, 40, 177] {
        kill_after(acknowledged);
    }
}

fn kill_after(lines: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "queue::local::tests::kill::what_was_acknowledged_survives_a_kill"])
        .args(["--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut acknowledged: Vec<String> = Vec::new();
    while acknowledged.len() < lines {
        let line = told.next().expect("the victim works until it is killed").unwrap();
        acknowledged.extend(acknowledgement(&line));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    // What it said before it died counts; a last line may be cut off.
    let rest: Vec<String> = told.map_while(Result::ok).collect();
    acknowledged.extend(rest.iter().filter_map(|line| acknowledgement(line)));
    check_after_kill(folder.path(), &acknowledged);
}

/// `submitted ID` or `finished ID`, among what the test harness prints.
fn acknowledgement(line: &str) -> Option<String> {
    let at = line.find("submitted ").or_else(|| line.find("finished "))?;
    let whole = line[at..].split(' ').nth(1)?.parse::<JobId>().is_ok();
    whole.then(|| line[at..].to_owned())
}

fn check_after_kill(folder: &Path, acknowledged: &[String]) {
    let queue = open_here(folder);
    let mut expected: HashMap<JobId, bool> = HashMap::new();
    for line in acknowledged {
        let (word, id) = line.split_once(' ').unwrap();
        *expected.entry(id.parse().unwrap()).or_default() |= word == "finished";
    }
    for (id, finished) in expected {
        let job = queue.get(id).unwrap().unwrap_or_else(|| panic!("job {id} is lost"));
        if finished {
            assert_eq!(job.state, State::Succeeded);
            assert!(queue.output(id).unwrap().is_some());
        }
    }
    let mut in_files = HashSet::new();
    for _ in 0..queue.depth().queued {
        let claim = queue.claim().unwrap().unwrap();
        match claim.body.unwrap() {
            InputBody::Inline(bytes) => assert_eq!(bytes.len() as u64, claim.job.input.bytes),
            InputBody::File(path) => {
                assert_eq!(path.metadata().unwrap().len(), claim.job.input.bytes);
                in_files.insert(path);
            }
        }
    }
    let found: HashSet<_> = std::fs::read_dir(folder.join("spool").join("inputs"))
        .unwrap()
        .map(|found| found.unwrap().path())
        .collect();
    assert_eq!(found, in_files, "files and jobs differ");
}

/// Submits small and large inputs from two threads and works on a third, and says so on stdout, for
/// ever.
fn be_the_victim(folder: &Path) -> ! {
    let queue = open_here(folder);
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let claim = queue.claim().unwrap().unwrap();
                let id = claim.job.id;
                queue.finish(claim.lease, succeeded("done")).unwrap();
                say(&format!("finished {id}"));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0.. {
                    match queue.submit(request(&queue, n)) {
                        Ok(Submitted::New(job)) => say(&format!("submitted {}", job.id)),
                        Err(SubmitError::Full) => thread::yield_now(),
                        other => panic!("not a new job: {other:?}"),
                    }
                }
            });
        }
    });
    unreachable!("its threads work until they are killed")
}

fn request(queue: &LocalQueue, n: usize) -> Submission {
    let mut request = ask(&format!("{n}"));
    if n.is_multiple_of(3) {
        let mut receiving = queue.spool.receive(None).unwrap();
        receiving.write_all(&vec![b'x'; crate::spool::INLINE_MAX + n]).unwrap();
        let received = receiving.finish().unwrap();
        request.input.bytes = received.bytes;
        request.body = received.body;
    }
    request
}

/// Past the harness, which would keep it to itself.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}
