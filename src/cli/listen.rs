//! `ringback listen`: the receiving end of a callback, to see what arrives.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use tiny_http::{Method, Request, Response, Server};

use super::units::listen_address;
use super::{Failure, out};

/// The longest body that is taken in. 64 MiB.
const MAX_BODY: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct ListenArgs {
    /// The address to listen on; port 0 picks a free one.
    #[arg(
        long,
        env = "RINGBACK_ADDR",
        default_value = "127.0.0.1:0",
        value_name = "ADDRESS:PORT",
        value_parser = listen_address
    )]
    addr: SocketAddr,

    /// End after this many callbacks [default: go on until Ctrl-C].
    #[arg(long, env = "RINGBACK_COUNT", value_name = "CALLBACKS")]
    count: Option<u64>,

    /// The secret that callbacks should be signed with (whsec_ and base64): each one's signature is
    /// checked, and one that is not right is refused with 401.
    #[arg(long, env = "RINGBACK_SECRET", hide_env_values = true, value_name = "SECRET")]
    secret: Option<String>,
}

pub(super) fn run(args: ListenArgs) -> Result<(), Failure> {
    let key = args.secret.as_deref().map(ringback::parse_secret).transpose();
    let key = key.map_err(|error| Failure::usage(format!("--secret: {error}")))?;
    let key = key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
    let cannot = |error| Failure::failed(format!("cannot listen on {}: {error}", args.addr));
    let server = Server::http(args.addr).map_err(cannot)?;
    let addr = server.server_addr().to_ip().expect("invariant: bound to an IP address");
    out::note(format_args!("listening on http://{addr}"));
    let mut received = 0;
    while args.count.is_none_or(|count| received < count) {
        let request = server
            .recv()
            .map_err(|error| Failure::failed(format!("no callback can be received: {error}")))?;
        if receive(request, key.as_ref())? {
            received += 1;
        }
    }
    Ok(())
}

/// Takes one request in, prints it and answers it. True when it was a callback.
fn receive(mut request: Request, key: Option<&hmac::Key>) -> Result<bool, Failure> {
    if *request.method() != Method::Post {
        answer(request, 405);
        return Ok(false);
    }
    let mut body = Vec::new();
    if let Err(error) = request.as_reader().take(MAX_BODY + 1).read_to_end(&mut body) {
        // The sender is gone, or has sent nonsense; it will try again.
        log::warn!("a callback broke off: {error}");
        return Ok(false);
    }
    if body.len() as u64 > MAX_BODY {
        log::warn!("a callback is longer than {MAX_BODY} bytes");
        answer(request, 413);
        return Ok(false);
    }
    let signature = key.map_or(Signature::Unchecked, |key| check(&request, &body, key));
    out::written(print(&request, &body, signature))?;
    answer(request, if signature == Signature::Wrong { 401 } else { 204 });
    Ok(true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signature {
    Unchecked,
    Right,
    /// Or missing.
    Wrong,
}

/// Looks for `key`'s signature among those that came (Standard Webhooks 1.0).
fn check(request: &Request, body: &[u8], key: &hmac::Key) -> Signature {
    let (id, timestamp) = (header(request, "webhook-id"), header(request, "webhook-timestamp"));
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let right = header(request, "webhook-signature")
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| STANDARD.decode(signature).ok())
        .any(|signature| hmac::verify(key, &signed, &signature).is_ok());
    if right { Signature::Right } else { Signature::Wrong }
}

/// A header's value; empty where it did not come.
fn header<'r>(request: &'r Request, name: &'static str) -> &'r str {
    let found = request.headers().iter().find(|header| header.field.equiv(name));
    found.map_or("", |header| header.value.as_str())
}

fn answer(request: Request, status: u16) {
    if let Err(error) = request.respond(Response::empty(status)) {
        log::warn!("a callback's sender did not wait for the {status}: {error}");
    }
}

fn print(request: &Request, body: &[u8], signature: Signature) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    writeln!(out, "{time} POST {}", request.url())?;
    for header in request.headers() {
        let name = header.field.as_str().as_str().to_ascii_lowercase();
        if name == "content-type" || name.starts_with("webhook-") {
            writeln!(out, "{name}: {}", header.value)?;
        }
    }
    match signature {
        Signature::Unchecked => {}
        Signature::Right => writeln!(out, "(the signature is right)")?,
        Signature::Wrong => writeln!(out, "(the signature is WRONG, or missing)")?,
    }
    match std::str::from_utf8(body) {
        Ok(text) => writeln!(out, "\n{text}\n")?,
        Err(_) => writeln!(out, "\n({} bytes that are not text)\n", body.len())?,
    }
    out.flush()
}
