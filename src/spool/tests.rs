use std::collections::HashSet;
use std::time::Duration;

use super::*;

fn spool() -> (tempfile::TempDir, Arc<Spool>) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(folder.path()).unwrap());
    (folder, spool)
}

/// The names of all files in the spool.
fn files(spool: &Spool) -> Vec<String> {
    let mut names = Vec::new();
    for folder in [&spool.incoming, &spool.inputs, &spool.outputs, &spool.scratch] {
        for found in fs::read_dir(folder).unwrap() {
            names.push(found.unwrap().file_name().into_string().unwrap());
        }
    }
    names
}

fn hex(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_empty_input_has_the_digest_of_nothing() {
    let (_folder, spool) = spool();
    let received = spool.receive(None).unwrap().finish().unwrap();
    assert_eq!(received.bytes, 0);
    assert_eq!(
        received.sha256.to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert!(matches!(received.body, NewInput::Inline(bytes) if bytes.is_empty()));
}

#[test]
fn an_input_makes_a_file_from_the_first_byte_too_many() {
    let (_folder, spool) = spool();
    for (length, in_file) in [(INLINE_MAX, false), (INLINE_MAX + 1, true), (3 * INLINE_MAX, true)] {
        let text = "x".repeat(length);
        let mut receiving = spool.receive(None).unwrap();
        for piece in text.as_bytes().chunks(1000) {
            receiving.write_all(piece).unwrap();
        }
        assert_eq!(receiving.len(), length as u64);
        let received = receiving.finish().unwrap();
        assert_eq!(received.sha256.to_string(), hex(&text));
        match received.body {
            NewInput::Inline(bytes) => {
                assert!(!in_file);
                assert_eq!(bytes, text.as_bytes());
            }
            NewInput::File(path) => {
                assert!(in_file);
                assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
            }
        }
    }
    assert_eq!(files(&spool), Vec::<String>::new(), "dropped inputs leave nothing");
}

#[test]
fn an_input_that_breaks_off_leaves_nothing() {
    let (_folder, spool) = spool();
    let mut receiving = spool.receive(None).unwrap();
    receiving.write_all(&vec![7; 2 * INLINE_MAX + 1]).unwrap();
    assert_eq!(files(&spool).len(), 1);
    drop(receiving);
    assert_eq!(files(&spool).len(), 0);
}

#[test]
fn a_placed_input_goes_unless_it_is_kept() {
    let (_folder, spool) = spool();
    let receive = || {
        let mut receiving = spool.receive(None).unwrap();
        receiving.write_all(&vec![7; INLINE_MAX + 1]).unwrap();
        match receiving.finish().unwrap().body {
            NewInput::File(path) => path,
            NewInput::Inline(_) => panic!("it is too long to be inline"),
        }
    };
    let id = JobId::new();
    drop(spool.place_input(id, receive()).unwrap());
    assert_eq!(files(&spool).len(), 0);
    spool.place_input(id, receive()).unwrap().keep();
    assert_eq!(files(&spool), [id.to_string()]);
    spool.discard_input(id);
    spool.discard_input(id);
    assert_eq!(files(&spool).len(), 0);
}

fn output(path: &Path) -> OutputFile {
    OutputFile { path: path.into(), name: "o".into(), content_type: "text/plain".into() }
}

#[test]
fn an_output_is_moved_and_every_attempt_has_its_own() {
    let (folder, spool) = spool();
    let id = JobId::new();
    let given = folder.path().join("given");
    let keep = |text: &str| {
        fs::write(&given, text).unwrap();
        spool.keep_output(id, &output(&given)).unwrap()
    };
    let (first, second) = (keep("first"), keep("the second"));
    assert!(!given.exists());
    assert_eq!((first.1, second.1), (5, 10));
    assert_eq!(fs::read_to_string(&first.0).unwrap(), "first");
    assert_eq!(fs::read_to_string(&second.0).unwrap(), "the second");
}

#[test]
fn an_input_returned_as_output_stays_an_input() {
    let (_folder, spool) = spool();
    let id = JobId::new();
    fs::write(spool.input_path(id), "both").unwrap();
    let (path, bytes) = spool.keep_output(id, &output(&spool.input_path(id))).unwrap();
    assert_eq!(bytes, 4);
    assert_eq!(fs::read_to_string(path).unwrap(), "both");
    assert!(spool.input_path(id).exists());
}

#[test]
fn an_output_that_is_no_regular_file_is_refused() {
    let (folder, spool) = spool();
    let refused = |path: &Path| spool.keep_output(JobId::new(), &output(path)).unwrap_err();
    assert_eq!(refused(folder.path()).kind(), io::ErrorKind::InvalidInput);
    assert_eq!(refused(&folder.path().join("none")).kind(), io::ErrorKind::NotFound);
    #[cfg(unix)]
    {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        assert_eq!(refused(&link).kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(files(&spool).len(), 0);
}

#[test]
fn tidying_spares_what_jobs_refer_to() {
    let (_folder, spool) = spool();
    let (kept, orphan) = (JobId::new(), JobId::new());
    fs::write(spool.input_path(kept), "kept").unwrap();
    fs::write(spool.input_path(orphan), "orphan").unwrap();
    fs::write(spool.inputs.join("not an id"), "rubbish").unwrap();
    fs::write(spool.output_path("kept-output"), "kept").unwrap();
    fs::write(spool.output_path("orphan-output"), "orphan").unwrap();
    fs::write(spool.incoming.join("half"), "half").unwrap();
    fs::create_dir(spool.scratch.join("attempt-1")).unwrap();
    fs::write(spool.scratch.join("attempt-1").join("input"), "left").unwrap();
    assert_eq!(spool.clear_unfinished().unwrap(), 2);
    let kept_output = HashSet::from(["kept-output".into()]);
    let strays = spool.strays(&HashSet::from([kept]), &kept_output).unwrap();
    let jobs: HashSet<_> = strays.iter().map(Stray::job).collect();
    assert_eq!((strays.len(), jobs), (3, HashSet::from([None, Some(orphan)])));
    strays.iter().for_each(|stray| spool.set_aside(stray).unwrap());
    assert_eq!(files(&spool), [kept.to_string(), "kept-output".into()]);
    let aside = || fs::read_dir(spool.aside()).unwrap().count();
    assert_eq!((spool.clear_aside(Duration::from_secs(60)).unwrap(), aside()), (0, 3));
    assert_eq!((spool.clear_aside(Duration::ZERO).unwrap(), aside()), (3, 0));
}
