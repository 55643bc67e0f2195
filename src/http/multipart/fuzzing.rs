//! A form that comes in pieces of any size.

use std::io::{self, Read};

use super::{Boundary, Multipart, MultipartError, WINDOW};
use crate::http::file_name;
use crate::http::upload::BodyKind;

/// What was read of a form.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// Its boundary.
    pub boundary: Vec<u8>,
    /// The parts that have a head, the last of them perhaps cut off.
    pub parts: Vec<FormPart>,
    /// How it ended.
    pub end: FormEnd,
}

/// How a form ended.
#[derive(Debug, PartialEq, Eq)]
pub enum FormEnd {
    /// With its closing boundary.
    Whole,
    /// Before that.
    Truncated,
    /// This is wrong with it.
    Malformed(&'static str),
}

/// A part of a form.
#[derive(Debug, PartialEq, Eq)]
pub struct FormPart {
    /// The field's name.
    pub name: String,
    /// The file's name in UTF-8.
    pub file_name: Option<Vec<u8>>,
    /// The file's name as it is kept.
    pub shown_name: Option<String>,
    /// Without parameters.
    pub content_type: Option<String>,
    /// The bytes.
    pub content: Vec<u8>,
}

/// Gives out at most `step` bytes at a time.
struct Stepwise<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Stepwise<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.step.min(buffer.len());
        self.rest.take(length as u64).read(buffer).inspect(|&read| self.rest = &self.rest[read..])
    }
}

/// Reads `body` as a form, `step` bytes at a time, if the content type announces one.
pub fn read_form(content_type: &str, body: &[u8], step: usize) -> Option<Form> {
    let Ok(BodyKind::Form(boundary)) = BodyKind::of(Some(content_type)) else { return None };
    let mut parts = Vec::new();
    let end = match read_parts(Stepwise { rest: body, step }, &boundary, &mut parts) {
        Ok(()) => FormEnd::Whole,
        Err(MultipartError::Truncated) => FormEnd::Truncated,
        Err(MultipartError::Encoded) => FormEnd::Malformed("a part is encoded"),
        Err(MultipartError::Malformed(what)) => FormEnd::Malformed(what),
        Err(MultipartError::Read(error)) => unreachable!("memory can be read: {error}"),
    };
    Some(Form { boundary: boundary.0, parts, end })
}

fn read_parts(
    source: Stepwise<'_>,
    boundary: &Boundary,
    parts: &mut Vec<FormPart>,
) -> Result<(), MultipartError> {
    let mut form = Multipart::new(source, boundary, None);
    while let Some(head) = form.next_part()? {
        parts.push(FormPart {
            shown_name: head
                .file_name
                .as_deref()
                .and_then(|name| file_name::cleaned(name.as_bytes())),
            name: head.name,
            file_name: head.file_name.map(String::into_bytes),
            content_type: head.content_type,
            content: Vec::new(),
        });
        while let Some(piece) = form.next_piece()? {
            assert!(!piece.is_empty() && piece.len() as u64 <= WINDOW.1);
            parts.last_mut().expect("invariant: pushed above").content.extend_from_slice(piece);
        }
    }
    Ok(())
}
