//! The keys that clients show to be let in, as people write them down.

use std::fmt;
use std::str::FromStr;

use ring::digest;

/// How long a key may be, in characters.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=255;
/// What goes before a key where it becomes an id, so that the id is of no use elsewhere.
const ID_CONTEXT: &[u8] = b"ringback api key\0";

/// A key that lets whoever shows it use the server (`Authorization: Bearer`, RFC 6750). Reads from
/// text; never shown.
///
/// ```
/// let key: ringback::ApiKey = "7f3c0e6a9b124d58a1b2c3d4e5f60718".parse()?;
/// assert!("secret".parse::<ringback::ApiKey>().is_err());
/// # Ok::<(), ringback::BadApiKey>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// Why a text is not an API key. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadApiKey {
    /// It has fewer than 16 or more than 255 characters.
    Length {
        /// How many it has.
        characters: usize,
    },
    /// It has a character that no token has (RFC 6750).
    Characters,
}

impl fmt::Display for BadApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (LENGTH.start(), LENGTH.end());
        match self {
            BadApiKey::Length { characters } => {
                write!(f, "the API key has {characters} characters, not {least} to {most}")?;
            }
            BadApiKey::Characters => f.write_str(
                "an API key is made of letters, digits and `-._~+/`, perhaps with `=` at its end",
            )?,
        }
        f.write_str("; make one with: openssl rand -hex 32")
    }
}

impl std::error::Error for BadApiKey {}

impl FromStr for ApiKey {
    type Err = BadApiKey;

    fn from_str(text: &str) -> Result<ApiKey, BadApiKey> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        if !text.trim_end_matches('=').bytes().all(is_token) {
            return Err(BadApiKey::Characters);
        }
        match text.len() {
            length if LENGTH.contains(&length) => Ok(ApiKey(text.to_owned())),
            characters => Err(BadApiKey::Length { characters }),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl ApiKey {
    /// The key itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for the key that does not give it away: the same in every process.
    pub(crate) fn id(&self) -> KeyId {
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(ID_CONTEXT);
        digest.update(self.0.as_bytes());
        let digest = digest.finish();
        let id = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        KeyId(id)
    }
}

/// Names a key: 32 hexadecimal digits of its digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(String);

impl KeyId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<KeyId, ()> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { Ok(KeyId(text.to_owned())) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_token_of_16_to_255_characters() {
        for good in ["0123456789abcdef", "abc-._~+/ABC012345==", &"k".repeat(255)] {
            assert_eq!(good.parse::<ApiKey>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", BadApiKey::Length { characters: 0 }),
            ("0123456789abcde", BadApiKey::Length { characters: 15 }),
            (&"k".repeat(256), BadApiKey::Length { characters: 256 }),
            ("0123456789 abcdef", BadApiKey::Characters),
            ("0123456789=abcdef", BadApiKey::Characters),
            ("0123456789abcdéf", BadApiKey::Characters),
            ("0123456789abcdef\n", BadApiKey::Characters),
        ] {
            assert_eq!(bad.parse::<ApiKey>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let key: ApiKey = "0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
        assert!(!"short-key".parse::<ApiKey>().unwrap_err().to_string().contains("short"));
        let other: ApiKey = "0123456789abcdeg".parse().unwrap();
        assert_ne!(key.id(), other.id());
        assert_eq!(key.id().as_str().parse(), Ok(key.id()));
        assert!(!key.id().as_str().contains("0123456789"));
    }
}
