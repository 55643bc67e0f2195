//! A look at the fragments of an MP4 before the library's. It counts the samples of every run one by
//! one, up to four billion of them in a run of 20 bytes, and nothing can interrupt it: a megabyte of
//! such runs would keep a worker for days.

use std::io;

use memchr::memmem::Finder;

use super::Error;
use super::source::Source;

/// What is looked at, at a time, in bytes.
const BLOCK: usize = 64 * 1024;
/// From a run's size to the end of its count, where the size is a long one.
const LONGEST: usize = 4 + 4 + 8 + 4 + 4;
/// Flags by which each sample has fields of its own, so that the count is borne out by bytes.
const EACH_HAS_FIELDS: u32 = 0xf00;

/// Refuses an MP4 whose runs claim more samples than it has bytes.
pub(super) fn check(source: &Source) -> Result<(), Error> {
    let bytes = source.bytes();
    let claims = Claims::of(source).map_err(Error::Read)?;
    if claims.is_mp4 && claims.samples > bytes {
        let samples = claims.samples;
        return Err(Error::Undecodable(format!("{samples} samples in {bytes} bytes")));
    }
    Ok(())
}

/// What a file seems to say. Bytes that only look like a run do no harm where there are few, or no MP4
/// around them.
struct Claims {
    is_mp4: bool,
    samples: u64,
}

impl Claims {
    fn of(source: &Source) -> io::Result<Claims> {
        let (kind, run) = (Finder::new(b"ftyp"), Finder::new(b"trun"));
        let mut claims = Claims { is_mp4: false, samples: 0 };
        let mut block = Vec::with_capacity(BLOCK + LONGEST);
        let mut read = 0;
        loop {
            let rest = block.len();
            block.resize(rest + BLOCK, 0);
            let taken = source.look(read, &mut block[rest..])?;
            if taken == 0 {
                break;
            }
            read += taken as u64;
            block.truncate(rest + taken);
            claims.is_mp4 |= kind.find(&block).is_some();
            // What begins in the last bytes is seen whole with the next block.
            let begun = block.len().saturating_sub(LONGEST - 1);
            for at in run.find_iter(&block).filter(|at| (4..begun + 4).contains(at)) {
                let samples = claimed_by(&block[at - 4..], source.bytes());
                claims.samples = claims.samples.saturating_add(samples);
            }
            block.drain(..begun);
        }
        // A run in the last bytes is not seen. One alone does no harm.
        Ok(claims)
    }
}

/// The samples of the run that begins here, at least [`LONGEST`] bytes of it, unless it has fields for
/// each of them.
fn claimed_by(run: &[u8], bytes: u64) -> u64 {
    let word = |at: usize| {
        let word = run.get(at..at + 4).and_then(|word| word.try_into().ok());
        word.map_or(0, u32::from_be_bytes)
    };
    let fields = match word(0) {
        // The size follows the name.
        1 => 16,
        0 => 8,
        size if size >= 16 && u64::from(size) <= bytes => 8,
        _ => return 0,
    };
    let (flags, samples) = (word(fields), word(fields + 4));
    if flags & EACH_HAS_FIELDS == 0 { u64::from(samples) } else { 0 }
}
