//! Finds text that repeats itself: the mark of a decoder that is stuck.

use std::ops::Range;
use std::time::Duration;

use super::Segment;
use crate::warning::Warning;

/// Tokens of text that are looked at together.
pub(super) const ENTROPY_SPAN: usize = 32;
/// Fewer tokens than these say nothing.
const FEWEST: usize = 16;
/// The least entropy of plain text, as a part of that of as many different tokens. whisper.cpp throws 32
/// tokens with less than 2.4 away: 0.69 of the greatest.
const PLAIN: f64 = 0.69;

/// Whether so few different tokens are among these that nobody would speak so. Wants at least 16 of them.
pub(super) fn repeats_itself(tokens: impl Iterator<Item = i32>) -> bool {
    let mut sorted: Vec<i32> = tokens.take(ENTROPY_SPAN).collect();
    if sorted.len() < FEWEST {
        return false;
    }
    sorted.sort_unstable();
    let all = sorted.len() as f64;
    let entropy: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|equal| equal.len() as f64 / all)
        .map(|part| -part * part.ln())
        .sum();
    entropy < PLAIN * all.ln()
}

/// A warning for each stretch of a transcript that repeats itself, within a segment or over many.
pub(super) fn warnings(segments: &[Segment], end_of_text: i32) -> Vec<Warning> {
    let tokens: Vec<(i32, &Segment)> = segments
        .iter()
        .flat_map(|segment| segment.tokens.iter().map(move |token| (*token, segment)))
        .filter(|(token, _)| *token < end_of_text)
        .collect();
    let span = ENTROPY_SPAN.min(tokens.len().max(1));
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (from, some) in tokens.windows(span).enumerate() {
        if !repeats_itself(some.iter().map(|(token, _)| *token)) {
            continue;
        }
        match stretches.last_mut() {
            Some(stretch) if from <= stretch.end => stretch.end = from + span,
            Some(_) | None => stretches.push(from..from + span),
        }
    }
    let warning = |stretch: Range<usize>| {
        // Plain text is taken in at both ends, until it makes up about half of the span.
        let plain = span / 2;
        let first = if stretch.start == 0 { 0 } else { stretch.start + plain };
        let last = if stretch.end == tokens.len() { tokens.len() } else { stretch.end - plain };
        repeated(tokens[first].1.start, tokens[last - 1].1.end)
    };
    stretches.into_iter().map(warning).collect()
}

fn repeated(start: Duration, end: Duration) -> Warning {
    let message = format!(
        "From {:.1} to {:.1} s the text repeats itself: unless it was said so, the model got stuck \
         there, and words are missing or made up.",
        start.as_secs_f64(),
        end.as_secs_f64()
    );
    Warning::new("repeated_text", message).at(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(number: u64, tokens: Vec<i32>) -> Segment {
        Segment {
            start: Duration::from_secs(number),
            end: Duration::from_secs(number + 1),
            text: " text".into(),
            tokens,
            avg_logprob: -0.25,
            no_speech_prob: 0.1,
        }
    }

    #[test]
    fn plain_speech_does_not_repeat_itself() {
        // "ask not what your country can do for you, ask what you can do for your country"
        let country = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 3, 9, 6, 7, 8, 4, 5, 11];
        assert!(!repeats_itself(country.into_iter()));
        assert!(!repeats_itself([1; 15].into_iter()), "too little to tell");
        assert!(repeats_itself([1; 16].into_iter()));
        assert!(repeats_itself((0..32).map(|n| n % 7)));
        assert!(!repeats_itself(0..32));
    }

    #[test]
    fn each_stretch_that_repeats_itself_is_named_once() {
        let plain = |number: u64| said(number, (100..140).collect());
        let stuck = |number: u64| said(number, [1, 2, 3, 900].repeat(4));
        let plains = [plain(0), plain(4), plain(5), plain(9)];
        let stucks = [stuck(1), stuck(2), stuck(3), stuck(6), stuck(7), stuck(8)];
        let mut segments = [plains.as_slice(), &stucks].concat();
        segments.sort_by_key(|segment| segment.start);
        let warnings = warnings(&segments, 500);
        let found: Vec<_> = warnings.iter().map(|one| (one.code(), one.position())).collect();
        let at = |seconds| ("repeated_text", Some(Duration::from_secs(seconds)));
        assert_eq!(found, [at(1), at(6)], "{warnings:?}");
        assert!(warnings[0].message().contains("From 1.0 to 4.0 s"), "{warnings:?}");
        assert_eq!(super::warnings(&[plain(0), plain(1)], 500), []);
        assert_eq!(super::warnings(&[], 500), []);
    }
}
