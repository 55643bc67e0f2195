//! An input on its way from a request's body into the spool.

use std::io::{self, Read, Write};

use tiny_http::Request;

use super::draft::Draft;
use super::file_name;
use super::header::{self, Parameterized};
use super::multipart::{Boundary, Multipart, MultipartError, PartHead};
use super::problem::{Code, Problem, quoted};
use crate::disk::NoRoom;
use crate::shared::Shared;
use crate::spool::{Received, Receiving};

/// The gate's own field: the length of a body that it brings in chunks.
pub(crate) const LENGTH_FIELD: &str = "Ringback-Length";
/// The longest text field, in bytes.
const FIELD_MAX: usize = 64 * 1024;
/// The most bytes of all text fields of one form.
const FIELDS_MAX: usize = 256 * 1024;
/// What is read of a raw body at a time, in bytes.
const PIECE: u64 = 64 * 1024;

/// An input that is all here, and what the client said of it.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) name: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) received: Received,
}

/// How the body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// By its last chunk; that this comes is not checked below.
    Chunked,
}

impl Framing {
    /// What the head says; a head that says two things, or none that can be read, is refused.
    pub(crate) fn of(request: &Request) -> Result<Framing, Problem> {
        let bad = |detail| Err(Problem::new(Code::BadRequest, detail));
        if let Some(Ok(length)) = header::find(request, LENGTH_FIELD).map(str::parse) {
            return Ok(Framing::Length(length));
        }
        let mut lengths = header::all(request, "Content-Length");
        let mut encodings = header::all(request, "Transfer-Encoding");
        match (lengths.next(), encodings.next()) {
            _ if lengths.next().is_some() || encodings.next().is_some() => {
                bad("`Content-Length` or `Transfer-Encoding` was given twice.")
            }
            (Some(_), Some(_)) => bad("Give `Content-Length` or `Transfer-Encoding`, not both."),
            (Some(length), None) => match length.parse() {
                Ok(length) if length_is_digits(request) => Ok(Framing::Length(length)),
                _ => bad("`Content-Length` is not a number of bytes."),
            },
            (None, Some(encoding)) if encoding.trim().eq_ignore_ascii_case("chunked") => {
                Ok(Framing::Chunked)
            }
            (None, Some(_)) => bad("The only `Transfer-Encoding` taken is `chunked`."),
            (None, None) => Ok(Framing::Length(0)),
        }
    }
}

/// A sign before the digits would parse, and is not allowed.
fn length_is_digits(request: &Request) -> bool {
    header::find(request, "Content-Length")
        .is_some_and(|length| length.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The body of one request: bounded, and an error where it ends early.
pub(crate) struct Body<'a> {
    reader: &'a mut dyn Read,
    framing: Framing,
    taken: u64,
    max: u64,
}

impl Body<'_> {
    /// Asks the client for the body, where it waits to be asked. Refused without that where its
    /// length is more than `max` bytes.
    pub(crate) fn of(
        request: &mut Request,
        framing: Framing,
        max: u64,
    ) -> Result<Body<'_>, Problem> {
        match framing {
            Framing::Length(length) if length > max => Err(too_large(max)),
            Framing::Length(_) | Framing::Chunked => {
                Ok(Body { reader: request.as_reader(), framing, taken: 0, max })
            }
        }
    }

    fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }

    fn problem(&self, error: &io::Error) -> Problem {
        match error.kind() {
            io::ErrorKind::FileTooLarge => too_large(self.max),
            io::ErrorKind::UnexpectedEof => Problem::new(
                Code::TruncatedBody,
                format!("The body ended after {} bytes. Send it again.", self.taken),
            ),
            _ => Problem::new(Code::TruncatedBody, format!("The body could not be read: {error}.")),
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.taken += read as u64;
        if self.taken > self.max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match self.framing {
            Framing::Length(length) if read == 0 && !buffer.is_empty() && self.taken < length => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Framing::Length(_) | Framing::Chunked => Ok(read),
        }
    }
}

pub(crate) fn too_large(max: u64) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("The body is longer than the {max} bytes that this server takes (`--max-body`)."),
    )
}

/// What kind of body the content type announces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// A form with this boundary.
    Form(Boundary),
    /// The input itself, of this content type.
    Raw(Option<String>),
}

impl BodyKind {
    /// From a `Content-Type`; one that is none says nothing.
    pub(crate) fn of(content_type: Option<&str>) -> Result<BodyKind, Problem> {
        let parsed = content_type.and_then(|value| Parameterized::parse(value.as_bytes()));
        let Some(parsed) = parsed else { return Ok(BodyKind::Raw(None)) };
        match parsed.essence() {
            Some("multipart/form-data") => {
                let boundary = parsed.get("boundary").and_then(Boundary::new);
                boundary.map(BodyKind::Form).ok_or_else(|| {
                    bad_multipart(
                        "its `Content-Type` has no boundary of 1 to 200 visible ASCII characters",
                    )
                })
            }
            essence => Ok(BodyKind::Raw(essence.map(str::to_owned))),
        }
    }
}

/// Takes in a body that is the input.
pub(crate) fn receive_raw(
    shared: &Shared,
    mut body: Body<'_>,
    content_type: Option<String>,
) -> Result<Upload, Problem> {
    let mut receiving = receiving(shared, body.length())?;
    let piece = body.length().unwrap_or(PIECE).clamp(1, PIECE);
    let mut buffer = vec![0; piece as usize];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => write(&mut receiving, &buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(body.problem(&error)),
        }
    }
    let received = finish(receiving)?;
    Ok(Upload { name: None, content_type, received })
}

/// Takes in a form: its text fields into `draft`, its `file` into the spool.
pub(crate) fn receive_form(
    shared: &Shared,
    mut body: Body<'_>,
    boundary: &Boundary,
    draft: &mut Draft,
) -> Result<Upload, Problem> {
    let length = body.length();
    let mut form = Multipart::new(&mut body, boundary, length);
    match read_form(shared, &mut form, length, draft) {
        Ok(upload) => upload.ok_or_else(|| {
            Problem::new(Code::MissingFile, "Add the part `file` with the input and a filename.")
        }),
        Err(FormError::Refused(problem)) => Err(problem),
        Err(FormError::Multipart(MultipartError::Read(error)))
            if error.kind() == io::ErrorKind::FileTooLarge =>
        {
            Err(body.problem(&error))
        }
        Err(FormError::Multipart(MultipartError::Encoded)) => Err(Problem::new(
            Code::UnsupportedType,
            "A part with a `Content-Transfer-Encoding` such as base64, or a `Content-Encoding`, is not \
             taken. Send its bytes as they are.",
        )),
        Err(FormError::Multipart(error)) => Err(bad_multipart(&error)),
    }
}

/// Why a form is not taken.
enum FormError {
    Multipart(MultipartError),
    Refused(Problem),
}

impl From<MultipartError> for FormError {
    fn from(error: MultipartError) -> FormError {
        FormError::Multipart(error)
    }
}

impl From<Problem> for FormError {
    fn from(problem: Problem) -> FormError {
        FormError::Refused(problem)
    }
}

fn read_form(
    shared: &Shared,
    form: &mut Multipart<impl Read>,
    length: Option<u64>,
    draft: &mut Draft,
) -> Result<Option<Upload>, FormError> {
    let mut upload = None;
    let mut room = FIELDS_MAX;
    while let Some(head) = form.next_part()? {
        let is_input = head.name == "file";
        match &head.file_name {
            Some(file_name) if is_input && !file_name.is_empty() => {
                if upload.is_some() {
                    return Err(unexpected_file("There are two parts `file`").into());
                }
                draft.check(shared, head.content_type.as_deref())?;
                upload = Some(receive_file(shared, form, length, head)?);
            }
            // A file input that nobody has used.
            Some(file_name) if file_name.is_empty() && form.next_piece()?.is_none() => {}
            Some(_) | None if is_input => {
                let detail = "The part `file` has no filename. Give it one: any will do.";
                return Err(Problem::new(Code::MissingFile, detail).into());
            }
            Some(_) => {
                let detail = format!("There is a file in the part {}", quoted(&head.name));
                return Err(unexpected_file(&detail).into());
            }
            None => {
                let value = read_field(form, &head.name, &mut room)?;
                draft.set(head.name.into(), value)?;
            }
        }
    }
    Ok(upload)
}

fn receive_file(
    shared: &Shared,
    form: &mut Multipart<impl Read>,
    length: Option<u64>,
    head: PartHead,
) -> Result<Upload, FormError> {
    let mut receiving = receiving(shared, length)?;
    while let Some(piece) = form.next_piece()? {
        write(&mut receiving, piece)?;
    }
    let name = head.file_name.and_then(|name| file_name::cleaned(name.as_bytes()));
    Ok(Upload { name, content_type: head.content_type, received: finish(receiving)? })
}

/// Reads a text field; `room` is what all those still to come may have together.
fn read_field(
    form: &mut Multipart<impl Read>,
    name: &str,
    room: &mut usize,
) -> Result<String, FormError> {
    let bad = |what: &str| {
        let name = quoted(name);
        FormError::Refused(Problem::new(Code::BadParameter, format!("The field {name} {what}.")))
    };
    let mut value = Vec::new();
    while let Some(piece) = form.next_piece()? {
        *room = room.checked_sub(piece.len()).ok_or_else(|| {
            bad("brings the text fields to more than 256 KiB; only `file` may be long")
        })?;
        if value.len() + piece.len() > FIELD_MAX {
            return Err(bad("is longer than 64 KiB; only `file`, with a filename, may be"));
        }
        value.extend_from_slice(piece);
    }
    String::from_utf8(value).map_err(|_| bad("is not UTF-8"))
}

fn receiving(shared: &Shared, length: Option<u64>) -> Result<Receiving, Problem> {
    shared.spool.receive(length).map_err(|NoRoom| Problem::disk_full())
}

fn write(receiving: &mut Receiving, bytes: &[u8]) -> Result<(), Problem> {
    receiving.write_all(bytes).map_err(|error| Problem::disk(&error))
}

fn finish(receiving: Receiving) -> Result<Received, Problem> {
    if receiving.len() == 0 {
        return Err(Problem::new(Code::EmptyInput, "The input is empty. Send at least one byte."));
    }
    receiving.finish().map_err(|error| Problem::disk(&error))
}

fn bad_multipart(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadMultipart, format!("The body is not a form: {error}."))
}

fn unexpected_file(what: &str) -> Problem {
    Problem::new(
        Code::UnexpectedFile,
        format!("{what}. A job has one input: send one file, in the part `file`."),
    )
}
