//! Which letters are the same, to whoever looks for words: search, and the phrases of alert rules, through which back-tests find where
//! something was said.
//!
//! - accents are dropped, and so are the vowel points of Arabic and Hebrew. The vowel signs, viramas and tone marks of scripts
//!   that spell with them (Devanagari, Thai, …) and the voicing marks of kana stay: without them it would be another word;
//! - case is folded, and letters that differ from a base letter by a stroke or are joined are written plainly: `ß` is `ss`, `ø` is
//!   `o`, `æ` is `ae`. `ü` is `u` and not `ue`;
//! - the digits of Arabic, Persian and the Indian scripts are ASCII digits.
//!
//! What is indexed depends on it: a change here is a new version of the index's tokens.

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// What a decomposed character is to a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A part of it.
    Part,
    /// Nothing: an accent.
    Dropped,
    /// Its end.
    Divides,
}

/// Returns what a decomposed character (NFKD) is to a word.
pub fn kind(part: char) -> Kind {
    /// Lengthens an Arabic word on paper only.
    const TATWEEL: char = '\u{640}';
    /// Joins or divides shapes, not words.
    const JOINERS: [char; 3] = ['\u{200C}', '\u{200D}', '\u{AD}'];
    if part.is_ascii() {
        return if part.is_ascii_alphanumeric() { Kind::Part } else { Kind::Divides };
    }
    if is_combining_mark(part) {
        return match canonical_combining_class(part) {
            // Vowel signs; nuktas, the voicing marks of kana, viramas; the vowels and tones of Thai and Lao.
            0 if !is_enclosing(part) => Kind::Part,
            7..=9 | 103 | 107 | 118 | 122 => Kind::Part,
            _ => Kind::Dropped,
        };
    }
    match part {
        TATWEEL => Kind::Dropped,
        part if JOINERS.contains(&part) => Kind::Dropped,
        part if part.is_alphanumeric() => Kind::Part,
        _ => Kind::Divides,
    }
}

/// Returns whether a mark is a frame or tells how an emoji is shown, and no part of a letter.
fn is_enclosing(mark: char) -> bool {
    matches!(mark, '\u{20DD}'..='\u{20E0}' | '\u{20E2}'..='\u{20E4}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Tells `push` the letters that compare as this decomposed one: in lower case, without a stroke, joined letters apart, the digits of all
/// scripts as ASCII digits.
pub fn fold(letter: char, mut push: impl FnMut(char)) {
    /// Where the digits of a script begin.
    const ZEROS: [u32; 6] = [0x660, 0x6F0, 0x966, 0x9E6, 0xA66, 0xAE6];
    if letter.is_ascii() {
        return push(letter.to_ascii_lowercase());
    }
    for lower in letter.to_lowercase() {
        let plain = match lower {
            'ß' => "ss",
            'æ' => "ae",
            'œ' => "oe",
            'ø' => "o",
            'ł' => "l",
            'đ' | 'ð' => "d",
            'þ' => "th",
            'ħ' => "h",
            'ŧ' => "t",
            'ı' => "i",
            'ς' => "σ",
            _ => {
                let code = u32::from(lower);
                match ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code)) {
                    Some(zero) => push(char::from_digit(code - zero, 10).unwrap_or(lower)),
                    // A capital may have been a letter and a mark: `İ`.
                    None if is_combining_mark(lower) && matches!(kind(lower), Kind::Dropped) => {}
                    None => push(lower),
                }
                continue;
            }
        };
        plain.chars().for_each(&mut push);
    }
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = String::new();
        let parts = text.nfkd().filter(|part| kind(*part) != Kind::Dropped);
        parts.for_each(|part| fold(part, |letter| folded.push(letter)));
        folded.nfc().collect()
    }

    #[test]
    fn letters_that_are_the_same_to_a_reader_are_the_same() {
        for (one, other) in [
            ("STRASSE", "Straße"),
            ("ΟΔΌΣ", "οδος"),
            ("İstanbul", "istanbul"),
            ("Łódź", "lodz"),
            ("ﬁnance", "FINANCE"),
            ("שָׁלוֹם", "שלום"),
            ("۱۲۳", "123"),
            ("co\u{AD}operate", "cooperate"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
    }

    #[test]
    fn marks_that_spell_make_other_words() {
        assert_ne!(folded("किताब"), folded("कुतुब"));
        assert_ne!(folded("カキ"), folded("ガギ"));
    }
}
