//! The languages that Whisper knows.

use std::fmt;
use std::str::FromStr;

/// One of the about hundred languages that Whisper knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Language(i32);

impl Language {
    /// The one that English-only models know.
    pub fn english() -> Language {
        "en".parse().expect("invariant: Whisper knows English")
    }

    /// By whisper.cpp's number.
    pub(super) fn from_id(id: i32) -> Option<Language> {
        whisper_rs::get_lang_str(id).map(|_| Language(id))
    }

    /// The ISO 639 code, such as `en`, in lower case.
    pub fn code(self) -> &'static str {
        whisper_rs::get_lang_str(self.0).expect("invariant: made of a known number")
    }

    /// The English name, such as `english`, in lower case.
    pub fn name(self) -> &'static str {
        whisper_rs::get_lang_str_full(self.0).expect("invariant: made of a known number")
    }
}

impl FromStr for Language {
    type Err = ();

    /// Takes a code (`es`) or an English name (`spanish`), in any case.
    fn from_str(word: &str) -> Result<Language, ()> {
        // whisper.cpp's own look-up writes every word it does not know to the log.
        let mut all = (0..=whisper_rs::get_lang_max_id()).map(Language);
        let word = word.to_ascii_lowercase();
        all.find(|language| language.code() == word || language.name() == word).ok_or(())
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Language({})", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_known() {
        let spanish: Language = "es".parse().unwrap();
        assert_eq!(spanish, "Spanish".parse().unwrap());
        assert_eq!((spanish.code(), spanish.name()), ("es", "spanish"));
        assert_eq!(Language::english().code(), "en");
    }

    #[test]
    fn other_words_are_not() {
        for word in ["", "xx", "e", "en\0", "english!", "auto", "ünglisch"] {
            assert_eq!(word.parse::<Language>(), Err(()), "{word:?}");
        }
    }
}
