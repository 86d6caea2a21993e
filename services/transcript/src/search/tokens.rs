//! The words of a text, as search knows them: one tokenizer for what is indexed, for what is asked, and for both engines.
//!
//! A *token* is a run of letters and digits within a word (Unicode segmentation, UAX #29), folded:
//!
//! - compatibility forms are undone (NFKD): `ﬁ` is `fi`, full-width letters are plain ones;
//! - accents are removed, and so are the vowel points of Arabic and Hebrew. The vowel signs, viramas and tone marks of scripts
//!   that spell with them (Devanagari, Thai, …) and the voicing marks of kana stay: without them it would be another word;
//! - case is folded, and letters that differ from a base letter by a stroke or are joined are written plainly: `ß` is `ss`, `ø` is
//!   `o`, `æ` is `ae`. `ü` is `u` and not `ue`;
//! - the digits of Arabic, Persian and the Indian scripts are ASCII digits.
//!
//! Scripts written without spaces (Han, kana, and those of which the segmentation knows no words, such as Thai) give one token a
//! character or cluster; several in a row are found as a phrase, so any part of a word is. What is neither letter nor digit,
//! such as emoji and punctuation, gives no token: `can't` is `can` and `t`, one after the other.

use std::borrow::Cow;
use std::ops::Range;

use colloquy_folding::{Kind, fold, kind};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use unicode_segmentation::UnicodeSegmentation;

/// Changes whenever a text may give other tokens than before: what is indexed is then indexed anew when it is touched.
pub const VERSION: u8 = 1;
/// Of a turn, only this many tokens are indexed.
pub const MAX_TOKENS: usize = 5_000;
/// No token is longer; a longer one is cut, in what is indexed and what is asked alike.
pub const MAX_TOKEN_BYTES: usize = 64;

/// A token, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token<'t> {
    /// The word, folded.
    pub text: Cow<'t, str>,
    /// The bytes of the original it was made of.
    pub span: Range<usize>,
}

/// Returns the first [`MAX_TOKENS`] tokens of a text, in order.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::with_capacity((text.len() / 6).min(MAX_TOKENS));
    if text.is_ascii() {
        ascii(text, &mut found);
    } else {
        for (start, word) in text.unicode_word_indices() {
            if found.len() >= MAX_TOKENS {
                break;
            }
            if word.is_ascii() { ascii_word(word, start, &mut found) } else { word_of_any_script(word, start, &mut found) }
        }
        found.truncate(MAX_TOKENS);
    }
    found
}

/// Of ASCII, segmentation would find the same: it never divides letters and digits that stand together.
fn ascii<'t>(text: &'t str, found: &mut Vec<Token<'t>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while found.len() < MAX_TOKENS {
        let Some(skip) = bytes[at..].iter().position(u8::is_ascii_alphanumeric) else { return };
        let start = at + skip;
        let length = bytes[start..].iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(bytes.len() - start);
        at = start + length;
        found.push(Token { text: folded_ascii(&text[start..at]), span: start..at });
    }
}

fn ascii_word<'t>(word: &'t str, start: usize, found: &mut Vec<Token<'t>>) {
    let first = found.len();
    ascii(word, found);
    for token in &mut found[first..] {
        token.span = token.span.start + start..token.span.end + start;
    }
}

fn folded_ascii(word: &str) -> Cow<'_, str> {
    let word = &word[..word.len().min(MAX_TOKEN_BYTES)];
    if word.bytes().any(|byte| byte.is_ascii_uppercase()) { word.to_ascii_lowercase().into() } else { word.into() }
}

/// Returns whether a token is of a script that is written without spaces: twice in a row it is two tokens.
pub fn is_alone(token: &str) -> bool {
    tokens(&token.repeat(2)).len() > 1
}

/// The token being made.
#[derive(Default)]
struct Run {
    text: String,
    span: Range<usize>,
    /// Whether it is a character that is a token by itself.
    is_alone: bool,
}

impl Run {
    fn push(&mut self, letter: char, at: Range<usize>) {
        if self.text.is_empty() {
            self.span.start = at.start;
        }
        self.span.end = at.end;
        if self.text.len() < 4 * MAX_TOKEN_BYTES {
            self.text.push(letter);
        }
    }

    fn finish(&mut self, found: &mut Vec<Token<'_>>) {
        self.is_alone = false;
        if self.text.is_empty() {
            return;
        }
        let mut text: String = if self.text.is_ascii() { std::mem::take(&mut self.text) } else { self.text.nfc().collect() };
        text.truncate(text.floor_char_boundary(MAX_TOKEN_BYTES));
        found.push(Token { text: text.into(), span: self.span.clone() });
        self.text.clear();
    }
}

fn word_of_any_script(word: &str, start: usize, found: &mut Vec<Token<'_>>) {
    let mut run = Run::default();
    for (offset, letter) in word.char_indices() {
        let at = start + offset..start + offset + letter.len_utf8();
        // A mark belongs to the letter before it, also where it leaves no trace in the token.
        if is_combining_mark(letter) && !run.text.is_empty() {
            run.span.end = at.end;
        }
        decompose_compatible(letter, |part| {
            match kind(part) {
                // A mark on nothing means nothing.
                Kind::Part if is_combining_mark(part) && run.text.is_empty() => {}
                Kind::Part => {
                    let is_alone = stands_alone(part);
                    if is_alone || run.is_alone && !is_combining_mark(part) {
                        run.finish(found);
                    }
                    run.is_alone |= is_alone;
                    fold(part, |letter| run.push(letter, at.clone()));
                }
                Kind::Dropped => {}
                Kind::Divides => run.finish(found),
            }
        });
    }
    run.finish(found);
}

/// Returns whether a decomposed character is a token by itself, with the marks behind it.
fn stands_alone(letter: char) -> bool {
    matches!(u32::from(letter),
        0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3038..=0x303B // radicals and signs of Han
        | 0x3041..=0x3096 | 0x309D..=0x309F | 0x30A1..=0x30FA | 0x30FC..=0x30FF | 0x31F0..=0x31FF // kana
        | 0x3105..=0x312F | 0x31A0..=0x31BF // bopomofo
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x1B000..=0x1B16F | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.text.into_owned()).collect()
    }

    #[test]
    fn words_are_folded_whatever_their_script() {
        let cases: &[(&str, &[&str])] = &[
            ("Hello, World!", &["hello", "world"]),
            ("can't l'HOMME e-mail 3.14 a_b", &["can", "t", "l", "homme", "e", "mail", "3", "14", "a", "b"]),
            ("Straße STRASSE Übergröße", &["strasse", "strasse", "ubergrosse"]),
            ("¿Dónde está el niño?", &["donde", "esta", "el", "nino"]),
            ("cafe\u{301} café CAFÉ", &["cafe", "cafe", "cafe"]),
            ("smørrebrød Łódź Æsir œuvre", &["smorrebrod", "lodz", "aesir", "oeuvre"]),
            ("İstanbul ISTANBUL ısı", &["istanbul", "istanbul", "isi"]),
            ("ΟΔΥΣΣΕΎΣ Οδυσσεύς", &["οδυσσευσ", "οδυσσευσ"]),
            ("Ёлка елка", &["елка", "елка"]),
            ("مَرْحَبًا مرحـــبا أحمد احمد", &["مرحبا", "مرحبا", "احمد", "احمد"]),
            ("שָׁלוֹם שלום", &["שלום", "שלום"]),
            ("٣٤ ۳۴ ३४ 34", &["34", "34", "34", "34"]),
            ("我要退款。", &["我", "要", "退", "款"]),
            ("コーヒーを", &["コ", "ー", "ヒ", "ー", "を"]),
            ("がか ｶﾞ", &["が", "か", "ガ"]),
            ("환불해 주세요", &["환불해", "주세요"]),
            ("हिन्दी हन्द", &["हिन्दी", "हन्द"]),
            ("ﬁne Ｆｕｌｌ ² ½", &["fine", "full", "2", "1", "2"]),
            ("so\u{AD}ft", &["soft"]),
            ("👍🏽 ❤️ !!! 🇩🇪", &[]),
            ("ok👍great", &["ok", "great"]),
            ("", &[]),
            ("\0 \u{202E}x\u{FEFF}", &["x"]),
        ];
        for (text, expected) in cases {
            assert_eq!(texts(text), *expected, "{text}");
        }
    }

    #[test]
    fn a_token_says_which_bytes_it_was_made_of() {
        let text = "Das große Caf\u{65}\u{301}: 退款 e\u{301}";
        let spans: Vec<&str> = tokens(text).into_iter().map(|token| &text[token.span]).collect();
        assert_eq!(spans, ["Das", "große", "Cafe\u{301}", "退", "款", "e\u{301}"]);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(texts(&"a".repeat(1_000)), ["a".repeat(MAX_TOKEN_BYTES)]);
        let umlauts = texts(&"д".repeat(1_000));
        assert_eq!(umlauts, ["д".repeat(MAX_TOKEN_BYTES / 2)]);
        assert_eq!(texts(&"word ".repeat(6_000)).len(), MAX_TOKENS);
        assert_eq!(texts(&"wörd ".repeat(6_000)).len(), MAX_TOKENS);
    }

    proptest! {
        #[test]
        fn tokens_hold_nothing_an_engine_could_read_as_syntax(text in any::<String>()) {
            for token in tokens(&text) {
                prop_assert!(!token.text.is_empty() && token.text.len() <= MAX_TOKEN_BYTES);
                prop_assert!(token.text.chars().all(|c| c.is_alphanumeric() || is_combining_mark(c)), "{:?}", token.text);
                prop_assert!(!token.text.chars().any(|c| c.is_ascii_uppercase()));
                prop_assert!(text.is_char_boundary(token.span.start) && text.is_char_boundary(token.span.end));
            }
        }

        #[test]
        fn tokens_of_ascii_are_those_of_the_same_text_among_others(text in "[ -~]{0,60}") {
            let mut mixed = texts(&format!("{text} é"));
            prop_assert_eq!(mixed.pop(), Some("e".to_owned()));
            prop_assert_eq!(mixed, texts(&text));
        }

        #[test]
        fn tokens_of_tokens_are_the_same(text in "[a-zA-Z0-9À-ÿĀ-ſа-яА-ЯΆ-ώ가-힣退款かガー ,.'-]{0,40}") {
            let once = texts(&text);
            let again = texts(&once.join(" "));
            prop_assert_eq!(once, again);
        }
    }
}
