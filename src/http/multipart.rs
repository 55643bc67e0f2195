//! `multipart/form-data` (RFC 7578, RFC 2046) pulled from a reader through one fixed window, so that
//! a part of any length costs the memory of the window. Every byte of the body is accounted for:
//! only a body that is whole up to its closing boundary reads to the end without an error.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use memchr::memmem::{self, Finder};

pub(crate) use self::head::PartHead;

#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod head;
mod name;
#[cfg(test)]
mod tests;

/// The longest boundary, in bytes.
const BOUNDARY_MAX: usize = 200;
/// The most parts of one body.
const PARTS_MAX: usize = 100;
/// The longest head of a part, in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// The most bytes before the first boundary and after the last, each.
const AROUND_MAX: usize = 8 * 1024;
/// The most spaces and tabs after a boundary.
const PADDING_MAX: usize = 64;
/// The window's bounds: it holds a head, and is worth a read.
const WINDOW: (u64, u64) = (16 * 1024, 64 * 1024);

/// What separates the parts. RFC 2046 allows 1 to 70 of some characters; clients send others, and more of
/// them, so that any visible ASCII is taken but for quotation marks and backslashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boundary(Vec<u8>);

impl Boundary {
    /// `None` where it cannot be one.
    pub(crate) fn new(text: &[u8]) -> Option<Boundary> {
        let valid = (1..=BOUNDARY_MAX).contains(&text.len())
            && text.iter().all(|byte| (b' '..=b'~').contains(byte) && !b"\"\\".contains(byte))
            && text.last() != Some(&b' ');
        valid.then(|| Boundary(text.to_vec()))
    }
}

/// Why a body is not a multipart one.
#[derive(Debug)]
pub(crate) enum MultipartError {
    /// The body could not be read.
    Read(io::Error),
    /// The body ended before its closing boundary.
    Truncated,
    /// A part is not sent as it is (RFC 7578, 4.7 and 4.8).
    Encoded,
    /// This is wrong with it.
    Malformed(&'static str),
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MultipartError::Read(error) => write!(f, "it could not be read: {error}"),
            MultipartError::Encoded => f.write_str("a part is encoded"),
            MultipartError::Truncated => f.write_str("it ends before its closing boundary"),
            MultipartError::Malformed(what) => f.write_str(what),
        }
    }
}

/// A reader of one body. [`next_part`](Multipart::next_part) and
/// [`next_piece`](Multipart::next_piece) take turns.
pub(crate) struct Multipart<R> {
    source: R,
    window: Box<[u8]>,
    /// The part of the window that is read and not yet given out.
    unread: Range<usize>,
    /// Finds a line feed, two dashes and the boundary.
    delimiter: Finder<'static>,
    place: Place,
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first boundary.
    Preamble,
    /// In the content of a part.
    Content,
    /// Behind a boundary, at the line end before a part's head.
    Head,
    /// Behind the closing boundary.
    Epilogue,
    /// Behind everything.
    End,
}

/// What the window begins with.
enum Ahead {
    /// So many bytes of content; with none, more must be read to tell.
    Content(usize),
    /// A boundary of so many bytes, and what is behind it.
    Boundary(usize, Place),
}

/// What a delimiter in the window turns out to be.
enum Line {
    /// A boundary, followed by so many spaces and tabs up to the line's end.
    Boundary(usize),
    /// The closing boundary.
    Closing,
    /// Content that looks like one.
    Content,
    /// More of the line must be read to tell.
    Unfinished,
}

impl<R: Read> Multipart<R> {
    /// `length` is the body's, where it is known: a short one gets a small window.
    pub(crate) fn new(source: R, boundary: &Boundary, length: Option<u64>) -> Multipart<R> {
        let capacity = length.unwrap_or(WINDOW.1).clamp(WINDOW.0, WINDOW.1) as usize;
        let mut window = vec![0; capacity].into_boxed_slice();
        // The first boundary may open the body, the others follow a line end: with one put before
        // the body they are all the same.
        window[..2].copy_from_slice(b"\r\n");
        let delimiter = [b"\r\n--", &boundary.0[..]].concat();
        Multipart {
            source,
            window,
            unread: 0..2,
            delimiter: Finder::new(&delimiter).into_owned(),
            place: Place::Preamble,
            parts: 0,
        }
    }

    /// The head of the next part, behind whatever is left of this one; `None` when the body has
    /// been read to its end, and was whole.
    pub(crate) fn next_part(&mut self) -> Result<Option<PartHead>, MultipartError> {
        self.skip_content()?;
        match self.place {
            Place::Head => self.read_head().map(Some),
            Place::Epilogue => {
                self.skip_epilogue()?;
                self.place = Place::End;
                Ok(None)
            }
            Place::End => Ok(None),
            Place::Preamble | Place::Content => {
                unreachable!("content is skipped up to the boundary behind it")
            }
        }
    }

    /// The next piece of the current part's content, never empty; `None` at its end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<&[u8]>, MultipartError> {
        match self.place {
            Place::Content => Ok(self.piece()?.map(|piece| &self.window[piece])),
            Place::Preamble | Place::Head | Place::Epilogue | Place::End => Ok(None),
        }
    }

    fn skip_content(&mut self) -> Result<(), MultipartError> {
        let mut preamble = 0;
        while matches!(self.place, Place::Preamble | Place::Content) {
            let skipped = self.piece()?.map_or(0, |piece| piece.len());
            if self.place == Place::Preamble {
                preamble += skipped;
                if preamble > AROUND_MAX {
                    return Err(MultipartError::Malformed("its first boundary is missing"));
                }
            }
        }
        Ok(())
    }

    /// The next piece of content; `None` at a boundary, which is then behind.
    fn piece(&mut self) -> Result<Option<Range<usize>>, MultipartError> {
        loop {
            match self.look() {
                Ahead::Content(0) => self.fill()?,
                Ahead::Content(length) => return Ok(Some(self.take(length))),
                Ahead::Boundary(length, place) => {
                    self.take(length);
                    self.place = place;
                    return Ok(None);
                }
            }
        }
    }

    /// Tells what the unread part of the window begins with.
    fn look(&self) -> Ahead {
        let unread = &self.window[self.unread.clone()];
        let delimiter = self.delimiter.needle().len();
        let mut searched = 0;
        while let Some(at) = self.delimiter.find(&unread[searched..]).map(|at| searched + at) {
            match line_after_delimiter(&unread[at + delimiter..]) {
                Line::Content => searched = at + delimiter,
                Line::Boundary(padding) if at == 0 => {
                    return Ahead::Boundary(delimiter + padding, Place::Head);
                }
                Line::Closing if at == 0 => {
                    return Ahead::Boundary(delimiter + 2, Place::Epilogue);
                }
                Line::Boundary(_) | Line::Closing | Line::Unfinished => return Ahead::Content(at),
            }
        }
        // A delimiter may begin in the last bytes and end in those not read yet. None begins inside
        // another: the carriage return is only at its start.
        Ahead::Content(unread.len().saturating_sub(delimiter - 1).max(searched))
    }

    fn read_head(&mut self) -> Result<PartHead, MultipartError> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(MultipartError::Malformed("it has more than 100 parts"));
        }
        let end = loop {
            let unread = &self.window[self.unread.clone()];
            let searched = &unread[..unread.len().min(HEAD_MAX)];
            match memmem::find(searched, b"\r\n\r\n") {
                Some(end) => break end,
                None if unread.len() >= HEAD_MAX => {
                    return Err(MultipartError::Malformed(
                        "the head of a part is longer than 8 KiB",
                    ));
                }
                None => self.fill()?,
            }
        };
        let head = self.take(end + 4);
        self.place = Place::Content;
        PartHead::parse(&self.window[head.start..head.start + end])
    }

    fn skip_epilogue(&mut self) -> Result<(), MultipartError> {
        let mut skipped = 0;
        loop {
            skipped += self.take(self.unread.len()).len();
            if skipped > AROUND_MAX {
                return Err(MultipartError::Malformed("it goes on after its closing boundary"));
            }
            match self.fill() {
                Ok(()) => {}
                Err(MultipartError::Truncated) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Marks the next bytes of the window as given out.
    fn take(&mut self, bytes: usize) -> Range<usize> {
        let taken = self.unread.start..self.unread.start + bytes;
        self.unread.start = taken.end;
        taken
    }

    /// Reads more into the window; at the body's end that is an error.
    fn fill(&mut self) -> Result<(), MultipartError> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.window.len() {
            self.window.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let free = &mut self.window[self.unread.end..];
        debug_assert!(!free.is_empty(), "the window is longer than anything waited for in it");
        let read = loop {
            match self.source.read(free) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(MultipartError::Read(error)),
            }
        };
        if read == 0 {
            return Err(MultipartError::Truncated);
        }
        self.unread.end += read;
        Ok(())
    }
}

/// Looks at what follows a delimiter. A boundary fills its line up to spaces and tabs.
fn line_after_delimiter(rest: &[u8]) -> Line {
    if rest.starts_with(b"--") {
        return Line::Closing;
    }
    let padding =
        rest.iter().take(PADDING_MAX).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match &rest[padding..] {
        [b'\r', b'\n', ..] => Line::Boundary(padding),
        [] | [b'\r'] => Line::Unfinished,
        [b'-'] if padding == 0 => Line::Unfinished,
        _ => Line::Content,
    }
}
