//! Recordings that are damaged, cut off, joined, or of several tracks: all of it is heard, or it is said.

use std::num::NonZero;

use super::*;

const WAV: &[u8] = RECORDINGS[0].1;
const MP3: &[u8] = RECORDINGS[1].1;
const FLAC: &[u8] = RECORDINGS[2].1;
const OGG: &[u8] = RECORDINGS[3].1;
const OPUS: &[u8] = RECORDINGS[4].1;
const M4A: &[u8] = RECORDINGS[5].1;
const STEREO_MP3: &[u8] = include_bytes!("../../../tests/audio/austen-2-stereo.mp3");
const ADTS: &[u8] = include_bytes!("../../../tests/audio/austen-2.aac");
const STEREO_ADTS: &[u8] = include_bytes!("../../../tests/audio/austen-2-stereo.aac");
/// Recorded live, without sizes.
const WEBM: &[u8] = include_bytes!("../../../tests/audio/austen-2.webm");
const SECOND_DEFAULT: &[u8] = include_bytes!("../../../tests/audio/second-default.mp4");
const SILENT_DEFAULT: &[u8] = include_bytes!("../../../tests/audio/silent-default.mka");
const TWO_VOICES: &[u8] = include_bytes!("../../../tests/audio/two-voices.mka");

/// The samples and the codes of the warnings.
fn hear(bytes: &[u8]) -> Result<(Vec<f32>, Vec<String>), Error> {
    hear_track(bytes, None)
}

fn hear_track(bytes: &[u8], track: Option<u32>) -> Result<(Vec<f32>, Vec<String>), Error> {
    let track = track.and_then(NonZero::new);
    let mut reader = Reader::open_track(Cursor::new(bytes.to_vec()), DEFAULT_LIMIT, track)?;
    let mut samples = Vec::new();
    while let Some(block) = reader.next_block()? {
        samples.extend_from_slice(block);
    }
    let codes = reader.warnings().iter().map(|warning| warning.code().to_owned()).collect();
    Ok((samples, codes))
}

fn original() -> Vec<f32> {
    samples(WAV).unwrap()
}

/// The sentence is there from `from` on, give or take a tenth of a second: its loudness rises and falls
/// as the original's.
fn assert_heard(samples: &[f32], from: usize, what: &str) {
    const PIECE: usize = 800;
    let levels = |samples: &[f32]| -> Vec<f32> {
        let square = |piece: &[f32]| piece.iter().map(|x| x * x).sum::<f32>();
        let levels: Vec<f32> =
            samples.chunks_exact(PIECE).map(|piece| square(piece).sqrt()).collect();
        let mean = levels.iter().sum::<f32>() / levels.len() as f32;
        levels.iter().map(|level| level - mean).collect()
    };
    let start = from.saturating_sub(2 * PIECE);
    let heard = &samples[start..samples.len().min(from + 52_000)];
    let alike = (0..4 * PIECE)
        .step_by(PIECE / 4)
        .map(|shift| likeness(&levels(&original()[..44_800]), &levels(&heard[shift..]), 0))
        .fold(0.0, f32::max);
    assert!(alike > 0.9, "{what}: {alike}");
}

#[test]
fn a_format_that_changed_midway_lost_the_second_half() {
    for (what, first, second) in [
        ("MP3", MP3, STEREO_MP3),
        ("MP3, the other way round", STEREO_MP3, MP3),
        ("ADTS", ADTS, STEREO_ADTS),
        ("ADTS, the other way round", STEREO_ADTS, ADTS),
    ] {
        let (samples, warnings) = hear(&[first, second].concat()).unwrap();
        assert!(warnings.is_empty(), "{what}: {warnings:?}");
        assert_heard(&samples, 0, what);
        assert_heard(&samples, hear(first).unwrap().0.len(), what);
    }
}

#[test]
fn a_second_recording_in_a_file_was_left_out() {
    let kinds = [WAV, MP3, FLAC, OGG, OPUS, M4A, ADTS, WEBM];
    for (at, first) in kinds.into_iter().enumerate() {
        // Each kind with itself, and with the next.
        for second in [first, kinds[(at + 1) % kinds.len()]] {
            let what = format!("{:?} and {:?}", &first[..4], &second[..4]);
            let alone = hear(first).unwrap().0.len();
            let (samples, warnings) = hear(&[first, second].concat()).expect(&what);
            assert!(warnings.is_empty(), "{what}: {warnings:?}");
            let expected = alone + hear(second).unwrap().0.len();
            assert!(samples.len().abs_diff(expected) < 1600, "{what}: {} samples", samples.len());
            assert_heard(&samples, alone, &what);
        }
    }
}

#[test]
fn bytes_behind_a_recording_are_told_and_tags_are_not() {
    let text = b"not a sound. ".repeat(100);
    let tag = [&b"TAG"[..], &[b'x'; 125]].concat();
    for recording in [MP3, OGG, M4A] {
        let whole = hear(recording).unwrap().0.len();
        let (samples, warnings) = hear(&[recording, &text].concat()).unwrap();
        assert_eq!(warnings, ["trailing_data"], "{:?}", &recording[..4]);
        assert_eq!(samples.len(), whole);
    }
    for recording in [MP3, FLAC, OGG, M4A, ADTS] {
        for behind in [&tag[..], &[0; 5000]] {
            let (samples, warnings) = hear(&[recording, behind].concat()).unwrap();
            assert!(warnings.is_empty(), "{:?}: {warnings:?}", &recording[..4]);
            assert_eq!(samples.len(), hear(recording).unwrap().0.len());
        }
    }
}

#[test]
fn half_of_a_file_was_a_success() {
    // They declare how long they are.
    for whole in [WAV, MP3, FLAC] {
        let Err(error) = hear(&whole[..whole.len() / 2]) else {
            panic!("half of {:?} is a success", &whole[..4]);
        };
        assert_eq!(error.code(), "undecodable");
        let message = error.to_string();
        assert!(message.contains("read 1.") && message.contains("of 3."), "{message}");
        assert!(message.contains("the file ends"), "{message}");
    }
    // These do not: all that is there is decoded.
    for whole in [OGG, OPUS, ADTS, WEBM] {
        let (half, warnings) = hear(&whole[..whole.len() / 2]).unwrap();
        let part = half.len() as f32 / hear(whole).unwrap().0.len() as f32;
        assert!((0.2..0.7).contains(&part), "{part}");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    // A little less than a second is missing.
    let (_, warnings) = hear(&WAV[..WAV.len() * 3 / 4]).unwrap();
    assert_eq!(warnings, ["cut_off"]);
}

#[test]
fn a_damaged_part_is_silent_and_told_and_much_damage_fails() {
    let damaged = |recording: &[u8], bytes: usize| {
        let mut recording = recording.to_vec();
        let from = recording.len() / 2;
        // Nothing that looks like the start of a frame.
        recording[from..from + bytes].fill(0x55);
        recording
    };
    for (whole, bytes) in [(MP3, 1500), (ADTS, 900), (FLAC, 2000)] {
        let (samples, warnings) = hear(&damaged(whole, bytes)).unwrap();
        assert_eq!(warnings, ["damaged"], "{:?}", &whole[..4]);
        let longer = samples.len() as i64 - hear(whole).unwrap().0.len() as i64;
        assert!(longer.abs() < 2000, "times stay right: {longer}");
    }
    for whole in [MP3, ADTS, FLAC, WEBM] {
        let Err(error) = hear(&damaged(whole, whole.len() * 2 / 5)) else {
            panic!("{:?} is a success", &whole[..4]);
        };
        assert_eq!(error.code(), "undecodable", "{:?}", &whole[..4]);
        assert!(error.to_string().contains("; at 1."), "{error}");
    }
}

#[test]
fn a_silent_track_was_taken_instead_of_the_one_that_speaks() {
    // The second track is the default one.
    let (samples, warnings) = hear(SECOND_DEFAULT).unwrap();
    assert_heard(&samples, 0, "the default");
    assert!(warnings.is_empty(), "{warnings:?}");
    // The first one is the default, and silent.
    let (samples, warnings) = hear(SILENT_DEFAULT).unwrap();
    assert_heard(&samples, 0, "another");
    assert_eq!(warnings, ["another_track"]);
    let (samples, warnings) = hear(TWO_VOICES).unwrap();
    assert_heard(&samples, 0, "the first");
    assert_eq!(warnings, ["track_left_out"]);
}

#[test]
fn the_track_that_was_asked_for_is_read() {
    let (samples, warnings) = hear_track(SILENT_DEFAULT, Some(1)).unwrap();
    assert!(level(&samples) < 1e-3 && warnings.is_empty(), "{warnings:?}");
    assert_heard(&hear_track(SILENT_DEFAULT, Some(2)).unwrap().0, 0, "the second");
    let error = hear_track(SILENT_DEFAULT, Some(3)).unwrap_err();
    assert_eq!(error.code(), "no_track");
    assert!(error.to_string().contains("it has 2"), "{error}");
}

#[test]
fn a_clipped_recording_is_told() {
    let loud: Vec<f32> = original().iter().map(|sample| (sample * 20.0).clamp(-1.0, 1.0)).collect();
    assert_eq!(hear(&wav(SAMPLE_RATE, 1, &loud)).unwrap().1, ["clipped"]);
    assert!(hear(WAV).unwrap().1.is_empty());
}

#[test]
fn an_ogg_whose_pages_are_broken_from_the_middle_on_was_a_success() {
    let mut ogg = OGG.to_vec();
    let pages: Vec<usize> = memchr::memmem::find_iter(OGG, b"OggS\0").collect();
    for page in &pages[pages.len() / 2..] {
        // The checksum.
        ogg[page + 22] ^= 1;
    }
    match hear(&ogg) {
        Ok((_, warnings)) => assert_eq!(warnings, ["damaged"]),
        Err(error) => assert_eq!(error.code(), "undecodable", "{error}"),
    }
}

#[test]
fn big_endian_quicktime_was_silence_or_noise() {
    let film = include_bytes!("../../../tests/audio/tone-24-bit.mov");
    let heard = hear(film).unwrap().0;
    assert!((0.07..0.1).contains(&level(&heard)), "{}", level(&heard));
    let likeness = likeness(&tone(SAMPLE_RATE, 440.0, 0.15), &heard, 100);
    assert!(likeness > 0.95, "{likeness}");
}
