//! What the program says while it runs: lines on stderr.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write;
use std::time::SystemTime;

use env_logger::Builder;
use log::LevelFilter;

/// Sets the log up. `verbose` counts `-v`; without one RUST_LOG says what is logged.
pub(super) fn init(verbose: u8) {
    let mut log = Builder::new();
    log.filter_level(LevelFilter::Warn).filter_module("ringback", LevelFilter::Info);
    // A recording may be made of what its decoder complains of: a line for every hundred bytes.
    log.filter_module("symphonia", LevelFilter::Off);
    // The gate says that the inner server has ended, once, and makes it anew.
    log.filter_module("tiny_http", LevelFilter::Off);
    match verbose {
        0 => log.parse_default_env(),
        1 => log.filter_module("ringback", LevelFilter::Debug),
        _ => log.filter_level(LevelFilter::Trace).filter_module("ringback", LevelFilter::Trace),
    };
    log.format(|out, record| {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let message = record.args().to_string();
        writeln!(out, "{time} {:5} {}", record.level(), one_line(message.trim_end()))
    });
    log.init();
}

/// A message as one line that says nothing to a terminal. There may be words of a stranger in it,
/// from here or from a library, and they must not look like another line of the log.
fn one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(is_command) {
        return Cow::Borrowed(message);
    }
    let mut line = String::with_capacity(message.len() + 16);
    for c in message.chars() {
        if is_command(c) {
            write!(line, "{}", c.escape_default())
                .expect("invariant: a string takes what it is given");
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// Control characters, line separators and the controls of text direction.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_words_are_no_line_of_their_own() {
        for (message, line) in [
            ("an ordinary line, señor 你好", "an ordinary line, señor 你好"),
            ("a\r\n2026-11-24T00:00:00.000Z ERROR b", r"a\r\n2026-11-24T00:00:00.000Z ERROR b"),
            ("\0\u{1b}[31m\u{9b}31m\u{7f}", r"\u{0}\u{1b}[31m\u{9b}31m\u{7f}"),
            ("a\u{85}b\u{2028}c\u{202e}d", r"a\u{85}b\u{2028}c\u{202e}d"),
        ] {
            assert_eq!(one_line(message), line);
        }
    }
}
