//! Downloads from a server on this machine that behaves as it is told.

mod mirror;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::*;
use crate::model::tests::synthetic;
use crate::model::{ImportOptions, digest, import};
use mirror::{Mirror, Reply};

/// A small good model: a voice detector.
fn model() -> &'static [u8] {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    MODEL.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("voice.safetensors");
        fs::write(&source, synthetic::safetensors()).expect("a file");
        let imported = import(&source, folder.path(), &ImportOptions::default()).expect("a model");
        fs::read(imported.path).expect("a file")
    })
}

/// A folder to download into, and what came of it.
struct Downloads {
    folder: tempfile::TempDir,
    heard: Vec<Progress>,
}

impl Downloads {
    fn new() -> Downloads {
        Downloads { folder: tempfile::tempdir().expect("a folder"), heard: Vec::new() }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("ggml-voice.bin")
    }

    /// Asks for the model as if it were published with these bytes.
    fn published(&mut self, mirror: &Mirror, bytes: &[u8]) -> Result<Got, ModelError> {
        let mut sha256 = digest::Digest::new();
        sha256.update(bytes);
        let wanted = Wanted {
            url: mirror.url("ggml-voice.bin"),
            bytes: Some(bytes.len() as u64),
            sha256: Some(sha256.finish()),
        };
        let target = self.target();
        download(&wanted, &target, Duration::from_secs(5), &mut |p| self.heard.push(p))
    }

    /// Asks for a model that nothing is known of.
    fn unpublished(&mut self, mirror: &Mirror) -> Result<Got, ModelError> {
        let options = GetOptions { from: Some(mirror.url("")), ..GetOptions::default() };
        get("voice", self.folder.path(), &options, |progress| self.heard.push(progress))
    }

    fn names(&self) -> Vec<String> {
        let listing = fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<String> = listing
            .map(|item| item.expect("an item").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The model is here as it was sent, its digest is kept, and nothing else is left.
    fn assert_whole(&self) {
        assert!(fs::read(self.target()).expect("a file") == model(), "other bytes arrived");
        assert_eq!(self.names(), ["ggml-voice.bin", "ggml-voice.bin.sha256"]);
        let recorded = digest::recorded(&self.target()).expect("a record");
        assert_eq!(recorded, Some(digest::of_file(&self.target()).expect("a file")));
    }
}

const TAG: &str = "\"one\"";

#[test]
fn a_whole_file() {
    let mirror = Mirror::new(vec![Reply::whole(model())]);
    let mut downloads = Downloads::new();
    let got = downloads.published(&mirror, model()).expect("it comes");
    assert_eq!(got.origin, Origin::Published);
    downloads.assert_whole();
    let total = Some(model().len() as u64);
    assert_eq!(downloads.heard.first(), Some(&Progress { bytes: 0, total }));
    assert_eq!(downloads.heard.last(), Some(&Progress { bytes: model().len() as u64, total }));
    let asked = mirror.asked();
    assert!(asked[0].starts_with("get /ggml-voice.bin http/1.1\r\n"), "{}", asked[0]);
    assert!(!asked[0].contains("\r\nrange:"));
}

#[test]
fn what_nothing_is_known_of_is_noted() {
    let mirror = Mirror::new(vec![Reply::whole(model())]);
    let mut downloads = Downloads::new();
    assert_eq!(downloads.unpublished(&mirror).expect("it comes").origin, Origin::Unpublished);
    downloads.assert_whole();
    // The second time nobody is asked.
    assert_eq!(downloads.unpublished(&mirror).expect("it is here").origin, Origin::AlreadyHere);
    assert_eq!(mirror.asked().len(), 1);
}

#[test]
fn a_broken_file_is_replaced() {
    let mirror = Mirror::new(vec![Reply::whole(model())]);
    let mut downloads = Downloads::new();
    fs::write(downloads.target(), &model()[..1000]).expect("a file");
    assert_eq!(downloads.unpublished(&mirror).expect("it comes").origin, Origin::Unpublished);
    downloads.assert_whole();
}

#[test]
fn a_cut_is_gone_on_from() {
    let mirror = Mirror::new(vec![
        Reply::whole(model()).tagged(TAG).cut(300_000),
        Reply::rest(model()).tagged(TAG).cut(200_000),
        Reply::rest(model()).tagged(TAG),
    ]);
    let mut downloads = Downloads::new();
    downloads.published(&mirror, model()).expect("it comes");
    downloads.assert_whole();
    let asked = mirror.asked();
    assert!(asked[1].contains("\r\nrange: bytes=300000-\r\n"), "{}", asked[1]);
    assert!(asked[1].contains("\r\nif-range: \"one\"\r\n"), "{}", asked[1]);
    assert!(asked[2].contains("\r\nrange: bytes=500000-\r\n"), "{}", asked[2]);
}

#[test]
fn the_next_call_goes_on_from_what_is_here() {
    let mirror = Mirror::new(vec![
        Reply::whole(model()).tagged(TAG).cut(300_000),
        Reply::status(503),
        Reply::rest(model()).tagged(TAG),
    ]);
    let mut downloads = Downloads::new();
    let error = downloads.unpublished(&mirror).expect_err("cut, then refused");
    assert!(matches!(error, ModelError::Refused { status: 503, .. }), "{error}");
    assert_eq!(downloads.names(), ["ggml-voice.bin.part", "ggml-voice.bin.part.etag"]);
    downloads.unpublished(&mirror).expect("it comes");
    downloads.assert_whole();
    assert!(mirror.asked()[2].contains("\r\nrange: bytes=300000-\r\n"));
}

#[test]
fn all_that_is_missing_may_be_the_check() {
    let mirror = Mirror::new(vec![]);
    let mut downloads = Downloads::new();
    fs::write(downloads.folder.path().join("ggml-voice.bin.part"), model()).expect("a file");
    downloads.published(&mirror, model()).expect("it is here");
    downloads.assert_whole();
    assert_eq!(mirror.asked().len(), 0);
}

#[test]
fn without_a_checksum_and_a_tag_it_begins_anew() {
    let mirror = Mirror::new(vec![Reply::whole(model()).cut(300_000), Reply::whole(model())]);
    let mut downloads = Downloads::new();
    downloads.unpublished(&mirror).expect("it comes");
    downloads.assert_whole();
    assert!(!mirror.asked()[1].contains("\r\nrange:"));
}

#[test]
fn a_server_that_knows_no_ranges_sends_it_all_again() {
    let mirror = Mirror::new(vec![
        Reply::whole(model()).tagged(TAG).cut(300_000),
        Reply::whole(model()).tagged("\"two\""),
    ]);
    let mut downloads = Downloads::new();
    downloads.unpublished(&mirror).expect("it comes");
    downloads.assert_whole();
}

#[test]
fn a_server_that_sends_another_range_is_asked_for_all() {
    for reply in [Reply::range_from(model(), 299_999), Reply::status(416)] {
        let mirror = Mirror::new(vec![
            Reply::whole(model()).tagged(TAG).cut(300_000),
            reply,
            Reply::whole(model()),
        ]);
        let mut downloads = Downloads::new();
        downloads.published(&mirror, model()).expect("it comes");
        downloads.assert_whole();
        assert!(!mirror.asked()[2].contains("\r\nrange:"));
    }
}

#[test]
fn redirects_are_followed_with_the_range_and_not_for_ever() {
    let mirror = Mirror::new(vec![
        Reply::whole(model()).tagged(TAG).cut(300_000),
        Reply::redirect("/elsewhere"),
        Reply::rest(model()),
    ]);
    let mut downloads = Downloads::new();
    downloads.unpublished(&mirror).expect("it comes");
    downloads.assert_whole();
    let asked = mirror.asked();
    assert!(asked[2].starts_with("get /elsewhere http/1.1\r\n"), "{}", asked[2]);
    assert!(asked[2].contains("\r\nrange: bytes=300000-\r\n"), "{}", asked[2]);

    let mirror = Mirror::new((0..10).map(|_| Reply::redirect("/again")).collect());
    let error = Downloads::new().unpublished(&mirror).expect_err("a circle");
    assert!(error.to_string().contains("redirects"), "{error}");
    assert_eq!(mirror.asked().len(), 6);
}

#[test]
fn other_bytes_than_the_published_are_deleted() {
    let mut other = model().to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    let mirror = Mirror::new(vec![Reply::whole(&other).tagged(TAG)]);
    let mut downloads = Downloads::new();
    let error = downloads.published(&mirror, model()).expect_err("other bytes").to_string();
    assert!(error.contains("the published one is"), "{error}");
    assert!(downloads.names().is_empty(), "{:?}", downloads.names());
}

#[test]
fn what_is_no_model_is_deleted() {
    let page = vec![b'x'; 5000];
    let mirror = Mirror::new(vec![Reply::whole(&page)]);
    let mut downloads = Downloads::new();
    let error = downloads.unpublished(&mirror).expect_err("a page").to_string();
    assert!(error.contains("it is not a ggml model"), "{error}");
    assert!(downloads.names().is_empty(), "{:?}", downloads.names());
}

#[test]
fn a_file_that_is_not_there() {
    let mirror = Mirror::new(vec![Reply::status(404)]);
    let error = Downloads::new().unpublished(&mirror).expect_err("not there");
    assert!(matches!(error, ModelError::Refused { status: 404, .. }), "{error}");
    assert!(error.to_string().contains("check the name"), "{error}");
}

#[test]
fn another_length_than_the_published_is_not_taken() {
    let mirror = Mirror::new(vec![Reply::whole(&[0; 2_000_000])]);
    let mut downloads = Downloads::new();
    let error = downloads.published(&mirror, model()).expect_err("too long");
    assert!(matches!(error, ModelError::Length { .. }), "{error}");
    assert_eq!(downloads.heard.len(), 0);
}

#[test]
fn a_body_without_end_is_left_at_the_published_length() {
    let mirror = Mirror::new(vec![Reply::endless()]);
    let mut downloads = Downloads::new();
    let error = downloads.published(&mirror, model()).expect_err("endless");
    assert!(matches!(error, ModelError::Length { .. }), "{error}");
    let left = fs::read_dir(downloads.folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "nothing worth going on from is left");
    let most = downloads.heard.last().expect("some").bytes;
    assert!(most <= model().len() as u64, "{most} bytes were taken");
}

#[test]
fn a_short_body_without_a_length_is_a_cut() {
    let mirror =
        Mirror::new(vec![Reply::whole(model()).untold().cut(300_000), Reply::rest(model())]);
    let mut downloads = Downloads::new();
    downloads.published(&mirror, model()).expect("it comes");
    downloads.assert_whole();
}

#[test]
fn a_connection_that_brings_nothing_ends_it() {
    let mirror = Mirror::new(vec![
        Reply::whole(model()).tagged(TAG).cut(300_000),
        Reply::rest(model()).tagged(TAG).cut(0),
    ]);
    let mut downloads = Downloads::new();
    let error = downloads.unpublished(&mirror).expect_err("cut twice");
    assert!(matches!(error, ModelError::Interrupted { at: 300_000, .. }), "{error}");
    assert!(error.to_string().contains("Run the command again"), "{error}");
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let mirror = Mirror::new(vec![Reply::silence(), Reply::silence()]);
    let mut downloads = Downloads::new();
    let idle_timeout = Duration::from_millis(100);
    let options = GetOptions { from: Some(mirror.url("")), idle_timeout };
    let error = get("voice", downloads.folder.path(), &options, |p| downloads.heard.push(p));
    let error = error.expect_err("silence");
    assert!(matches!(error, ModelError::Interrupted { at: 0, .. }), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_told_with_a_way_out() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = Some(format!("http://{}", free.local_addr().expect("an address")));
    drop(free);
    let folder = tempfile::tempdir().expect("a folder");
    let options = GetOptions { from, ..GetOptions::default() };
    let error = get("tiny.en", folder.path(), &options, |_| ()).expect_err("nobody there");
    assert!(matches!(error, ModelError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("ringback model import PATH"), "{error}");
}

#[test]
fn unknown_names_need_an_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = get("mine", folder.path(), &GetOptions::default(), |_| ()).expect_err("unknown");
    assert!(matches!(error, ModelError::Unknown(_)), "{error}");
    let error = get("../x", folder.path(), &GetOptions::default(), |_| ()).expect_err("bad");
    assert!(matches!(error, ModelError::BadName(_)), "{error}");
    let known = Wanted::new("small.en-tdrz", &GetOptions::default()).expect("known");
    assert_eq!(
        known.url,
        "https://huggingface.co/akashmjn/tinydiarize-whisper.cpp/resolve/main/ggml-small.en-tdrz.bin"
    );
}
