//! Which language a transcript is wanted in, and which of its wordings that is.

use std::fmt;

use crate::fold::Transcript;
use crate::wording::Wording;

/// There is no transcript in the language asked for. It does not repeat what was asked, which may be anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnknownLanguage {
    /// The languages there are.
    pub available: Vec<String>,
}

impl fmt::Display for UnknownLanguage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.available.is_empty() {
            f.write_str("the language of this conversation is not known; leave it out")
        } else {
            write!(f, "must be one of {}, or be left out", self.available.join(", "))
        }
    }
}

/// Returns the wording in `wanted`, and its language when that is known; without a wish, what was heard.
///
/// A language is met by its exact code, else by its primary subtag: `en` and `en-US` are the same wish.
///
/// # Errors
/// When there is no such wording.
pub fn choose(transcript: &Transcript, wanted: &str) -> Result<(Wording, Option<String>), UnknownLanguage> {
    let (original, translation) = (transcript.language.as_deref(), transcript.translation_language.as_deref());
    if wanted.is_empty() {
        return Ok((Wording::Heard, original.map(str::to_owned)));
    }
    let tests: [fn(&str, &str) -> bool; 2] = [is_same, is_same_primary];
    for test in tests {
        for (wording, language) in [(Wording::Translated, translation), (Wording::Heard, original)] {
            if let Some(language) = language.filter(|language| test(language, wanted)) {
                return Ok((wording, Some(language.to_owned())));
            }
        }
    }
    Err(UnknownLanguage { available: [original, translation].into_iter().flatten().map(str::to_owned).collect() })
}

fn is_same(language: &str, wanted: &str) -> bool {
    language.eq_ignore_ascii_case(wanted)
}

fn is_same_primary(language: &str, wanted: &str) -> bool {
    is_same(primary(language), primary(wanted))
}

fn primary(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(language: Option<&str>, translation: Option<&str>) -> Transcript {
        let [language, translation_language] = [language, translation].map(|code| code.map(str::to_owned));
        Transcript { language, translation_language, ..crate::fold::fold(&[]) }
    }

    #[test]
    fn the_translation_is_chosen_by_its_language_whatever_its_case_and_region() {
        let transcript = transcript(Some("de-DE"), Some("en-US"));
        for wanted in ["en-US", "EN-us", "en", "en_GB"] {
            assert_eq!(choose(&transcript, wanted), Ok((Wording::Translated, Some("en-US".to_owned()))), "{wanted}");
        }
        for wanted in ["", "de", "DE-at"] {
            assert_eq!(choose(&transcript, wanted), Ok((Wording::Heard, Some("de-DE".to_owned()))), "{wanted}");
        }
    }

    #[test]
    fn an_exact_code_beats_a_shared_primary_subtag() {
        let transcript = transcript(Some("en-GB"), Some("en-US"));
        assert_eq!(choose(&transcript, "en-gb").unwrap().0, Wording::Heard);
        assert_eq!(choose(&transcript, "en-us").unwrap().0, Wording::Translated);
    }

    #[test]
    fn an_unknown_language_is_told_what_there_is() {
        let error = choose(&transcript(Some("de"), Some("en")), "fr").unwrap_err();
        assert_eq!(error.to_string(), "must be one of de, en, or be left out");
        assert!(choose(&transcript(None, None), "fr").unwrap_err().to_string().contains("not known"));
        assert_eq!(choose(&transcript(None, None), ""), Ok((Wording::Heard, None)));
    }
}
