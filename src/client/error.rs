//! How a request can end other than well.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::StatusCode;

use super::Job;

/// How a request can end other than well.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The server answered, and said no.
    Refused(Problem),
    /// The server cannot be reached, or the connection broke. Whether a job was taken is unknown;
    /// sending it again is safe, because the same work still queued or running is not queued twice.
    Broken {
        /// The server's address.
        url: String,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer is not one that a ringback server gives.
    NotOurs(String),
    /// The input cannot be read.
    Input {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output could not be copied to the end.
    Output(io::Error),
    /// The job had not finished when the time to wait was over; this is how it stood. It goes on.
    Unfinished(Box<Job>),
}

/// A refusal, from its `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable word a program can branch on, such as `queue_full`; empty where none was sent.
    pub code: String,
    /// What to do, for a person.
    pub detail: String,
    /// After how long asking again makes sense.
    pub retry_after: Option<Duration>,
}

/// The members that are read; all others may come and go.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ProblemJson {
    code: String,
    title: String,
    detail: String,
}

impl Problem {
    pub(super) fn from_reply(
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Problem {
        // Whatever stands between client and server may answer too, in a form of its own.
        let ProblemJson { code, title, detail } = serde_json::from_slice(body).unwrap_or_default();
        let reason = status.canonical_reason().unwrap_or("no reason given");
        let detail = [detail, title].into_iter().find(|text| !text.is_empty());
        Problem {
            status: status.as_u16(),
            code,
            detail: detail.unwrap_or_else(|| reason.to_owned()),
            retry_after,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.detail, self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        f.write_str(")")?;
        match self.retry_after {
            Some(wait) => write!(f, "; try again in {}", humantime::format_duration(wait)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Refused(problem) => write!(f, "the server refused: {problem}"),
            ClientError::Broken { url, source } => {
                write!(f, "no answer from {url} ({source}); is `ringback serve` running there?")
            }
            ClientError::NotOurs(what) => {
                write!(f, "the answer is not that of a ringback server: {what}")
            }
            ClientError::Input { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())
            }
            ClientError::Output(source) => write!(f, "the output broke off: {source}"),
            ClientError::Unfinished(job) => {
                write!(f, "job {} is still {} and goes on", job.id, job.state)
            }
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ClientError::Broken { source, .. } => Some(source.as_ref()),
            ClientError::Input { source, .. } | ClientError::Output(source) => Some(source),
            ClientError::Refused(_) | ClientError::NotOurs(_) | ClientError::Unfinished(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_by_its_members() {
        let body = br#"{"type":"about:blank","title":"Busy","status":503,"code":"queue_full",
            "detail":"1000 jobs wait; come back later"}"#;
        let wait = Some(Duration::from_secs(7));
        let problem = Problem::from_reply(StatusCode::SERVICE_UNAVAILABLE, wait, body);
        assert_eq!(problem.code, "queue_full");
        assert_eq!(
            problem.to_string(),
            "1000 jobs wait; come back later (503 queue_full); try again in 7s"
        );
    }

    #[test]
    fn a_foreign_refusal_is_told_by_its_status() {
        let problem = Problem::from_reply(StatusCode::BAD_GATEWAY, None, b"<html>502</html>");
        assert_eq!(problem.to_string(), "Bad Gateway (502)");
    }
}
