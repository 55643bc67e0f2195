//! The name of a file, in the ways that clients write names beyond ASCII: as UTF-8 (RFC 7578), percent-encoded
//! with a charset (RFC 8187, which RFC 6266 prefers), in pieces (RFC 2231), as encoded words (RFC 2047), or
//! in an old charset without a word about it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode;

use crate::http::header::Parameterized;

/// The most pieces of a name.
const PIECES_MAX: usize = 32;
/// Padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Windows-1252 from 0x80 to 0x9f; what it lacks is a control character.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The name that a `Content-Disposition` gives a file; `None` where it gives none. May be empty.
pub(super) fn of(disposition: &Parameterized) -> Option<String> {
    let extended = disposition.get("filename*").and_then(extended);
    if let Some(name) = extended.or_else(|| pieces(disposition)).filter(|name| !name.is_empty()) {
        return Some(name);
    }
    match disposition.get("filename") {
        Some(plain) => Some(words(&guessed(unescaped(plain)))),
        // Its charset is not known here.
        None => disposition.get("filename*").map(guessed_extended),
    }
}

/// A charset and a language stand before the name, each ended by an apostrophe. `None` where the charset
/// is not known.
fn extended(text: &[u8]) -> Option<String> {
    let mut parts = text.splitn(3, |&byte| byte == b'\'');
    let charset = match (parts.next(), parts.next()) {
        (Some(charset), Some(_)) => charset,
        (_, _) => return decoded(b"utf-8", percent_decode(text).collect()),
    };
    decoded(charset, percent_decode(parts.next()?).collect())
}

fn guessed_extended(text: &[u8]) -> String {
    let name = text.splitn(3, |&byte| byte == b'\'').last().unwrap_or(text);
    guessed(percent_decode(name).collect())
}

/// `filename*0*=utf-8''a%20; filename*1=b` is `a b`.
fn pieces(disposition: &Parameterized) -> Option<String> {
    let mut charset: &[u8] = b"utf-8";
    let mut bytes = Vec::new();
    for n in 0..PIECES_MAX {
        if let Some(plain) = disposition.get(&format!("filename*{n}")) {
            bytes.extend_from_slice(plain);
        } else if let Some(mut encoded) = disposition.get(&format!("filename*{n}*")) {
            if n == 0 {
                let mut parts = encoded.splitn(3, |&byte| byte == b'\'');
                (charset, encoded) = (parts.next()?, parts.nth(1)?);
            }
            bytes.extend(percent_decode(encoded));
        } else {
            break;
        }
    }
    if bytes.is_empty() { None } else { decoded(charset, bytes) }
}

/// A text with its encoded words (`=?utf-8?B?w7w=?=`) decoded. One that cannot be stays as it is.
fn words(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    // The bytes of neighbouring words of one charset: a character may be cut in two.
    let mut pending: (&str, Vec<u8>) = ("", Vec::new());
    let mut rest = text;
    while let Some(begin) = rest.find("=?") {
        let Some((charset, bytes, after)) = word(&rest[begin..]) else {
            flush(&mut pending, &mut plain);
            plain.push_str(&rest[..begin + 2]);
            rest = &rest[begin + 2..];
            continue;
        };
        let between = &rest[..begin];
        // Spaces between two words belong to neither.
        let joins = !pending.1.is_empty() && between.trim().is_empty();
        if !joins || !pending.0.eq_ignore_ascii_case(charset) {
            flush(&mut pending, &mut plain);
        }
        if !joins {
            plain.push_str(between);
        }
        pending.0 = charset;
        pending.1.extend(bytes);
        rest = after;
    }
    flush(&mut pending, &mut plain);
    plain.push_str(rest);
    plain
}

fn flush(pending: &mut (&str, Vec<u8>), plain: &mut String) {
    let bytes = std::mem::take(&mut pending.1);
    plain.push_str(&decoded(pending.0.as_bytes(), bytes.clone()).unwrap_or_else(|| guessed(bytes)));
}

/// The encoded word that `text` begins with: its charset, its bytes, and what follows it.
fn word(text: &str) -> Option<(&str, Vec<u8>, &str)> {
    let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    // A language may follow the charset.
    let charset = charset.split('*').next()?;
    decoded(charset.as_bytes(), Vec::new())?;
    let (content, after) = rest.split_once("?=")?;
    let bytes = match encoding {
        "B" | "b" => BASE64.decode(content.trim()).ok()?,
        "Q" | "q" => quoted_printable(content.as_bytes())?,
        _ => return None,
    };
    Some((charset, bytes, after))
}

fn quoted_printable(content: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(content.len());
    let mut rest = content;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match first {
            b'_' => b' ',
            b'=' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                rest = &after[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            other => *other,
        });
    }
    Some(bytes)
}

/// Bytes of a charset as text; `None` where they are none, or the charset is not known.
fn decoded(charset: &[u8], bytes: Vec<u8>) -> Option<String> {
    let charset = std::str::from_utf8(charset).ok()?.trim().to_ascii_lowercase();
    match charset.as_str() {
        "utf-8" | "utf8" | "us-ascii" | "ascii" | "" => String::from_utf8(bytes).ok(),
        "iso-8859-1" | "iso8859-1" | "latin1" | "windows-1252" | "cp1252" => Some(western(&bytes)),
        "iso-8859-15" | "latin9" => Some(western(&bytes).chars().map(latin_9).collect()),
        _ => None,
    }
}

/// As UTF-8 where it is, else as the charset of old western programs.
fn guessed(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| western(error.as_bytes()))
}

fn western(bytes: &[u8]) -> String {
    let character = |&byte: &u8| match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    };
    bytes.iter().map(character).collect()
}

/// ISO 8859-15 where it is not ISO 8859-1.
fn latin_9(character: char) -> char {
    match character {
        '¤' => '€',
        '¦' => 'Š',
        '¨' => 'š',
        '´' => 'Ž',
        '¸' => 'ž',
        '¼' => 'Œ',
        '½' => 'œ',
        '¾' => 'Ÿ',
        other => other,
    }
}

/// Browsers write a quotation mark and line ends in names as `%22`, `%0D` and `%0A`, and nothing
/// else so.
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, ..] = rest {
        let (byte, length) = match rest {
            [b'%', b'2', b'2', ..] => (b'"', 3),
            [b'%', b'0', b'D' | b'd', ..] => (b'\r', 3),
            [b'%', b'0', b'A' | b'a', ..] => (b'\n', 3),
            _ => (*first, 1),
        };
        plain.push(byte);
        rest = &rest[length..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(parameters: &[u8]) -> Option<String> {
        of(&Parameterized::parse(&[b"form-data; name=\"file\"; ", parameters].concat()).unwrap())
    }

    #[test]
    fn a_name_comes_out_however_it_was_written() {
        for (written, right) in [
            (&br#"filename="a.wav""#[..], "a.wav"),
            ("filename=\"über.wav\"".as_bytes(), "über.wav"),
            (br#"filename="=?utf-8?B?w7xiZXIud2F2?="; filename*=utf-8''%C3%BCber.wav"#, "über.wav"),
            (br#"filename="plain.wav"; filename*=UTF-8''%e2%82%ac%20rates.wav"#, "€ rates.wav"),
            (br#"filename*=UTF-8''first.wav; filename="second.wav""#, "first.wav"),
            (br"filename*=iso-8859-1'en'%A3.wav", "£.wav"),
            (br"filename*=ISO-8859-15''%A4.wav", "€.wav"),
            (br"filename*=windows-1252''%80.wav", "€.wav"),
            (br#"filename*="utf-8''quoted%20too.wav""#, "quoted too.wav"),
            (br"filename*=no%20charset.wav", "no charset.wav"),
            (br#"filename="fallback.wav"; filename*=koi8-r''%c1.wav"#, "fallback.wav"),
            (br#"filename="fallback.wav"; filename*=utf-8''%ff.wav"#, "fallback.wav"),
            (br"filename*=utf-8''it's.wav", "it's.wav"),
            (br#"filename="=?UTF-8?Q?=C3=BCber_alles.wav?=""#, "über alles.wav"),
            (br#"filename="=?iso-8859-1?q?=A3.wav?=""#, "£.wav"),
            (br#"filename="=?utf-8*de?B?w7xiZXIud2F2?=""#, "über.wav"),
            (br#"filename="=?utf-8?B?w7xiZXIud2F2""#, "=?utf-8?B?w7xiZXIud2F2"),
            // A character that is cut in two by the words' ends, and words without padding.
            (
                br#"filename="=?utf-8?B?w7xiZXI?= =?utf-8?B?LsM?= =?utf-8?Q?=BC.wav?=""#,
                "über.ü.wav",
            ),
            (br#"filename="a =?utf-8?Q?b?= c =?utf-8?Q?d?=.wav""#, "a b c d.wav"),
            (br#"filename="=?koi8-r?B?wQ==?=.wav""#, "=?koi8-r?B?wQ==?=.wav"),
            (br#"filename*0="a long "; filename*1="name.wav""#, "a long name.wav"),
            (br"filename*0*=utf-8'en'%C3%BC; filename*1=ber; filename*2*=%20x.wav", "über x.wav"),
            (b"filename=\"caf\xe9.wav\"", "café.wav"),
            (br#"filename="100%22.wav""#, "100\".wav"),
            (br#"filename="%C3%BC.wav""#, "%C3%BC.wav"),
            (br#"filename="""#, ""),
            (br#"filename=""; filename*=utf-8''x.wav"#, "x.wav"),
        ] {
            let shown = String::from_utf8_lossy(written);
            assert_eq!(name(written).as_deref(), Some(right), "{shown}");
        }
        assert_eq!(name(b""), None);
    }

    proptest! {
        #[test]
        fn no_name_is_a_panic(text in "[=?'*%A-Fa-f0-9QBqb._ -]{0,60}", raw: Vec<u8>) {
            words(&text);
            extended(text.as_bytes());
            guessed(raw);
            name(format!("filename=\"{text}\"; filename*={text}; filename*0*={text}").as_bytes());
        }
    }
}
