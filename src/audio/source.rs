//! The bytes of a file, shared by those who read parts of it: a demuxer has a [`View`] of one recording,
//! and the search for the next one looks ahead without moving it.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::io::MediaSource;

/// Bytes that a demuxer may read before it is known what a file is, and then before each next packet of
/// sound: demuxers keep pictures, notes and tables in memory, up to twice as large as they are.
pub(super) const ASIDE_MAX: u64 = 24 * 1024 * 1024;

/// A file that can be read and moved about in.
trait File: Read + Seek + Send {}

impl<T: Read + Seek + Send> File for T {}

/// A file, and how far it has been decoded.
#[derive(Clone)]
pub(super) struct Source {
    shared: Arc<Shared>,
}

struct Shared {
    bytes: u64,
    reader: Mutex<Place>,
    /// Position of the demuxer that read last.
    position: AtomicU64,
    /// Bytes that the demuxer may still read.
    allowance: AtomicU64,
}

/// A reader and where it stands, so that it is moved only where it has to be.
struct Place {
    file: Box<dyn File>,
    at: Option<u64>,
}

impl Source {
    pub(super) fn new(mut file: impl Read + Seek + Send + 'static) -> io::Result<Source> {
        let bytes = file.seek(SeekFrom::End(0))?;
        let reader = Mutex::new(Place { file: Box::new(file), at: None });
        let (position, allowance) = (AtomicU64::new(0), AtomicU64::new(ASIDE_MAX));
        Ok(Source { shared: Arc::new(Shared { bytes, reader, position, allowance }) })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// Bytes at `at`, as many as are there up to the length of `buffer`. They count for no demuxer.
    pub(super) fn look(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(at + filled as u64, &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// A demuxer's view of these bytes. It believes that there are `missing` ones more, so that it reads
    /// what is there of a file that was cut off.
    pub(super) fn view(&self, range: Range<u64>, missing: u64) -> View {
        let end = range.end.min(self.bytes());
        let start = range.start.min(end);
        self.shared.position.store(start, Ordering::Relaxed);
        View { source: self.clone(), start, end, missing, position: start }
    }

    /// Lets the demuxer read so many bytes from now on.
    pub(super) fn allow(&self, bytes: u64) {
        self.shared.allowance.store(bytes, Ordering::Relaxed);
    }

    /// Position of the demuxer in the file, which reads some kilobytes ahead.
    pub(super) fn position(&self) -> u64 {
        self.shared.position.load(Ordering::Relaxed)
    }

    pub(super) fn fraction_read(&self) -> f32 {
        (self.position() as f64 / self.bytes().max(1) as f64).clamp(0.0, 1.0) as f32
    }

    /// Length of what may be read of what is wanted.
    fn room(&self, wanted: usize) -> io::Result<usize> {
        match self.shared.allowance.load(Ordering::Relaxed) {
            0 => Err(io::ErrorKind::FileTooLarge.into()),
            left => Ok(usize::try_from(left).unwrap_or(usize::MAX).min(wanted)),
        }
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut place = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if place.at.take() != Some(at) {
            place.file.seek(SeekFrom::Start(at))?;
        }
        let bytes = place.file.read(buffer)?;
        place.at = Some(at + bytes as u64);
        Ok(bytes)
    }
}

/// One recording of a file, which is all of it for its demuxer.
pub(super) struct View {
    source: Source,
    start: u64,
    end: u64,
    missing: u64,
    /// In the file, not in the view.
    position: u64,
}

impl View {
    /// A view of a part of this one, which begins at the part's start.
    pub(super) fn part(&self, range: Range<u64>) -> View {
        let end = self.start.saturating_add(range.end).min(self.end);
        let missing = if range.end >= self.length() { self.missing } else { 0 };
        self.source.view(self.start.saturating_add(range.start).min(end)..end, missing)
    }

    /// The bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.end - self.start
    }
}

impl Read for View {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let room = self.source.room(wanted)?;
        let bytes = self.source.read(self.position, &mut buffer[..room])?;
        self.position += bytes as u64;
        self.source.shared.allowance.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.source.shared.position.store(self.position, Ordering::Relaxed);
        Ok(bytes)
    }
}

impl Seek for View {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => self.start.checked_add(offset),
            SeekFrom::End(offset) => {
                self.end.saturating_add(self.missing).checked_add_signed(offset)
            }
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position
            .filter(|position| *position >= self.start)
            .ok_or(io::ErrorKind::InvalidInput)?;
        self.source.shared.position.store(self.position, Ordering::Relaxed);
        Ok(self.position - self.start)
    }
}

impl MediaSource for View {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some((self.end - self.start).saturating_add(self.missing))
    }
}
