//! `ringback model` at the shell, with a small model made here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

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

/// `ringback model …` with its models in `folder`.
struct Ended(Output);

fn model(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    // What is set where the tests run must not decide them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGBACK_") {
            command.env_remove(name);
        }
    }
    command.arg("model").args(arguments).arg("--models").arg(folder);
    Ended(command.output().expect("the program starts"))
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
