//! Bits of a packet, the highest of each byte first.

/// A cursor over bits. It gives nothing beyond their end.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit.
    pub(super) at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// At most 32 bits, as a number.
    pub(super) fn read(&mut self, bits: u32) -> Option<u32> {
        let value = self.peek(bits);
        self.skip(bits as usize)?;
        Some(value)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        self.read(1).map(|bit| bit == 1)
    }

    pub(super) fn skip(&mut self, bits: usize) -> Option<()> {
        if bits > self.left() {
            return None;
        }
        self.at += bits;
        Some(())
    }

    /// The next bits, with zeros behind the end.
    pub(super) fn peek(&self, bits: u32) -> u32 {
        let first = self.at / 8;
        let window = (first..first + 8).fold(0_u64, |window, at| {
            window << 8 | u64::from(self.bytes.get(at).copied().unwrap_or(0))
        });
        ((window << (self.at % 8)) >> 32 >> (32 - bits.min(32))) as u32
    }

    pub(super) fn align(&mut self) -> Option<()> {
        self.skip(self.at.next_multiple_of(8) - self.at)
    }
}

/// Collects bits.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    bits: usize,
}

impl BitWriter {
    /// Appends the lowest bits of a number.
    pub(super) fn push(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= (((value >> bit) & 1) as u8) << (7 - self.bits % 8);
            self.bits += 1;
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
