//! Header values taken apart: media types and their parameters, `Prefer`, `Idempotency-Key`,
//! `If-None-Match`.

use tiny_http::Request;

/// The longest wait a client may ask for, in seconds.
pub(crate) const WAIT_MAX: u64 = 60;
/// The longest idempotency key, in bytes.
const KEY_MAX: usize = 255;
/// The longest content type kept, in bytes; registered ones have at most 127 (RFC 6838).
const ESSENCE_MAX: usize = 127;

/// The value of the first header of this name.
pub(crate) fn find<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    all(request, name).next()
}

/// The values of all headers of this name.
pub(crate) fn all<'a>(
    request: &'a Request,
    name: &'static str,
) -> impl Iterator<Item = &'a str> + 'a {
    request
        .headers()
        .iter()
        .filter(move |header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

/// A value with parameters, such as `form-data; name="file"`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameterized {
    /// What stands before the first semicolon, in lower case.
    pub(crate) value: String,
    parameters: Vec<(String, Vec<u8>)>,
}

impl Parameterized {
    /// `None` where a quotation does not end. In one, `\"` and `\\` stand for `"` and `\`; any
    /// other backslash stands for itself, as in the paths that old browsers sent.
    pub(crate) fn parse(text: &[u8]) -> Option<Parameterized> {
        let (value, mut rest) = split_at_byte(text, b';');
        let value = String::from_utf8_lossy(value.trim_ascii()).to_ascii_lowercase();
        let mut parameters = Vec::new();
        while !rest.is_empty() {
            let name_end = rest.iter().position(|byte| matches!(byte, b'=' | b';'));
            let Some(name_end) = name_end.filter(|&at| rest[at] == b'=') else {
                // A word without a value says nothing that is asked for here.
                rest = split_at_byte(rest, b';').1;
                continue;
            };
            let name = String::from_utf8_lossy(rest[..name_end].trim_ascii()).to_ascii_lowercase();
            let after = rest[name_end + 1..].trim_ascii_start();
            let (content, left) = match after.strip_prefix(b"\"") {
                Some(quoted) => {
                    let (content, left) = unquote(quoted)?;
                    (content, split_at_byte(left, b';').1)
                }
                None => {
                    let (token, left) = split_at_byte(after, b';');
                    (token.trim_ascii_end().to_vec(), left)
                }
            };
            parameters.push((name, content));
            rest = left;
        }
        Some(Parameterized { value, parameters })
    }

    /// The first parameter of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, content)| &**content)
    }

    /// The value as a content type without parameters, where it is one.
    pub(crate) fn essence(&self) -> Option<&str> {
        let (kind, subtype) = self.value.split_once('/')?;
        let valid = is_token(kind) && is_token(subtype) && self.value.len() <= ESSENCE_MAX;
        valid.then_some(self.value.as_str())
    }
}

fn split_at_byte(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// Reads up to the closing quotation mark; returns the content and what follows the mark.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        match (*text.get(at)?, text.get(at + 1)) {
            (b'"', _) => return Some((content, &text[at + 1..])),
            (b'\\', Some(&escaped @ (b'"' | b'\\'))) => {
                content.push(escaped);
                at += 2;
            }
            (byte, _) => {
                content.push(byte);
                at += 1;
            }
        }
    }
}

/// Whether this is a token of RFC 9110.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The seconds of `wait` among the preferences of RFC 7240, at most [`WAIT_MAX`]. A preference that
/// cannot be read is none: they are wishes.
pub(crate) fn preferred_wait<'a>(values: impl Iterator<Item = &'a str>) -> Option<u64> {
    values
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .find_map(|(_, seconds)| seconds.trim().trim_matches('"').parse::<u64>().ok())
        .map(|seconds| seconds.min(WAIT_MAX))
}

/// Why an idempotency key is not one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadKey;

/// The key in an `Idempotency-Key` header, with or without quotation marks: 1 to 255 printable
/// ASCII characters.
pub(crate) fn idempotency_key(value: &str) -> Result<String, BadKey> {
    let value = value.trim();
    let key = match value.strip_prefix('"') {
        None => value.to_owned(),
        Some(quoted) => match unquote(quoted.as_bytes()) {
            Some((key, b"")) => String::from_utf8(key).map_err(|_| BadKey)?,
            _ => return Err(BadKey),
        },
    };
    let printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable && (1..=KEY_MAX).contains(&key.len()) { Ok(key) } else { Err(BadKey) }
}

/// Whether an `Accept` names HTML, as those of browsers do, and likes nothing named here better:
/// programs that take anything (`*/*`) are not after a page.
pub(crate) fn asks_for_html<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    let (mut html, mut plain) = (0.0, 0.0);
    for range in values.flat_map(|value| value.split(',')) {
        let Some(range) = Parameterized::parse(range.as_bytes()) else { continue };
        let weight = range.get("q").and_then(|q| std::str::from_utf8(q).ok()?.parse().ok());
        match range.essence() {
            Some("text/html" | "application/xhtml+xml") => html = weight.unwrap_or(1.0),
            Some("text/plain") => plain = weight.unwrap_or(1.0),
            Some(_) | None => {}
        }
    }
    html > 0.0 && html >= plain
}

/// Whether an `If-None-Match` names this weak tag, by the weak comparison of RFC 9110.
pub(crate) fn matches_tag(if_none_match: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if_none_match.trim() == "*"
        || if_none_match.split(',').any(|named| opaque(named) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quoted_parameter_comes_out_as_it_went_in(content: Vec<u8>) {
            let escaped = content.iter().flat_map(|&byte| match byte {
                b'"' | b'\\' => vec![b'\\', byte],
                _ => vec![byte],
            });
            let text: Vec<u8> =
                b"a; b=\"".iter().copied().chain(escaped).chain(*b"\"; c=d").collect();
            let parsed = Parameterized::parse(&text).expect("well-formed");
            prop_assert_eq!(parsed.get("b"), Some(&content[..]));
            prop_assert_eq!(parsed.get("c"), Some(&b"d"[..]));
        }

        #[test]
        fn any_text_is_taken_apart_without_a_panic(text in r#"[\\";=a, /*W]{0,40}"#) {
            // What comes out does not matter here.
            drop(Parameterized::parse(text.as_bytes()));
            drop(idempotency_key(&text));
            matches_tag(&text, "W/\"1f\"");
            preferred_wait([text.as_str()].into_iter());
        }
    }

    #[test]
    fn takes_parameters_apart() {
        let parsed = Parameterized::parse(
            br#"Form-Data ;name="fi;le"; filename="a\"b\\c\d.wav";flag; X = token ;empty="""#,
        )
        .expect("well-formed");
        assert_eq!(parsed.value, "form-data");
        assert_eq!(parsed.get("name"), Some(&b"fi;le"[..]));
        assert_eq!(parsed.get("filename"), Some(&br#"a"b\c\d.wav"#[..]));
        assert_eq!(parsed.get("x"), Some(&b"token"[..]));
        assert_eq!(parsed.get("empty"), Some(&b""[..]));
        assert_eq!(parsed.get("flag"), None);
        assert_eq!(Parameterized::parse(br#"form-data; name="open"#), None);
    }

    #[test]
    fn knows_a_content_type() {
        let essence = |text: &[u8]| {
            Parameterized::parse(text).and_then(|parsed| parsed.essence().map(str::to_owned))
        };
        assert_eq!(essence(b"Audio/WAV; rate=8000").as_deref(), Some("audio/wav"));
        for other in [&b"audio"[..], b"audio/", b"/wav", b"audio/w av", b"a/b/c", b"", b"\xff/x"] {
            assert_eq!(essence(other), None, "{other:?}");
        }
    }

    #[test]
    fn reads_the_preferred_wait() {
        let wait = |values: &[&str]| preferred_wait(values.iter().copied());
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["respond-async, Wait = 5 ; x=1"]), Some(5));
        assert_eq!(wait(&["respond-async", "wait=\"7\""]), Some(7));
        assert_eq!(wait(&["wait=99999"]), Some(WAIT_MAX));
        for none in ["", "wait", "wait=", "wait=-1", "wait=soon", "waiting=3", ",,;="] {
            assert_eq!(wait(&[none]), None, "{none:?}");
        }
    }

    #[test]
    fn pages_are_for_those_who_ask_for_them() {
        let asks = |value: &str| asks_for_html([value].into_iter());
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for page in [browser, "text/html", "Text/HTML;charset=utf-8", "text/plain, text/html"] {
            assert!(asks(page), "{page:?}");
        }
        let better = "text/plain, text/html;q=0.5";
        for other in
            ["", "*/*", "text/*", "text/html;q=0", better, "text/html;q=\"x", "application/json"]
        {
            assert!(!asks(other), "{other:?}");
        }
        assert!(!asks_for_html(std::iter::empty()));
    }

    #[test]
    fn reads_an_idempotency_key() {
        assert_eq!(idempotency_key("abc-1").as_deref(), Ok("abc-1"));
        assert_eq!(idempotency_key(r#" "a \"b\"" "#).as_deref(), Ok(r#"a "b""#));
        assert_eq!(idempotency_key(&"k".repeat(255)), Ok("k".repeat(255)));
        for bad in ["", "\"\"", "\"open", "\"a\"b", "a\tb", "ä", &"k".repeat(256)] {
            assert_eq!(idempotency_key(bad), Err(BadKey), "{bad:?}");
        }
    }

    #[test]
    fn compares_tags_weakly() {
        let tag = "W/\"1f\"";
        for same in ["W/\"1f\"", "\"1f\"", "\"0\", W/\"1f\"", " * "] {
            assert!(matches_tag(same, tag), "{same:?}");
        }
        for other in ["", "\"1F\"", "\"1\"", "1f"] {
            assert!(!matches_tag(other, tag), "{other:?}");
        }
    }
}
