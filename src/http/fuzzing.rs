//! What of HTTP the programs in `fuzz/` reach.

use super::header::{Parameterized, idempotency_key, matches_tag, preferred_wait};

use super::reply::json_line;
use super::wire::Snapshot;
use crate::job::Job;

pub use super::gate::fuzzing::{Exchange, Framing, converse};
pub use super::multipart::fuzzing::{Form, FormEnd, FormPart, read_form};

/// A job as a list shows it.
pub(crate) fn wire_json(job: Job) -> Vec<u8> {
    json_line(&Snapshot::brief(job).json())
}

/// One header value, read as each of the kinds there are.
#[derive(Debug)]
pub struct HeaderValue {
    /// Before the first semicolon; `None` where the value cannot be taken apart.
    pub value: Option<String>,
    /// As a content type.
    pub essence: Option<String>,
    /// The parameter `name`.
    pub name: Option<Vec<u8>>,
    /// As an `Idempotency-Key`.
    pub key: Option<String>,
    /// As a `Prefer`, in seconds.
    pub wait: Option<u64>,
    /// As an `If-None-Match`, against `W/"1f"`.
    pub matches: bool,
}

/// Reads `bytes` as a header value.
pub fn header_value(bytes: &[u8]) -> HeaderValue {
    let parsed = Parameterized::parse(bytes);
    // What is behind the gate is ASCII; more than that does not hurt the look at it.
    let text = String::from_utf8_lossy(bytes);
    HeaderValue {
        value: parsed.as_ref().map(|parsed| parsed.value.clone()),
        essence: parsed.as_ref().and_then(|parsed| parsed.essence().map(str::to_owned)),
        name: parsed.as_ref().and_then(|parsed| parsed.get("name").map(<[u8]>::to_vec)),
        key: idempotency_key(&text).ok(),
        wait: preferred_wait([&*text].into_iter()),
        matches: matches_tag(&text, "W/\"1f\""),
    }
}
