//! A request's body on its way through an [`Inbox`]: framing off, sizes checked.

use memchr::memchr;

use super::head::Framing;
use super::inbox::Inbox;
use crate::http::problem::{Code, Problem};
use crate::http::upload::too_large;

/// The longest line with a chunk's size and extensions, in bytes.
const SIZE_LINE_MAX: usize = 256;
/// The most bytes of a body's trailer, which nobody reads.
const TRAILER_MAX: usize = 4 * 1024;

/// What has come in of a body and what is still to come.
#[derive(Debug)]
pub(super) struct Body {
    next: Next,
    /// The bytes that may still come, of whatever framing.
    room: u64,
    max: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// This many bytes, and then the end.
    Last(u64),
    /// A line with a chunk's size.
    Size,
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// The lines after the last chunk, of which so many bytes have come.
    Trailer(usize),
    /// Nothing.
    End,
}

/// What can be had of a body now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes of it are the first that are unread. They are to be consumed.
    Bytes(usize),
    /// More has to come in first.
    Missing,
    /// It is whole.
    End,
}

impl Body {
    /// A body of at most `max` bytes. One that says to be longer is refused at once.
    pub(super) fn new(framing: Framing, max: u64) -> Result<Body, Problem> {
        let next = match framing {
            Framing::None | Framing::Length(0) => Next::End,
            Framing::Length(length) if length > max => return Err(too_large(max)),
            Framing::Length(length) => Next::Last(length),
            Framing::Chunked => Next::Size,
        };
        Ok(Body { next, room: max, max })
    }

    /// Whether all of it was taken.
    pub(super) fn is_whole(&self) -> bool {
        self.next == Next::End
    }

    /// How many bytes come next that are nothing but body, to its end. They need not come through the
    /// inbox; those that do not are to be told of.
    pub(super) fn bare(&self) -> Option<u64> {
        match self.next {
            Next::Last(left) => Some(left),
            Next::Size | Next::Chunk(_) | Next::ChunkEnd | Next::Trailer(_) | Next::End => None,
        }
    }

    /// So many of the [`bare`](Body::bare) bytes have come.
    pub(super) fn pass(&mut self, bytes: usize) {
        if let Next::Last(left) = self.next {
            let left = left.saturating_sub(bytes as u64);
            self.next = if left == 0 { Next::End } else { Next::Last(left) };
        }
    }

    /// The next piece of what is unread.
    pub(super) fn piece(&mut self, inbox: &mut Inbox) -> Result<Piece, Problem> {
        loop {
            let unread = inbox.unread();
            let here = unread.len() as u64;
            match self.next {
                Next::End => return Ok(Piece::End),
                Next::Last(_) | Next::Chunk(_) if here == 0 => return Ok(Piece::Missing),
                Next::Last(left) => {
                    let taken = left.min(here);
                    self.next = if taken == left { Next::End } else { Next::Last(left - taken) };
                    return Ok(Piece::Bytes(taken as usize));
                }
                Next::Chunk(left) => {
                    let taken = left.min(here);
                    self.next =
                        if taken == left { Next::ChunkEnd } else { Next::Chunk(left - taken) };
                    return Ok(Piece::Bytes(taken as usize));
                }
                Next::Size => {
                    let Some(line) = line(unread, SIZE_LINE_MAX)? else {
                        return Ok(Piece::Missing);
                    };
                    let size = chunk_size(line)?;
                    let length = line.len() + 2;
                    self.room = self.room.checked_sub(size).ok_or_else(|| too_large(self.max))?;
                    self.next = if size == 0 { Next::Trailer(0) } else { Next::Chunk(size) };
                    inbox.consume(length);
                }
                Next::ChunkEnd => match unread {
                    [b'\r', b'\n', ..] => {
                        self.next = Next::Size;
                        inbox.consume(2);
                    }
                    [] | [b'\r'] => return Ok(Piece::Missing),
                    _ => return Err(bad_chunk("does not end where its size says")),
                },
                Next::Trailer(before) => {
                    let room = TRAILER_MAX.saturating_sub(before);
                    let Some(line) = line(unread, room)? else { return Ok(Piece::Missing) };
                    let length = line.len() + 2;
                    self.next =
                        if line.is_empty() { Next::End } else { Next::Trailer(before + length) };
                    inbox.consume(length);
                }
            }
        }
    }
}

/// The line that `bytes` begin with, without its end; `None` while it has none.
fn line(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, Problem> {
    let seen = &bytes[..bytes.len().min(max)];
    match memchr(b'\n', seen) {
        Some(end) => match seen[..end].strip_suffix(b"\r") {
            Some(line) if !line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => {
                Ok(Some(line))
            }
            _ => Err(bad_chunk("has a line that is not one")),
        },
        None if bytes.len() >= max => Err(bad_chunk("has a line that is too long")),
        None => Ok(None),
    }
}

/// Hexadecimal digits, and extensions that say nothing here.
fn chunk_size(line: &[u8]) -> Result<u64, Problem> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let extended = matches!(rest.trim_ascii_start(), [] | [b';', ..]);
    // The leading zeros that some send do no harm; more digits than 16 do not fit.
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    size.filter(|_| extended).ok_or_else(|| bad_chunk("has no size that can be read"))
}

fn bad_chunk(what: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("A chunk of the body {what}."))
}

#[cfg(test)]
mod tests;
