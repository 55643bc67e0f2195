//! The secrets that callbacks are signed with, as people write them down.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What every Standard Webhooks secret begins with.
const PREFIX: &str = "whsec_";
/// How long a key may be, in bytes (Standard Webhooks 1.0).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Base64 with or without its padding: both are seen in the wild.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is not a webhook secret. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadSecret {
    /// It does not begin with `whsec_`.
    Prefix,
    /// What follows is not base64.
    Base64,
    /// The key is shorter than 24 or longer than 64 bytes.
    Length {
        /// How long it is, in bytes.
        bytes: usize,
    },
}

impl fmt::Display for BadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (KEY_BYTES.start(), KEY_BYTES.end());
        match self {
            BadSecret::Prefix => write!(f, "a webhook secret begins with `{PREFIX}`")?,
            BadSecret::Base64 => write!(f, "what follows `{PREFIX}` is not base64")?,
            BadSecret::Length { bytes } => {
                write!(f, "the webhook secret has {bytes} bytes, not {least} to {most}")?;
            }
        }
        write!(f, "; make one with: echo {PREFIX}$(openssl rand -base64 32)")
    }
}

impl std::error::Error for BadSecret {}

/// Reads a Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64. Returns the bytes, for
/// [`Builder::webhook_secret`](crate::Builder::webhook_secret).
///
/// ```
/// let key = ringback::parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
/// assert_eq!(key.len(), 24);
/// # Ok::<(), ringback::BadSecret>(())
/// ```
///
/// # Errors
/// When the prefix is missing, the rest is not base64, or the key's length is wrong.
pub fn parse_secret(text: &str) -> Result<Vec<u8>, BadSecret> {
    let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadSecret::Prefix)?;
    let key = BASE64.decode(encoded).map_err(|_| BadSecret::Base64)?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err(BadSecret::Length { bytes: key.len() });
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_24_to_64_bytes_are_taken() {
        for (bytes, taken) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
            let text = format!("{PREFIX}{}", BASE64.encode(vec![7; bytes]));
            let expected =
                if taken { Ok(vec![7; bytes]) } else { Err(BadSecret::Length { bytes }) };
            assert_eq!(parse_secret(&text), expected);
            // Without padding, and with the newline that a file ends in.
            let bare = format!("{}\n", text.trim_end_matches('='));
            assert_eq!(parse_secret(&bare), expected);
        }
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for (text, why) in [
            ("", BadSecret::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", BadSecret::Prefix),
            ("whsec-MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", BadSecret::Prefix),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La*aSw", BadSecret::Base64),
            ("whsec_MfKQ9r8G KYqrTwjUPD8ILPZIo2LaLaSw", BadSecret::Base64),
        ] {
            assert_eq!(parse_secret(text), Err(why), "{text:?}");
            assert!(!why.to_string().contains("MfKQ"));
        }
    }
}
