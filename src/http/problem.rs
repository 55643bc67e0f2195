//! What a client is told when it does not get what it asked for: `application/problem+json`
//! (RFC 9457) with a `code` that programs can branch on and a `detail` that says what to do.

use std::io;

use serde::Serialize;
use tiny_http::StatusCode;

use super::reply::{Reply, json_line};
use crate::disk::is_no_room;
use crate::queue::QueueError;
use crate::repeated::Repeated;

/// Requests that failed on this side.
static UNANSWERED: Repeated = Repeated::new(log::Level::Error);
/// Requests that found no room.
static NO_ROOM: Repeated = Repeated::new(log::Level::Error);

/// Every way to be refused. The words are part of the wire contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The request's head contradicts itself.
    BadRequest,
    /// The body is not a whole `multipart/form-data`.
    BadMultipart,
    /// The body ended before its declared length.
    TruncatedBody,
    /// The `Idempotency-Key` is too long or not printable.
    BadIdempotencyKey,
    /// No key, or one that the server does not know.
    Unauthorized,
    /// A page on another site has sent it.
    CrossSite,
    /// It was meant for a server of another name.
    HostRefused,
    /// Nothing has this address.
    NotFound,
    /// There is no such job, or no longer.
    UnknownJob,
    /// The job has no result yet.
    NotFinished,
    /// The job ended without a result.
    NoResult,
    /// The address does not take this method; `Allow` lists those it takes.
    MethodNotAllowed,
    /// A raw body needs a `Content-Length`.
    LengthRequired,
    /// The body is longer than the server takes.
    BodyTooLarge,
    /// The address is longer than the server takes.
    UriTooLong,
    /// The head is longer than the server takes, or has too many fields.
    HeadTooLarge,
    /// The request, or a part of it, came too slowly.
    Timeout,
    /// The client expects something that is not done here.
    ExpectationFailed,
    /// The version of HTTP is not spoken here.
    UnsupportedVersion,
    /// The task does not take this content type.
    UnsupportedType,
    /// There is no `file` part, or it has no filename.
    MissingFile,
    /// There is more than one file, or one under another name.
    UnexpectedFile,
    /// There is no `callback`.
    MissingCallback,
    /// The input has no bytes.
    EmptyInput,
    /// No task has this name.
    UnknownTask,
    /// A parameter has a value that cannot be.
    BadParameter,
    /// The callback is not an absolute http or https URL.
    BadCallback,
    /// The callback leads to an address that may not be called.
    CallbackRefused,
    /// The idempotency key came before with another request.
    IdempotencyKeyReused,
    /// The result does not come in this format.
    UnknownFormat,
    /// More requests came from one client than may.
    TooManyRequests,
    /// As many jobs of one client wait as may.
    ShareTaken,
    /// Something broke on this side.
    Internal,
    /// As many jobs wait as may.
    QueueFull,
    /// As many uploads or downloads wait as may.
    Busy,
    /// There is no room on the disk.
    DiskFull,
    /// The job store cannot be written.
    StoreFailed,
    /// The server is not ready for work yet.
    Starting,
    /// The server is stopping.
    Draining,
    /// The threads that answer requests do not.
    Stalled,
}

impl Code {
    /// The status that goes with it.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Code::BadRequest
            | Code::BadMultipart
            | Code::TruncatedBody
            | Code::BadIdempotencyKey => 400,
            Code::Unauthorized => 401,
            Code::CrossSite | Code::HostRefused => 403,
            Code::NotFound | Code::UnknownJob | Code::NotFinished | Code::NoResult => 404,
            Code::MethodNotAllowed => 405,
            Code::LengthRequired => 411,
            Code::BodyTooLarge => 413,
            Code::UriTooLong => 414,
            Code::HeadTooLarge => 431,
            Code::Timeout => 408,
            Code::ExpectationFailed => 417,
            Code::UnsupportedVersion => 505,
            Code::UnsupportedType => 415,
            Code::MissingFile
            | Code::UnexpectedFile
            | Code::MissingCallback
            | Code::EmptyInput
            | Code::UnknownTask
            | Code::BadParameter
            | Code::BadCallback
            | Code::CallbackRefused
            | Code::IdempotencyKeyReused
            | Code::UnknownFormat => 422,
            Code::TooManyRequests | Code::ShareTaken => 429,
            Code::Internal => 500,
            Code::QueueFull
            | Code::Busy
            | Code::DiskFull
            | Code::StoreFailed
            | Code::Starting
            | Code::Draining
            | Code::Stalled => 503,
        }
    }

    /// The word on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Code::BadRequest => "bad_request",
            Code::BadMultipart => "bad_multipart",
            Code::TruncatedBody => "truncated_body",
            Code::BadIdempotencyKey => "bad_idempotency_key",
            Code::Unauthorized => "unauthorized",
            Code::CrossSite => "cross_site",
            Code::HostRefused => "host_refused",
            Code::NotFound => "not_found",
            Code::UnknownJob => "unknown_job",
            Code::NotFinished => "not_finished",
            Code::NoResult => "no_result",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::LengthRequired => "length_required",
            Code::BodyTooLarge => "body_too_large",
            Code::UriTooLong => "uri_too_long",
            Code::HeadTooLarge => "head_too_large",
            Code::Timeout => "timeout",
            Code::ExpectationFailed => "expectation_failed",
            Code::UnsupportedVersion => "unsupported_version",
            Code::UnsupportedType => "unsupported_type",
            Code::MissingFile => "missing_file",
            Code::UnexpectedFile => "unexpected_file",
            Code::MissingCallback => "missing_callback",
            Code::EmptyInput => "empty_input",
            Code::UnknownTask => "unknown_task",
            Code::BadParameter => "bad_parameter",
            Code::BadCallback => "bad_callback",
            Code::CallbackRefused => "callback_refused",
            Code::IdempotencyKeyReused => "idempotency_key_reused",
            Code::UnknownFormat => "unknown_format",
            Code::TooManyRequests => "too_many_requests",
            Code::ShareTaken => "share_taken",
            Code::Internal => "internal",
            Code::QueueFull => "queue_full",
            Code::Busy => "busy",
            Code::DiskFull => "disk_full",
            Code::StoreFailed => "store_failed",
            Code::Starting => "starting",
            Code::Draining => "draining",
            Code::Stalled => "stalled",
        }
    }
}

/// One refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    headers: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
}

impl Problem {
    /// `detail` is one or two sentences for the person behind the client.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), headers: Vec::new() }
    }

    /// A failure of this side: logged here, and told without its reason.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Problem {
        UNANSWERED.say(format_args!("a request could not be answered: {error}"));
        Problem::new(Code::Internal, "The server could not do this; its log says why.")
    }

    /// A failure to write what a client sent.
    pub(crate) fn disk(error: &io::Error) -> Problem {
        if is_no_room(error) { Problem::disk_full() } else { Problem::store_failed(error) }
    }

    /// A change that could not be stored: logged here, and told without its reason.
    pub(crate) fn store_failed(error: impl std::fmt::Display) -> Problem {
        UNANSWERED.say(format_args!("a request could not be stored: {error}"));
        let detail = "The server cannot store jobs now; its log says why. Try again later.";
        Problem::new(Code::StoreFailed, detail).retry_after(10)
    }

    /// There is no room for another input.
    pub(crate) fn disk_full() -> Problem {
        NO_ROOM.say("the disk is full: a request was refused");
        Problem::new(Code::DiskFull, "The server's disk is full. Try again later.").retry_after(60)
    }

    /// No job has this id.
    pub(crate) fn unknown_job() -> Problem {
        Problem::new(Code::UnknownJob, "There is no job with this id; it may have expired.")
    }

    /// Adds a header to the reply.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }

    /// Says when to come again.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u64) -> Problem {
        self.with("Retry-After", seconds.to_string())
    }

    /// Whether the same request may be taken later: there is too much of something now.
    pub(crate) fn is_for_now(&self) -> bool {
        matches!(self.code.status(), 429 | 503)
    }

    /// As it goes out.
    pub(crate) fn reply(&self) -> Reply {
        let status = self.code.status();
        let body = ProblemJson {
            r#type: "about:blank",
            title: StatusCode(status).default_reason_phrase(),
            status,
            code: self.code.as_str(),
            detail: &self.detail,
        };
        let reply = Reply::bytes(status, "application/problem+json", json_line(&body));
        self.headers.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Problem {
        Problem::internal(error)
    }
}

/// A client's own words, quoted, and cut where they are long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
