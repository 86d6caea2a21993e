//! Stems: what the forms of a word have in common.

use rust_stemmers::{Algorithm, Stemmer};

/// What words longer than this have in common matters to nobody.
const LONGEST_WORD: usize = 100;

/// Finds the stems of a language's words; of languages without a stemmer, words are their own stems.
pub(super) struct Stems(Option<Stemmer>);

impl Stems {
    /// Returns the stemmer of a language, by its ISO 639-1 code.
    pub(super) fn of(language: &str) -> Self {
        let algorithm = match language {
            "ar" => Algorithm::Arabic,
            "da" => Algorithm::Danish,
            "de" => Algorithm::German,
            "el" => Algorithm::Greek,
            "en" => Algorithm::English,
            "es" => Algorithm::Spanish,
            "fi" => Algorithm::Finnish,
            "fr" => Algorithm::French,
            "hu" => Algorithm::Hungarian,
            "it" => Algorithm::Italian,
            "nl" => Algorithm::Dutch,
            "no" => Algorithm::Norwegian,
            "pt" => Algorithm::Portuguese,
            "ro" => Algorithm::Romanian,
            "ru" => Algorithm::Russian,
            "sv" => Algorithm::Swedish,
            "ta" => Algorithm::Tamil,
            "tr" => Algorithm::Turkish,
            _ => return Self(None),
        };
        Self(Some(Stemmer::create(algorithm)))
    }

    /// Returns what finds words only as they stand.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Returns the stem of a word in its folded form.
    pub(super) fn stem<'w>(&self, word: &'w str) -> std::borrow::Cow<'w, str> {
        match &self.0 {
            Some(stemmer) if word.len() <= LONGEST_WORD => stemmer.stem(word),
            _ => word.into(),
        }
    }
}

/// The languages that have a stemmer, and `""` for all that have none.
pub(super) const LANGUAGES: [&str; 19] =
    ["", "ar", "da", "de", "el", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ro", "ru", "sv", "ta", "tr"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::words;

    #[test]
    fn forms_of_a_word_share_their_stem() {
        let english = Stems::of("en");
        assert_eq!(english.stem("appointments"), english.stem("appointment"));
        assert_eq!(Stems::of("ja").stem("予"), "予");
    }

    proptest! {
        #[test]
        fn every_word_of_any_script_has_a_stem(
            text in any::<String>(),
            latin in "[a-zäöüßñçéèàíığşőű]{1,12}",
            greek in "[α-ω]{1,9}",
            russian in "[а-я]{1,9}",
            arabic in "[ء-ي]{1,9}",
            tamil in "[அ-ஹா-்]{1,9}",
        ) {
            for language in LANGUAGES {
                let stems = Stems::of(language);
                for text in [&text, &latin, &greek, &russian, &arabic, &tamil] {
                    for word in words::of(text) {
                        stems.stem(&word);
                    }
                }
            }
        }
    }
}
