//! Tiny files that claim to be hours long or gigabytes large, one that is hours long in truth, and one
//! with nearly nothing but notes.

use super::recordings::{Flac, Wav, ebml, honest, ogg_with, patched, webm};
use super::siege::Siege;
use crate::support::Target;

/// A 50th of a second of silence, which no model is asked about.
const BLINK: [u8; 640] = [0; 640];

/// What a recording that is none ends with.
const PLAIN_WORDS: [&str; 4] = ["undecodable", "no_audio", "empty", "too_long"];

/// The job ends with a text, or with a code that says what is wrong.
#[track_caller]
fn assert_ends(siege: &Siege, what: &str, recording: &[u8]) {
    let reply = siege.post("/jobs?coalesce=false", "audio/x-unknown", recording);
    assert_eq!(reply.status, 202, "{what}: {reply:?}");
    siege.assert_served();
    let job = siege.finished(reply.header("location").expect("a location"));
    let ended_well = match job["state"].as_str() {
        Some("succeeded") => job["data"].is_string(),
        Some("failed") => PLAIN_WORDS.contains(&job["error"]["code"].as_str().expect("a code")),
        _ => false,
    };
    assert!(ended_well && job["attempt"] == 1, "{what}: {job:#}");
}

#[test]
fn recordings_that_claim_to_be_enormous_do_no_harm() {
    let siege = Siege::begin();
    for (what, recording) in wavs().into_iter().chain(flacs()).chain(containers()) {
        assert_ends(&siege, what, &recording);
    }
    for (what, recording) in atoms() {
        assert_ends(&siege, &what, &recording);
    }
    assert_ends(&siege, "a wav of 60 MB of notes", &notes(60_000_000));
    siege.assert_unchanged();
}

fn wavs() -> Vec<(&'static str, Vec<u8>)> {
    let plain = Wav::PLAIN;
    let blink = |wav: Wav| wav.file(&BLINK);
    vec![
        ("a wav of 37 hours", blink(plain)),
        ("a wav of 49 days", blink(Wav { rate: 1000, frame: 1, bits: 8, ..plain })),
        ("a wav of 4 GHz", blink(Wav { rate: u32::MAX, ..plain })),
        ("a wav of 767,999 Hz", Wav { rate: 767_999, ..plain }.file(&[0; 100_000])),
        ("a wav of 99,991 Hz", Wav { rate: 99_991, ..plain }.file(&[0; 10_000])),
        ("a wav without a rate", blink(Wav { rate: 0, ..plain })),
        ("a wav of 65,535 channels", blink(Wav { channels: u16::MAX, frame: u16::MAX, ..plain })),
        ("a wav of 32 channels", blink(Wav { channels: 32, frame: 64, ..plain })),
        ("a wav without channels", blink(Wav { channels: 0, ..plain })),
        ("a wav of 65,535 bits", blink(Wav { bits: u16::MAX, ..plain })),
        ("a wav of frames without bytes", blink(Wav { frame: 0, ..plain })),
        (
            "a wav of one block of ADPCM",
            blink(Wav { format: 2, frame: u16::MAX, bits: 4, ..plain }),
        ),
        ("a wav of ADPCM without blocks", blink(Wav { format: 2, frame: 0, bits: 4, ..plain })),
    ]
}

/// A wav file that begins with a note of this length.
fn notes(length: u32) -> Vec<u8> {
    let list = [b"LIST", &(length + 12).to_le_bytes()[..], b"INFOIART", &length.to_le_bytes()];
    let note = [&list.concat()[..], &vec![0; length as usize]].concat();
    let plain = Wav::PLAIN.file(&BLINK);
    let (riff, sound) = plain.split_at(12);
    [riff, &note, sound].concat()
}

fn flacs() -> Vec<(&'static str, Vec<u8>)> {
    let plain = Flac::PLAIN;
    let most = Flac { rate: 655_350, channels: 8, bits: 32, samples: u64::MAX, ..plain };
    let picture = b"fLaC\x06\xff\xff\xff".repeat(2);
    vec![
        ("a flac of 2^36 samples", Flac { samples: u64::MAX, ..plain }.silence(0)),
        ("a flac of the most of everything", most.silence(0)),
        ("a flac of 8 channels of 65,535 samples", Flac { channels: 8, ..plain }.silence(1)),
        ("a flac without a rate", Flac { rate: 0, ..plain }.silence(1)),
        ("a flac of blocks of 1 sample", Flac { block: 1, ..plain }.silence(1000)),
        ("a flac with a picture of 16 MiB", picture),
    ]
}

fn containers() -> Vec<(&'static str, Vec<u8>)> {
    let ages = |page: &mut [u8]| page[6..14].copy_from_slice(&(i64::MAX / 2).to_le_bytes());
    let skip_all = |page: &mut [u8]| {
        if page[28..].starts_with(b"OpusHead") {
            page[38..40].copy_from_slice(&u16::MAX.to_le_bytes());
        }
    };
    // Two frames of sound are enough, and no model is asked about them.
    let mp3 = &honest("austen-2.mp3")[..900];
    let tag = b"ID3\x04\0\0\x7f\x7f\x7f\x7fAPIC\x7f\x7f\x7f\x7f\0\0\0image/png\0\x03\0";
    let name = ebml(CODEC_ID, 1 << 40, b"A_OPUS");
    let private = ebml(CODEC_PRIVATE, u64::MAX, b"OpusHead");
    let block = ebml(CLUSTER, u64::MAX, &ebml(BLOCK, 1 << 40, b"\x81\0\0\0\xf8\xff\xfe"));
    vec![
        ("an opus of ages", ogg_with(honest("austen-2.opus"), ages)),
        ("an opus that is all pre-skip", ogg_with(honest("austen-2.opus"), skip_all)),
        ("an mp3 of 2^32 frames", patched(mp3.to_vec(), b"Info", 8, &MOST)),
        ("an mp3 behind a tag of 256 MiB", [&tag[..], mp3].concat()),
        ("a webm of tracks of 64 PiB", webm(&ebml(TRACKS, u64::MAX, &[]))),
        ("a webm with a name of 1 TiB", webm(&track(u64::MAX, &name))),
        ("a webm with a codec of 64 PiB", webm(&track(u64::MAX, &private))),
        ("a webm with a block of 1 TiB", webm(&[opus_track(), block].concat())),
    ]
}

/// The greatest number of 32 bits.
const MOST: [u8; 4] = [0xff; 4];

const TRACKS: &[u8] = &[0x16, 0x54, 0xae, 0x6b];
const TRACK: &[u8] = &[0xae];
const CODEC_ID: &[u8] = &[0x86];
const CODEC_PRIVATE: &[u8] = &[0x63, 0xa2];
const CLUSTER: &[u8] = &[0x1f, 0x43, 0xb6, 0x75];
const BLOCK: &[u8] = &[0xa3];

/// One track with this in it, of a size that need not be true.
fn track(size: u64, contents: &[u8]) -> Vec<u8> {
    ebml(TRACKS, size, &ebml(TRACK, size, contents))
}

/// An honest track of one channel of Opus.
fn opus_track() -> Vec<u8> {
    let whole = |id: &[u8], contents: &[u8]| ebml(id, contents.len() as u64, contents);
    let contents = [
        whole(&[0xd7], &[1]),
        whole(&[0x73, 0xc5], &[1]),
        whole(&[0x83], &[2]),
        whole(CODEC_ID, b"A_OPUS"),
        whole(CODEC_PRIVATE, b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0"),
        whole(&[0xe1], &[whole(&[0xb5], &48_000_f32.to_be_bytes()), whole(&[0x9f], &[1])].concat()),
    ];
    whole(TRACKS, &whole(TRACK, &contents.concat()))
}

/// An m4a whose atoms are of enormous sizes, one after the other, and whose tables are.
fn atoms() -> Vec<(String, Vec<u8>)> {
    // One sample of sound is enough, and no model is asked about it.
    let file = || patched(honest("austen-2.m4a"), b"stsz", 12, &1_u32.to_be_bytes());
    let kinds = [
        "ftyp", "mdat", "moov", "mvhd", "trak", "tkhd", "mdia", "mdhd", "hdlr", "minf", "stbl",
        "stsd", "esds", "stts", "stsc", "stsz", "stco",
    ];
    let sizes =
        kinds.map(|kind| (format!("{kind} of 4 GiB"), patched(file(), kind.as_bytes(), -4, &MOST)));
    let counts = [
        ("stsd", 8),
        ("stts", 8),
        ("stts", 12),
        ("stts", 16),
        ("stsc", 8),
        ("stsc", 16),
        ("stsz", 12),
        ("stco", 8),
    ];
    let counts = counts.map(|(kind, offset)| {
        (format!("2^32 in {kind} at {offset}"), patched(file(), kind.as_bytes(), offset, &MOST))
    });
    let ages = [&1_u32.to_be_bytes()[..], &MOST].concat();
    let aged = ("an m4a of 136 years".to_owned(), patched(file(), b"mdhd", 16, &ages));
    sizes.into_iter().chain(counts).chain([aged]).collect()
}

/// Silence is passed by, so that the limit of four hours is met within seconds.
#[test]
fn hours_of_silence_in_a_few_kilobytes_do_no_harm() {
    let siege = Siege::begin();
    let recording = Flac::PLAIN.silence(5 * 3600 * 16_000 / 65_535);
    assert!(recording.len() < 100_000);
    let reply = siege.post("/jobs", "audio/flac", &recording);
    assert_eq!(reply.status, 202, "{reply:?}");
    siege.assert_served();
    siege.assert_takes_uploads();
    let job = siege.finished(reply.header("location").expect("a location"));
    assert_eq!(job["error"]["code"], "too_long", "{job}");
    siege.assert_unchanged();
}
