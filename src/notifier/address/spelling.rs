//! How a callback URL is written. People paste addresses as a browser shows them, with spaces and
//! umlauts; receivers answer 400 to those bytes. Where the URL standard gives such a text one meaning
//! it is encoded when the job is submitted, and else refused.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::CallbackRefused;

/// The characters that may not stand in a path or query. Brackets may not either, but every receiver
/// takes `?a[]=1` as it is.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The URL as it is stored and called: encoded, and without its fragment, which is never sent.
pub(crate) fn spelled(url: &str) -> Result<String, CallbackRefused> {
    // As forms send it: with the line's end that was pasted along.
    let url = url.trim_matches([' ', '\t', '\r', '\n']);
    if url.chars().any(char::is_control) {
        return Err(CallbackRefused::Control);
    }
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    if url.contains('\\') {
        return Err(CallbackRefused::Backslash);
    }
    if !percents_are_whole(url) {
        return Err(CallbackRefused::Percent);
    }
    let (scheme, rest) = url.split_once("://").ok_or(CallbackRefused::NotAUrl)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains('@') => return Err(CallbackRefused::AtSign),
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if !host.is_ascii() {
        return Err(CallbackRefused::NotAscii(host.to_owned()));
    }
    let mut spelled = format!("{}://", scheme.to_ascii_lowercase());
    if let Some(user) = user {
        spelled.extend(utf8_percent_encode(user, UNSAFE));
        spelled.push('@');
    }
    spelled += host;
    if target.starts_with('?') {
        spelled.push('/');
    }
    spelled.extend(utf8_percent_encode(target, UNSAFE));
    Ok(spelled)
}

/// Whether every `%` is followed by two hexadecimal digits.
fn percents_are_whole(url: &str) -> bool {
    url.split('%').skip(1).all(|after| {
        let digits = after.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

/// A URL in its parts around `user:password@`.
struct Parts<'a> {
    scheme: &'a str,
    user: &'a str,
    /// From the host on.
    rest: &'a str,
}

/// The parts of a URL with a user; `None` for one without.
fn parts(url: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let at = rest[..end].rfind('@')?;
    Some(Parts { scheme, user: &rest[..at], rest: &rest[at + 1..] })
}

/// The URL as it may be shown: without its password, and without a user that stands alone, which is
/// as likely a token.
pub(crate) fn masked(url: &str) -> Cow<'_, str> {
    let Some(Parts { scheme, user, rest }) = parts(url) else { return Cow::Borrowed(url) };
    let user = user.split_once(':').map_or("", |(user, _)| user);
    let colon = if user.is_empty() { "" } else { ":" };
    Cow::Owned(format!("{scheme}://{user}{colon}***@{rest}"))
}

/// The URL without its user and password, and both as `Authorization: Basic` takes them (RFC 7617):
/// decoded, with a colon between them.
pub(crate) fn without_user(url: &str) -> (Cow<'_, str>, Option<Vec<u8>>) {
    let Some(Parts { scheme, user, rest }) = parts(url) else { return (Cow::Borrowed(url), None) };
    let bare = Cow::Owned(format!("{scheme}://{rest}"));
    if user.is_empty() {
        return (bare, None);
    }
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    (bare, Some(credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_as_a_browser_shows_it_was_sent_raw() {
        for (given, stored) in [
            ("http://a/über?q=ä", "http://a/%C3%BCber?q=%C3%A4"),
            ("http://a/my hook?a b", "http://a/my%20hook?a%20b"),
            ("http://a/日本", "http://a/%E6%97%A5%E6%9C%AC"),
            ("http://a/\"<>^`{|}", "http://a/%22%3C%3E%5E%60%7B%7C%7D"),
            ("http://a/?list[]=1&x='y'", "http://a/?list[]=1&x='y'"),
            ("http://a/%C3%BC%2f", "http://a/%C3%BC%2f"),
            ("http://a/b#part", "http://a/b"),
            ("http://a/b#päh rt%", "http://a/b"),
            ("http://a?q=1", "http://a/?q=1"),
            ("http://a", "http://a"),
            (" http://a/b\r\n", "http://a/b"),
            ("HTTP://A.example/B", "http://A.example/B"),
            ("http://jö:p w@a/", "http://j%C3%B6:p%20w@a/"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ] {
            assert_eq!(spelled(given).as_deref(), Ok(stored), "{given:?}");
            assert_eq!(spelled(stored).as_deref(), Ok(stored), "once more changes nothing");
        }
    }

    #[test]
    fn a_url_with_two_meanings_is_refused() {
        let host = "über.example".to_owned();
        for (given, why) in [
            ("http://a/%zz", CallbackRefused::Percent),
            ("http://a/100%", CallbackRefused::Percent),
            ("http://a/%4", CallbackRefused::Percent),
            ("http://a\\b/", CallbackRefused::Backslash),
            ("http://a/?x=\\", CallbackRefused::Backslash),
            ("http://a/b\r\nc", CallbackRefused::Control),
            ("http://a/b\tc", CallbackRefused::Control),
            ("http://u:p@ss@a/", CallbackRefused::AtSign),
            ("http://über.example/", CallbackRefused::NotAscii(host)),
            ("/hook", CallbackRefused::NotAUrl),
        ] {
            assert_eq!(spelled(given), Err(why), "{given:?}");
        }
    }

    #[test]
    fn a_password_was_shown_to_everybody() {
        for (url, shown) in [
            ("http://u:secret@a/b?c@d", "http://u:***@a/b?c@d"),
            ("http://token@a/", "http://***@a/"),
            ("http://:secret@a", "http://***@a"),
            ("http://a:80/b@c", "http://a:80/b@c"),
            ("http://u:p@ss@a/", "http://u:***@a/"),
        ] {
            assert_eq!(masked(url), shown, "{url}");
        }
    }

    #[test]
    fn a_user_was_sent_as_it_is_written_in_the_url() {
        for (url, bare, credentials) in [
            ("http://user%40x:p%3Aw@a/b", "http://a/b", Some("user@x:p:w")),
            ("http://j%C3%B6:p%20w%0A@a/", "http://a/", Some("jö:p w\n")),
            ("http://user@a/", "http://a/", Some("user:")),
            ("http://@a/", "http://a/", None),
            ("http://a/x@y", "http://a/x@y", None),
        ] {
            let credentials = credentials.map(|text| text.as_bytes().to_vec());
            assert_eq!(without_user(url), (bare.into(), credentials), "{url}");
        }
    }
}
