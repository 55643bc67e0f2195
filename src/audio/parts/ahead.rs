use std::io;

use crate::audio::source::Source;

/// Bytes that are read at a time.
const BLOCK: usize = 64 * 1024;

/// Looks ahead in a file, a block at a time.
pub(in crate::audio) struct Ahead<'a> {
    source: &'a Source,
    block: Vec<u8>,
    at: u64,
}

impl Ahead<'_> {
    pub(in crate::audio) fn new(source: &Source) -> Ahead<'_> {
        Ahead { source, block: Vec::new(), at: 0 }
    }

    /// The length of the file.
    pub(in crate::audio) fn end(&self) -> u64 {
        self.source.bytes()
    }

    /// So many bytes at `at`, or as many as there are before the end.
    pub(in crate::audio) fn bytes(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let held = self.at..self.at + self.block.len() as u64;
        let end = at.saturating_add(wanted as u64).min(self.end());
        if at < held.start || end > held.end {
            self.block.resize(wanted.max(BLOCK), 0);
            let read = self.source.look(at, &mut self.block)?;
            self.block.truncate(read);
            self.at = at;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX).min(self.block.len());
        Ok(&self.block[from..self.block.len().min(from + wanted)])
    }

    /// A number of so many bytes, the first one the highest; `None` beyond the end.
    pub(in crate::audio) fn number<const N: usize>(&mut self, at: u64) -> io::Result<Option<u64>> {
        let bytes = self.bytes(at, N)?;
        let whole = bytes.len() == N;
        Ok(whole.then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
    }
}
