//! What the gate tells tiny_http's side with each request, and nobody else can: a request without it
//! came past the gate.

use std::fmt::Write;
use std::io;

use ring::digest::{self, Digest, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use tiny_http::{Request, Response};

use crate::http::header;

/// The field that tells it. As all of this prefix it is taken out of what clients send.
const FIELD: &str = "Ringback-Secret";

/// A secret for as long as the server runs.
pub(in crate::http::gate) struct Secret {
    line: String,
    digest: Digest,
}

impl Secret {
    pub(in crate::http::gate) fn new() -> io::Result<Secret> {
        let mut bytes = [0; 32];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the system has no random bytes"))?;
        let mut secret = String::with_capacity(64);
        for byte in bytes {
            write!(secret, "{byte:02x}").expect("invariant: writing to memory does not fail");
        }
        let digest = digest::digest(&SHA256, secret.as_bytes());
        Ok(Secret { line: format!("{FIELD}: {secret}\r\n"), digest })
    }

    /// The line of a head that tells it.
    pub(in crate::http::gate) fn line(&self) -> &str {
        &self.line
    }

    /// Whether a request came through the gate.
    pub(in crate::http::gate) fn is_told_by(&self, request: &Request) -> bool {
        header::find(request, FIELD).is_some_and(|told| {
            // The time that this takes says nothing of how much of the secret was right.
            digest::digest(&SHA256, told.as_bytes()).as_ref() == self.digest.as_ref()
        })
    }
}

/// Refuses a request that did not come through the gate, without waiting for whoever sent it.
pub(in crate::http::gate) fn turn_away(request: Request) {
    log::warn!("a request came past the gate and was refused");
    if request.body_length().is_none_or(|length| length == 0) {
        // A stranger that does not read what it is told does no harm.
        let _ = request.respond(Response::empty(403));
        return;
    }
    // When tiny_http drops a request it allocates all of the body that was announced, at once, and waits
    // for it: 60 bytes of head would end the process. What is lost instead is a socket and a thread.
    std::mem::forget(request.upgrade("none", Response::empty(403)));
}
