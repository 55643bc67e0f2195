//! Recordings of every kind, whole and broken.

mod losses;

use std::io::{Cursor, ErrorKind, SeekFrom};

use super::*;

/// The same sentence in every kind of file.
const RECORDINGS: [(&str, &[u8]); 6] = [
    ("wav", include_bytes!("../../tests/audio/austen-2.wav")),
    ("mp3", include_bytes!("../../tests/audio/austen-2.mp3")),
    ("flac", include_bytes!("../../tests/audio/austen-2.flac")),
    ("ogg", include_bytes!("../../tests/audio/austen-2.ogg")),
    ("opus", include_bytes!("../../tests/audio/austen-2.opus")),
    ("m4a", include_bytes!("../../tests/audio/austen-2.m4a")),
];

pub(crate) fn open(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Reader, Error> {
    Reader::open(Cursor::new(bytes), DEFAULT_LIMIT)
}

pub(crate) fn samples(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Vec<f32>, Error> {
    open(bytes)?.read_to_end()
}

/// A wav file of interleaved float samples.
pub(crate) fn wav(rate: u32, channels: u16, samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let frame = channels * 4;
    let mut file = Vec::from(*b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x03\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(frame)).to_le_bytes());
    file.extend(frame.to_le_bytes());
    file.extend(b"\x20\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn tone(rate: u32, hertz: f32, seconds: f32) -> Vec<f32> {
    let step = f64::from(hertz) * std::f64::consts::TAU / f64::from(rate);
    (0..(rate as f32 * seconds) as u32).map(|n| (f64::from(n) * step).sin() as f32 * 0.5).collect()
}

/// Root mean square, without the ends, where every filter rings.
fn level(samples: &[f32]) -> f32 {
    let inner = &samples[samples.len() / 10..samples.len() * 9 / 10];
    (inner.iter().map(|sample| sample * sample).sum::<f32>() / inner.len() as f32).sqrt()
}

/// How alike two recordings are where they fit best within `shift` samples; 1 is the same.
fn likeness(a: &[f32], b: &[f32], shift: usize) -> f32 {
    let at = |offset: usize| {
        let b = &b[offset..];
        let (mut ab, mut aa, mut bb) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (x, y) in a.iter().zip(b) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
        (ab / (aa * bb).sqrt()) as f32
    };
    (0..=shift).map(at).fold(0.0, f32::max)
}

#[test]
fn every_kind_of_file_is_decoded() {
    let original = samples(RECORDINGS[0].1).unwrap();
    assert_eq!(original.len(), 52_640);
    for (kind, bytes) in RECORDINGS {
        let decoded = samples(bytes).unwrap();
        let longer = decoded.len() as i64 - original.len() as i64;
        assert!((-200..3000).contains(&longer), "{kind}: {longer} samples longer");
        let alike = likeness(&original[..50_000], &decoded, 2000);
        assert!(alike > 0.95, "{kind}: {alike}");
    }
}

#[test]
fn films_have_six_channels() {
    let original = samples(RECORDINGS[0].1).unwrap();
    let films: [(&str, &[u8]); 2] = [
        ("opus", include_bytes!("../../tests/audio/austen-2-5.1.opus")),
        ("aac", include_bytes!("../../tests/audio/austen-2-5.1.m4a")),
    ];
    for (kind, bytes) in films {
        let decoded = samples(bytes).unwrap();
        let longer = decoded.len() as i64 - original.len() as i64;
        assert!((0..3000).contains(&longer), "{kind}: {longer} samples longer");
        let alike = likeness(&original[..50_000], &decoded, 2000);
        assert!(alike > 0.95, "{kind}: {alike}");
    }
}

#[test]
fn a_page_of_ogg_that_is_too_short_kept_a_worker_for_ever() {
    let ogg = RECORDINGS[3].1;
    let page = 27 + usize::from(ogg[26]) + usize::from(ogg[27]);
    let file = [&ogg[..page], b"torn", b"OggS\0"].concat();
    assert_eq!(samples(file).unwrap_err().code(), "undecodable");
    // Pages that claim 64 KiB every 300 bytes.
    let claiming = [b"OggS\0".as_slice(), &[0; 21], &[255; 256]].concat();
    assert!(samples([&ogg[..page], &claiming.repeat(4000)].concat()).is_err());
}

#[test]
fn samples_at_16_khz_are_passed_on_as_they_are() {
    let original = tone(SAMPLE_RATE, 440.0, 0.5);
    assert_eq!(samples(wav(SAMPLE_RATE, 1, &original)).unwrap(), original);
}

#[test]
fn other_rates_keep_their_length_and_what_can_be_heard_of_them() {
    for rate in [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 192_000] {
        for seconds in [0.01, 1.0, 1.3] {
            let original = tone(rate, 1000.0, seconds);
            let converted = samples(wav(rate, 1, &original)).unwrap();
            let expected = (original.len() as u64 * 16_000).div_ceil(u64::from(rate));
            assert_eq!(converted.len() as u64, expected, "{rate} Hz, {seconds} s");
            if seconds >= 1.0 {
                let alike = likeness(&tone(SAMPLE_RATE, 1000.0, seconds), &converted, 0);
                // Some rates shift by up to half a sample, 31 microseconds.
                assert!(alike > 0.97, "{rate} Hz: {alike}");
            }
        }
    }
}

#[test]
fn what_16_khz_cannot_hold_is_filtered_out() {
    let kept = samples(wav(48_000, 1, &tone(48_000, 7000.0, 1.0))).unwrap();
    assert!((level(&kept) / (0.5 / 2_f32.sqrt()) - 1.0).abs() < 0.01, "{}", level(&kept));
    let gone = samples(wav(48_000, 1, &tone(48_000, 9000.0, 1.0))).unwrap();
    assert!(level(&gone) < 1e-5, "{}", level(&gone));
}

#[test]
fn channels_are_mixed_into_one() {
    let frames = [[0.5, -0.25, 0.1], [1.0, 1.0, 1.0], [-0.5, 0.5, 0.0]];
    let stereo: Vec<f32> = frames.iter().flat_map(|frame| frame[..2].to_vec()).collect();
    assert_eq!(samples(wav(SAMPLE_RATE, 2, &stereo)).unwrap(), [0.125, 1.0, 0.0]);
    let three: Vec<f32> = frames.concat();
    let mixed = samples(wav(SAMPLE_RATE, 3, &three)).unwrap();
    assert!((mixed[0] - 0.35 / 3.0).abs() < 1e-6, "{mixed:?}");
}

#[test]
fn samples_that_are_no_numbers_are_silence() {
    let broken = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 0.5];
    let expected = [0.0, 0.0, 0.0, 32_768.0, -32_768.0, 0.5];
    assert_eq!(samples(wav(SAMPLE_RATE, 1, &broken)).unwrap(), expected);
}

#[test]
fn the_limit_is_kept() {
    let second = wav(SAMPLE_RATE, 1, &tone(SAMPLE_RATE, 440.0, 1.0));
    let read = |limit| {
        Reader::open(Cursor::new(second.clone()), Duration::from_millis(limit))?.read_to_end()
    };
    assert_eq!(read(1000).unwrap().len(), 16_000);
    let error = read(999).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }));
    assert_eq!(error.code(), "too_long");
    assert!(error.to_string().contains("999ms"), "{error}");
}

#[test]
fn a_block_is_small_however_long_the_recording() {
    let mut reader = open(wav(48_000, 1, &tone(48_000, 440.0, 20.0))).unwrap();
    let (mut blocks, mut last) = (0, 0.0);
    while let Some(block) = reader.next_block().unwrap() {
        assert!(!block.is_empty() && block.len() <= 16_000);
        blocks += 1;
        assert!(reader.fraction_read() >= last);
        last = reader.fraction_read();
    }
    assert!(blocks >= 20);
    assert_eq!(last, 1.0);
    assert_eq!(reader.playing_time(), Duration::from_secs(20));
    assert!(reader.next_block().unwrap().is_none(), "the end stays the end");
}

#[test]
fn what_is_no_recording_is_refused_with_what_would_be_one() {
    let noise: Vec<u8> = Noise(7).take(100_000).collect();
    for bytes in [
        b"hello, this is text".to_vec(),
        vec![0; 10_000],
        noise,
        b"<!doctype html><html><body>404</body></html>".repeat(100),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".repeat(50),
    ] {
        let error = samples(bytes.clone()).unwrap_err();
        assert_eq!(error.code(), "undecodable", "{error}: {:?}", &bytes[..10]);
        assert!(error.to_string().contains("flac"), "{error}");
    }
}

#[test]
fn nothing_at_all_is_empty() {
    assert_eq!(samples([]).unwrap_err().code(), "empty");
    assert_eq!(samples(wav(SAMPLE_RATE, 1, &[])).unwrap_err().code(), "empty");
}

#[test]
fn a_rate_that_nobody_uses_is_refused() {
    for rate in [1, 999, 900_000] {
        let error = samples(wav(rate, 1, &[0.0; 100])).unwrap_err();
        assert_eq!(error.code(), "undecodable");
        assert!(error.to_string().contains(&rate.to_string()), "{error}");
    }
}

/// The same FLAC file with so many pictures, each of 10 MB.
fn illustrated(pictures: usize) -> Vec<u8> {
    const LENGTH: u32 = 10_000_000;
    let original = RECORDINGS[2].1;
    let mut picture = [&[6], &LENGTH.to_be_bytes()[1..], &[0, 0, 0, 3, 0, 0, 0, 9]].concat();
    picture.extend(b"image/png\0\0\0\0");
    picture.extend([1_u32, 1, 1, 0, LENGTH - 41].map(u32::to_be_bytes).concat());
    picture.resize(4 + LENGTH as usize, 0);
    // The first block says what the sound is like; it is not the last one.
    let (first, rest) = original.split_at(42);
    [&first[..4], &[0], &first[5..], &picture.repeat(pictures), rest].concat()
}

#[test]
fn pictures_around_the_sound_do_not_fill_the_memory() {
    assert_eq!(samples(illustrated(2)).unwrap().len(), samples(RECORDINGS[2].1).unwrap().len());
    let error = samples(illustrated(3)).unwrap_err();
    assert_eq!(error.code(), "undecodable");
    assert!(error.to_string().contains("pictures"), "{error}");
}

#[test]
fn an_odd_rate_of_hundreds_of_kilohertz_does_not_fill_the_memory() {
    for rate in [671_291, 767_999, 200_003] {
        let error = samples(wav(rate, 1, &[0.0; 100])).unwrap_err();
        assert!(error.to_string().contains(&rate.to_string()), "{error}");
    }
    for rate in [44_101, 192_001, 250_000, 312_500, 384_000, 768_000] {
        assert_eq!(samples(wav(rate, 1, &vec![0.0; rate as usize])).unwrap().len(), 16_000);
    }
}

#[test]
fn no_truncation_panics() {
    for (_, bytes) in RECORDINGS {
        let near_the_start = 0..bytes.len().min(400);
        let beyond = (near_the_start.end..bytes.len()).step_by(bytes.len() / 100);
        for end in near_the_start.chain(beyond) {
            if let Err(error) = samples(&bytes[..end]) {
                assert!(["undecodable", "empty", "no_audio"].contains(&error.code()), "{error}");
            }
        }
    }
}

#[test]
fn no_flipped_bits_panic() {
    for (kind, bytes) in RECORDINGS {
        let mut noise = Noise(1 + kind.len() as u64);
        for round in 0..120 {
            let mut broken = bytes.to_vec();
            // Headers are where a wrong number does harm.
            let reach = if round % 2 == 0 { 400 } else { broken.len() };
            for _ in 0..=round % 8 {
                let at = noise.below(reach);
                broken[at] ^= 1 << noise.below(8);
            }
            if let Err(error) = samples(broken) {
                assert_ne!(error.code(), "io", "{error}");
            }
        }
    }
}

/// A fragmented MP4 whose one run claims `samples` of no length, and says nothing of each.
fn claiming(samples: u32) -> Vec<u8> {
    let mut bytes = include_bytes!("../../fuzz/corpus/audio/fragmented-alac.mp4").to_vec();
    let after = |name: &[u8; 4], bytes: &[u8]| {
        bytes.windows(4).position(|four| four == name).expect("a fragment has it") + 4
    };
    let (header, run) = (after(b"tfhd", &bytes), after(b"trun", &bytes));
    // Version and flags, track, base offset, duration; then the length of a sample.
    bytes[header + 20..header + 24].fill(0);
    bytes[run..run + 4].fill(0);
    bytes[run + 4..run + 8].copy_from_slice(&samples.to_be_bytes());
    bytes
}

#[test]
fn a_run_of_billions_of_samples_kept_a_worker_for_days() {
    let error = samples(claiming(u32::MAX)).unwrap_err();
    assert_eq!(error.code(), "undecodable");
    assert!(error.to_string().contains("4294967295 samples"), "{error}");
    // As many runs as there are count together, wherever a block of the look ends.
    for before in [0, 1, 65_536 - 900, 65_536 - 730, 65_536, 200_000] {
        let mut padded = vec![0; before];
        padded.extend(claiming(u32::MAX));
        let error = samples(padded).unwrap_err();
        assert!(error.to_string().contains("4294967295 samples"), "{before}: {error}");
    }
}

#[test]
fn packets_without_a_sample_were_never_enough() {
    let mut bytes = claiming(300_000);
    // Bytes enough to bear the claim out.
    bytes.resize(400_000, 0);
    let error = samples(bytes).unwrap_err();
    assert_eq!(error.code(), "undecodable");
    assert!(error.to_string().contains("end of bitstream"), "{error}");
}

#[test]
fn a_header_of_some_bytes_took_hundreds_of_megabytes_for_its_channels() {
    let mut aiff = include_bytes!("../../fuzz/corpus/audio/pcm.aiff").to_vec();
    let channels = aiff.windows(4).position(|four| four == b"COMM").unwrap() + 8;
    aiff[channels..channels + 2].copy_from_slice(&30_000_u16.to_be_bytes());
    let error = samples(aiff).unwrap_err();
    assert!(error.to_string().contains("30000 channels"), "{error}");
}

#[test]
fn an_honest_fragment_is_decoded() {
    let whole = include_bytes!("../../fuzz/corpus/audio/fragmented-alac.mp4");
    assert_eq!(samples(whole).unwrap().len(), 1920);
    assert!(!samples(include_bytes!("../../fuzz/corpus/audio/fragmented.mp4")).unwrap().is_empty());
}

#[test]
fn a_disk_that_fails_is_not_the_files_fault() {
    /// Ends in the system's error after some bytes.
    struct Failing(Cursor<&'static [u8]>);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            const EIO: i32 = 5;
            if self.0.position() > 60_000 {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            self.0.read(buffer)
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let source = Failing(Cursor::new(RECORDINGS[0].1));
    let error = Reader::open(source, DEFAULT_LIMIT).and_then(Reader::read_to_end).unwrap_err();
    match error {
        Error::Read(source) => assert_ne!(source.kind(), ErrorKind::UnexpectedEof),
        other => panic!("{other}"),
    }
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

impl Iterator for Noise {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        Some(self.below(256) as u8)
    }
}
