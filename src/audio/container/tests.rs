//! Headers that lie, transport streams, and files that are something else.

use super::super::tests::{open, samples, wav};
use super::super::{Error, SAMPLE_RATE};

const MP3: &[u8] = include_bytes!("../../../tests/audio/austen-2.mp3");

/// One second in steps that a 16-bit sample holds.
fn ramp() -> Vec<f32> {
    (0..SAMPLE_RATE).map(|n| (n as f32 / 32_768.0) - 0.25).collect()
}

fn whole(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|sample| (sample * 32_768.0) as i16).collect()
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = name.to_vec();
    chunk.extend((body.len() as u32).to_le_bytes());
    chunk.extend(body);
    chunk
}

/// The body of a `fmt ` chunk.
fn format(tag: u16, channels: u16, rate: u32, block: u16, bits: u16) -> Vec<u8> {
    let mut body = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
    body.extend(rate.to_le_bytes());
    body.extend((rate * u32::from(block)).to_le_bytes());
    body.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
    body
}

fn pcm16() -> Vec<u8> {
    whole(&ramp()).iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    [chunk(b"RIFF", b"WAVE"), chunks.concat()].concat()
}

fn with_sizes(riff: u32, data: u32) -> Vec<u8> {
    let mut file = wav(SAMPLE_RATE, 1, &ramp());
    file[4..8].copy_from_slice(&riff.to_le_bytes());
    file[40..44].copy_from_slice(&data.to_le_bytes());
    file
}

#[test]
fn a_recorder_that_was_killed_left_sizes_that_are_wrong() {
    let bytes = 44 + 64_000;
    let whole = ramp();
    for (riff, data) in [
        (0, 0),
        (bytes - 8, 0),
        (36, 0),
        (0, u32::MAX),
        (u32::MAX, u32::MAX),
        (bytes - 16, 64_000),
        (bytes, bytes),
        (bytes - 8, bytes - 8),
        (0x7fff_ffff, 0x7fff_ffdb),
        (bytes - 8, 1000),
        (1036, 1000),
        (1035, 999),
        (bytes - 8, 1_000_000_000),
        (1_000_000_000, 64_000),
        (bytes - 8, 63_996),
    ] {
        let decoded = samples(with_sizes(riff, data)).unwrap();
        // Less than a chunk's header behind the sound is taken for its padding.
        let lost = if data == 63_996 { 1 } else { 0 };
        assert_eq!(decoded, whole[..whole.len() - lost], "{riff} {data}");
    }
}

#[test]
fn a_wav_that_was_cut_gives_what_is_there() {
    let file = with_sizes(64_036, 64_000);
    assert_eq!(samples(file[..32_044].to_vec()).unwrap(), ramp()[..8000]);
}

#[test]
fn chunks_around_the_sound_are_not_heard() {
    let (fmt, data) = (chunk(b"fmt ", &format(1, 1, SAMPLE_RATE, 2, 16)), chunk(b"data", &pcm16()));
    let list = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf58.76.100\0");
    let junk = chunk(b"JUNK", &[0; 28]);
    let (odd, even) = (chunk(b"bext", &[b' '; 603]), vec![0]);
    for (case, file) in [
        ("behind", riff(&[fmt.clone(), data.clone(), list.clone()])),
        (
            "before",
            riff(&[junk.clone(), odd.clone(), even, fmt.clone(), list.clone(), data.clone()]),
        ),
        ("no padding", riff(&[odd, fmt.clone(), data.clone(), list.clone()])),
        ("the sound first", riff(&[data.clone(), list.clone(), fmt.clone()])),
        (
            "a tag of APE",
            riff(&[fmt.clone(), data.clone(), b"APETAGEX\xd0\x07\0\0\x20\0\0\0".to_vec()]),
        ),
        ("the list too long", riff(&[fmt.clone(), data.clone(), list[..20].to_vec()])),
        (
            "a tag of MP3",
            riff(&[fmt.clone(), data.clone(), [b"TAG".as_slice(), &[0; 125]].concat()]),
        ),
    ] {
        assert_eq!(samples(file).unwrap(), ramp(), "{case}");
    }
    // A recorder that never came to its sound.
    let header = riff(&[fmt.clone(), list.clone()]);
    assert_eq!(samples(header).unwrap_err().code(), "empty");
    // An honest size of 0, and nothing but chunks behind it.
    let empty = riff(&[fmt, chunk(b"data", &[]), list]);
    assert_eq!(samples(empty).unwrap_err().code(), "empty");
}

#[test]
fn a_chunk_before_the_sound_with_a_wrong_size_is_stepped_over() {
    let mut list = chunk(b"LIST", b"INFO");
    list[4..8].copy_from_slice(&0x1000_0000_u32.to_le_bytes());
    let fmt = chunk(b"fmt ", &format(1, 1, SAMPLE_RATE, 2, 16));
    assert_eq!(samples(riff(&[fmt, list, chunk(b"data", &pcm16())])).unwrap(), ramp());
}

#[test]
fn the_sample_width_is_what_two_of_three_fields_say() {
    let wide: Vec<u8> =
        whole(&ramp()).iter().flat_map(|s| (i32::from(*s) << 16).to_le_bytes()).collect();
    let mut extensible = format(0xfffe, 1, SAMPLE_RATE, 4, 32);
    extensible.extend(b"\x16\0\x18\0\x04\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    let mut lying = format(1, 1, SAMPLE_RATE, 2, 16);
    lying[12..14].copy_from_slice(&1_u16.to_le_bytes());
    for (case, format, data) in [
        ("24 bits in 32", extensible, wide.clone()),
        ("24 bits in blocks of 4 bytes", format(1, 1, SAMPLE_RATE, 4, 24), wide),
        ("a block of 1 byte", lying, pcm16()),
        ("no bits", format(1, 1, SAMPLE_RATE, 2, 0), pcm16()),
    ] {
        let file = riff(&[chunk(b"fmt ", &format), chunk(b"data", &data)]);
        assert_eq!(samples(file).unwrap(), ramp(), "{case}");
    }
}

#[test]
fn mp3_in_wav_is_decoded() {
    let file = riff(&[chunk(b"fmt ", &format(0x55, 1, 44_100, 1, 0)), chunk(b"data", MP3)]);
    assert_eq!(samples(file).unwrap(), samples(MP3).unwrap());
}

#[test]
fn wav_for_large_files_is_decoded() {
    let data = pcm16();
    let fmt = chunk(b"fmt ", &format(1, 1, SAMPLE_RATE, 2, 16));
    let list = chunk(b"LIST", b"INFO");
    for (name, size) in [
        (b"RF64", data.len() as u64),
        (b"BW64", data.len() as u64),
        (b"RF64", 0),
        (b"RF64", u64::MAX),
    ] {
        let mut sizes = 0_u64.to_le_bytes().to_vec();
        sizes.extend([size, 16_000].map(u64::to_le_bytes).concat());
        sizes.extend([0; 4]);
        let mut sound = chunk(b"data", &data);
        sound[4..8].fill(0xff);
        let mut file = riff(&[chunk(b"ds64", &sizes), fmt.clone(), sound]);
        if size == data.len() as u64 {
            file.extend(&list);
        }
        file[..8].copy_from_slice(&[name.as_slice(), &[0xff; 4]].concat());
        assert_eq!(samples(file).unwrap(), ramp(), "{size}");
    }
}

/// A W64 whose sound declares such a size.
fn w64(size: u64) -> Vec<u8> {
    const GUID: &[u8] = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";
    let mut file = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00".to_vec();
    file.extend(0_u64.to_le_bytes());
    file.extend([b"wave", GUID, b"fmt ", GUID].concat());
    file.extend((24_u64 + 16).to_le_bytes());
    file.extend(format(1, 1, SAMPLE_RATE, 2, 16));
    file.extend([b"data", GUID].concat());
    file.extend(size.to_le_bytes());
    file.extend(pcm16());
    file
}

#[test]
fn sonys_w64_is_decoded() {
    for size in [pcm16().len() as u64 + 24, 24, 0, u64::MAX] {
        assert_eq!(samples(w64(size)).unwrap(), ramp(), "{size}");
    }
}

/// An AIFF-C with a sound of 16 kHz, and no size or count that is right.
fn aiff(codec: &[u8; 4], bits: u16, data: &[u8]) -> Vec<u8> {
    let mut file =
        b"FORM\0\0\0\0AIFCFVER\0\0\0\x04\xa2\x80\x51\x40COMM\0\0\0\x18\0\x01\0\0\0\0".to_vec();
    file.extend(bits.to_be_bytes());
    file.extend(b"\x40\x0c\xfa\0\0\0\0\0\0\0");
    file.extend([codec.as_slice(), b"\0\0", b"SSND\0\0\0\0\0\0\0\0\0\0\0\0", data].concat());
    file
}

#[test]
fn an_aiff_whose_sizes_were_never_written_is_decoded() {
    let big = |sample: &i16| sample.to_be_bytes();
    let numbers = whole(&ramp());
    let float: Vec<u8> = ramp().iter().flat_map(|sample| sample.to_be_bytes()).collect();
    for (codec, bits, data) in [
        (b"NONE", 16, numbers.iter().flat_map(big).collect()),
        (b"sowt", 16, pcm16()),
        (b"fl32", 32, float),
    ] {
        assert_eq!(samples(aiff(codec, bits, &data)).unwrap(), ramp());
    }
    let error = samples(aiff(b"QDM2", 16, &[0; 100])).unwrap_err();
    assert!(error.to_string().contains("QDM2"), "{error}");
}

#[test]
fn au_is_decoded_with_or_without_its_size() {
    let data: Vec<u8> = whole(&ramp()).iter().flat_map(|sample| sample.to_be_bytes()).collect();
    for size in [0, u32::MAX, 100, 32_000, 32_028] {
        let mut file = b".snd\0\0\0\x1c".to_vec();
        file.extend([size, 3, SAMPLE_RATE, 1, 0].map(u32::to_be_bytes).concat());
        file.extend(&data);
        assert_eq!(samples(file).unwrap(), ramp(), "{size}");
    }
}

#[test]
fn a_further_au_or_w64_was_played_as_noise_or_left_out() {
    let data: Vec<u8> = whole(&ramp()).iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let mut au = b".snd\0\0\0\x1c".to_vec();
    au.extend([data.len() as u32, 3, SAMPLE_RATE, 1, 0].map(u32::to_be_bytes).concat());
    au.extend(&data);
    let mut w64 = w64(pcm16().len() as u64 + 24);
    let size = w64.len() as u64;
    w64[16..24].copy_from_slice(&size.to_le_bytes());
    let wav = sized_wav();
    for (first, second) in [(&au, &au), (&w64, &w64), (&wav, &au), (&au, &w64), (&wav, &w64)] {
        let what = format!("{:?} and {:?}", &first[..4], &second[..4]);
        let decoded = samples([first.as_slice(), second].concat()).unwrap();
        assert!(decoded == [ramp(), ramp()].concat(), "{what}: {} samples", decoded.len());
    }
}

#[test]
fn a_picture_behind_a_wav_was_played_as_noise() {
    let mut wav = sized_wav();
    wav.extend(b"\xff\xd8\xff\xe0".iter().chain(&[0x5a; 5000]));
    let mut reader = open(wav).unwrap();
    let mut heard = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        heard.extend_from_slice(block);
    }
    assert!(heard == ramp(), "{} samples", heard.len());
    assert_eq!(reader.warnings()[0].code(), "trailing_data");
}

#[test]
fn a_codec_in_wav_that_is_not_taken_is_named() {
    for (tag, name) in
        [(0x31, "GSM"), (0x45, "G.726"), (0x161, "Windows Media Audio"), (0x9999, "0x9999")]
    {
        let file =
            riff(&[chunk(b"fmt ", &format(tag, 1, 8000, 65, 0)), chunk(b"data", &[1; 6500])]);
        let error = samples(file).unwrap_err();
        assert_eq!(error.code(), "undecodable");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_codec_in_a_container_that_is_not_taken_is_named() {
    let error = samples(include_bytes!("../../../fuzz/corpus/audio/ac3.mka")).unwrap_err();
    assert_eq!(error.code(), "undecodable");
    assert!(error.to_string().contains("Dolby AC-3"), "{error}");
}

#[test]
fn an_mp4_has_no_room_for_a_rate_of_96_khz() {
    let bytes = include_bytes!("../../../fuzz/corpus/audio/aac96k.m4a");
    assert!(samples(bytes).unwrap().len() > 1900);
}

/// Packets of a transport stream with one program: the tables, then the sound.
fn transport(stream_type: u8, sound: &[u8]) -> Vec<Vec<u8>> {
    let section = |pid: u16, section: &[u8]| {
        let mut packet = vec![0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x10, 0];
        let content = &section[..section.len() - 4];
        packet.extend(content);
        packet.extend(checksum(content).to_be_bytes());
        packet.resize(188, 0xff);
        packet
    };
    let mut packets = vec![
        section(0, b"\0\xb0\x0d\0\x01\xc1\0\0\0\x01\xf0\0\0\0\0\0"),
        section(
            0x1000,
            &[
                b"\x02\xb0\x12\0\x01\xc1\0\0\xe1\x00\xf0\0".as_slice(),
                &[stream_type],
                b"\xe1\x01\xf0\0\0\0\0\0",
            ]
            .concat(),
        ),
    ];
    for pes in sound.chunks(1500) {
        let pes = [b"\0\0\x01\xc0\0\0\x80\x80\x05\x21\0\x01\0\x01", pes].concat();
        for (n, part) in pes.chunks(184).enumerate() {
            let mut packet = vec![0x47, if n == 0 { 0x41 } else { 0x01 }, 0x01, 0x10];
            let stuffing = 184 - part.len();
            if stuffing > 0 {
                packet[3] = 0x30;
                packet.push(stuffing as u8 - 1);
                packet.extend([0_u8; 1].iter().chain(&[0xff; 183]).take(stuffing - 1));
            }
            packet.extend(part);
            packets.push(packet);
        }
    }
    packets
}

/// The checksum of MPEG-2.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// A WAV whose sizes are right.
fn sized_wav() -> Vec<u8> {
    let fmt = chunk(b"fmt ", &format(1, 1, SAMPLE_RATE, 2, 16));
    let mut wav = riff(&[fmt, chunk(b"data", &pcm16())]);
    let size = wav.len() as u32 - 8;
    wav[4..8].copy_from_slice(&size.to_le_bytes());
    wav
}

#[test]
fn what_was_joined_to_a_transport_stream_was_left_out() {
    const ADTS: &[u8] = include_bytes!("../../../tests/audio/austen-2.aac");
    let (mp3, adts) = (transport(3, MP3).concat(), transport(0x0f, ADTS).concat());
    let wide: Vec<u8> =
        transport(0x0f, ADTS).iter().flat_map(|packet| [&[0; 4], &packet[..]].concat()).collect();
    let wav = sized_wav();
    let length = |file: &[u8]| samples(file.to_vec()).unwrap().len();
    for (case, parts) in [
        ("another codec in the same stream", [mp3.as_slice(), &adts]),
        ("the other way round", [&adts, &mp3]),
        ("wider packets", [&mp3, &wide]),
        ("narrower packets", [&wide, &mp3]),
        ("frames without packets", [&mp3, ADTS]),
        ("packets behind frames", [ADTS, &mp3]),
        ("packets behind a WAV", [&wav, &adts]),
        ("a WAV behind packets", [&adts, &wav]),
    ] {
        let both = length(parts[0]) + length(parts[1]);
        let decoded = length(&parts.concat());
        assert!(decoded.abs_diff(both) < 2400, "{case}: {decoded} of {both} samples");
    }
    // The same tables again, and a damaged one, are no other recording.
    let mut repeated = transport(3, MP3);
    repeated.insert(30, repeated[0].clone());
    repeated.insert(31, repeated[1].clone());
    let mut damaged = repeated[1].clone();
    damaged[20] ^= 1;
    repeated.insert(60, damaged);
    let decoded = length(&repeated.concat());
    assert_eq!(decoded, length(&mp3));
}

/// Bits that a decoder makes of a whole stream do not depend on the container around its frames.
#[test]
fn a_transport_stream_was_taken_for_mp3_and_was_empty() {
    let packets = transport(3, MP3);
    let mp3 = samples(MP3).unwrap();
    for (case, file) in [
        ("plain", packets.concat()),
        ("of a private type", transport(6, MP3).concat()),
        (
            "with timestamps",
            packets.iter().flat_map(|p| [&[0; 4], p.as_slice()].concat()).collect(),
        ),
        ("with checks", packets.iter().flat_map(|p| [p.as_slice(), &[0; 16]].concat()).collect()),
        (
            "behind garbage",
            [&[0x47, 1, 2, 3, 0xff, 0xfb, 0x90], &packets[0][100..], &packets.concat()].concat(),
        ),
        ("without its tables", packets[2..].concat()),
        (
            "with a cut packet",
            [&packets[..2].concat(), &packets[0][..77], &packets[1..].concat()].concat(),
        ),
    ] {
        let decoded = samples(file).unwrap();
        // A header of LAME tells how much silence the encoder added; a stream knows nothing of it.
        let longer = decoded.len() as i64 - mp3.len() as i64;
        assert!((0..4000).contains(&longer), "{case}: {longer} samples longer");
    }
}

#[test]
fn a_broadcast_goes_from_mono_to_stereo() {
    let frames = include_bytes!("../../../tests/audio/mono-then-stereo.aac");
    let decoded = samples(transport(0x0f, frames).concat()).unwrap();
    assert_eq!(decoded.len(), 36 * 1024);
    let (mono, stereo) = decoded.split_at(decoded.len() / 2);
    for half in [mono, stereo] {
        assert!(half.iter().any(|sample| sample.abs() > 0.1));
    }
}

#[test]
fn a_transport_stream_with_a_codec_that_is_not_taken_is_named() {
    for (stream_type, name) in [(0x81, "AC-3"), (0x11, "LATM"), (0x82, "DTS")] {
        let file = transport(stream_type, &[0; 5000]).concat();
        let error = samples(file).unwrap_err();
        assert_eq!(error.code(), "undecodable");
        assert!(error.to_string().contains(name), "{error}");
    }
    let video = transport(0x1b, &[0; 5000]).concat();
    assert!(matches!(samples(video).unwrap_err(), Error::NoAudio));
}

#[test]
fn files_that_are_something_else_are_told_so() {
    // Frames of MP3 further in make none of them a recording.
    let hidden = MP3[..MP3.len() / 2].to_vec();
    for (magic, name) in [
        (b"\0\0\x01\xba\x44\0\x04".as_slice(), "MPEG program stream"),
        (b"RIFF\0\0\x10\0AVI LIST", "AVI"),
        (b"FLV\x01\x05\0\0\0\x09", "FLV"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "Windows Media"),
        (b"  \n<!DOCTYPE HTML><p>404", "web page"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "JPEG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04\x14\0\0\0", "zip"),
        (b"#!AMR\n\x3c", "AMR"),
        (b"wvpk\0\0\0\0", "WavPack"),
        (b"MPCKSH", "Musepack"),
        (b"\x0b\x77\x12\x34", "AC-3"),
        (b"\x7f\xfe\x80\x01", "DTS"),
        (b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x50Speex   1.2", "Speex"),
    ] {
        let error = samples([magic, &[7; 40], &hidden].concat()).unwrap_err();
        assert_eq!(error.code(), "undecodable", "{name}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_sync_word_alone_makes_no_recording() {
    let mut text = "Sound is a wave, and so on and so forth. ".repeat(500).into_bytes();
    text[3000..3004].copy_from_slice(b"\xff\xfb\x90\x64");
    text[9000..9007].copy_from_slice(b"\xff\xf1\x50\x80\x10\x1f\xfc");
    let frame = [b"\xff\xfb\x90\x64".as_slice(), &[0; 413]].concat();
    let one_frame_in_zeros = [vec![0; 5000], frame, vec![0; 5000]].concat();
    for bytes in [text, one_frame_in_zeros, vec![0xff; 100_000], vec![0x47; 100_000]] {
        assert_eq!(samples(bytes).unwrap_err().code(), "undecodable");
    }
}

#[test]
fn mp3_is_found_behind_tags_and_what_a_recorder_cut() {
    let whole = samples(MP3).unwrap().len();
    let tag = [b"ID3\x04\0\0\0\0\x07\x68".as_slice(), &[0xff; 1000]].concat();
    let wrong = [b"ID3\x04\0\0\x7f\x7f\x7f\x7f".as_slice(), &[0; 1000]].concat();
    for (case, before) in
        [("two tags", tag.repeat(2)), ("zeros", vec![0; 4096]), ("a tag too long", wrong)]
    {
        let decoded = samples([&before, MP3].concat()).unwrap().len();
        assert_eq!(decoded, whole, "{case}");
    }
    // The rest of a frame whose start is missing.
    let cut = samples(MP3[1000..].to_vec()).unwrap().len();
    assert!(cut > whole * 9 / 10, "{cut} of {whole}");
    assert!(open(MP3).is_ok());
}

/// A Matroska of 16-bit samples, whose frames `encode` writes as `encoding` says.
fn matroska(encoding: &[u8], encode: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let element = |id: &[u8], body: &[u8]| {
        let size = (body.len() as u32 | 0x1000_0000).to_be_bytes();
        [id, &size, body].concat()
    };
    let sound = [
        element(b"\xb5", &f64::from(SAMPLE_RATE).to_be_bytes()),
        element(b"\x9f", &[1]),
        element(b"\x62\x64", &[16]),
    ];
    let track = [
        element(b"\xd7", &[1]),
        element(b"\x73\xc5", &[1]),
        element(b"\x83", &[2]),
        element(b"\x86", b"A_PCM/INT/LIT"),
        element(b"\xe1", &sound.concat()),
        element(b"\x6d\x80", &element(b"\x62\x40", &element(b"\x50\x34", encoding))),
    ];
    let blocks = pcm16()
        .chunks(8192)
        .enumerate()
        .map(|(n, frame)| {
            let head = [[0x81].as_slice(), &(n as u16 * 256).to_be_bytes(), &[0x80]].concat();
            element(b"\xa3", &[head, encode(frame)].concat())
        })
        .collect::<Vec<_>>();
    let info = [
        element(b"\x2a\xd7\xb1", &1_000_000_u32.to_be_bytes()),
        element(b"\x4d\x80", b"x"),
        element(b"\x57\x41", b"x"),
    ];
    let segment = [
        element(b"\x15\x49\xa9\x66", &info.concat()),
        element(b"\x16\x54\xae\x6b", &element(b"\xae", &track.concat())),
        element(b"\x1f\x43\xb6\x75", &[element(b"\xe7", &[0]), blocks.concat()].concat()),
    ];
    let head = element(b"\x1a\x45\xdf\xa3", &element(b"\x42\x82", b"matroska"));
    [head, element(b"\x18\x53\x80\x67", &segment.concat())].concat()
}

#[test]
fn matroska_whose_frames_are_compressed_is_decoded() {
    let deflated = matroska(b"", |frame| miniz_oxide::deflate::compress_to_vec_zlib(frame, 6));
    assert_eq!(samples(deflated).unwrap(), ramp());
    // Each frame of the ramp begins with 0.
    let stripped = matroska(b"\x42\x54\x81\x03\x42\x55\x81\x00", |frame| frame[1..].to_vec());
    assert_eq!(samples(stripped).unwrap(), ramp());
    let error = samples(matroska(b"\x42\x54\x81\x01", <[u8]>::to_vec)).unwrap_err();
    assert!(error.to_string().contains("bzlib"), "{error}");
}
