//! A job, the states it passes through and the only ways between them. Nothing here does I/O:
//! the queue asks [`State::after`] before it writes, and the property tests ask it too.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Uuid};

use crate::warning::Warning;

/// Names one job for as long as it is kept. A UUID version 7 (RFC 9562), so ids sort by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// A new id, different from every other one.
    #[expect(clippy::new_without_default, reason = "an id has no default; each one is new")]
    pub fn new() -> JobId {
        JobId(Uuid::now_v7())
    }

    /// A new id that says it was made at `time`. `ids` keeps the order within a millisecond.
    pub(crate) fn at(time: Timestamp, ids: &ContextV7) -> JobId {
        let micros = u64::try_from(time.as_micros()).unwrap_or(0);
        let (secs, nanos) = (micros / 1_000_000, micros % 1_000_000 * 1000);
        let nanos = u32::try_from(nanos).expect("invariant: less than a second");
        JobId(Uuid::new_v7(uuid::Timestamp::from_unix(ids, secs, nanos)))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The text is not a job id: not a hyphenated UUID.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnId;

impl FromStr for JobId {
    type Err = NotAnId;

    /// Takes the 36-character hyphenated form, in capitals as well (RFC 9562, 4).
    fn from_str(text: &str) -> Result<JobId, NotAnId> {
        if text.len() != 36 {
            return Err(NotAnId);
        }
        Uuid::try_parse(text).map(JobId).map_err(|_| NotAnId)
    }
}

/// A moment in UTC, in microseconds since the Unix epoch. Written as RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The clock's time now. A clock before 1970 reads as 1970.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as `webhook-timestamp` wants them.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `wait` more; stops at the end of time instead of overflowing.
    pub fn after(self, wait: Duration) -> Timestamp {
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }

    /// This moment less `time`; stops at the beginning of time instead of overflowing.
    pub fn before(self, time: Duration) -> Timestamp {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(micros))
    }

    /// How long from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Past the year 9999 RFC 3339 has no form; such a moment reads as the last one that has.
        const LAST: u64 = 253_402_300_799_999_999;
        let micros = u64::try_from(self.0).unwrap_or(0).min(LAST);
        humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros)).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH).map_err(serde::de::Error::custom)?;
        i64::try_from(since.as_micros()).map(Timestamp).map_err(serde::de::Error::custom)
    }
}

/// Where a job stands. The words are those of the wire contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Accepted, and waiting for a worker (or for the time of its next attempt).
    Queued,
    /// A worker holds its lease.
    Running,
    /// Ended with an output.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked for that.
    Canceled,
}

/// Everything that can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// A worker takes it and begins an attempt.
    Claim,
    /// The attempt ended with an output.
    Succeed,
    /// The attempt ended with an error that another attempt would not mend, or was the last.
    Fail,
    /// The attempt ended with an error that another attempt may mend.
    Retry,
    /// The attempt was given up without a result: the server drains, or died during it.
    Release,
    /// Somebody no longer wants the result.
    Cancel,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [State; 5] =
        [State::Queued, State::Running, State::Succeeded, State::Failed, State::Canceled];

    /// The state after `transition`, or `None` where it cannot happen.
    pub const fn after(self, transition: Transition) -> Option<State> {
        match (self, transition) {
            (State::Queued, Transition::Claim) => Some(State::Running),
            (State::Queued | State::Running, Transition::Cancel) => Some(State::Canceled),
            (State::Running, Transition::Succeed) => Some(State::Succeeded),
            (State::Running, Transition::Fail) => Some(State::Failed),
            (State::Running, Transition::Retry | Transition::Release) => Some(State::Queued),
            (
                State::Queued,
                Transition::Succeed | Transition::Fail | Transition::Retry | Transition::Release,
            )
            | (State::Running, Transition::Claim)
            | (State::Succeeded | State::Failed | State::Canceled, _) => None,
        }
    }

    /// Whether nothing more can happen to the job.
    pub const fn is_finished(self) -> bool {
        matches!(self, State::Succeeded | State::Failed | State::Canceled)
    }

    /// The word of the wire contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Canceled => "canceled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(word: &str) -> Result<State, ()> {
        State::ALL.into_iter().find(|state| state.as_str() == word).ok_or(())
    }
}

/// How long a job waits for its next attempt after `attempts` that failed: 1 s after the first, four
/// times as long after each further one, and half an hour at most.
pub(crate) fn retry_wait(attempts: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(1800);
    let factor = 4u32.saturating_pow(attempts.saturating_sub(1));
    FIRST.saturating_mul(factor).min(LONGEST)
}

/// Why a job failed, in the words its owner is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word a program can branch on, such as `undecodable` or `panic`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
}

/// A job's parameters: names with one or more values, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, Vec<String>>);

impl Parameters {
    /// No parameters.
    pub fn new() -> Parameters {
        Parameters::default()
    }

    /// Adds one value; a name given twice keeps both.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_default().push(value.into());
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// Every value of `name`; empty where it was not given.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names given, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A SHA-256 digest (FIPS 180-4). Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of a job's input without reading it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputInfo {
    /// The name the client gave the file, reduced to its last component and free of control
    /// characters; at most 255 bytes. Never used as a path.
    pub name: Option<String>,
    /// The content type the client declared, without parameters, in lower case.
    #[serde(rename = "type")]
    pub content_type: Option<String>,
    /// Length in bytes.
    pub bytes: u64,
    /// Digest of the whole input.
    pub sha256: Sha256,
    /// Playing time in seconds, once an attempt has found it out.
    pub duration_s: Option<f64>,
}

/// One stored request to run a task on one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name in every address and message.
    pub id: JobId,
    /// The task it runs.
    pub task: String,
    /// What the task is asked to do with the input.
    pub parameters: Parameters,
    /// Where it stands.
    pub state: State,
    /// Attempts begun so far; 0 before the first.
    pub attempt: u32,
    /// When the request had been taken in.
    pub created_at: Timestamp,
    /// When the latest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it reached a state that is final.
    pub finished_at: Option<Timestamp>,
    /// When it may be forgotten; set when it finishes.
    pub expires_at: Option<Timestamp>,
    /// What it works on.
    pub input: InputInfo,
    /// Why it failed, or what the last attempt of a queued one died of.
    pub error: Option<Failure>,
    /// How the output falls short of the input.
    pub warnings: Vec<Warning>,
    /// Where the outcome goes, and how far that has come.
    pub callback: Option<Callback>,
}

/// The URL a job's outcome is sent to, and how the sending stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Callback {
    /// As the client gave it.
    pub url: String,
    /// How the delivery stands; `pending` also before the job has finished.
    pub state: DeliveryState,
    /// POSTs made so far.
    pub attempts: u32,
    /// When the next POST is due, while one is.
    pub next_attempt_at: Option<Timestamp>,
    /// What the last POST failed with.
    pub last_error: Option<String>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Not yet answered with a 2xx; more attempts will follow.
    Pending,
    /// Answered with a 2xx.
    Delivered,
    /// Its attempts are exhausted, or the receiver answered 410 Gone.
    Dead,
}

/// Names one delivery; the receiver sees it as `webhook-id`, the same in every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(Uuid);

impl DeliveryId {
    /// A new id, different from every other one.
    pub fn new() -> DeliveryId {
        DeliveryId(Uuid::now_v7())
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for DeliveryId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<DeliveryId, NotAnId> {
        Uuid::try_parse(text).map(DeliveryId).map_err(|_| NotAnId)
    }
}

/// A delivery that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The `webhook-id`.
    pub id: DeliveryId,
    /// Whose outcome it carries.
    pub job: JobId,
    /// Where it goes.
    pub url: String,
    /// POSTs made so far.
    pub attempts: u32,
}

/// One line of the ledger: one POST to a callback and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeliveryAttempt {
    /// Counted from 1.
    pub attempt: u32,
    /// When the POST began.
    pub at: Timestamp,
    /// The receiver's status code, where one came.
    pub status: Option<u16>,
    /// From the start of the POST to its end, in milliseconds.
    pub latency_ms: u64,
    /// What went wrong; absent on success.
    pub error: Option<String>,
    /// When the next one is due, where one is.
    pub next_attempt_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_job_never_changes() {
        let transitions = [
            Transition::Claim,
            Transition::Succeed,
            Transition::Fail,
            Transition::Retry,
            Transition::Release,
            Transition::Cancel,
        ];
        for state in State::ALL {
            let ways_on = transitions.iter().filter_map(|t| state.after(*t)).count();
            assert_eq!(ways_on == 0, state.is_finished(), "{state}");
        }
    }

    #[test]
    fn a_state_is_its_word() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!("Queued".parse::<State>(), Err(()));
    }

    #[test]
    fn a_moment_survives_being_written() {
        for micros in [0, 1, 1_795_506_577_682_000, 253_402_300_799_999_999] {
            let moment = Timestamp::from_micros(micros);
            let written = serde_json::to_string(&moment).unwrap();
            assert_eq!(serde_json::from_str::<Timestamp>(&written).unwrap(), moment, "{written}");
        }
        let past_9999 = Timestamp::from_micros(i64::MAX).to_string();
        assert_eq!(past_9999, "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn an_id_is_read_in_either_case() {
        let id = JobId::new();
        let text = id.to_string();
        assert_eq!(text, text.to_lowercase());
        assert_eq!((text.parse(), text.to_uppercase().parse()), (Ok(id), Ok(id)));
        let others = [format!("{{{id}}}"), text.replace('-', ""), "../etc".into()];
        for other in others {
            assert_eq!(other.parse::<JobId>(), Err(NotAnId), "{other}");
        }
    }
}
