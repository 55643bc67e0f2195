//! Tells speech from Whisper's remarks about sound: `[BLANK_AUDIO]`, `(silence)`, `*coughs*`, `♪`.
//! Nobody said those, so they are not part of a transcript.

/// What opens a remark, and what closes it.
const BRACKETS: [(char, char); 7] =
    [('[', ']'), ('(', ')'), ('{', '}'), ('<', '>'), ('（', '）'), ('【', '】'), ('*', '*')];

/// Spoken text only; `None` where nothing in a segment was said.
pub(super) fn spoken(text: &str) -> Option<String> {
    let text = without_shouted_remarks(text);
    if only_remarks(&text) { None } else { Some(text) }
}

/// Whether nothing but remarks, notes and punctuation is there.
fn only_remarks(text: &str) -> bool {
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = skip_remark(rest) {
            rest = after;
        } else if is_silent(next) {
            rest = &rest[next.len_utf8()..];
        } else {
            return false;
        }
    }
    true
}

/// White space, musical notes, and punctuation that nobody can speak by itself.
fn is_silent(c: char) -> bool {
    c.is_whitespace() || "♪♫♩♬.,;:!?…-–—_~。、\u{fffd}".contains(c)
}

/// What follows the remark that `text` begins with. Round brackets also hold what somebody says
/// aside: a whole sentence in them is speech.
fn skip_remark(text: &str) -> Option<&str> {
    let open = text.chars().next()?;
    let (_, close) = BRACKETS.into_iter().find(|(o, _)| *o == open)?;
    let inside = &text[open.len_utf8()..];
    let end = inside.find(close)?;
    let (remark, after) = (&inside[..end], &inside[end + close.len_utf8()..]);
    let aside = open == '(' && is_sentence(remark);
    (!aside).then_some(after)
}

/// At least three words, and a full stop or the like.
fn is_sentence(text: &str) -> bool {
    text.trim_end().ends_with(['.', '?', '!']) && text.split_whitespace().count() >= 3
}

/// Leaves out remarks such as `[MUSIC PLAYING]` wherever they stand: square brackets around
/// capitals are never speech.
fn without_shouted_remarks(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        let Some(length) = rest[start..].find(']') else { break };
        let end = start + length;
        if is_shouted(&rest[start + 1..end]) {
            // Of the spaces on its two sides one is enough.
            kept.push_str(rest[..start].trim_end());
        } else {
            kept.push_str(&rest[..=end]);
        }
        rest = &rest[end + 1..];
    }
    kept.push_str(rest);
    kept
}

/// Capitals (two or more) with spaces and underscores, and nothing else.
fn is_shouted(remark: &str) -> bool {
    let letters = remark.chars().filter(|c| c.is_uppercase()).count();
    letters >= 2 && remark.chars().all(|c| c.is_uppercase() || c == ' ' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_not_speech() {
        for remark in [
            "",
            " ",
            " [BLANK_AUDIO]",
            "[ Silence ]",
            " (silence)",
            "(upbeat music)",
            " [Music]",
            "[MUSIC PLAYING] [APPLAUSE]",
            " *coughs*",
            "♪♪♪",
            "♪ (soft piano music) ♪",
            " (speaking in foreign language)",
            "[BLANK_AUDIO] [BLANK_AUDIO].",
            "（音楽）",
            "【拍手】",
            " (Laughter.)",
            "...",
            " - [no audio]",
            "<inaudible>",
            "{noise}",
        ] {
            assert_eq!(spoken(remark), None, "{remark:?}");
        }
    }

    #[test]
    fn speech_stays_as_it_is() {
        for speech in [
            " Hello.",
            " He (who else?) came.",
            " (I know what you mean.)",
            " Press [Enter] now.",
            " Five * six * seven",
            " a[i] = 0",
            " I said (and meant",
            " ♪ Row, row your boat ♪",
            " [unclosed",
            " 5 < 6 > 4",
            " — No.",
            " 42",
            " 你好。",
            " (he) said (she)",
            "[A] flat",
        ] {
            assert_eq!(spoken(speech).as_deref(), Some(speech));
        }
    }

    #[test]
    fn a_shouted_remark_leaves_the_speech_around_it() {
        assert_eq!(spoken(" [MUSIC PLAYING] Good evening.").as_deref(), Some(" Good evening."));
        assert_eq!(spoken(" Thanks. [APPLAUSE] Next.").as_deref(), Some(" Thanks. Next."));
        assert_eq!(spoken(" The end. [BLANK_AUDIO]").as_deref(), Some(" The end."));
        assert_eq!(spoken("[X_Y][BLANK_AUDIO]Go.").as_deref(), Some("Go."));
    }
}
