//! A request for a job, and its `multipart/form-data` (RFC 7578), streamed: the file is read while
//! it is sent, never held.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::ClientError;

/// An input and what to do with it.
#[derive(Debug)]
#[must_use]
pub struct Upload {
    name: String,
    content_type: String,
    source: Source,
    task: Option<String>,
    fields: Vec<(String, String)>,
    idempotency_key: Option<String>,
}

enum Source {
    File {
        path: PathBuf,
        file: File,
        bytes: u64,
    },
    Memory(Vec<u8>),
    /// Its length is known at its end.
    Stream(Box<dyn Read + Send>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { path, bytes, .. } => {
                f.debug_struct("File").field("path", path).field("bytes", bytes).finish()
            }
            Source::Memory(bytes) => f.debug_tuple("Memory").field(&bytes.len()).finish(),
            Source::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Upload {
    /// A file, under its own name. A pipe or a device is read to its end.
    ///
    /// # Errors
    /// [`ClientError::Input`] when it cannot be opened, or is a folder.
    pub fn file(path: impl Into<PathBuf>) -> Result<Upload, ClientError> {
        let path = path.into();
        let open = || {
            let file = File::open(&path)?;
            let about = file.metadata()?;
            if about.is_dir() {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            Ok((file, about))
        };
        match open() {
            Ok((file, about)) => {
                let name = file_name(&path, about.is_file());
                // Of a pipe, a device or a file that the system makes up, the length says nothing.
                let source = match about.len() {
                    bytes if about.is_file() && bytes > 0 => Source::File { path, file, bytes },
                    _ => Source::Stream(Box::new(Named { path, file })),
                };
                Ok(Upload::new(name, source))
            }
            Err(source) => Err(ClientError::Input { path, source }),
        }
    }

    /// Bytes, under a name.
    pub fn bytes(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Upload {
        Upload::new(name.into(), Source::Memory(bytes.into()))
    }

    /// All that `reader` gives until its end, under a name. It is sent while it is read.
    pub fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Upload {
        Upload::new(name.into(), Source::Stream(Box::new(reader)))
    }

    fn new(name: String, source: Source) -> Upload {
        Upload {
            name,
            content_type: "application/octet-stream".to_owned(),
            source,
            task: None,
            fields: Vec::new(),
            idempotency_key: None,
        }
    }

    /// Declares the input's content type. Default: `application/octet-stream`, which says nothing.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Upload {
        self.content_type = content_type.into();
        self
    }

    /// The task to run. Default: the server's default task.
    pub fn task(mut self, name: impl Into<String>) -> Upload {
        self.task = Some(name.into());
        self
    }

    /// Where the outcome is to be sent.
    pub fn callback(self, url: impl Into<String>) -> Upload {
        self.parameter("callback", url)
    }

    /// A parameter of the task. A name may be given several times.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Upload {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// A key under which this request makes one job, however often it is sent. Printable ASCII
    /// without quotes.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Upload {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(super) fn task_name(&self) -> Option<&str> {
        self.task.as_deref()
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    pub(super) fn into_multipart(self) -> Result<Multipart, ClientError> {
        // Random, so that it is not in the input.
        let boundary = format!("ringback-{}", Uuid::now_v7().simple());
        let mut head = String::new();
        for (name, value) in &self.fields {
            let name = quoted(name);
            head += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        // The file comes last: a server knows everything else before it.
        head += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             Content-Type: {}\r\n\r\n",
            quoted(&self.name),
            self.content_type.replace(['\r', '\n'], " ")
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let around = (head.len() + tail.len()) as u64;
        let (input, bytes): (Box<dyn Read>, Option<u64>) = match self.source {
            // A file that grows meanwhile is sent as long as it was.
            Source::File { path, file, bytes } => {
                (Box::new(Named { path, file: file.take(bytes) }), Some(bytes))
            }
            Source::Memory(bytes) => {
                let length = bytes.len() as u64;
                (Box::new(Cursor::new(bytes)), Some(length))
            }
            Source::Stream(reader) => (reader, None),
        };
        let reader = Cursor::new(head).chain(input).chain(Cursor::new(tail));
        let length = bytes.map(|bytes| around + bytes);
        Ok(Multipart { boundary, length, reader: Box::new(reader) })
    }
}

/// The name that a file is sent under. Those of pipes say nothing (`/dev/fd/63`).
fn file_name(path: &Path, is_file: bool) -> String {
    let says_nothing = !is_file && (path.starts_with("/dev") || path.starts_with("/proc"));
    match path.file_name() {
        Some(name) if !says_nothing => name.to_string_lossy().into_owned(),
        Some(_) | None => "input".to_owned(),
    }
}

/// Escapes a name as browsers do (WHATWG HTML, "multipart/form-data encoding algorithm").
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// A body on its way.
pub(super) struct Multipart {
    boundary: String,
    length: Option<u64>,
    reader: Box<dyn Read>,
}

impl Multipart {
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// Length in bytes, where it is known before the end.
    pub(super) fn len(&self) -> Option<u64> {
        self.length
    }
}

impl Read for Multipart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// A file that names itself in its errors.
struct Named<R> {
    path: PathBuf,
    file: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_as_long_as_it_says() {
        let upload = Upload::bytes("a \"b\"\r\n.wav", vec![0, 13, 10, 255])
            .callback("http://127.0.0.1:9/")
            .parameter("language", "es");
        let mut body = upload.into_multipart().expect("memory always opens");
        let mut sent = Vec::new();
        body.read_to_end(&mut sent).expect("memory can be read");
        assert_eq!(Some(sent.len() as u64), body.len());
        let boundary = &body.boundary;
        let mut expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"callback\"\r\n\r\n\
             http://127.0.0.1:9/\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nes\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"a %22b%22%0D%0A.wav\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        expected.extend([0, 13, 10, 255]);
        expected.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
        assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn a_pipe_has_a_name_that_says_nothing() {
        assert_eq!(file_name(Path::new("/dev/fd/63"), false), "input");
        assert_eq!(file_name(Path::new("/tmp/talk.wav"), false), "talk.wav");
        assert_eq!(file_name(Path::new("/dev/shm/talk.wav"), true), "talk.wav");
    }

    #[test]
    fn a_folder_is_no_input() {
        let error = Upload::file(std::env::temp_dir()).expect_err("a folder");
        assert!(matches!(error, ClientError::Input { .. }), "{error}");
    }
}
