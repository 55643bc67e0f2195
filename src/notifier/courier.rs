//! One POST to one callback, from the connection to the verdict. Blocking: the threads that
//! [`super::Notifier`] starts call it.

#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::{Response, StatusCode, header};
use ureq::typestate::AgentScope;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, SendBody};

use super::address::{masked, spelled, without_user};
use super::resolver::CheckedResolver;
use super::webhook::Message;
use crate::config::CallbackPolicy;
use crate::job::{DeliveryId, Timestamp};
use crate::queue::Health;
#[cfg(feature = "tls")]
use crate::roots::{CertificateAuthority, tls_config};

/// A file may take this much longer for each of its bytes, or no file over 15 s would ever
/// arrive: 1 s for each MiB, and ten minutes at most.
const FILE_BYTES_PER_SECOND: u64 = 1024 * 1024;
const LONGEST_FILE_TIME: Duration = Duration::from_secs(600);
/// What an answer's body may take, and how much of it is read: only to keep the connection.
const BODY_PATIENCE: Duration = Duration::from_secs(2);
const BODY_READ: u64 = 16 * 1024;
/// The longest head of an answer, in bytes: cookies and policies of 20 KB are met with.
const LONGEST_HEAD: usize = 64 * 1024;
/// The most fields of it: the library's bound.
const MOST_FIELDS: usize = 128;
/// Bytes read from a socket at a time. More than the longest head: one that is longer is seen to be.
const INPUT_BUFFER: usize = LONGEST_HEAD + 4 * 1024;
/// Bytes written to a socket at a time.
const OUTPUT_BUFFER: usize = 16 * 1024;
/// Bytes of a redirect's target that the ledger repeats.
const LONGEST_LOCATION: usize = 256;
/// Connections are kept for a burst of callbacks, and given up before receivers do so (after
/// 2 s with gunicorn, 5 s with Node): one that closes just then would look like a failure.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Makes POSTs. One for all threads, so that they share its connections.
pub(crate) struct Courier {
    agent: Agent,
    #[cfg(feature = "tls")]
    secure: Secure,
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
        let settings = Settings { policy, patience, connections };
        Courier {
            agent: settings.agent(),
            #[cfg(feature = "tls")]
            secure: Secure { settings, authorities: Vec::new(), agent: OnceLock::new() },
            secrets,
            patience,
        }
    }

    /// Believes these authorities, too.
    #[cfg(feature = "tls")]
    pub(crate) fn believing(mut self, authorities: Vec<CertificateAuthority>) -> Courier {
        self.secure.authorities = authorities;
        self
    }

    #[cfg(feature = "tls")]
    fn agent_for(&self, url: &str) -> &Agent {
        if url.starts_with("https:") { self.secure.agent() } else { &self.agent }
    }

    #[cfg(not(feature = "tls"))]
    fn agent_for(&self, _url: &str) -> &Agent {
        &self.agent
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
        // A store of an earlier version has URLs as clients sent them.
        let spelled = spelled(url);
        let (url, credentials) = without_user(spelled.as_deref().unwrap_or(url));
        let mut request = self
            .agent_for(&url)
            .post(&*url)
            .header(header::CONTENT_TYPE, message.content_type())
            .header(header::CONTENT_LENGTH, message.len())
            .header("webhook-id", &id)
            .header("webhook-timestamp", at.as_secs());
        if let Some(credentials) = credentials {
            let value = format!("Basic {}", STANDARD.encode(credentials));
            request = request.header(header::AUTHORIZATION, value);
        }
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
        #[cfg(feature = "tls")]
        self.secure.hang_up();
    }
}

/// How POSTs are made.
struct Settings {
    policy: CallbackPolicy,
    patience: Duration,
    connections: Connections,
}

impl Settings {
    fn agent(&self) -> Agent {
        self.agent_with(self.config().build())
    }

    fn agent_with(&self, config: Config) -> Agent {
        Agent::with_parts(config, DefaultConnector::default(), CheckedResolver::new(self.policy))
    }

    fn config(&self) -> ConfigBuilder<AgentScope> {
        let Settings { policy: _, patience, connections } = *self;
        Agent::config_builder()
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
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_idle_connections(connections.in_all)
            .max_idle_connections_per_host(connections.per_host)
            .max_idle_age(KEEP_ALIVE)
            .user_agent(concat!("ringback/", env!("CARGO_PKG_VERSION")))
    }
}

/// What makes POSTs over TLS. Made when it is first needed: it reads the system's authorities.
#[cfg(feature = "tls")]
struct Secure {
    settings: Settings,
    authorities: Vec<CertificateAuthority>,
    agent: OnceLock<Agent>,
}

#[cfg(feature = "tls")]
impl Secure {
    fn agent(&self) -> &Agent {
        self.agent.get_or_init(|| {
            let tls = tls_config(&self.authorities);
            self.settings.agent_with(self.settings.config().tls_config(tls).build())
        })
    }

    /// As [`Courier::hang_up`]. An agent that was not needed is made, so that later POSTs fail.
    fn hang_up(&self) {
        self.agent.get_or_init(|| self.settings.agent()).clone().shutdown();
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
        let location = response.headers().get(header::LOCATION);
        let location = location.map(|value| shown(&String::from_utf8_lossy(value.as_bytes())));
        let mut body = response.body_mut().with_config().limit(BODY_READ).reader();
        // The status has decided. A body that is too long or breaks off costs the connection only.
        let _ = io::copy(&mut body, &mut io::sink());
        let verdict = if status.is_success() {
            Verdict::Delivered
        } else if status == StatusCode::GONE {
            Verdict::Gone
        } else {
            Verdict::Failed { why: complaint(status, location.as_deref()), retry_after }
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

fn complaint(status: StatusCode, location: Option<&str>) -> String {
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        let to = location.map(|location| format!(" to {location}")).unwrap_or_default();
        return format!(
            "the receiver answered {status}{to}, and redirects are not followed: give the address it \
             redirects to as the callback"
        );
    }
    format!("the receiver answered {status}")
}

/// A redirect's target as the ledger repeats it: without a password, in bounds, on one line.
fn shown(location: &str) -> String {
    let masked = masked(location);
    let printable = masked.chars().filter(|c| !c.is_control());
    let mut shown: String = printable.clone().take(LONGEST_LOCATION).collect();
    if printable.count() > LONGEST_LOCATION {
        shown.push('…');
    }
    shown
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
            // From the handshake, or from the first read after it.
            error if error.to_string().contains("UnknownIssuer") => f.write_str(
                "the receiver's certificate comes from an authority that this server does not know: \
                 start it with `--callback-ca FILE`, or let its system trust that authority",
            ),
            ureq::Error::Io(error) => write!(f, "the connection failed: {error}"),
            ureq::Error::LargeResponseHeader(_, most) => {
                write!(f, "the receiver's answer has a head of more than {most} bytes")
            }
            // Its type is not public.
            ureq::Error::Protocol(error) if error.to_string().contains("too many headers") => {
                write!(f, "the receiver's answer has a head of more than {MOST_FIELDS} fields")
            }
            ureq::Error::Protocol(error) => {
                write!(f, "the receiver's answer is not HTTP: {error}")
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
