//! The languages that Whisper knows.

mod aliases;

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

    /// Takes an ISO 639 code of two or three letters (`es`, `spa`), a tag with a region or a script (`es-MX`,
    /// `zh_Hant`), or an English name (`spanish`), in any case.
    fn from_str(word: &str) -> Result<Language, ()> {
        let word = word.to_ascii_lowercase();
        known(&word).or_else(|| known(primary_subtag(&word)?)).ok_or(())
    }
}

/// A language by its code, its name or another word for it, in lower case.
fn known(word: &str) -> Option<Language> {
    let alias = |(_, others): &&(&str, &[&str])| others.contains(&word);
    let word = aliases::ALIASES.iter().find(alias).map_or(word, |(code, _)| code);
    // whisper.cpp's own look-up writes every word it does not know to the log.
    let mut all = (0..=whisper_rs::get_lang_max_id()).map(Language);
    all.find(|language| language.code() == word || language.name() == word)
}

/// The language of a BCP 47 tag with further subtags. Some programs put underscores between them.
fn primary_subtag(tag: &str) -> Option<&str> {
    let (language, others) = tag.split_once(['-', '_'])?;
    let is_subtag = |subtag: &str| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let is_tag = (2..=3).contains(&language.len()) && others.split(['-', '_']).all(is_subtag);
    is_tag.then_some(language)
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
    fn what_programs_call_a_language_was_refused() {
        for (word, code) in [
            ("en-US", "en"),
            ("EN_gb", "en"),
            ("eng", "en"),
            ("English", "en"),
            ("pt-BR", "pt"),
            ("zh-Hant-TW", "zh"),
            ("zh-CN", "zh"),
            ("cmn-Hans", "zh"),
            ("fre", "fr"),
            ("fra", "fr"),
            ("deu", "de"),
            ("GER", "de"),
            ("nb-NO", "no"),
            ("iw", "he"),
            ("fil", "tl"),
            ("Castilian", "es"),
            ("es-419", "es"),
            ("haw", "haw"),
            ("jv", "jw"),
            ("de-CH-1996", "de"),
            ("haitian creole", "ht"),
        ] {
            assert_eq!(word.parse::<Language>().map(Language::code), Ok(code), "{word:?}");
        }
    }

    #[test]
    fn every_alias_is_of_a_language_that_whisper_knows_and_of_no_other() {
        let mut seen = std::collections::BTreeSet::new();
        for (code, others) in aliases::ALIASES {
            assert_eq!(known(code).map(Language::code), Some(*code));
            for other in *others {
                assert!(seen.insert(other), "{other} twice");
                let all = (0..=whisper_rs::get_lang_max_id()).map(Language);
                let mut others = all.filter(|language| language.code() != *code);
                assert!(!others.any(|language| [language.code(), language.name()].contains(other)));
            }
        }
        assert!(seen.len() > 120);
        let all = (0..=whisper_rs::get_lang_max_id()).map(Language);
        for language in all.filter(|language| language.code().len() == 2) {
            let (code, others) = aliases::ALIASES
                .iter()
                .find(|(code, _)| *code == language.code())
                .expect("aliases");
            assert!(
                others.iter().any(|other| other.len() == 3),
                "{code} has no code of three letters"
            );
        }
    }

    #[test]
    fn other_words_are_not() {
        for word in [
            "",
            "xx",
            "e",
            "en\0",
            "english!",
            "auto",
            "ünglisch",
            "xx-US",
            "en-",
            "-en",
            "en-US!",
            "english-US",
            "e-n",
            "en--US",
            "en-veryverylong",
        ] {
            assert_eq!(word.parse::<Language>(), Err(()), "{word:?}");
        }
    }
}
