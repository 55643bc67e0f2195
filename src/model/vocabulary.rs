//! The texts of a model's tokens: one per line in `vocabulary.txt`, or a JSON list in
//! `vocabulary.json`. Each byte of a text is written as a printable character, the way GPT-2 does it.

use super::bounded::ReadError;
use super::hyper::Hyper;

const END_OF_TEXT: &str = "<|endoftext|>";

/// Which of the two forms a vocabulary is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Json,
}

/// The tokens that go into a ggml file: those that stand for text, and for English-only models the
/// end of text as well. whisper.cpp makes up the others, and goes by fixed numbers for them, so the
/// end of text must be where Whisper has it.
pub(super) fn tokens(text: &[u8], form: Form, hyper: &Hyper) -> Result<Vec<Vec<u8>>, ReadError> {
    let text = std::str::from_utf8(text).map_err(|_| ReadError::malformed("it is not UTF-8"))?;
    match form {
        Form::Lines => of_words(text.split('\n'), hyper),
        Form::Json => {
            let words: Vec<String> = serde_json::from_str(text).map_err(|error| {
                ReadError::malformed(format!("it is not a list of texts: {error}"))
            })?;
            of_words(words.iter().map(String::as_str), hyper)
        }
    }
}

fn of_words<'a>(
    words: impl Iterator<Item = &'a str>,
    hyper: &Hyper,
) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut tokens: Vec<Vec<u8>> = Vec::with_capacity(hyper.end_of_text() + 1);
    for word in words {
        if word == END_OF_TEXT {
            break;
        }
        if tokens.len() == hyper.end_of_text() {
            return Err(misplaced(hyper));
        }
        let bytes: Option<Vec<u8>> = word.chars().map(byte).collect();
        let bytes = bytes.ok_or_else(|| {
            ReadError::malformed(format!(
                "token {} has a character that stands for no byte",
                tokens.len()
            ))
        })?;
        tokens.push(bytes);
    }
    if tokens.len() != hyper.end_of_text() {
        return Err(misplaced(hyper));
    }
    if !hyper.is_multilingual() {
        tokens.push(END_OF_TEXT.as_bytes().to_vec());
    }
    Ok(tokens)
}

fn misplaced(hyper: &Hyper) -> ReadError {
    ReadError::malformed(format!(
        "its token {} is not {END_OF_TEXT}: the vocabulary does not belong to this model",
        hyper.end_of_text()
    ))
}

/// The byte that a character stands for: printable ones for themselves, the others in order from
/// U+0100 on.
fn byte(character: char) -> Option<u8> {
    /// The bytes that do not stand for themselves, in ranges.
    const HIDDEN: [(u32, u32); 3] = [(0x00, 0x20), (0x7f, 0xa0), (0xad, 0xad)];
    let code = u32::from(character);
    if let Some(mut nth) = code.checked_sub(0x100) {
        for (first, last) in HIDDEN {
            let many = last - first + 1;
            if nth < many {
                return u8::try_from(first + nth).ok();
            }
            nth -= many;
        }
        return None;
    }
    let hidden = HIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&code));
    if hidden { None } else { u8::try_from(code).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_one_character() {
        let mut bytes: Vec<u8> = (0..0x150).filter_map(char::from_u32).filter_map(byte).collect();
        assert_eq!(bytes.len(), 256);
        bytes.sort_unstable();
        bytes.dedup();
        assert_eq!(bytes.len(), 256);
        // Known from every GPT-2 vocabulary: Ġ is the space, Ċ the line feed.
        assert_eq!(
            (byte('Ġ'), byte('Ċ'), byte('a'), byte('\u{143}')),
            (Some(32), Some(10), Some(97), Some(0xad))
        );
        assert_eq!((byte(' '), byte('\u{144}'), byte('\u{10ffff}')), (None, None, None));
    }
}
