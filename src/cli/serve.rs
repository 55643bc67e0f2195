//! `ringback serve`: flags become a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
#[cfg(feature = "tls")]
use ringback::{Builder, CertificateAuthority};
use ringback::{CallbackPolicy, Server};

use super::door::DoorArgs;
use super::unfound::Unfound;
use super::units::{ByteSize, duration, listen_address};
use super::{Failure, demo, out, transcription};

#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// The address to listen on; port 0 picks a free one.
    #[arg(
        long,
        env = "RINGBACK_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS:PORT",
        value_parser = listen_address
    )]
    listen: SocketAddr,

    /// The folder for jobs and files; made where it is missing.
    #[arg(long, env = "RINGBACK_DATA", default_value = "./ringback-data", value_name = "FOLDER")]
    data: PathBuf,

    #[command(flatten)]
    pub(super) transcription: transcription::TranscriptionArgs,

    /// Add the task `demo`, which only takes its time, to see the queue at work by (/queue); no model is
    /// needed then.
    #[arg(long, env = "RINGBACK_DEMO")]
    demo: bool,

    /// Attempts that run at once [default: the number of cores, with --threads as many as fit].
    #[arg(long, env = "RINGBACK_WORKERS", value_name = "ATTEMPTS",
          value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,

    /// Jobs that may wait; further ones are refused with 503.
    #[arg(long, env = "RINGBACK_MAX_QUEUED", default_value_t = 1000, value_name = "JOBS",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_queued: u32,

    /// The longest request body, with its unit; longer ones are refused with 413.
    #[arg(long, env = "RINGBACK_MAX_BODY", default_value = "512MiB", value_name = "SIZE")]
    max_body: ByteSize,

    /// Room that new inputs leave free on the disk; while there is less, they are refused with 503
    /// [default: a twentieth of the disk, at most 256MiB].
    #[arg(long, env = "RINGBACK_MIN_FREE", value_name = "SIZE")]
    min_free: Option<ByteSize>,

    /// How long a finished job and its result are kept.
    #[arg(long, env = "RINGBACK_KEEP", default_value = "24h", value_name = "TIME",
          value_parser = duration)]
    keep: Duration,

    /// How long one attempt may take before its job fails.
    #[arg(long, env = "RINGBACK_ATTEMPT_TIMEOUT", default_value = "1h", value_name = "TIME",
          value_parser = duration)]
    attempt_timeout: Duration,

    #[command(flatten)]
    door: DoorArgs,

    /// Where callbacks may lead [default: any while listening on loopback only, else public].
    #[arg(long, env = "RINGBACK_CALLBACKS", value_enum, value_name = "WHERE")]
    callbacks: Option<Callbacks>,

    /// Believe receivers whose certificate comes from the authorities in this PEM file, beside those of
    /// the system. Given again, adds another file.
    #[cfg(feature = "tls")]
    #[arg(long = "callback-ca", env = "RINGBACK_CALLBACK_CA", value_name = "FILE")]
    callback_authorities: Vec<PathBuf>,

    /// Sign callbacks with this secret (Standard Webhooks), whsec_ and base64 of 24 to 64 bytes. Given
    /// again (in the variable: after a space), adds an older one while receivers change over.
    #[arg(
        long = "webhook-secret",
        env = "RINGBACK_WEBHOOK_SECRET",
        hide_env_values = true,
        value_delimiter = ' ',
        value_name = "SECRET"
    )]
    webhook_secrets: Vec<String>,

    /// How long a stop waits for running attempts before they go back to the queue.
    #[arg(long, env = "RINGBACK_DRAIN", default_value = "30s", value_name = "TIME",
          value_parser = duration)]
    drain: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Callbacks {
    /// Global addresses only.
    Public,
    /// Also private networks.
    Lan,
    /// Also loopback and link-local: everything.
    Any,
}

impl From<Callbacks> for CallbackPolicy {
    fn from(callbacks: Callbacks) -> CallbackPolicy {
        match callbacks {
            Callbacks::Public => CallbackPolicy::Public,
            Callbacks::Lan => CallbackPolicy::Lan,
            Callbacks::Any => CallbackPolicy::Any,
        }
    }
}

pub(super) fn run(args: ServeArgs) -> Result<(), Failure> {
    let builder = args.door.set_up(Server::builder())?;
    let keys = webhook_keys(&args.webhook_secrets)?;
    let workers = args.workers.map_or_else(|| args.transcription.fitting_workers(), usize::from);
    let model = match args.transcription.find_model(&args.data) {
        Ok(model) => Some(model),
        Err(Unfound::None(_)) if args.demo => None,
        Err(unfound) => return Err(unfound.into()),
    };
    let mut builder = builder
        .data(&args.data)
        .workers(workers)
        .max_queued(args.max_queued as usize)
        .max_body(args.max_body.0)
        .keep(args.keep)
        .attempt_timeout(args.attempt_timeout)
        .drain(args.drain);
    if let Some(room) = args.min_free {
        builder = builder.min_free(room.0);
    }
    if let Some(callbacks) = args.callbacks {
        builder = builder.callbacks(callbacks.into());
    }
    for key in keys {
        builder = builder.webhook_secret(key);
    }
    #[cfg(feature = "tls")]
    for file in &args.callback_authorities {
        builder = authorities(file)?.into_iter().fold(builder, Builder::callback_ca);
    }
    if let Some(model) = &model {
        builder = args.transcription.register(builder, model, workers);
    }
    if args.demo {
        builder = demo::register(builder);
    }
    builder.bind(args.listen)?.run_announced(|server| {
        announce(&args, server, workers);
        match &model {
            Some(model) => transcription::announce(model),
            None => out::note(format_args!("  no model: the only task is `{}`", demo::NAME)),
        }
    })?;
    Ok(())
}

/// Not read by the argument parser, whose message would repeat a wrong secret.
fn webhook_keys(secrets: &[String]) -> Result<Vec<Vec<u8>>, Failure> {
    let read = |secret: &String| ringback::parse_secret(secret);
    let keys: Result<_, _> = secrets.iter().map(read).collect();
    keys.map_err(|error| Failure::usage(format!("--webhook-secret: {error}")))
}

#[cfg(feature = "tls")]
fn authorities(file: &std::path::Path) -> Result<Vec<CertificateAuthority>, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("--callback-ca {}: {why}", file.display()))
    };
    let pem = std::fs::read(file).map_err(|error| failed(&error))?;
    CertificateAuthority::from_pem(&pem).map_err(|error| failed(&error))
}

/// What the server was set to, on stderr whatever RUST_LOG says. The first line is part of the
/// interface: programs that start a server on port 0 read its address there.
fn announce(args: &ServeArgs, server: &Server, workers: usize) {
    let addr = server.addr();
    out::note(format_args!("listening on http://{addr}"));
    out::note(format_args!(
        "  {workers} workers, at most {} queued jobs of at most {} each, kept in {}",
        args.max_queued,
        args.max_body,
        args.data.display()
    ));
    out::note(format_args!("  callbacks to {} addresses", server.callback_policy()));
    if args.demo {
        out::note(format_args!("  the queue at work: http://{addr}/queue"));
    }
    if !server.asks_for_key() && !addr.ip().is_loopback() {
        out::note(format_args!(
            "  warning: everybody who reaches {addr} can use this server (--insecure)"
        ));
    }
}
