//! What was said, and when.

use std::time::Duration;

use super::Language;
use super::formats::FORMATS;
use crate::warning::Warning;

/// What was said in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The language spoken: the one asked for, or the one that was heard.
    pub language: Language,
    /// Whether the text is an English translation of it.
    pub translated: bool,
    /// How long the recording plays.
    pub duration: Duration,
    /// In the order of time; those without speech are left out.
    pub segments: Vec<Segment>,
    /// How the text may fall short of the recording.
    pub warnings: Vec<Warning>,
    /// Steps that the decoder took, one for each token of each candidate: the work it was.
    pub decoder_steps: u64,
}

/// A piece of a transcript, a sentence or so.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// From the start of the recording.
    pub start: Duration,
    /// From the start of the recording; never before `start`.
    pub end: Duration,
    /// As Whisper writes it: mostly with a space in front, where the language has spaces.
    pub text: String,
    /// What the model really said, in its own alphabet.
    pub tokens: Vec<i32>,
    /// Mean logarithm of the tokens' probabilities: how sure the model is. 0 is certain.
    pub avg_logprob: f32,
    /// How probable it is that nobody speaks, from 0 to 1.
    pub no_speech_prob: f32,
}

impl Transcript {
    /// The whole text, on one line. Empty where nobody speaks.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for segment in &self.segments {
            text.push_str(&segment.text);
        }
        one_line(&text)
    }

    /// Written as `text`, `json`, `srt`, `vtt` or `verbose_json`; `None` for other formats.
    pub fn write(&self, format: &str) -> Option<String> {
        FORMATS.iter().find(|known| known.name == format).map(|known| (known.write)(self))
    }
}

impl Segment {
    /// The text by itself, on one line.
    pub fn line(&self) -> String {
        one_line(&self.text)
    }
}

/// Every run of white space as one space, none at the ends.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
