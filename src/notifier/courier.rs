//! One POST to one callback, from the connection to the verdict. Blocking: the threads that
//! [`super::Notifier`] starts call it.

use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use ureq::http::{Response, StatusCode, header};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, SendBody};

use super::resolver::CheckedResolver;
use super::webhook::Message;
use crate::config::CallbackPolicy;
use crate::job::{DeliveryId, Timestamp};
use crate::queue::Health;

/// A file may take this much longer for each of its bytes, or no file over 15 s would ever
/// arrive: 1 s for each MiB, and ten minutes at most.
const FILE_BYTES_PER_SECOND: u64 = 1024 * 1024;
const LONGEST_FILE_TIME: Duration = Duration::from_secs(600);
/// What an answer's body may take, and how much of it is read: only to keep the connection.
const BODY_PATIENCE: Duration = Duration::from_secs(2);
const BODY_READ: u64 = 16 * 1024;
/// The longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// Bytes written to a socket at a time.
const OUTPUT_BUFFER: usize = 64 * 1024;
/// Connections are kept for a burst of callbacks, and given up before receivers do so (after
/// 2 s with gunicorn, 5 s with Node): one that closes just then would look like a failure.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Makes POSTs. One for all threads, so that they share its connections.
pub(crate) struct Courier {
    agent: Agent,
    secrets: Vec<Vec<u8>>,
    patience: Duration,
}

/// What came of one POST.
#[derive(Debug)]
pub(crate) struct Posted {
    /// When it began.
    pub(crate) at: Timestamp,
    pub(crate) took: Duration,
    pub(crate) status: Option<u16>,
    pub(crate) verdict: Verdict,
    pub(crate) health: Health,
}

/// What a POST means for its delivery.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Answered with a 2xx.
    Delivered,
    /// Answered with 410: the receiver wants no more of this.
    Gone,
    /// Anything else, in words for the job's owner.
    Failed {
        why: String,
        /// From the answer's `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl Courier {
    /// Signs with `secrets`, calls what `policy` allows, and gives each POST `patience` in all: the
    /// look-up, the connection, the request and the answer.
    pub(crate) fn new(
        policy: CallbackPolicy,
        secrets: Vec<Vec<u8>>,
        patience: Duration,
        connections: Connections,
    ) -> Courier {
        let config = Agent::config_builder()
            // A proxy from the environment would be told names, and connect past the check.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(patience))
            .timeout_resolve(Some(patience / 3))
            .timeout_connect(Some(patience * 2 / 3))
            .timeout_recv_body(Some(BODY_PATIENCE.min(patience)))
            .max_response_header_size(LONGEST_HEAD)
            .input_buffer_size(LONGEST_HEAD)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_idle_connections(connections.in_all)
            .max_idle_connections_per_host(connections.per_host)
            .max_idle_age(KEEP_ALIVE)
            .user_agent(concat!("ringback/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = CheckedResolver::new(policy);
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Courier { agent, secrets, patience }
    }

    /// Sends `message` to `url` once. Never fails: what goes wrong is the verdict.
    pub(crate) fn post(&self, url: &str, id: DeliveryId, message: &mut Message) -> Posted {
        let (at, began) = (Timestamp::now(), Instant::now());
        let mut posted = match self.send(url, id, at, message) {
            Ok(response) => Posted::answered(response),
            Err(Unsent::Message(error)) => Posted::unread(&error),
            Err(Unsent::Call(error)) => Posted::unanswered(&error, self.time_for(message)),
        };
        (posted.at, posted.took) = (at, began.elapsed());
        posted
    }

    fn send(
        &self,
        url: &str,
        id: DeliveryId,
        at: Timestamp,
        message: &mut Message,
    ) -> Result<Response<Body>, Unsent> {
        let id = id.to_string();
        let mut request = self
            .agent
            .post(url)
            .header(header::CONTENT_TYPE, message.content_type())
            .header(header::CONTENT_LENGTH, message.len())
            .header("webhook-id", &id)
            .header("webhook-timestamp", at.as_secs());
        if !self.secrets.is_empty() {
            let signature = message.sign(&id, at, &self.secrets).map_err(Unsent::Message)?;
            request = request.header("webhook-signature", signature);
        }
        if message.file_bytes() > 0 {
            let time = self.time_for(message);
            request = request.config().timeout_global(Some(time)).build();
        }
        let mut body = message.reader().map_err(Unsent::Message)?;
        request.send(SendBody::from_reader(&mut body)).map_err(Unsent::Call)
    }

    fn time_for(&self, message: &Message) -> Duration {
        let file = Duration::from_secs(message.file_bytes() / FILE_BYTES_PER_SECOND);
        self.patience + file.min(LONGEST_FILE_TIME)
    }

    /// Ends every POST in flight, and lets later ones fail.
    pub(crate) fn hang_up(&self) {
        self.agent.clone().shutdown();
    }
}

/// How many idle connections are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) in_all: usize,
    pub(crate) per_host: usize,
}

/// Why there is no answer.
enum Unsent {
    /// The message itself could not be read.
    Message(io::Error),
    Call(ureq::Error),
}

impl Posted {
    fn new(status: Option<u16>, verdict: Verdict, health: Health) -> Posted {
        Posted { at: Timestamp::now(), took: Duration::ZERO, status, verdict, health }
    }

    fn answered(mut response: Response<Body>) -> Posted {
        let status = response.status();
        let field = |name| response.headers().get(name)?.to_str().ok();
        // A date is meant by the receiver's clock: this system's may be wrong.
        let date = field(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        let retry_after = field(header::RETRY_AFTER)
            .and_then(|value| retry_after(value, date.unwrap_or_else(SystemTime::now)));
        let mut body = response.body_mut().with_config().limit(BODY_READ).reader();
        // The status has decided. A body that is too long or breaks off costs the connection only.
        let _ = io::copy(&mut body, &mut io::sink());
        let verdict = if status.is_success() {
            Verdict::Delivered
        } else if status == StatusCode::GONE {
            Verdict::Gone
        } else {
            Verdict::Failed { why: complaint(status), retry_after }
        };
        let unable = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let health = if unable { Health::Failing } else { Health::Well };
        Posted::new(Some(status.as_u16()), verdict, health)
    }

    fn unanswered(error: &ureq::Error, patience: Duration) -> Posted {
        let why = Plainly(error, patience).to_string();
        Posted::new(None, Verdict::Failed { why, retry_after: None }, Health::Failing)
    }

    /// The outcome could not be read, and the receiver was not called.
    pub(super) fn unread(error: &io::Error) -> Posted {
        let why = format!("the output cannot be read: {error}");
        Posted::new(None, Verdict::Failed { why, retry_after: None }, Health::Unknown)
    }

    /// The POST ended in a panic.
    pub(super) fn panicked() -> Posted {
        let why = "the answer could not be understood".to_owned();
        Posted::new(None, Verdict::Failed { why, retry_after: None }, Health::Failing)
    }
}

fn complaint(status: StatusCode) -> String {
    if status.is_redirection() {
        return format!(
            "the receiver answered {status}, and redirects are not followed: give the address it \
             redirects to as the callback"
        );
    }
    format!("the receiver answered {status}")
}

/// What went wrong, without the library's words.
struct Plainly<'a>(&'a ureq::Error, Duration);

impl fmt::Display for Plainly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plainly(error, patience) = self;
        match error {
            ureq::Error::Timeout(ureq::Timeout::Resolve) => {
                f.write_str("the DNS did not answer in time")
            }
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                f.write_str("the receiver did not take the connection in time")
            }
            ureq::Error::Timeout(_) => write!(
                f,
                "the receiver did not answer within {}",
                humantime::format_duration(*patience)
            ),
            ureq::Error::HostNotFound => f.write_str("the host has no address"),
            ureq::Error::Io(error) => write!(f, "the connection failed: {error}"),
            ureq::Error::LargeResponseHeader(_, most) => {
                write!(f, "the receiver's answer has a head of more than {most} bytes")
            }
            ureq::Error::Protocol(error) => {
                write!(f, "the receiver's answer is not HTTP/1.1: {error}")
            }
            error => error.fmt(f),
        }
    }
}

/// The wait that a `Retry-After` asks for: in seconds, or until a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
