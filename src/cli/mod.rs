//! The program's commands. They use the library as any other program would.

use clap::{Parser, Subcommand};

mod demo;
mod door;
mod failure;
mod jobs;
mod listen;
mod logging;
#[cfg(feature = "whisper")]
mod model;
pub(crate) mod out;
mod send;
mod serve;
#[cfg(feature = "whisper")]
mod transcription;
#[cfg(not(feature = "whisper"))]
#[path = "transcription_absent.rs"]
mod transcription;
mod unfound;
mod units;

pub(crate) use failure::Failure;

/// Hand over slow work; get a ring back when it is done.
///
/// A job server: send it a file over HTTP, get an answer at once, and get the result by a callback or
/// by asking for it.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Log more: debug, and with -vv trace. Else RUST_LOG says what is logged (default: info).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<serve::ServeArgs>),
    /// Send files and print what comes of them.
    Send(send::SendArgs),
    /// List jobs, show one, cancel one.
    Jobs(jobs::JobsArgs),
    /// Receive callbacks and print them: the other end, to try things out.
    Listen(listen::ListenArgs),
    /// List, download, import and verify models.
    #[cfg(feature = "whisper")]
    Model(model::ModelArgs),
}

/// Where the server is, for the commands that talk to one.
#[derive(Debug, clap::Args)]
struct ServerArgs {
    /// The server's address.
    #[arg(long, env = "RINGBACK_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,

    /// The key that the server asks for; of several in the variable the first.
    #[arg(long, env = "RINGBACK_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
}

impl ServerArgs {
    fn client(&self) -> Result<ringback::client::Client, Failure> {
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            let url = &self.url;
            return Err(Failure::usage(format!(
                "--url {url:?} is no address: it begins with http:// or https://"
            )));
        }
        let client = ringback::client::Client::new(&self.url);
        match self.api_key.as_deref().and_then(|keys| keys.split_whitespace().next()) {
            None => Ok(client),
            // Not read by the argument parser, whose message would repeat it.
            Some(key) => match key.parse() {
                Ok(key) => Ok(client.with_key(key)),
                Err(error) => Err(Failure::usage(format!("--api-key: {error}"))),
            },
        }
    }
}

/// Runs one command to its end.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    logging::init(arguments.verbose);
    match arguments.command {
        Command::Serve(args) => serve::run(*args),
        Command::Send(args) => send::run(args),
        Command::Jobs(args) => jobs::run(args),
        Command::Listen(args) => listen::run(args),
        #[cfg(feature = "whisper")]
        Command::Model(args) => model::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
