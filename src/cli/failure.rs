//! How a command ends when it does not end well.

use std::fmt;
use std::io;
use std::process::ExitCode;

use ringback::client::ClientError;

/// Why a command failed. The text is one line, without a full stop.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed cannot work, or something has to be brought first. Exit code 2, as for a flag
    /// that does not exist.
    Usage(String),
    /// It was tried and did not succeed. Exit code 1.
    Failed(String),
    /// The program that reads the output has had enough. Exit code 0, and no message.
    ReaderGone,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::Failed(message.into())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Failed(_) => ExitCode::FAILURE,
            Failure::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) | Failure::Failed(message) => f.write_str(message),
            Failure::ReaderGone => f.write_str("the reader of the output has gone"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            // Not a request that failed, but a path that was mistyped.
            ClientError::Input { .. } => Failure::usage(error.to_string()),
            ClientError::Output(source) if source.kind() == io::ErrorKind::BrokenPipe => {
                Failure::ReaderGone
            }
            _ => Failure::failed(error.to_string()),
        }
    }
}

impl From<ringback::Error> for Failure {
    fn from(error: ringback::Error) -> Failure {
        match error {
            ringback::Error::Unprotected { .. } | ringback::Error::OpenFiles { .. } => {
                Failure::usage(error.to_string())
            }
            _ => Failure::failed(error.to_string()),
        }
    }
}
