//! Whether the store's write-ahead log is whole. SQLite reads a log up to the first frame whose checksum
//! is wrong and says nothing of the rest: the right thing after a crash, where the rest was never
//! committed, and a silent loss where the file was cut or damaged.
//!
//! The file beside it, the log's index, tells the two apart: it says how many frames were committed. A
//! crash of the process leaves it as it was. Where it does not fit the log (after a power cut, or in a
//! copy without it), a frame that ends a commit behind the first bad one is the sign.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::job::Timestamp;
use crate::queue::QueueError;

/// Bytes of the log's header, and of that of a frame.
const HEADER: usize = 32;
const FRAME: usize = 24;
/// Bytes of the index up to the number of frames that were moved.
const INDEX: usize = 100;

/// How a log was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// All that was committed is there, or there is no log.
    Whole,
    /// A part of what was committed cannot be read.
    Damaged {
        /// Frames, from the first one, that can be read.
        read: u64,
    },
}

/// The log of the store at `path`.
pub(super) fn path(store: &Path) -> PathBuf {
    beside(store, "-wal")
}

fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(store);
    path.push(suffix);
    path.into()
}

impl Log {
    /// Looks at the log of the store at `path`, which nobody may have open.
    pub(super) fn examine(store: &Path) -> Log {
        match examine(store) {
            Ok(log) => log,
            Err(error) => {
                log::warn!("the job store's log cannot be looked at: {error}");
                Log::Whole
            }
        }
    }
}

/// Says that jobs may be missing, and since when, where the log was damaged.
pub(super) fn tell(log: &Log, conn: &Connection) -> Result<(), QueueError> {
    let Log::Damaged { read } = log else { return Ok(()) };
    let newest =
        "SELECT max(max(created_at, coalesce(started_at, 0), coalesce(finished_at, 0))) FROM jobs";
    let newest: Option<Timestamp> = conn.query_row(newest, [], |row| row.get(0))?;
    let since = newest.map_or("the store was made".to_owned(), |newest| newest.to_string());
    log::warn!(
        "the job store's log was cut or damaged: only its first {read} pages could be read. Jobs sent \
         since {since} may be missing, and jobs that ended since then may run again"
    );
    Ok(())
}

/// Cuts the log of the store at `store` behind its last commit. For whoever holds the store's lock for
/// writing.
pub(super) fn cut_uncommitted(store: &Path) -> io::Result<()> {
    let Some(index) = Index::read(&beside(store, "-shm")) else { return Ok(()) };
    let log = File::options().read(true).write(true).open(path(store))?;
    let Some(header) = Header::read(&mut &log)? else { return Ok(()) };
    if header.salts != index.salts {
        return Ok(());
    }
    let end = HEADER as u64 + index.committed * (FRAME + header.page) as u64;
    if end < log.metadata()?.len() { log.set_len(end) } else { Ok(()) }
}

fn examine(store: &Path) -> io::Result<Log> {
    let index = Index::read(&beside(store, "-shm"));
    let file = match File::open(path(store)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        file => Some(file?),
    };
    let Some(file) = file.filter(|file| file.metadata().is_ok_and(|file| file.len() > 0)) else {
        // A log that was moved into the store may be gone or empty.
        let lost = index.is_some_and(|index| index.committed > index.moved);
        return Ok(if lost { Log::Damaged { read: 0 } } else { Log::Whole });
    };
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let Some(header) = Header::read(&mut reader)? else {
        return Ok(Log::Damaged { read: 0 });
    };
    let walked = walk(&mut reader, &header)?;
    let whole = match index.filter(|index| index.salts == header.salts) {
        Some(index) => walked.committed >= index.committed,
        None => !walked.commit_behind,
    };
    Ok(if whole { Log::Whole } else { Log::Damaged { read: walked.committed } })
}

/// What the log says of itself.
struct Header {
    page: usize,
    big_endian: bool,
    /// Of this generation of the log; frames of the one before have others.
    salts: [u8; 8],
    sum: Sum,
}

impl Header {
    /// `None` where it is not a header.
    fn read(reader: &mut impl Read) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER];
        if fill(reader, &mut bytes)? < HEADER {
            return Ok(None);
        }
        let big_endian = match word(&bytes, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return Ok(None),
        };
        let page = word(&bytes, 8) as usize;
        let mut sum = Sum::default();
        sum.add(&bytes[..24], big_endian);
        if sum != Sum(word(&bytes, 24), word(&bytes, 28))
            || !page.is_power_of_two()
            || !(512..=65536).contains(&page)
        {
            return Ok(None);
        }
        let salts = bytes[16..24].try_into().expect("invariant: eight bytes");
        Ok(Some(Header { page, big_endian, salts, sum }))
    }
}

/// What was found in a log.
#[derive(Debug, Default)]
struct Walked {
    /// Frames up to the last one that ends a commit, all of them good.
    committed: u64,
    /// Whether a frame of this generation that ends a commit comes behind a bad one.
    commit_behind: bool,
}

fn walk(reader: &mut impl Read, header: &Header) -> io::Result<Walked> {
    let mut walked = Walked::default();
    let mut sum = header.sum;
    let mut frame = vec![0; FRAME + header.page];
    let mut good = true;
    for number in 1.. {
        if fill(reader, &mut frame)? < frame.len() {
            break;
        }
        let is_ours = frame[8..16] == header.salts;
        let ends_commit = word(&frame, 4) != 0;
        let bad_before = !good;
        if good {
            sum.add(&frame[..8], header.big_endian);
            sum.add(&frame[FRAME..], header.big_endian);
            good = is_ours && sum == Sum(word(&frame, 16), word(&frame, 20));
        }
        if good && ends_commit {
            walked.committed = number;
        }
        // The first bad one may be what the process was writing when it ended.
        walked.commit_behind |= bad_before && is_ours && ends_commit;
    }
    Ok(walked)
}

/// What the index says of its log.
struct Index {
    salts: [u8; 8],
    /// Frames that were committed.
    committed: u64,
    /// Frames that were moved into the store.
    moved: u64,
}

impl Index {
    /// `None` where there is none, or half of one.
    fn read(path: &Path) -> Option<Index> {
        let mut bytes = [0; INDEX];
        let mut file = File::open(path).ok()?;
        if fill(&mut file, &mut bytes).ok()? < bytes.len() {
            return None;
        }
        let native =
            |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let mut sum = Sum::default();
        sum.add(&bytes[..40], cfg!(target_endian = "big"));
        let index = Index {
            salts: bytes[32..40].try_into().expect("invariant: eight bytes"),
            committed: native(16).into(),
            moved: native(96).into(),
        };
        (sum == Sum(native(40), native(44))).then_some(index)
    }
}

/// SQLite's checksum: two sums, each fed with the other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum(u32, u32);

impl Sum {
    fn add(&mut self, bytes: &[u8], big_endian: bool) {
        let (pairs, _) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in pairs {
            let word = |bytes| match big_endian {
                true => u32::from_be_bytes(bytes),
                false => u32::from_le_bytes(bytes),
            };
            self.0 = self.0.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(self.0);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

/// Reads until the buffer is full or nothing comes any more. Returns how much came.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
