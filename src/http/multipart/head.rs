//! The head of a part: what it is called, and what it says of its content.

use memchr::memmem;

use super::{MultipartError, name};
use crate::http::header::Parameterized;

/// The longest name of a part, in bytes.
pub(super) const NAME_MAX: usize = 256;

/// What a part says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// The field's name.
    pub(crate) name: String,
    /// The file's name; `None` for a field that is not a file.
    pub(crate) file_name: Option<String>,
    /// The content type without parameters, in lower case.
    pub(crate) content_type: Option<String>,
}

impl PartHead {
    /// Reads a head: the line end before it, and its lines.
    pub(super) fn parse(head: &[u8]) -> Result<PartHead, MultipartError> {
        let mut disposition = None;
        let mut content_type = None;
        let mut is_encoded = false;
        for line in unfolded(head) {
            let Some(colon) = memchr::memchr(b':', &line) else {
                return Err(MultipartError::Malformed("a line of a part's head has no colon"));
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.eq_ignore_ascii_case(b"content-disposition") {
                disposition = Parameterized::parse(value);
            } else if name.eq_ignore_ascii_case(b"content-type") {
                content_type = Parameterized::parse(value);
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                let plain: [&[u8]; 3] = [b"binary", b"8bit", b"7bit"];
                let encoding = value.trim_ascii();
                is_encoded |= !encoding.is_empty()
                    && !plain.iter().any(|plain| encoding.eq_ignore_ascii_case(plain));
            } else if name.eq_ignore_ascii_case(b"content-encoding") {
                let encoding = value.trim_ascii();
                is_encoded |= !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity");
            }
        }
        if is_encoded {
            return Err(MultipartError::Encoded);
        }
        let disposition = disposition
            .filter(|disposition| disposition.value == "form-data")
            .ok_or(MultipartError::Malformed(
                "a part has no well-formed `Content-Disposition: form-data`",
            ))?;
        let name = disposition
            .get("name")
            .map(name::unescaped)
            .and_then(|name| String::from_utf8(name).ok());
        Ok(PartHead {
            name: name.filter(|name| name.len() <= NAME_MAX).ok_or(MultipartError::Malformed(
                "a part has no name of up to 256 bytes of UTF-8",
            ))?,
            file_name: name::of(&disposition),
            content_type: content_type.and_then(|value| value.essence().map(str::to_owned)),
        })
    }
}

/// The lines of a head. One that begins with a space or a tab goes on with the line before it.
fn unfolded(head: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut rest = head;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        let end = memmem::find(after, b"\r\n").unwrap_or(after.len());
        let (line, left) = after.split_at(end);
        rest = left;
        match lines.last_mut() {
            Some(last) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                last.extend_from_slice(line);
            }
            _ if line.is_empty() => {}
            _ => lines.push(line.to_vec()),
        }
    }
    lines
}
