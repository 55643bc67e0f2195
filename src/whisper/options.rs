//! What a client may ask of a transcription.

use std::num::NonZero;

use crate::job::Parameters;

use super::Language;

/// The parameters that a transcription takes.
const KNOWN: [&str; 5] = ["language", "prompt", "temperature", "track", "translate"];

/// How a recording is to be transcribed. The default finds the language out by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The language spoken; `None` to find it out.
    pub language: Option<Language>,
    /// Words and names to expect, in the language spoken. Only the end of a long one counts.
    pub prompt: Option<String>,
    /// From 0, which always takes the likeliest word, to 1, which guesses most freely.
    pub temperature: f32,
    /// The number of the sound track, from 1 on; `None` for the default one, or for one that speaks where
    /// that is silent.
    pub track: Option<NonZero<u32>>,
    /// Whether to write English whatever is spoken.
    pub translate: bool,
}

impl Options {
    /// Reads the parameters `language` (`auto`, or as [`Language`] reads it: `es`, `spa`, `es-MX`,
    /// `Spanish`), `prompt`, `temperature` (0 to 1), `track` (from 1 on) and `translate` (`true` or
    /// `false`, `yes` or `no`, `1` or `0`, `on` or `off`). An empty value is none, as forms send it.
    ///
    /// # Errors
    /// Says what is wrong, and what would be right.
    pub fn from_parameters(parameters: &Parameters) -> Result<Options, String> {
        if let Some(unknown) = parameters.names().find(|name| !KNOWN.contains(name)) {
            return Err(format!(
                "unknown parameter {unknown:?}: transcription takes language, prompt, temperature, \
                 track and translate"
            ));
        }
        Ok(Options {
            language: only(parameters, "language")?.map_or(Ok(None), language)?,
            prompt: only(parameters, "prompt")?.map(str::to_owned),
            temperature: only(parameters, "temperature")?.map_or(Ok(0.0), temperature)?,
            track: only(parameters, "track")?.map(track).transpose()?,
            translate: only(parameters, "translate")?.map_or(Ok(false), translate)?,
        })
    }

    /// Whether a model that knows only English can do it; if not, says why.
    pub(super) fn check_english_only(&self) -> Result<(), String> {
        if self.translate {
            return Err("the model of this server knows only English: it cannot translate".into());
        }
        match self.language {
            Some(language) if language != Language::english() => Err(format!(
                "the model of this server knows only English: language may be en or auto, not \
                 {language}"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// The one value of a parameter, where there is one.
fn only<'a>(parameters: &'a Parameters, name: &str) -> Result<Option<&'a str>, String> {
    match parameters.all(name) {
        [] => Ok(None),
        [value] => Ok(Some(value.trim()).filter(|value| !value.is_empty())),
        _ => Err(format!("{name} is given more than once")),
    }
}

fn language(word: &str) -> Result<Option<Language>, String> {
    if word.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    word.parse().map(Some).map_err(|()| {
        format!("unknown language {word:?}: give an ISO 639-1 code such as es, or auto")
    })
}

fn temperature(word: &str) -> Result<f32, String> {
    match word.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err(format!("temperature {word:?} is not a number from 0 to 1")),
    }
}

fn track(word: &str) -> Result<NonZero<u32>, String> {
    word.parse().map_err(|_| format!("track {word:?} is not a number from 1 on"))
}

fn translate(word: &str) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("translate {word:?} is neither true nor false: give true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let mut parameters = Parameters::new();
        for (name, value) in pairs {
            parameters.push(*name, *value);
        }
        Options::from_parameters(&parameters)
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(parse(&[]), Ok(Options::default()));
        let empty = [("language", ""), ("prompt", " "), ("temperature", ""), ("translate", "")];
        assert_eq!(parse(&empty), Ok(Options::default()));
        assert_eq!(parse(&[("language", "auto")]), Ok(Options::default()));
    }

    #[test]
    fn everything_said_is_taken() {
        let options = parse(&[
            ("language", "ES"),
            ("prompt", " Quijote, Sancho "),
            ("temperature", "0.2"),
            ("track", "2"),
            ("translate", "true"),
        ]);
        let expected = Options {
            language: Some("es".parse().unwrap()),
            prompt: Some("Quijote, Sancho".into()),
            temperature: 0.2,
            track: NonZero::new(2),
            translate: true,
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn what_forms_and_scripts_write_for_yes_and_no_was_refused() {
        for (words, translate) in [
            (["true", "True", "TRUE", "1", "yes", "Yes", "on"], true),
            (["false", "False", "FALSE", "0", "no", "No", "off"], false),
        ] {
            for word in words {
                let options = parse(&[("translate", word), ("language", "es-MX")]).unwrap();
                assert_eq!(options.translate, translate, "{word}");
                assert_eq!(options.language.map(Language::code), Some("es"));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (pair, words) in [
            (("colour", "red"), ["colour", "language, prompt, temperature, track and translate"]),
            (("language", "xx"), ["xx", "ISO 639-1"]),
            (("language", "e\0n"), ["language", "auto"]),
            (("temperature", "1.1"), ["1.1", "0 to 1"]),
            (("temperature", "NaN"), ["NaN", "0 to 1"]),
            (("temperature", "-0.1"), ["-0.1", "0 to 1"]),
            (("track", "0"), ["track \"0\"", "from 1 on"]),
            (("translate", "maybe"), ["maybe", "true nor false"]),
        ] {
            let message = parse(&[pair]).unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        assert_eq!(
            parse(&[("language", "es"), ("language", "en")]).unwrap_err(),
            "language is given more than once"
        );
    }

    #[test]
    fn english_only_models_take_english_only() {
        let check = |pairs: &[(&str, &str)]| parse(pairs).unwrap().check_english_only();
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("language", "en")]), Ok(()));
        assert!(check(&[("language", "es")]).unwrap_err().contains("es"));
        assert!(check(&[("translate", "true")]).is_err());
    }
}
