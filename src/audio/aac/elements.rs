//! The elements of an AAC packet: one channel or two in each. Where one ends is told only by reading
//! all of its codes.

use super::bits::{BitWriter, Bits};
use super::tables::{self, Bands, CODE_MAX, SPECTRUM};

const SINGLE: u32 = 0;
const PAIR: u32 = 1;
const COUPLING: u32 = 2;
const LOW: u32 = 3;
const DATA: u32 = 4;
const PROGRAM: u32 = 5;
const FILL: u32 = 6;
const END: u32 = 7;

/// The window sequence of eight short windows.
const EIGHT_SHORT: u32 = 2;
/// The most elements in a packet: more than any layout has.
const ELEMENTS_MAX: usize = 16;

/// An element with sound, as a packet of its own.
pub(super) struct Element {
    pub(super) channels: u8,
    pub(super) packet: Vec<u8>,
}

/// The elements of a packet that have sound; the one for low frequencies alone has none that matters.
pub(super) fn split(packet: &[u8], rate: u32) -> Result<Vec<Element>, &'static str> {
    const CUT: &str = "aac: a packet that breaks off";
    let bands = tables::bands(rate);
    let mut bits = Bits::new(packet);
    let mut elements = Vec::new();
    while bits.left() >= 3 {
        let start = bits.at;
        let kind = bits.read(3).ok_or(CUT)?;
        match kind {
            SINGLE | LOW => {
                bits.skip(4).ok_or(CUT)?;
                Channel::default().skip(&mut bits, bands, false).ok_or(CUT)?;
            }
            PAIR => {
                bits.skip(4).ok_or(CUT)?;
                skip_pair(&mut bits, bands).ok_or(CUT)?;
            }
            DATA => skip_data(&mut bits).ok_or(CUT)?,
            PROGRAM => skip_program(&mut bits).ok_or(CUT)?,
            FILL => skip_fill(&mut bits).ok_or(CUT)?,
            COUPLING => return Err("aac: a coupling channel"),
            END => break,
            _ => return Err(CUT),
        }
        if matches!(kind, SINGLE | PAIR) {
            if elements.len() == ELEMENTS_MAX {
                return Err("aac: too many channels");
            }
            let channels = if kind == PAIR { 2 } else { 1 };
            elements.push(Element { channels, packet: cut_out(packet, start, bits.at) });
        }
    }
    Ok(elements)
}

/// The bits of an element, and the mark of an end.
fn cut_out(packet: &[u8], start: usize, end: usize) -> Vec<u8> {
    let mut bits = Bits::new(packet);
    bits.at = start;
    let mut writer = BitWriter::default();
    while bits.at < end {
        let length = (end - bits.at).min(32) as u32;
        writer.push(bits.read(length).unwrap_or(0), length);
    }
    writer.push(END, 3);
    writer.into_bytes()
}

/// The state that earlier parts of a channel's element set for the later ones.
#[derive(Clone, Default)]
struct Channel {
    is_short: bool,
    /// The windows of each group.
    groups: Vec<u16>,
    bands: usize,
}

impl Channel {
    /// Steps over one channel, whose window is read before where it is a pair's common one.
    fn skip(&mut self, bits: &mut Bits<'_>, bands: &Bands, has_window: bool) -> Option<()> {
        bits.skip(8)?;
        if !has_window {
            self.skip_window(bits)?;
        }
        let widths = if self.is_short { bands.short } else { bands.long };
        let books = self.read_sections(bits, widths.len())?;
        self.skip_scales(bits, &books)?;
        if bits.flag()? {
            let pulses = bits.read(2)? as usize + 1;
            bits.skip(6 + pulses * 9)?;
        }
        if bits.flag()? {
            self.skip_shaping(bits)?;
        }
        // Gain control is no part of this profile.
        if bits.flag()? {
            return None;
        }
        self.skip_spectrum(bits, &books, widths)
    }

    fn skip_window(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        bits.skip(1)?;
        self.is_short = bits.read(2)? == EIGHT_SHORT;
        bits.skip(1)?;
        self.groups = vec![1];
        if self.is_short {
            self.bands = bits.read(4)? as usize;
            for _ in 0..7 {
                match (bits.flag()?, self.groups.last_mut()) {
                    (true, Some(windows)) => *windows += 1,
                    _ => self.groups.push(1),
                }
            }
        } else {
            self.bands = bits.read(6)? as usize;
            // Prediction is no part of this profile.
            if bits.flag()? {
                return None;
            }
        }
        Some(())
    }

    /// The codebook of each band, group by group.
    fn read_sections(&self, bits: &mut Bits<'_>, bands_max: usize) -> Option<Vec<Vec<u32>>> {
        if self.bands > bands_max {
            return None;
        }
        let width = if self.is_short { 3 } else { 5 };
        let escape = (1 << width) - 1;
        let mut groups = Vec::with_capacity(self.groups.len());
        for _ in &self.groups {
            let mut books = Vec::with_capacity(self.bands);
            while books.len() < self.bands {
                let book = bits.read(4)?;
                let mut length = 0;
                loop {
                    let more = bits.read(width)?;
                    length += more as usize;
                    if more != escape {
                        break;
                    }
                }
                if length > self.bands - books.len() {
                    return None;
                }
                books.resize(books.len() + length, book);
            }
            groups.push(books);
        }
        Some(groups)
    }

    fn skip_scales(&self, bits: &mut Bits<'_>, books: &[Vec<u32>]) -> Option<()> {
        let mut is_first_noise = true;
        for book in books.iter().flatten() {
            match book {
                0 => {}
                // Noise, whose first scale is written as it is.
                13 if is_first_noise => {
                    is_first_noise = false;
                    bits.skip(9)?;
                }
                _ => bits.skip(tables::SCALES.find(bits.peek(CODE_MAX)).bits as usize)?,
            }
        }
        Some(())
    }

    /// Temporal noise shaping.
    fn skip_shaping(&self, bits: &mut Bits<'_>) -> Option<()> {
        let (windows, filters, length, order) =
            if self.is_short { (8, 1, 4, 3) } else { (1, 2, 6, 5) };
        for _ in 0..windows {
            let filters = bits.read(filters)?;
            if filters == 0 {
                continue;
            }
            let resolution = 3 + bits.read(1)?;
            for _ in 0..filters {
                bits.skip(length)?;
                let order = bits.read(order)?;
                if order > 0 {
                    bits.skip(1)?;
                    let width = resolution - bits.read(1)?;
                    bits.skip((order * width) as usize)?;
                }
            }
        }
        Some(())
    }

    fn skip_spectrum(&self, bits: &mut Bits<'_>, books: &[Vec<u32>], widths: &[u16]) -> Option<()> {
        for (windows, books) in self.groups.iter().zip(books) {
            for (book, width) in books.iter().zip(widths) {
                // The others have no codes: zeros, noise, and bands made from the other channel.
                let coded = usize::try_from(*book).ok()?.checked_sub(1);
                let Some(table) = coded.and_then(|book| SPECTRUM.get(book)) else { continue };
                let values = if *book <= 4 { 4 } else { 2 };
                for _ in 0..width * windows / values {
                    let code = table.find(bits.peek(CODE_MAX));
                    bits.skip((code.bits + code.signs) as usize)?;
                    for _ in 0..code.escapes {
                        skip_escape(bits)?;
                    }
                }
            }
        }
        Some(())
    }
}

/// Ones that count the bits of a number, less four.
fn skip_escape(bits: &mut Bits<'_>) -> Option<()> {
    let mut ones = 0;
    while bits.flag()? {
        ones += 1;
        if ones > 8 {
            return None;
        }
    }
    bits.skip(ones + 4)
}

fn skip_pair(bits: &mut Bits<'_>, bands: &Bands) -> Option<()> {
    let mut first = Channel::default();
    let is_common = bits.flag()?;
    if is_common {
        first.skip_window(bits)?;
        // A bit for each band tells whether it is coded as middle and side.
        match bits.read(2)? {
            1 => bits.skip(first.groups.len() * first.bands)?,
            3 => return None,
            _ => {}
        }
    }
    let mut second = first.clone();
    first.skip(bits, bands, is_common)?;
    second.skip(bits, bands, is_common)
}

fn skip_data(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(4)?;
    let is_aligned = bits.flag()?;
    let mut bytes = bits.read(8)? as usize;
    if bytes == 255 {
        bytes += bits.read(8)? as usize;
    }
    if is_aligned {
        bits.align()?;
    }
    bits.skip(bytes * 8)
}

fn skip_fill(bits: &mut Bits<'_>) -> Option<()> {
    let mut bytes = bits.read(4)? as usize;
    if bytes == 15 {
        bytes = 14 + bits.read(8)? as usize;
    }
    bits.skip(bytes * 8)
}

fn skip_program(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(4 + 2 + 4)?;
    let [front, side, back, low, data, coupling] = [4, 4, 4, 2, 3, 4].map(|width| bits.read(width));
    // Two mixdowns name an element, and the third a matrix.
    for width in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(width)?;
        }
    }
    let wide = front? + side? + back? + coupling?;
    bits.skip((wide * 5 + (low? + data?) * 4) as usize)?;
    bits.align()?;
    let comment = bits.read(8)? as usize;
    bits.skip(comment * 8)
}
