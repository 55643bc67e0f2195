//! The outcome of a recording: what was heard and which warnings came with it, or why it failed.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// The letters of the sentence, in lower case.
const SENTENCE: &str = "unlesstoberathercoldheartedandratherselfishistobeilldisposed";

/// Letters that may differ, as a share of those expected: codecs of few bits cost a word now and then.
const TOLERANCE: f64 = 0.15;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Heard {
        text: Text,
        warnings: Vec<String>,
    },
    /// The code of the job's error.
    Failed(String),
    /// The code of the refusal, before there was a job.
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Sentence,
    Twice,
    /// At least a quarter of the sentence, and not all of it.
    Part,
    /// Anything else; no recording of the catalogue may have it.
    Other(String),
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(words: &str) -> Result<Outcome, String> {
        if let Some(code) = words.strip_prefix("fails ") {
            return Ok(Outcome::Failed(code.to_owned()));
        }
        if let Some(code) = words.strip_prefix("refused ") {
            return Ok(Outcome::Refused(code.to_owned()));
        }
        let (text, warnings) = words.split_once(" warns ").unwrap_or((words, ""));
        let text = match text {
            "sentence" => Text::Sentence,
            "twice" => Text::Twice,
            "part" => Text::Part,
            other => return Err(format!("unknown outcome {other:?}")),
        };
        let mut warnings: Vec<String> = warnings.split_whitespace().map(str::to_owned).collect();
        warnings.sort();
        Ok(Outcome::Heard { text, warnings })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Failed(code) => write!(f, "fails {code}"),
            Outcome::Refused(code) => write!(f, "refused {code}"),
            Outcome::Heard { text, warnings } => {
                match text {
                    Text::Sentence => f.write_str("sentence")?,
                    Text::Twice => f.write_str("twice")?,
                    Text::Part => f.write_str("part")?,
                    Text::Other(text) => write!(f, "the text {text:?}")?,
                }
                if !warnings.is_empty() {
                    write!(f, " warns {}", warnings.join(" "))?;
                }
                Ok(())
            }
        }
    }
}

impl Outcome {
    /// Reads the outcome off the JSON of a job that has ended.
    pub fn of(job: &Value) -> Outcome {
        if job["state"] != "succeeded" {
            let code = job["error"]["code"].as_str().unwrap_or("without a code");
            return Outcome::Failed(code.to_owned());
        }
        let warnings = job["warnings"].as_array().map_or(&[][..], Vec::as_slice);
        let mut warnings: Vec<String> =
            warnings.iter().map(|one| one["code"].as_str().unwrap_or("?").to_owned()).collect();
        warnings.sort();
        warnings.dedup();
        Outcome::Heard { text: compare(job["data"].as_str().unwrap_or_default()), warnings }
    }
}

fn compare(text: &str) -> Text {
    let heard: String =
        text.to_lowercase().chars().filter(|letter| letter.is_alphabetic()).collect();
    if is_near(&heard, SENTENCE) {
        Text::Sentence
    } else if is_near(&heard, &SENTENCE.repeat(2)) {
        Text::Twice
    } else if heard.len() >= SENTENCE.len() / 4 && is_near(&heard, prefix(heard.len())) {
        Text::Part
    } else {
        Text::Other(text.to_owned())
    }
}

fn prefix(length: usize) -> &'static str {
    &SENTENCE[..length.min(SENTENCE.len())]
}

fn is_near(heard: &str, expected: &str) -> bool {
    distance(heard, expected) as f64 <= TOLERANCE * expected.len() as f64
}

/// Letters to add, drop or replace to make one text of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *expected);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
