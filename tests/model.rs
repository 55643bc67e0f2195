//! `ringback model` at the shell, with a small model made here.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::cli::program;
use crate::support::eventually;

/// Silero's voice detector, as its safetensors name and shape it.
const VOICE: [(&str, &[usize]); 15] = [
    ("stft_conv.weight", &[258, 1, 256]),
    ("conv1.weight", &[128, 129, 3]),
    ("conv1.bias", &[128]),
    ("conv2.weight", &[64, 128, 3]),
    ("conv2.bias", &[64]),
    ("conv3.weight", &[64, 64, 3]),
    ("conv3.bias", &[64]),
    ("conv4.weight", &[128, 64, 3]),
    ("conv4.bias", &[128]),
    ("lstm_cell.weight_ih", &[512, 128]),
    ("lstm_cell.weight_hh", &[512, 128]),
    ("lstm_cell.bias_ih", &[512]),
    ("lstm_cell.bias_hh", &[512]),
    ("final_conv.weight", &[1, 128, 1]),
    ("final_conv.bias", &[1]),
];

/// A folder with `voice.safetensors` in it, whose weights are all zero.
fn folder_with_voice() -> TempDir {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in VOICE {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(
            name.to_owned(),
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }),
        );
    }
    let header = serde_json::to_vec(&header).expect("a header is JSON");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + end, 0);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("voice.safetensors"), file).expect("a file");
    folder
}

/// What a run of `ringback model` left.
struct Ended(Output);

/// Runs it with its models in `folder`.
fn model(folder: &Path, arguments: &[&str]) -> Ended {
    Ended(command(folder, arguments).output().expect("the program starts"))
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program(&["model"]);
    command.args(arguments).arg("--models").arg(folder);
    command
}

impl Ended {
    /// What it printed, when it succeeded.
    fn printed(&self) -> String {
        assert!(self.0.status.success(), "{}", self.told());
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// What it said on stderr, and its exit code.
    fn failed(&self) -> (i32, String) {
        (self.0.status.code().expect("it was not killed"), self.told())
    }

    fn told(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

fn import_voice(folder: &Path, name: &str) -> PathBuf {
    let source = folder.join("voice.safetensors");
    let source = source.to_str().expect("a path");
    let printed = model(folder, &["import", source, "--name", name]).printed();
    PathBuf::from(printed.trim_end())
}

#[test]
fn a_model_comes_in_and_is_found() {
    let folder = folder_with_voice();
    let path = import_voice(folder.path(), "voice");
    assert_eq!(path, folder.path().join("ggml-voice.bin"));
    let printed = model(folder.path(), &["path", "voice"]).printed();
    assert_eq!(PathBuf::from(printed.trim_end()), path);
    let listed = model(folder.path(), &["list"]).printed();
    let line = |name: &str| {
        let mut lines = listed.lines().filter(|line| line.split(' ').next() == Some(name));
        lines.next().unwrap_or_else(|| panic!("{name} is not in {listed}")).to_owned()
    };
    assert!(line("voice").ends_with("here"), "{listed}");
    assert!(line("tiny.en").ends_with("77.7 MB"), "{listed}");
    let verified = model(folder.path(), &["verify"]).printed();
    assert!(verified.starts_with("voice: good, the SHA-256 noted when it came"), "{verified}");
}

#[test]
fn a_missing_model_is_told_with_the_command_to_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, told) = model(folder.path(), &["path", "tiny.en"]).failed();
    assert_eq!(code, 2, "{told}");
    let command = format!("`ringback model get tiny.en --models {}`", folder.path().display());
    assert!(told.contains(&command), "{told}");
}

#[test]
fn a_broken_model_fails_the_verification() {
    let folder = folder_with_voice();
    import_voice(folder.path(), "good");
    let path = import_voice(folder.path(), "bad");
    let mut bytes = fs::read(&path).expect("a file");
    bytes.pop();
    fs::write(&path, bytes).expect("a file");
    let ended = model(folder.path(), &["verify"]);
    let (code, told) = ended.failed();
    assert_eq!((code, told.as_str()), (1, "ringback: one model is not sound\n"));
    let printed = String::from_utf8_lossy(&ended.0.stdout).into_owned();
    assert!(printed.contains("bad: BROKEN:") && printed.contains("good: good"), "{printed}");
}

#[test]
fn a_download_that_cannot_be_is_told_with_a_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody listens on the discard port of this machine.
    let (code, told) =
        model(folder.path(), &["get", "tiny.en", "--from", "http://127.0.0.1:9"]).failed();
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("`ringback model import PATH`"), "{told}");
    let (code, told) = model(folder.path(), &["get", "tiny.enn"]).failed();
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("`ringback model list`"), "{told}");
}

#[test]
fn a_download_that_is_killed_leaves_a_part_and_no_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = format!("http://{}", listener.local_addr().expect("an address"));
    let mut child = command(folder.path(), &["get", "tiny.en", "--from", &from])
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let (mut stream, _) = listener.accept().expect("a connection");
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 77704715\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("a head");
    stream.write_all(&[7; 100_000]).expect("a beginning");
    let part = folder.path().join("ggml-tiny.en.bin.part");
    eventually("the beginning is written", || {
        fs::metadata(&part).is_ok_and(|part| part.len() == 100_000).then_some(())
    });
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    // Its end of the connection is gone, whatever of the request was not read.
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(!folder.path().join("ggml-tiny.en.bin").exists());
    let (code, told) = model(folder.path(), &["path", "tiny.en"]).failed();
    assert_eq!(code, 2, "{told}");
    let verified = model(folder.path(), &["verify"]).printed();
    assert!(verified.contains("ggml-tiny.en.bin.part: what came"), "{verified}");
}
