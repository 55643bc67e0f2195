//! Warnings: how a result falls short of its input. A job that succeeded carries them, and so do its
//! callback and the page. Their number and length are bounded.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Warnings that one output keeps. Further ones are counted.
const KEPT_MAX: usize = 20;
/// The longest code, in bytes.
const CODE_MAX: usize = 64;
/// The longest message, in bytes.
const MESSAGE_MAX: usize = 500;
/// The code of the warning that counts those which are not kept.
const MORE: &str = "more_warnings";

/// One way in which a result falls short of its input.
///
/// ```
/// # use std::time::Duration;
/// # use ringback::{Output, Warning};
/// let cut = Warning::new("trailing_data", "The last 300 bytes are no sound, and were left out.")
///     .at(Duration::from_secs(61));
/// let output = Output::text("half a sentence").with_warning(cut);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    code: String,
    message: String,
    #[serde(
        rename = "at_s",
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_seconds",
        deserialize_with = "read_seconds"
    )]
    at: Option<Duration>,
}

impl Warning {
    /// `code` is a stable word that a program can branch on. `message` is one sentence for a person.
    /// Control characters become spaces; a code ends after 64 bytes, a message after 500.
    pub fn new(code: impl AsRef<str>, message: impl AsRef<str>) -> Warning {
        Warning {
            code: one_line(code.as_ref(), CODE_MAX),
            message: one_line(message.as_ref(), MESSAGE_MAX),
            at: None,
        }
    }

    /// Adds the position in the input where it happened. Kept to the millisecond.
    #[must_use]
    pub fn at(mut self, position: Duration) -> Warning {
        self.at = Some(position);
        self
    }

    /// The stable word.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The position in the input.
    pub fn position(&self) -> Option<Duration> {
        self.at
    }
}

/// At most `longest` bytes of `text`, without control characters.
fn one_line(text: &str, longest: usize) -> String {
    const CUT: char = '…';
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().map(clean).take(longest + 1).collect();
    if line.len() > longest {
        while line.len() > longest - CUT.len_utf8() {
            line.pop();
        }
        line.push(CUT);
    }
    line
}

fn write_seconds<S: Serializer>(at: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    // Whole milliseconds, so that 3.2 does not become 3.2000000476.
    at.map(|at| at.as_millis() as f64 / 1000.0).serialize(serializer)
}

fn read_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    seconds.map(Duration::try_from_secs_f64).transpose().map_err(serde::de::Error::custom)
}

/// The warnings of one output, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Warnings {
    kept: Vec<Warning>,
    /// Warnings that are not kept.
    more: usize,
}

impl Warnings {
    pub(crate) fn push(&mut self, warning: Warning) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(warning);
        } else {
            self.more += 1;
        }
    }

    /// Those that are kept; a last one says how many more there were.
    pub(crate) fn into_list(self) -> Vec<Warning> {
        let mut list = self.kept;
        match self.more {
            0 => {}
            1 => list.push(Warning::new(MORE, "There was one more warning.")),
            more => list.push(Warning::new(MORE, format!("There were {more} more warnings."))),
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_written_as_the_contract_says_and_read_back() {
        let plain = Warning::new("clipped", "The recording is clipped.");
        let json = r#"{"code":"clipped","message":"The recording is clipped."}"#;
        assert_eq!(serde_json::to_string(&plain).unwrap(), json);
        assert_eq!(serde_json::from_str::<Warning>(json).unwrap(), plain);
        let there = plain.at(Duration::from_millis(3200));
        let json = r#"{"code":"clipped","message":"The recording is clipped.","at_s":3.2}"#;
        assert_eq!(serde_json::to_string(&there).unwrap(), json);
        assert_eq!(serde_json::from_str::<Warning>(json).unwrap(), there);
    }

    #[test]
    fn a_position_that_is_none_is_refused() {
        for at in ["-1", "1e300", "\"1\""] {
            let json = format!(r#"{{"code":"c","message":"m","at_s":{at}}}"#);
            assert!(serde_json::from_str::<Warning>(&json).is_err(), "{json}");
        }
    }

    #[test]
    fn words_are_bounded_and_on_one_line() {
        let warning = Warning::new("a\nb", "é".repeat(10_000));
        assert_eq!(warning.code(), "a b");
        assert!(warning.message().len() <= MESSAGE_MAX, "{}", warning.message().len());
        assert!(warning.message().starts_with("éé") && warning.message().ends_with("é…"));
        assert_eq!(Warning::new("c", "x".repeat(500)).message(), "x".repeat(500));
        assert!(Warning::new("c".repeat(100), "m").code().len() <= CODE_MAX);
    }

    #[test]
    fn the_number_is_bounded_and_the_rest_is_counted() {
        let list = |count: usize| {
            let mut warnings = Warnings::default();
            (0..count).for_each(|n| warnings.push(Warning::new("c", n.to_string())));
            warnings.into_list()
        };
        assert_eq!(list(0), []);
        assert_eq!(list(KEPT_MAX).len(), KEPT_MAX);
        let last = |count| list(count).pop().map(|last| (last.code, last.message)).unwrap();
        assert_eq!(last(21), (MORE.into(), "There was one more warning.".into()));
        assert_eq!(last(100_000), (MORE.into(), "There were 99980 more warnings.".into()));
        assert_eq!(list(100_000).len(), KEPT_MAX + 1);
    }
}
