//! Recordings that claim to be more than they are, made from nothing or from honest ones.

use std::fs;

/// One of the honest recordings.
pub fn honest(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/audio/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read(path).expect("a recording")
}

/// What a wav file says of itself.
#[derive(Clone, Copy)]
pub struct Wav {
    /// 1 is PCM, 2 ADPCM, 3 float.
    pub format: u16,
    pub channels: u16,
    pub rate: u32,
    /// Bytes of one frame, or of one block.
    pub frame: u16,
    pub bits: u16,
    /// Bytes of sound that are announced.
    pub length: u32,
}

impl Wav {
    /// One channel of 16 bits at 16 kHz.
    pub const PLAIN: Wav =
        Wav { format: 1, channels: 1, rate: 16_000, frame: 2, bits: 16, length: u32::MAX };

    /// The file, with `sound` whatever was announced.
    pub fn file(self, sound: &[u8]) -> Vec<u8> {
        let Wav { format, channels, rate, frame, bits, length } = self;
        let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0".to_vec();
        file.extend([format.to_le_bytes(), channels.to_le_bytes()].concat());
        file.extend([rate, rate.saturating_mul(frame.into())].map(u32::to_le_bytes).concat());
        file.extend([frame, bits].map(u16::to_le_bytes).concat());
        file.extend(b"data");
        file.extend(length.to_le_bytes());
        file.extend(sound);
        file
    }
}

/// What a FLAC file says of itself.
#[derive(Clone, Copy)]
pub struct Flac {
    /// Samples in a block, but for the last.
    pub block: u16,
    pub rate: u32,
    pub channels: u8,
    pub bits: u8,
    /// Samples of a channel altogether, of which 36 bits count.
    pub samples: u64,
}

impl Flac {
    /// One channel of 16 bits at 16 kHz, in the longest blocks there can be, of unknown length.
    pub const PLAIN: Flac = Flac { block: 65_535, rate: 16_000, channels: 1, bits: 16, samples: 0 };

    /// The file with so many blocks of silence, at 12 to 15 bytes each for one channel.
    pub fn silence(self, blocks: u32) -> Vec<u8> {
        let Flac { block, rate, channels, bits, samples } = self;
        let mut file = b"fLaC\x80\0\0\x22".to_vec();
        file.extend([block, block].map(u16::to_be_bytes).concat());
        file.extend([0; 6]);
        let packed = u64::from(rate) << 44
            | u64::from(channels - 1) << 41
            | u64::from(bits - 1) << 36
            | samples & 0xf_ffff_ffff;
        file.extend(packed.to_be_bytes());
        file.extend([0; 16]);
        for number in 0..blocks {
            let mut frame = vec![0xff, 0xf8, 0x70, (channels - 1) << 4];
            frame.extend(utf8_like(number));
            frame.extend((block - 1).to_be_bytes());
            frame.push(crc8(&frame));
            for _ in 0..channels {
                // A block of one value, which is 0.
                frame.extend([0, 0, 0]);
            }
            frame.extend(crc16(&frame).to_be_bytes());
            file.extend(frame);
        }
        file
    }
}

/// A number as FLAC writes it: as UTF-8 would, beyond the last character too.
fn utf8_like(number: u32) -> Vec<u8> {
    let tail = |shift: u32| 0x80 | (number >> shift & 0x3f) as u8;
    match number {
        0..0x80 => vec![number as u8],
        0x80..0x800 => vec![0xc0 | (number >> 6) as u8, tail(0)],
        0x800..0x1_0000 => vec![0xe0 | (number >> 12) as u8, tail(6), tail(0)],
        _ => vec![0xf0 | (number >> 18 & 0x7) as u8, tail(12), tail(6), tail(0)],
    }
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 }
        })
    })
}

/// Overwrites what is `offset` bytes behind each `mark` in a file.
pub fn patched(mut file: Vec<u8>, mark: &[u8], offset: isize, bytes: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = memchr::memmem::find_iter(&file, mark).collect();
    assert!(!places.is_empty(), "there is no {:?} in it", String::from_utf8_lossy(mark));
    for place in places {
        let start = place.checked_add_signed(offset).expect("inside the file");
        file[start..start + bytes.len()].copy_from_slice(bytes);
    }
    file
}

/// Changes the pages of an Ogg file, and makes their checksums right again.
pub fn ogg_with(mut file: Vec<u8>, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let starts: Vec<usize> = memchr::memmem::find_iter(&file, b"OggS\0").collect();
    let ends = starts[1..].iter().copied().chain([file.len()]).collect::<Vec<_>>();
    for (start, end) in starts.into_iter().zip(ends) {
        let page = &mut file[start..end];
        change(page);
        page[22..26].fill(0);
        let crc = crc32_ogg(page);
        page[22..26].copy_from_slice(&crc.to_le_bytes());
    }
    file
}

fn crc32_ogg(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 }
        })
    })
}

/// An element of a Matroska file, of a size that need not be true.
pub fn ebml(id: &[u8], size: u64, contents: &[u8]) -> Vec<u8> {
    // A size of eight bytes begins with a byte 1; what follows holds 56 bits.
    let size = (size & 0xff_ffff_ffff_ffff | 1 << 56).to_be_bytes();
    [id, &size, contents].concat()
}

/// The beginning of a WebM file.
pub fn webm(segment: &[u8]) -> Vec<u8> {
    let doctype = ebml(&[0x42, 0x82], 4, b"webm");
    let head = ebml(&[0x1a, 0x45, 0xdf, 0xa3], doctype.len() as u64, &doctype);
    [head, ebml(&[0x18, 0x53, 0x80, 0x67], u64::MAX, segment)].concat()
}
