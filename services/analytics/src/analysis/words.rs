//! Words in the form in which they are compared: compatibility forms, accents and case folded.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Calls `each` with every word of `text`, in the form in which words are compared.
///
/// Words are what Unicode's segmentation calls so, split further at everything that is neither letter nor digit: `don't` is `don`
/// and `t` here, whichever apostrophe was written, and `l'abonnement` is found by `abonnement`. Where a language puts no spaces
/// between words, most of its characters are words of their own, so that phrases are found as runs of characters.
pub(super) fn each(text: &str, mut each: impl FnMut(&str)) {
    if text.is_ascii() {
        return each_ascii(text, each);
    }
    let mut folded = String::with_capacity(text.len());
    for letter in text.nfkd().filter(|letter| !is_mark(*letter)).flat_map(char::to_lowercase) {
        match letter {
            'ß' => folded.push_str("ss"),
            // Lower-casing brings back a mark that was folded before (`İ`).
            mark if is_mark(mark) => {}
            letter => folded.push(letter),
        }
    }
    for run in folded.unicode_words() {
        run.split(|letter: char| !letter.is_alphanumeric() && !is_inner(letter))
            .filter(|word| !word.is_empty())
            .for_each(&mut each);
    }
}

/// The same for ASCII, which is most of what is said, at a fraction of the cost.
fn each_ascii(text: &str, mut each: impl FnMut(&str)) {
    let mut lower = [0_u8; 64];
    for word in text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        match lower.get_mut(..word.len()) {
            Some(room) if word.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                room.copy_from_slice(word.as_bytes());
                room.make_ascii_lowercase();
                // Always so: the bytes are ASCII.
                if let Ok(word) = std::str::from_utf8(room) {
                    each(word);
                }
            }
            Some(_) => each(word),
            None => each(&word.to_ascii_lowercase()),
        }
    }
}

/// Returns the words of a text.
pub(super) fn of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each(text, |word| words.push(word.to_owned()));
    words
}

/// Returns whether a character is an accent or a vowel point: what people leave out when they are in a hurry. Vowel signs of
/// scripts that cannot be read without them are none.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Returns whether a character that is no letter belongs to words: vowel signs and the like.
fn is_inner(letter: char) -> bool {
    !letter.is_ascii() && unicode_normalization::char::is_combining_mark(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accents_case_width_and_apostrophes_make_no_difference() {
        assert_eq!(of("Zoë DON’T ＡＢＣ"), ["zoe", "don", "t", "abc"]);
        assert_eq!(of("L'Abonnement, STRASSE/Straße"), ["l", "abonnement", "strasse", "strasse"]);
        assert_eq!(of("İstanbul"), ["istanbul"]);
        assert_eq!(of("予約 42 مَوعد"), ["予", "約", "42", "موعد"]);
    }

    #[test]
    fn what_holds_no_letters_holds_no_words() {
        assert!(of("").is_empty());
        assert!(of("\0\u{1}\u{202e} 👍🏽 … —").is_empty());
    }

    proptest! {
        #[test]
        fn the_way_for_ascii_finds_what_the_way_for_all_finds(text in "[ -~]{0,40}") {
            let general = of(&format!("{text} é"));
            let mut ascii = of(&text);
            ascii.push("e".to_owned());
            prop_assert_eq!(ascii, general);
        }

        #[test]
        fn any_text_has_words(text in any::<String>()) {
            prop_assert!(of(&text).iter().all(|word| !word.is_empty()));
        }
    }
}
