use super::*;

const ALPHABET: Alphabet =
    Alphabet { end_of_text: 5000, first_timestamp: 5100, tokens: 5100 + 1501 };
/// Passes of whisper.cpp over one window: temperatures 0, 0.4 and 0.8.
const PASSES: u64 = 3;
/// Tokens that whisper.cpp lets a pass write at most.
const TOKENS_MAX: usize = 220;

fn token(id: i32) -> WhisperTokenData {
    // SAFETY: it holds numbers alone, which may be zero.
    let zeroed: WhisperTokenData = unsafe { std::mem::zeroed() };
    WhisperTokenData { id, ..zeroed }
}

fn tokens(ids: impl IntoIterator<Item = i32>) -> Vec<WhisperTokenData> {
    ids.into_iter().map(token).collect()
}

/// For a stretch of so many seconds, in its first window.
fn effort(seconds: usize) -> Effort {
    let effort = Effort::new(seconds * SAMPLE_RATE as usize, ALPHABET);
    effort.reached(0);
    effort.begin_window();
    effort
}

/// The tokens that may follow.
fn allowed(effort: &Effort, candidate: &[WhisperTokenData]) -> Vec<i32> {
    let mut logits = vec![1.0; ALPHABET.tokens];
    effort.step(candidate, &mut logits);
    (0..).zip(&logits).filter(|(_, logit)| logit.is_finite()).map(|(id, _)| id).collect()
}

fn everything() -> Vec<i32> {
    (0..ALPHABET.tokens as i32).collect()
}

#[test]
fn a_text_that_repeats_itself_went_on_to_the_last_token() {
    let effort = effort(10);
    // Fast speech of ten seconds may repeat itself; more of it is nobody's.
    let at = |length: usize| tokens((0..).map(|n| n % 5).take(length));
    assert_eq!(allowed(&effort, &at(66)), everything());
    let end = ALPHABET.first_timestamp + 500;
    assert_eq!(allowed(&effort, &at(67)), [end]);
    let closed: Vec<_> = at(67).into_iter().chain([token(end)]).collect();
    assert_eq!(allowed(&effort, &closed), [ALPHABET.end_of_text]);
    // A timestamp before the end is followed by one more, and then by no third.
    let early = |count| -> Vec<_> { at(67).into_iter().chain(tokens(vec![5110; count])).collect() };
    assert_eq!(allowed(&effort, &early(1)), [end]);
    assert_eq!(allowed(&effort, &early(2)), [ALPHABET.end_of_text]);
}

#[test]
fn timestamps_between_hide_no_repetition() {
    let effort = effort(10);
    let lines = (0..20).flat_map(|n| [5100 + n, 1, 2, 3, 5101 + n]);
    assert_eq!(allowed(&effort, &tokens(lines)), [ALPHABET.first_timestamp + 500]);
}

#[test]
fn speech_that_is_dense_is_not_cut() {
    for (seconds, length) in [(30, TOKENS_MAX), (10, TOKENS_MAX), (2, 96)] {
        let text = tokens(0..length as i32);
        assert_eq!(allowed(&effort(seconds), &text), everything(), "{seconds} s");
    }
    let second = effort(1);
    assert_eq!(allowed(&second, &tokens(0..73)), [ALPHABET.first_timestamp + 50]);
}

#[test]
fn a_model_without_timestamps_is_ended_too() {
    let effort = effort(10);
    let mut logits = vec![1.0; ALPHABET.tokens];
    logits[ALPHABET.first_timestamp as usize..].fill(f32::NEG_INFINITY);
    effort.step(&tokens(vec![7; 100]), &mut logits);
    let left: Vec<_> = (0..).zip(&logits).filter(|(_, logit)| logit.is_finite()).collect();
    assert_eq!(left, [(ALPHABET.end_of_text, &0.0)]);
}

/// Steps that a decoder takes which never repeats itself, never ends by itself, and always moves on by
/// as little as it may.
fn worst(seconds: usize) -> u64 {
    let effort = Effort::new(seconds * SAMPLE_RATE as usize, ALPHABET);
    let all = seconds as f32;
    let mut seek = 0.0;
    while seek + 0.1 < all {
        effort.reached((100.0 * seek / all) as u32);
        effort.begin_window();
        let first = allowed(&effort, &tokens(0..2));
        for step in 0..PASSES * CANDIDATES as u64 * TOKENS_MAX as u64 {
            let length = step as usize % TOKENS_MAX;
            let mut none = [];
            effort.step(&tokens(0..length as i32), &mut none);
        }
        let next = first.iter().find(|id| **id > ALPHABET.first_timestamp).expect("a timestamp");
        seek += (next - ALPHABET.first_timestamp) as f32 * TIMESTAMP_S;
    }
    effort.steps()
}

#[test]
fn a_second_of_audio_cost_any_number_of_steps() {
    let window = PASSES * CANDIDATES as u64 * TOKENS_MAX as u64;
    for seconds in [1, 10, 30, 31, 120, 300] {
        let windows = 4 + seconds as u64 / 10 + seconds as u64 / 30;
        let steps = worst(seconds);
        assert!(
            steps <= windows * window,
            "{seconds} s: {steps} steps, {} windows",
            steps / window
        );
    }
}

#[test]
fn progress_moves_within_a_window_and_never_back() {
    let effort = effort(10);
    let mut last = effort.progress();
    assert_eq!(last, 0.0);
    for pass in 0..3 {
        for length in [0, 10, 40, 100, 220] {
            effort.step(&tokens(0..length), &mut []);
            let now = effort.progress();
            assert!(now >= last && now < 1.0, "pass {pass}, {length} tokens: {now} after {last}");
            assert!(length == 0 || length > 66 || now > last, "it stands still: {now}");
            last = now;
        }
    }
    effort.reached(104);
    assert_eq!(effort.progress(), 1.0);
}
