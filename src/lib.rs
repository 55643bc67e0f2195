//! A job server for slow work: hand it a file over HTTP, get an answer at once, and get a ring back
//! (a callback, or a poll) when the work is done.

#![warn(missing_docs)]
#![forbid(unsafe_op_in_unsafe_fn)]

mod api_key;
#[cfg(feature = "audio")]
pub mod audio;
mod board;
pub mod client;
mod clock;
mod config;
mod crew;
mod disk;
mod error;
mod estimator;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod janitor;
mod job;
mod memory;
#[cfg(feature = "whisper")]
pub mod model;
mod notifier;
mod queue;
mod repeated;
#[cfg(feature = "tls")]
mod roots;
mod server;
mod shared;
mod signals;
mod spool;
mod tally;
mod task;
mod warning;
#[cfg(feature = "whisper")]
pub mod whisper;
mod worker;

pub use api_key::{ApiKey, BadApiKey};
pub use config::{BadOrigin, CallbackPolicy, CorsOrigin};
pub use error::Error;
pub use job::{DeliveryState, Failure, JobId, NotAnId, Parameters, Sha256, State, Timestamp};
pub use notifier::{BadSecret, parse_secret};
pub use queue::QueueError;
#[cfg(feature = "tls")]
pub use roots::{BadCertificate, CertificateAuthority};
pub use server::{Builder, Running, Server};
pub use task::{Attempt, Input, InputReader, Output, TaskError, TaskOptions};
pub use warning::Warning;
