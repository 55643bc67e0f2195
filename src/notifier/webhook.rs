//! What a callback says: the body, and the headers of Standard Webhooks 1.0.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde_json::Value;

use crate::job::{Job, JobId, State, Timestamp};
use crate::queue::{StoredData, StoredOutput};
use crate::warning::Warning;

/// Bytes read from a file at a time while it is signed.
const SIGN_CHUNK: usize = 16 * 1024;
/// The longest file name sent, in bytes.
const LONGEST_FILE_NAME: usize = 255;

/// The body of one callback. A file in it is streamed from the disk each time.
#[derive(Debug)]
pub(crate) struct Message {
    content_type: String,
    /// Everything, or what stands before the file.
    head: Vec<u8>,
    file: Option<Part>,
    /// What stands behind the file.
    tail: Vec<u8>,
}

/// An output file that is open. Its length was taken when it was opened; it is never changed.
#[derive(Debug)]
struct Part {
    file: File,
    bytes: u64,
}

/// The members of every callback, in the order they are written.
#[derive(Serialize)]
struct Members<'a> {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [Warning],
    id: JobId,
    task: &'a str,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Text(&'a str),
    Json(&'a Value),
}

impl Message {
    /// Tells the outcome of a finished job.
    ///
    /// # Errors
    /// When the output file cannot be opened, or the job is not what a callback can tell of.
    pub(crate) fn new(job: &Job, output: Option<&StoredOutput>) -> io::Result<Message> {
        let members = Members {
            success: job.state == State::Succeeded,
            data: None,
            error: None,
            warnings: &job.warnings,
            id: job.id,
            task: &job.task,
            created_at: job.created_at,
            finished_at: job.finished_at,
        };
        match (job.state, output) {
            (State::Succeeded, Some(output)) => match &output.data {
                StoredData::Text(text) => {
                    Message::json(&Members { data: Some(Data::Text(text)), ..members })
                }
                StoredData::Json(value) => {
                    Message::json(&Members { data: Some(Data::Json(value)), ..members })
                }
                StoredData::File { path, name, content_type, bytes: _ } => {
                    Message::multipart(&members, File::open(path)?, name, content_type)
                }
            },
            (State::Failed, _) => {
                let error = job.error.as_ref().map_or("the job failed", |error| &error.message);
                Message::json(&Members { error: Some(error), ..members })
            }
            (State::Canceled, _) => {
                Message::json(&Members { error: Some("the job was canceled"), ..members })
            }
            (State::Succeeded, None) | (State::Queued | State::Running, _) => {
                Err(io::Error::other(format!("a job that is {} has no outcome", job.state)))
            }
        }
    }

    fn json(members: &Members) -> io::Result<Message> {
        let head = serde_json::to_vec(members)?;
        Ok(Message {
            content_type: "application/json".to_owned(),
            head,
            file: None,
            tail: Vec::new(),
        })
    }

    /// multipart/form-data (RFC 7578): the members as text fields, then the part `file`.
    fn multipart(
        members: &Members,
        file: File,
        name: &str,
        content_type: &str,
    ) -> io::Result<Message> {
        let boundary = boundary()?;
        let mut head = String::new();
        let mut field = |name: &str, value: &dyn std::fmt::Display| {
            write!(
                head,
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n\
                 {value}\r\n"
            )
            .expect("invariant: writing to a string does not fail");
        };
        field("success", &members.success);
        field("id", &members.id);
        field("task", &members.task);
        field("created_at", &members.created_at);
        if !members.warnings.is_empty() {
            field("warnings", &serde_json::to_string(members.warnings)?);
        }
        if let Some(finished_at) = members.finished_at {
            field("finished_at", &finished_at);
        }
        let (name, file_type) = (safe_file_name(name), safe_content_type(content_type));
        head += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"{name}\"\r\nContent-Type: {file_type}\r\n\r\n"
        );
        let bytes = file.metadata()?.len();
        Ok(Message {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            head: head.into_bytes(),
            file: Some(Part { file, bytes }),
            tail: format!("\r\n--{boundary}--\r\n").into_bytes(),
        })
    }

    pub(crate) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The length of the body in bytes.
    pub(crate) fn len(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64 + self.file_bytes()
    }

    /// The length of the file in it, 0 without one.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |part| part.bytes)
    }

    /// Reads the body from its beginning.
    ///
    /// # Errors
    /// When the file cannot be rewound.
    pub(crate) fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &mut self.file {
            None => Box::new(&self.head[..]),
            Some(part) => {
                part.file.seek(SeekFrom::Start(0))?;
                let file = Whole { file: &mut part.file, left: part.bytes };
                Box::new(self.head.chain(file).chain(&self.tail[..]))
            }
        })
    }

    /// The value of `webhook-signature`: one `v1` signature of `id.timestamp.body` for each secret.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn sign(
        &mut self,
        id: &str,
        at: Timestamp,
        secrets: &[Vec<u8>],
    ) -> io::Result<String> {
        let prefix = format!("{id}.{}.", at.as_secs());
        let mut contexts: Vec<hmac::Context> = secrets
            .iter()
            .map(|secret| hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret)))
            .collect();
        let mut update = |bytes: &[u8]| contexts.iter_mut().for_each(|c| c.update(bytes));
        update(prefix.as_bytes());
        let mut body = self.reader()?;
        let mut chunk = vec![0; SIGN_CHUNK];
        loop {
            match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => update(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let signatures: Vec<String> = contexts
            .into_iter()
            .map(|context| format!("v1,{}", STANDARD.encode(context.sign())))
            .collect();
        Ok(signatures.join(" "))
    }
}

/// Reads exactly the promised bytes. A file that ends early is an error: the `Content-Length` has
/// been sent, and the receiver would wait for the rest.
struct Whole<'a> {
    file: &'a mut File,
    left: u64,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the output file is shorter than it was",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// A boundary that nobody can have put into the file.
fn boundary() -> io::Result<String> {
    let mut random = [0; 16];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(format!("ringback-{:032x}", u128::from_be_bytes(random)))
}

/// The last component of a name, without what could end the header or its quotes.
fn safe_file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let mut safe: String =
        last.chars().filter(|c| !c.is_control()).map(|c| if c == '"' { '\'' } else { c }).collect();
    while safe.len() > LONGEST_FILE_NAME {
        safe.pop();
    }
    match safe.trim() {
        "" | "." | ".." => "output".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// A content type as it is, where it is one.
fn safe_content_type(content_type: &str) -> &str {
    let printable = content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_type = essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub));
    if printable && is_type { content_type } else { "application/octet-stream" }
}

#[cfg(test)]
pub(super) mod tests;
