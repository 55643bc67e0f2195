//! What a server's replies say.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::Body;
use ureq::http::{Response, header};

use super::ClientError;
use crate::job::{DeliveryState, Failure, JobId, Parameters, State, Timestamp};
use crate::warning::Warning;

/// That an input was taken in: it is on the server's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Submitted {
    /// The job.
    pub id: JobId,
    /// Its address, complete.
    pub url: String,
    /// The reply's status: 204 from `POST /send`, 202 from `POST /jobs`.
    pub status: u16,
    /// Whether the same work was queued or running already, and this is its job.
    pub coalesced: bool,
}

impl Submitted {
    pub(super) fn from_reply(base: &str, reply: &Response<Body>) -> Result<Self, ClientError> {
        let header = |name| reply.headers().get(name).and_then(|value| value.to_str().ok());
        let location = header(header::LOCATION.as_str()).unwrap_or_default();
        let path = location.strip_prefix(base).unwrap_or(location);
        let id = path.strip_prefix("/jobs/").and_then(|id| id.parse().ok()).ok_or_else(|| {
            ClientError::NotOurs(format!("the Location of a new job is {location:?}"))
        })?;
        Ok(Submitted {
            id,
            url: format!("{base}{path}"),
            status: reply.status().as_u16(),
            coalesced: header("ringback-coalesced") == Some("true"),
        })
    }
}

/// A job as a server tells it. Members that a server leaves out are `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job {
    /// Its name in every address and message.
    pub id: JobId,
    /// The task it runs.
    pub task: String,
    /// Where it stands.
    pub state: State,
    /// Its place in the queue, counted from 1, while it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Seconds until it will have finished, where the server can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<f64>,
    /// How much of the work is done, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Attempts begun so far.
    pub attempt: u32,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// When its latest attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it may be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What the task was asked to do with the input.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// What it works on.
    pub input: Input,
    /// What it gave: text, or whatever JSON its task gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// How its output falls short of its input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Where its outcome goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
}

/// A job's input, as a server tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Input {
    /// The file's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The content type that was declared.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Playing time in seconds, once an attempt has found it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
}

/// A job's callback, as a server tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Callback {
    /// As it was given.
    pub url: String,
    /// How the delivery stands.
    pub state: DeliveryState,
    /// POSTs made so far.
    pub attempts: u32,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// What the last one failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Some jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobPage {
    /// The jobs, without their outputs.
    pub jobs: Vec<Job>,
    /// Where the next page is, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
