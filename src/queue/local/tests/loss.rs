//! Stores and logs that are not as the last process left them: somebody is told, and nothing that may be
//! needed is deleted.

use std::fs;

use super::super::wal::Log;
use super::*;

const FRAME: usize = 24 + 4096;

/// A store as a process that is killed leaves it, after `jobs` were submitted one by one.
fn killed(jobs: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    for n in 0..jobs {
        assert!(matches!(queue.submit(ask(&format!("{n}"))), Ok(Submitted::New(_))));
    }
    copy_of(folder.path(), true)
}

/// The store's files as they are now, in another folder.
fn copy_of(folder: &Path, with_index: bool) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["ringback.db", "ringback.db-wal", "ringback.db-shm"] {
        if with_index || name != "ringback.db-shm" {
            fs::copy(folder.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn examined(folder: &Path) -> Log {
    Log::examine(&folder.join("ringback.db"))
}

fn log_of(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("ringback.db-wal")).unwrap()
}

fn write_log(folder: &Path, bytes: &[u8]) {
    fs::write(folder.join("ringback.db-wal"), bytes).unwrap();
}

/// How many frames of the log's generation it has: those of the one before may stand behind them.
fn frames(log: &[u8]) -> usize {
    log[32..].chunks_exact(FRAME).take_while(|frame| frame[8..16] == log[16..24]).count()
}

#[test]
fn a_log_that_a_kill_leaves_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_here(folder.path());
    // Long enough for the log to begin anew, with frames of the last generation behind the new ones.
    let filler = "x".repeat(60_000);
    let mut began_anew = false;
    let mut longest = 0;
    for n in 0..400 {
        assert!(matches!(queue.submit(ask(&format!("{n} {filler}"))), Ok(Submitted::New(_))));
        let length = fs::metadata(folder.path().join("ringback.db-wal")).unwrap().len();
        began_anew |= length <= longest;
        longest = longest.max(length);
        if n % 50 == 0 || began_anew && n % 10 == 0 {
            for with_index in [true, false] {
                let copy = copy_of(folder.path(), with_index);
                assert_eq!(examined(copy.path()), Log::Whole, "{n}, index {with_index}");
            }
        }
    }
    assert!(began_anew);
    drop(queue);
    assert_eq!(examined(folder.path()), Log::Whole, "without a log");
}

#[test]
fn what_a_kill_was_about_to_write_is_no_loss() {
    let folder = killed(3);
    let mut log = log_of(folder.path());
    log.truncate(32 + frames(&log) * FRAME);
    // A frame of a transaction that has not ended, half of one, and one whose page was not written.
    let mut frame = log[log.len() - FRAME..].to_vec();
    frame[4..8].fill(0);
    for tail in [&frame[..], &frame[..100], &[&frame[..24], &[0; 4096]].concat()] {
        write_log(folder.path(), &[&log, tail].concat());
        assert_eq!(examined(folder.path()), Log::Whole);
        fs::rename(folder.path().join("ringback.db-shm"), folder.path().join("away")).unwrap();
        assert_eq!(examined(folder.path()), Log::Whole, "without its index");
        fs::rename(folder.path().join("away"), folder.path().join("ringback.db-shm")).unwrap();
    }
}

#[test]
fn a_log_that_was_cut_is_noticed_wherever() {
    let folder = killed(5);
    let log = log_of(folder.path());
    let frames = frames(&log);
    assert!(frames > 10, "{frames}");
    let whole = 32 + frames * FRAME;
    for length in (0..frames).map(|frame| 32 + frame * FRAME).chain([1, 31, whole - 1]) {
        write_log(folder.path(), &log[..length]);
        assert!(matches!(examined(folder.path()), Log::Damaged { .. }), "{length} bytes");
    }
    write_log(folder.path(), &[]);
    assert_eq!(examined(folder.path()), Log::Damaged { read: 0 }, "nothing is left of it");
    fs::remove_file(folder.path().join("ringback.db-wal")).unwrap();
    assert_eq!(examined(folder.path()), Log::Damaged { read: 0 }, "it is gone");
}

#[test]
fn a_flipped_bit_is_noticed_wherever() {
    let folder = killed(3);
    let log = log_of(folder.path());
    for frame in 0..frames(&log) {
        for at in [0, 5, 9, 17, 24, 2000, FRAME - 1] {
            let mut bytes = log.clone();
            bytes[32 + frame * FRAME + at] ^= 4;
            write_log(folder.path(), &bytes);
            assert!(matches!(examined(folder.path()), Log::Damaged { .. }), "{frame}: {at}");
        }
    }
    for at in [0, 9, 17, 25] {
        let mut bytes = log.clone();
        bytes[at] ^= 4;
        write_log(folder.path(), &bytes);
        assert_eq!(examined(folder.path()), Log::Damaged { read: 0 }, "header: {at}");
    }
    // Without its index a commit behind the damage tells.
    fs::remove_file(folder.path().join("ringback.db-shm")).unwrap();
    let mut bytes = log.clone();
    bytes[32 + 2000] ^= 4;
    write_log(folder.path(), &bytes);
    assert_eq!(examined(folder.path()), Log::Damaged { read: 0 });
}

#[test]
fn an_empty_store_does_not_delete_the_files_of_its_jobs() {
    for leave_empty_file in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let queue = open_here(folder.path());
        let mut receiving = queue.spool.receive(None).unwrap();
        std::io::Write::write_all(&mut receiving, &vec![1; 100_000]).unwrap();
        let mut request = ask("large");
        request.body = receiving.finish().unwrap().body;
        let id = request.id;
        assert!(matches!(queue.submit(request), Ok(Submitted::New(_))));
        drop(queue);
        let store = folder.path().join("ringback.db");
        let kept = fs::read(&store).unwrap();
        fs::remove_file(&store).unwrap();
        if leave_empty_file {
            fs::write(&store, "").unwrap();
        }
        for _ in 0..2 {
            let refusal = try_open(folder.path()).map(drop).unwrap_err().to_string();
            assert!(refusal.contains("empty or missing"), "{refusal}");
            assert!(refusal.contains("bring the store back"), "{refusal}");
            assert!(refusal.contains("spool") && !refusal.contains('\n'), "{refusal}");
        }
        fs::write(&store, kept).unwrap();
        let claim = open_here(folder.path()).claim().unwrap().unwrap();
        assert_eq!((claim.job.id, claim.body.is_ok()), (id, true));
    }
}

#[test]
fn a_log_without_its_store_is_not_deleted() {
    let folder = killed(3);
    let store = folder.path().join("ringback.db");
    let kept = fs::read(&store).unwrap();
    fs::remove_file(&store).unwrap();
    let refusal = try_open(folder.path()).map(drop).unwrap_err().to_string();
    assert!(refusal.contains("its log"), "{refusal}");
    fs::write(&store, kept).unwrap();
    assert_eq!(open_here(folder.path()).depth().queued, 3);
}

#[test]
fn an_input_whose_job_the_store_has_lost_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let lost = JobId::new();
    let path = {
        let queue = open_here(folder.path());
        fs::write(queue.spool.input_path(lost), "of a job in a newer store").unwrap();
        queue.spool.aside().to_owned()
    };
    // The next start and those after it.
    for _ in 0..2 {
        let queue = open_here(folder.path());
        assert!(!queue.spool.input_path(lost).exists());
        let kept = fs::read_to_string(path.join(lost.to_string())).unwrap();
        assert_eq!(kept, "of a job in a newer store");
    }
}
