//! One audio stream of a transport stream: the PES packets that carry it, and its frames.

use std::collections::VecDeque;

use super::mpeg::{self, Format, Frame, Framing};
use super::ts::{self, Item};

/// The part of a PES packet's header that every one has, in bytes.
const PES_HEADER: usize = 9;
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
    /// Samples so far.
    samples: u64,
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
            samples: 0,
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
        let Some(framing) = self.framing.or_else(|| self.search_framing()) else { return };
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
        self.buffer.drain(..at);
    }

    fn search_framing(&mut self) -> Option<Framing> {
        if self.buffer.len() < SEARCHED {
            return None;
        }
        let found = mpeg::search(&self.buffer);
        self.buffer.drain(..found.map_or(SEARCHED / 2, |(at, _)| at));
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
        if self.format != Some(frame.format) {
            self.format = Some(frame.format);
            items.push_back(Item::Change { track, format: frame.format });
        }
        let data = &self.buffer[at + frame.header..at + frame.length];
        items.push_back(Item::Packet(ts::packet(track, self.samples, frame.samples, data)));
        self.samples += frame.samples;
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

/// The length of a PES packet's header, as soon as it can be told. What is no header has none.
fn header_length(header: &[u8]) -> Option<usize> {
    if header.len() >= 3 && !header.starts_with(&[0, 0, 1]) {
        return Some(0);
    }
    header.get(PES_HEADER - 1).map(|more| PES_HEADER + usize::from(*more))
}
