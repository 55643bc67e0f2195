//! Whether a client shows a key that is known.

use ring::hmac;
use ring::rand::SystemRandom;

use crate::api_key::{ApiKey, KeyId};
use crate::http::problem::{Code, Problem};

/// The keys of a server. Kept as their authentication codes under a secret of this process.
pub(super) struct Keys {
    secret: hmac::Key,
    known: Vec<(hmac::Tag, KeyId)>,
}

impl Keys {
    pub(super) fn new(keys: &[ApiKey]) -> Keys {
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("invariant: the system has random numbers");
        let known = keys.iter().map(|key| (hmac::sign(&secret, key.as_str().as_bytes()), key.id()));
        Keys { known: known.collect(), secret }
    }

    /// The key in an `Authorization` field (RFC 6750); `None` where none is asked for. The error is
    /// for requests that need one.
    pub(super) fn shown(&self, authorization: Option<&str>) -> Result<Option<KeyId>, Problem> {
        if self.known.is_empty() {
            return Ok(None);
        }
        let token = authorization.and_then(bearer).ok_or_else(|| {
            unauthorized("Show a key: `Authorization: Bearer KEY`.", "Bearer realm=\"ringback\"")
        })?;
        self.find(token).cloned().map(Some).ok_or_else(|| {
            let challenge = "Bearer realm=\"ringback\", error=\"invalid_token\"";
            unauthorized("The server does not know this key (`--api-key`).", challenge)
        })
    }

    /// How long it takes says nothing of how much of a key is right: each comparison takes the same
    /// time for all tokens of a length, and none is left out after a match.
    fn find(&self, token: &str) -> Option<&KeyId> {
        self.known.iter().fold(None, |found, (tag, id)| {
            match hmac::verify(&self.secret, token.as_bytes(), tag.as_ref()) {
                Ok(()) => Some(id),
                Err(_) => found,
            }
        })
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

fn unauthorized(detail: &str, challenge: &str) -> Problem {
    Problem::new(Code::Unauthorized, detail).with("WWW-Authenticate", challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_key_opens() {
        let keys: Vec<ApiKey> =
            ["0123456789abcdef", "fedcba9876543210"].map(|key| key.parse().unwrap()).to_vec();
        let door = Keys::new(&keys);
        assert_eq!(door.shown(Some("Bearer 0123456789abcdef")).unwrap(), Some(keys[0].id()));
        assert_eq!(door.shown(Some("bearer  fedcba9876543210 ")).unwrap(), Some(keys[1].id()));
        for wrong in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("0123456789abcdef"),
            Some("Basic 0123456789abcdef"),
            Some("Bearer 0123456789abcde"),
            Some("Bearer 0123456789abcdef0"),
            Some("Bearer 0123456789ABCDEF"),
        ] {
            assert!(door.shown(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Keys::new(&[]).shown(None).unwrap(), None);
    }
}
