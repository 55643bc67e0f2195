//! What tiny_http answers, read again, so that the client is given a head that says of its own
//! connection what is true.

use std::io::Write;

use super::head::Persistence;

/// The longest head of an answer, in bytes.
pub(super) const ANSWER_HEAD_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;
/// Fields that are about the connection that they came on.
const NOT_PASSED: [&str; 3] = ["connection", "keep-alive", "transfer-encoding"];

/// How much body an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerBody {
    /// So many bytes.
    Length(u64),
    /// All that comes until the end of the connection.
    UntilEnd,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: AnswerBody,
    /// The bytes that it took up.
    pub(super) length: usize,
    passed: Vec<u8>,
}

/// tiny_http answered something that cannot be given to a client.
#[derive(Debug)]
pub(super) struct NotAnAnswer;

impl Answer {
    /// Reads the head that `bytes` begin with; `None` while it is not whole. `bodiless` where the
    /// request was a HEAD.
    pub(super) fn parse(bytes: &[u8], bodiless: bool) -> Result<Option<Answer>, NotAnAnswer> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < ANSWER_HEAD_MAX => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(NotAnAnswer),
        };
        let status = response.code.ok_or(NotAnAnswer)?;
        let mut passed = Vec::with_capacity(length + 64);
        write!(passed, "HTTP/1.1 {status} {}\r\n", response.reason.unwrap_or(""))
            .expect("invariant: writing to memory does not fail");
        let mut body = AnswerBody::UntilEnd;
        for field in response.headers.iter() {
            if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(NotAnAnswer);
            }
            if field.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(field.value).ok().and_then(|v| v.parse().ok());
                body = AnswerBody::Length(length.ok_or(NotAnAnswer)?);
            }
            if !NOT_PASSED.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
                for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                    passed.extend_from_slice(part);
                }
            }
        }
        if bodiless || matches!(status, 100..200 | 204 | 304) {
            body = AnswerBody::Length(0);
        }
        Ok(Some(Answer { status, body, length, passed }))
    }

    /// Puts the head for the client at the end of `out`. `fields` are further ones, with their line
    /// ends; `minor` is the client's version.
    pub(super) fn write_head(
        &self,
        out: &mut Vec<u8>,
        fields: &str,
        persistence: Persistence,
        minor: u8,
    ) {
        out.extend_from_slice(&self.passed);
        out.extend_from_slice(fields.as_bytes());
        match persistence {
            Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
            Persistence::KeepAlive if minor == 0 => {
                out.extend_from_slice(b"Connection: keep-alive\r\n");
            }
            Persistence::KeepAlive => {}
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_speaks_of_the_clients_connection() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nConnection: upgrade\r\nLocation: /jobs/1\r\nContent-Length: 5\r\n\r\nhello";
        let answer = Answer::parse(bytes, false).unwrap().unwrap();
        assert_eq!((answer.status, answer.body), (202, AnswerBody::Length(5)));
        assert_eq!(&bytes[answer.length..], b"hello");
        for (persistence, minor, connection) in [
            (Persistence::KeepAlive, 1, ""),
            (Persistence::KeepAlive, 0, "Connection: keep-alive\r\n"),
            (Persistence::Close, 1, "Connection: close\r\n"),
        ] {
            let mut out = Vec::new();
            answer.write_head(&mut out, "A: b\r\n", persistence, minor);
            let expected = format!(
                "HTTP/1.1 202 Accepted\r\nLocation: /jobs/1\r\nContent-Length: 5\r\nA: b\r\n\
                 {connection}\r\n"
            );
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        for end in 0..answer.length {
            assert!(Answer::parse(&bytes[..end], false).unwrap().is_none(), "cut at {end}");
        }
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        let body = |bytes: &[u8], bodiless| Answer::parse(bytes, bodiless).unwrap().unwrap().body;
        let none = AnswerBody::Length(0);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true), none);
        assert_eq!(body(b"HTTP/1.1 204 No Content\r\n\r\n", false), none);
        assert_eq!(body(b"HTTP/1.1 304 Not Modified\r\n\r\n", false), none);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\n", false), AnswerBody::UntilEnd);
    }

    #[test]
    fn what_is_no_answer_is_not_passed_on() {
        for bytes in [
            &b"HELLO\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            &[b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; ANSWER_HEAD_MAX]].concat(),
        ] {
            assert!(Answer::parse(bytes, false).is_err());
        }
    }
}
