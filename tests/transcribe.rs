//! Real speech through the real model. Without the model these tests fail, and say what to type.

use std::cell::Cell;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use ringback::audio::{DEFAULT_LIMIT, Reader, SAMPLE_RATE};
use ringback::whisper::{Engine, EngineError, Options, Transcript, Watch};

const RATE: usize = SAMPLE_RATE as usize;

/// `RINGBACK_TEST_MODEL`, or `tiny.en` where `make models` puts it.
pub fn model() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ggml-tiny.en.bin");
    let model = std::env::var_os("RINGBACK_TEST_MODEL").map_or(usual, PathBuf::from);
    assert!(
        model.is_file(),
        "no model at {}: type `make models`, or set RINGBACK_TEST_MODEL to a tiny.en model",
        model.display()
    );
    model
}

/// One for all tests, as a server has one for all workers.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::load(&model(), 2).unwrap())
}

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio").join(name)
}

fn open(name: &str) -> Reader {
    Reader::open(std::fs::File::open(recording(name)).unwrap(), DEFAULT_LIMIT).unwrap()
}

fn hear(reader: Reader) -> Transcript {
    hear_with(&Options::default(), reader)
}

fn hear_with(options: &Options, mut reader: Reader) -> Transcript {
    engine().transcribe(&mut reader, options, 1, &Watch::NONE).unwrap()
}

/// What is said in one of the recordings, in lower case and without punctuation.
fn said_in(name: &str) -> String {
    let file = std::fs::read_to_string(recording("transcripts.json")).unwrap();
    let transcripts: serde_json::Value = serde_json::from_str(&file).unwrap();
    transcripts[name].as_str().unwrap().to_owned()
}

fn normalised(text: &str) -> String {
    let spoken = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-');
    text.to_lowercase().chars().filter(spoken).collect()
}

/// A 16-bit wav file at 16 kHz.
fn wav(samples: &[f32]) -> Reader {
    let data: Vec<u8> =
        samples.iter().flat_map(|sample| ((sample * 32767.0) as i16).to_le_bytes()).collect();
    let mut file = Vec::from(*b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(SAMPLE_RATE.to_le_bytes());
    file.extend((SAMPLE_RATE * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    Reader::open(Cursor::new(file), DEFAULT_LIMIT).unwrap()
}

#[test]
fn speech_becomes_its_text() {
    for name in ["jfk.wav", "austen-1.wav", "austen-2.wav"] {
        let transcript = hear(open(name));
        assert_eq!(normalised(&transcript.text()), said_in(name), "{name}");
        assert_eq!(transcript.language.code(), "en");
        let last = transcript.segments.last().unwrap();
        assert!(last.end > last.start && last.end <= transcript.duration, "{name}: {last:?}");
        assert_eq!(transcript.write("text"), Some(transcript.text()));
        assert_eq!(transcript.write("docx"), None);
    }
}

#[test]
fn every_kind_of_file_gives_the_same_text() {
    for kind in ["mp3", "flac", "ogg", "opus", "m4a"] {
        let transcript = hear(open(&format!("austen-2.{kind}")));
        assert_eq!(normalised(&transcript.text()), said_in("austen-2.wav"), "{kind}");
    }
}

#[test]
fn silence_is_an_empty_text_and_not_the_last_one() {
    hear(open("austen-2.wav"));
    for milliseconds in [10, 50, 200, 5000] {
        let transcript = hear(wav(&vec![0.0; milliseconds * RATE / 1000]));
        assert_eq!(transcript.text(), "", "{milliseconds} ms");
        assert!(transcript.segments.is_empty());
        assert_eq!(transcript.duration, Duration::from_millis(milliseconds as u64));
    }
}

#[test]
fn a_long_recording_is_cut_in_its_pauses() {
    let names = ["jfk.wav", "austen-1.wav", "austen-2.wav", "jfk.wav"];
    let mut samples = Vec::new();
    let mut begins = Vec::new();
    for name in names {
        begins.push(samples.len() as f64 / RATE as f64);
        samples.extend(open(name).read_to_end().unwrap());
        samples.extend([0.0; RATE / 2]);
    }
    let engine = Engine::load(&model(), 1).unwrap().with_windows(Duration::from_secs(12));
    let (mut reader, done) = (wav(&samples), Cell::new(0.0));
    let progress = |fraction: f32| {
        assert!((done.get()..=1.0).contains(&fraction), "{fraction} after {}", done.get());
        done.set(fraction);
    };
    let watch = Watch { is_canceled: &|| false, progress: &progress };
    let transcript = engine.transcribe(&mut reader, &Options::default(), 1, &watch).unwrap();

    assert_eq!(done.get(), 1.0);
    // With what follows it Whisper writes "cold-hearted".
    let expected = names.map(said_in).join(" ").replace('-', "");
    assert_eq!(normalised(&transcript.text()).replace('-', ""), expected);
    let pairs = transcript.segments.iter().zip(&transcript.segments[1..]);
    assert!(pairs.clone().all(|(a, b)| a.end <= b.start), "{:#?}", transcript.segments);
    let last = transcript.segments.last().unwrap();
    assert!(last.end.as_secs_f64() > begins[3] + 9.0 && last.end <= transcript.duration);
}

/// As many seconds of `piece` as there are in ten, one after the other.
fn looped(piece: &[f32]) -> Vec<f32> {
    piece.iter().copied().cycle().take(10 * RATE).collect()
}

#[test]
fn a_second_that_comes_again_and_again_took_thousands_of_steps() {
    let speech = open("jfk.wav").read_to_end().unwrap();
    let piece = |from: f32, seconds: f32| {
        let start = (from * RATE as f32) as usize;
        looped(&speech[start..start + (seconds * RATE as f32) as usize])
    };
    let ordinary = hear(wav(&speech[..10 * RATE]));
    assert!((15..60).contains(&ordinary.decoder_steps), "{}", ordinary.decoder_steps);
    assert_eq!(ordinary.warnings, []);
    for (from, seconds) in [(0.3, 1.0), (8.0, 2.0)] {
        let progress = Cell::new(Vec::new());
        let watch = Watch {
            is_canceled: &|| false,
            progress: &|done| progress.set([progress.take(), vec![done]].concat()),
        };
        let mut reader = wav(&piece(from, seconds));
        let options = Options::default();
        let transcript = engine().transcribe(&mut reader, &options, 1, &watch).unwrap();
        let steps = transcript.decoder_steps;
        assert!(steps <= 1000, "{seconds} s from {from}: {steps} steps for {}", transcript.text());
        let seen = progress.take();
        assert!(seen.is_sorted() && seen.iter().all(|done| (0.0..=1.0).contains(done)), "{seen:?}");
        let moved = seen.iter().filter(|done| (0.01..0.99).contains(*done)).count();
        assert!(moved > 5, "progress stood still: {seen:?}");
    }
}

#[test]
fn words_behind_forty_seconds_of_silence_were_lost() {
    let speech = open("jfk.wav").read_to_end().unwrap();
    let transcript = hear(wav(&[&speech[..], &[0.0; 40 * RATE], &speech].concat()));
    let said = said_in("jfk.wav");
    assert_eq!(normalised(&transcript.text()), format!("{said} {said}"));
    let second = transcript.segments.iter().find(|segment| segment.end > Duration::from_secs(15));
    let start = second.unwrap().start.as_secs_f64();
    assert!((50.0..52.5).contains(&start), "{start} s");
}

#[test]
fn a_canceled_transcription_ends_soon_and_harms_nobody() {
    let (asked, watched) = (Cell::new(0), Cell::new(0));
    let is_canceled = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let watch = Watch { is_canceled: &is_canceled, progress: &|_| watched.set(watched.get() + 1) };
    let result = engine().transcribe(&mut open("jfk.wav"), &Options::default(), 1, &watch);
    assert!(matches!(result, Err(EngineError::Canceled)), "{result:?}");
    assert!(asked.get() <= 6, "asked {} times", asked.get());
    assert!(watched.get() > 0);

    let watch = Watch { is_canceled: &|| true, progress: &|_| () };
    let began = Instant::now();
    let result = engine().transcribe(&mut open("jfk.wav"), &Options::default(), 1, &watch);
    assert!(matches!(result, Err(EngineError::Canceled)));
    assert!(began.elapsed() < Duration::from_millis(200), "canceled before it began");
    assert_eq!(normalised(&hear(open("austen-2.wav")).text()), said_in("austen-2.wav"));
}

#[test]
fn a_panic_in_a_callback_comes_out_on_this_side() {
    for watch in [
        Watch { is_canceled: &|| false, progress: &|_| panic!("no progress") },
        Watch { is_canceled: &panics_the_second_time(), progress: &|_| () },
    ] {
        let run = || engine().transcribe(&mut open("austen-2.wav"), &Options::default(), 1, &watch);
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"no progress"));
    }
    assert_eq!(normalised(&hear(open("austen-2.wav")).text()), said_in("austen-2.wav"));
}

fn panics_the_second_time() -> impl Fn() -> bool {
    let asked = Cell::new(0);
    move || {
        asked.set(asked.get() + 1);
        if asked.get() > 1 { panic!("no progress") } else { false }
    }
}

#[test]
fn more_threads_than_states_take_turns() {
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let text = hear(open("austen-2.wav")).text();
                assert_eq!(normalised(&text), said_in("austen-2.wav"));
            });
        }
    });
}

#[test]
fn a_prompt_and_a_temperature_are_taken() {
    let options = Options {
        prompt: Some("A speech.\0 ñandú 你好 ".repeat(500)),
        temperature: 0.1,
        language: "en".parse().ok(),
        ..Options::default()
    };
    let text = normalised(&hear_with(&options, open("jfk.wav")).text());
    assert!(text.contains("ask not what your country can do for you"), "{text}");
}

#[test]
fn what_an_english_only_model_cannot_do_is_refused() {
    for options in [
        Options { language: "es".parse().ok(), ..Options::default() },
        Options { translate: true, ..Options::default() },
    ] {
        let result = engine().transcribe(&mut open("jfk.wav"), &options, 1, &Watch::NONE);
        assert!(matches!(result, Err(EngineError::Options(_))), "{result:?}");
    }
}

#[test]
fn the_model_describes_itself() {
    let description = engine().describe();
    assert!(description.contains("tiny, English only"), "{description}");
    assert!(!engine().is_multilingual());
}
