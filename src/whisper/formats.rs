//! A transcript as plain text, JSON, SubRip and WebVTT. Pure: a transcript in, a string out.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Segment, Transcript};

/// A way to write a transcript.
pub(super) struct Format {
    /// What a client asks for it by.
    pub(super) name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) write: fn(&Transcript) -> String,
}

/// All of them, under the names of OpenAI's `response_format`.
pub(super) const FORMATS: [Format; 5] = [
    Format { name: "text", content_type: "text/plain; charset=utf-8", write: text },
    Format { name: "json", content_type: "application/json", write: json },
    Format { name: "srt", content_type: "application/x-subrip", write: srt },
    Format { name: "vtt", content_type: "text/vtt; charset=utf-8", write: vtt },
    Format { name: "verbose_json", content_type: "application/json", write: verbose_json },
];

fn text(transcript: &Transcript) -> String {
    transcript.text()
}

fn json(transcript: &Transcript) -> String {
    json!({ "text": transcript.text() }).to_string()
}

/// With the names of OpenAI's `verbose_json`.
fn verbose_json(transcript: &Transcript) -> String {
    let segments: Vec<Value> =
        transcript.segments.iter().enumerate().map(verbose_segment).collect();
    json!({
        "task": if transcript.translated { "translate" } else { "transcribe" },
        "language": transcript.language.name(),
        "duration": seconds(transcript.duration),
        "text": transcript.text(),
        "segments": segments,
    })
    .to_string()
}

fn verbose_segment((id, segment): (usize, &Segment)) -> Value {
    json!({
        "id": id,
        "start": seconds(segment.start),
        "end": seconds(segment.end),
        "text": segment.text,
        "tokens": segment.tokens,
        "avg_logprob": segment.avg_logprob,
        "no_speech_prob": segment.no_speech_prob,
    })
}

/// In milliseconds, so that 3.2 does not become 3.2000000476.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

/// SubRip: numbered from 1, a comma before the milliseconds, an empty line between.
fn srt(transcript: &Transcript) -> String {
    let mut out = String::new();
    for (number, segment) in (1..).zip(&transcript.segments) {
        let (start, end) = shown(segment);
        // Players look for the arrow to find where a subtitle begins.
        let line = segment.line().replace("-->", "->");
        let separator = if number == 1 { "" } else { "\n" };
        writeln!(out, "{separator}{number}\n{} --> {}\n{line}", clock(start, ','), clock(end, ','))
            .expect("invariant: writing to a string cannot fail");
    }
    out
}

/// WebVTT (W3C), in which `&`, `<` and `>` have a meaning of their own.
fn vtt(transcript: &Transcript) -> String {
    let mut out = String::from("WEBVTT\n");
    for segment in &transcript.segments {
        let (start, end) = shown(segment);
        let line = segment.line().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        writeln!(out, "\n{} --> {}\n{line}", clock(start, '.'), clock(end, '.'))
            .expect("invariant: writing to a string cannot fail");
    }
    out
}

/// When a subtitle is shown, which is for a millisecond at least: WebVTT wants the end behind the
/// start.
fn shown(segment: &Segment) -> (Duration, Duration) {
    (segment.start, segment.end.max(segment.start + Duration::from_millis(1)))
}

/// `HH:MM:SS`, `point`, milliseconds. The hours go over 99 where they must.
fn clock(time: Duration, point: char) -> String {
    let ms = time.as_millis();
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{point}{:03}", ms / 1000 % 60, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whisper::Language;

    fn said(start_ms: u64, end_ms: u64, text: &str) -> Segment {
        Segment {
            start: Duration::from_millis(start_ms),
            end: Duration::from_millis(end_ms),
            text: text.into(),
            tokens: vec![1, 2],
            avg_logprob: -0.25,
            no_speech_prob: 0.5,
        }
    }

    fn transcript(segments: Vec<Segment>) -> Transcript {
        let duration = Duration::from_millis(11_000);
        Transcript {
            language: Language::english(),
            translated: false,
            duration,
            segments,
            warnings: Vec::new(),
            decoder_steps: 0,
        }
    }

    fn two() -> Transcript {
        transcript(vec![
            said(0, 3_200, " Ask not"),
            said(3_200, 3_725_007, " what\n\n<you> & --> I"),
        ])
    }

    #[test]
    fn text_is_one_line() {
        assert_eq!(text(&two()), "Ask not what <you> & --> I");
        assert_eq!(
            text(&transcript(vec![said(0, 10, "你好。"), said(10, 20, "再见。")])),
            "你好。再见。"
        );
        assert_eq!(text(&transcript(vec![])), "");
    }

    #[test]
    fn srt_counts_from_one_and_has_commas() {
        let expected = "1\n00:00:00,000 --> 00:00:03,200\nAsk not\n\n\
                        2\n00:00:03,200 --> 01:02:05,007\nwhat <you> & -> I\n";
        assert_eq!(srt(&two()), expected);
        assert_eq!(srt(&transcript(vec![])), "");
    }

    #[test]
    fn vtt_has_its_header_and_escapes() {
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:03.200\nAsk not\n\n\
                        00:00:03.200 --> 01:02:05.007\nwhat &lt;you&gt; &amp; --&gt; I\n";
        assert_eq!(vtt(&two()), expected);
        assert_eq!(vtt(&transcript(vec![])), "WEBVTT\n");
    }

    #[test]
    fn a_subtitle_is_shown_for_a_moment_at_least() {
        let short = transcript(vec![said(500, 500, " Oh!")]);
        assert!(vtt(&short).contains("00:00:00.500 --> 00:00:00.501"));
        assert!(srt(&short).contains("00:00:00,500 --> 00:00:00,501"));
    }

    #[test]
    fn long_recordings_keep_their_hours() {
        assert_eq!(clock(Duration::from_secs(100 * 3600), '.'), "100:00:00.000");
    }

    #[test]
    fn json_holds_the_text() {
        assert_eq!(json(&transcript(vec![said(0, 1, " \"Hi\"")])), r#"{"text":"\"Hi\""}"#);
    }

    #[test]
    fn verbose_json_holds_everything() {
        let value: Value = serde_json::from_str(&verbose_json(&two())).unwrap();
        assert_eq!(value["task"], "transcribe");
        assert_eq!(value["language"], "english");
        assert_eq!(value["duration"], 11.0);
        assert_eq!(value["text"], "Ask not what <you> & --> I");
        assert_eq!(value["segments"].as_array().unwrap().len(), 2);
        let expected = json!({
            "id": 0, "start": 0.0, "end": 3.2, "text": " Ask not", "tokens": [1, 2],
            "avg_logprob": -0.25, "no_speech_prob": 0.5,
        });
        assert_eq!(value["segments"][0], expected);
    }
}
