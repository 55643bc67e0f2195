//! The name a client gave a file, made harmless. It is shown and logged, never used as a path.

/// The longest name kept, in bytes.
const MAX: usize = 255;

/// The last component of what the client sent, as text without control characters, and at most 255
/// bytes of it. `None` where nothing is left.
pub(crate) fn cleaned(raw: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(raw);
    let last = text.rsplit(['/', '\\']).next().unwrap_or(&text);
    let visible: String = last.chars().filter(|&c| !is_invisible_control(c)).collect();
    let name = cut(visible.trim());
    (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
}

/// Control characters, line separators, and the controls of text direction, by which `exe.wav` is
/// made to look like `vaw.exe`.
fn is_invisible_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

fn cut(name: &str) -> &str {
    let mut end = name.len().min(MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_left_is_harmless(raw: Vec<u8>, text in r"(\PC|[\x00-\x7f]|[./\\]){0,300}") {
            for raw in [&raw[..], text.as_bytes()] {
                let Some(name) = cleaned(raw) else { continue };
                prop_assert!(!name.is_empty() && name.len() <= MAX, "{:?}", name);
                prop_assert!(!name.contains(['/', '\\']) && name != "." && name != "..");
                prop_assert!(!name.chars().any(char::is_control), "{:?}", name);
                prop_assert_eq!(cleaned(name.as_bytes()), Some(name.clone()), "cleaned twice");
            }
        }
    }

    #[test]
    fn keeps_the_last_component() {
        for (raw, name) in [
            ("jfk.wav", "jfk.wav"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\talk one.mp3", "talk one.mp3"),
            ("a/b\\c", "c"),
            ("  spaced.wav ", "spaced.wav"),
            ("línea.ogg", "línea.ogg"),
        ] {
            assert_eq!(cleaned(raw.as_bytes()).as_deref(), Some(name), "{raw:?}");
        }
    }

    #[test]
    fn has_nothing_to_keep() {
        for raw in ["", "/", "..", "a/..", ".", "\\", " \t ", "\u{202e}"] {
            assert_eq!(cleaned(raw.as_bytes()), None, "{raw:?}");
        }
    }

    #[test]
    fn leaves_out_what_cannot_be_seen() {
        assert_eq!(cleaned(b"a\r\nb\0c\x1b[31m.wav").as_deref(), Some("abc[31m.wav"));
        assert_eq!(cleaned("vaw\u{202e}exe.wav".as_bytes()).as_deref(), Some("vawexe.wav"));
        assert_eq!(cleaned(b"caf\xe9.wav").as_deref(), Some("caf\u{fffd}.wav"));
    }

    #[test]
    fn cuts_between_characters() {
        let name = cleaned("ß".repeat(200).as_bytes()).expect("a name");
        assert_eq!(name, "ß".repeat(127));
    }
}
