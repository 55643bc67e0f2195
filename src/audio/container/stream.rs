//! One audio stream of a transport stream: the PES packets that carry it, and its frames.

use std::collections::VecDeque;

use super::mpeg::{self, Format, Frame, Framing};
use super::ts::{self, Item};

/// The part of a PES packet's header that every one has, in bytes.
const PES_HEADER: usize = 9;
/// Ticks in a second of the times in PES packets, which have 33 bits.
pub(super) const TICKS: u64 = 90_000;
const TIME_MAX: u64 = (1 << 33) - 1;
/// Ticks that a frame may come late without something missing before it, and those from which on the
/// clock was set.
const GAP: u64 = TICKS / 20;
const GAP_MAX: u64 = TICKS * 3600;
/// Bytes in which frames are searched where no table tells what they are.
const SEARCHED: usize = 8 * 1024;

/// Collects a stream's bytes, and cuts them into frames.
pub(super) struct ElementaryStream {
    pub(super) pid: u16,
    /// Unknown until the frames tell it, where no table does.
    framing: Option<Framing>,
    /// The header of the PES packet, until it is whole.
    header: Option<Vec<u8>>,
    /// A PES packet has begun.
    has_begun: bool,
    buffer: Vec<u8>,
    format: Option<Format>,
    clock: Clock,
}

impl ElementaryStream {
    pub(super) fn new(pid: u16, framing: Option<Framing>) -> ElementaryStream {
        let (header, buffer) = (None, Vec::new());
        ElementaryStream {
            pid,
            framing,
            header,
            has_begun: false,
            buffer,
            format: None,
            clock: Clock::default(),
        }
    }

    /// Whether a frame has told the format.
    pub(super) fn is_known(&self) -> bool {
        self.format.is_some()
    }

    /// Takes in a packet's payload. `is_start` tells that a PES packet begins with it.
    pub(super) fn push(&mut self, payload: &[u8], is_start: bool, items: &mut VecDeque<Item>) {
        if is_start {
            self.header = Some(Vec::new());
            self.has_begun = true;
        }
        // A recording can begin in the middle of a PES packet, whose rest tells nothing.
        if !self.has_begun {
            return;
        }
        match self.header.take() {
            None => self.buffer.extend_from_slice(payload),
            Some(mut header) => {
                header.extend_from_slice(payload);
                match header_length(&header) {
                    Some(length) if header.len() >= length => {
                        if let Some(time) = time_of(&header) {
                            self.clock.mark = Some((self.buffer.len(), time));
                        }
                        self.buffer.extend_from_slice(&header[length..]);
                    }
                    _ => self.header = Some(header),
                }
            }
        }
        self.cut(false, items);
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self, items: &mut VecDeque<Item>) {
        self.cut(true, items);
    }

    /// Hands out the frames that are whole.
    fn cut(&mut self, has_ended: bool, items: &mut VecDeque<Item>) {
        let mut at = 0;
        let Some(framing) = self.framing.or_else(|| self.search_framing(has_ended)) else { return };
        self.framing = Some(framing);
        while self.buffer.len() - at >= mpeg::HEADER {
            match self.frame_at(at, framing, has_ended) {
                Look::Frame(frame) => {
                    self.hand_out(at, &frame, items);
                    at += frame.length;
                }
                Look::Unfinished => break,
                Look::Nothing => at += 1,
            }
        }
        self.drop_bytes(at);
    }

    fn drop_bytes(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        if let Some((at, _)) = &mut self.clock.mark {
            *at = at.saturating_sub(bytes);
        }
    }

    fn search_framing(&mut self, has_ended: bool) -> Option<Framing> {
        if let Some(framing) = mpeg::first_frame(&self.buffer, has_ended) {
            return Some(framing);
        }
        if self.buffer.len() < SEARCHED {
            return None;
        }
        let found = mpeg::search(&self.buffer);
        self.drop_bytes(found.map_or(SEARCHED / 2, |(at, _)| at));
        found.map(|(_, framing)| framing)
    }

    fn frame_at(&self, at: usize, framing: Framing, has_ended: bool) -> Look {
        let rest = &self.buffer[at..];
        let Some(frame) = mpeg::frame(rest, framing) else { return Look::Nothing };
        if rest.len() < frame.length {
            return if has_ended { Look::Nothing } else { Look::Unfinished };
        }
        if self.format == Some(frame.format) {
            return Look::Frame(frame);
        }
        // A new format is believed if the next frame has it as well.
        let next = &rest[frame.length..];
        match mpeg::frame(next, framing) {
            Some(next) if next.format == frame.format => Look::Frame(frame),
            _ if next.len() >= mpeg::HEADER => Look::Nothing,
            _ if has_ended => Look::Frame(frame),
            _ => Look::Unfinished,
        }
    }

    fn hand_out(&mut self, at: usize, frame: &Frame, items: &mut VecDeque<Item>) {
        let track = u32::from(self.pid);
        if self.format.is_none() {
            items.push_back(Item::Format { track, format: frame.format });
        }
        self.format = Some(frame.format);
        let (time, duration) = self.clock.take(at, frame);
        let data = &self.buffer[at..at + frame.length];
        items.push_back(Item::Packet(ts::packet(track, time, duration, data)));
    }
}

/// The time of each frame, in ticks of 90 kHz.
#[derive(Default)]
struct Clock {
    /// The time that a PES packet declares for the first frame from this byte of the buffer on.
    mark: Option<(usize, u64)>,
    /// What the next declared time will be if nothing is missing.
    expected: Option<u64>,
    now: u64,
}

impl Clock {
    /// The time of a frame that begins at this byte of the buffer, and its duration.
    fn take(&mut self, at: usize, frame: &Frame) -> (u64, u64) {
        if let Some((_, declared)) = self.mark.take_if(|(from, _)| *from <= at) {
            match self.expected {
                None => self.now = declared,
                // A clock that steps back, or far ahead, was set: another recording was joined to it.
                Some(expected) => {
                    let ahead = declared.wrapping_sub(expected) & TIME_MAX;
                    if (GAP..GAP_MAX).contains(&ahead) {
                        self.now += ahead;
                    }
                }
            }
            self.expected = Some(declared);
        }
        let duration = frame.samples * TICKS / u64::from(frame.format.rate()).max(1);
        let time = self.now;
        self.now += duration;
        self.expected = self.expected.map(|expected| (expected + duration) & TIME_MAX);
        (time, duration)
    }
}

/// Whether a PES packet of audio begins here.
pub(super) fn is_audio(payload: &[u8]) -> bool {
    matches!(payload, [0, 0, 1, 0xc0..=0xdf, ..])
}

enum Look {
    Frame(Frame),
    Unfinished,
    Nothing,
}

/// The time in a PES packet's header: 33 bits in five bytes.
fn time_of(header: &[u8]) -> Option<u64> {
    let &[_, _, _, _, _, _, _, flags, _, a, b, c, d, e, ..] = header else { return None };
    if flags & 0x80 == 0 {
        return None;
    }
    let [a, b, c, d, e] = [a >> 1 & 7, b, c >> 1, d, e >> 1].map(u64::from);
    Some(a << 30 | b << 22 | c << 15 | d << 7 | e)
}

/// The length of a PES packet's header, as soon as it can be told. What is no header has none.
fn header_length(header: &[u8]) -> Option<usize> {
    if header.len() >= 3 && !header.starts_with(&[0, 0, 1]) {
        return Some(0);
    }
    header.get(PES_HEADER - 1).map(|more| PES_HEADER + usize::from(*more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_missing_is_seen_and_a_clock_that_was_set_is_not() {
        let frame = mpeg::frame(&[0xff, 0xfb, 0x90, 0], Framing::Mpeg).unwrap();
        let mut clock = Clock::default();
        let mut next = |mark| {
            clock.mark = mark;
            clock.take(0, &frame).0
        };
        // A frame lasts 2351 ticks.
        assert_eq!(next(Some((0, TIME_MAX - 1000))), TIME_MAX - 1000);
        assert_eq!(next(None), TIME_MAX + 1351);
        assert_eq!(next(Some((0, 3701))), TIME_MAX + 3702);
        assert_eq!(next(Some((0, 6052 + TICKS))), TIME_MAX + 6053 + TICKS);
        assert_eq!(next(Some((0, 0))), TIME_MAX + 8404 + TICKS);
        assert_eq!(next(Some((400, 2351))), TIME_MAX + 10_755 + TICKS);
    }

    #[test]
    fn the_time_in_a_pes_header_has_33_bits() {
        let header = [0, 0, 1, 0xc0, 0, 0, 0x80, 0x80, 5, 0x2f, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(time_of(&header), Some(TIME_MAX));
        assert_eq!(header_length(&header), Some(14));
    }
}
