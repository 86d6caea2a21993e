//! Finding phrases in what was said: the words of a phrase, one after the other, whatever their case, accents and punctuation.
//!
//! All phrases of all rules of an organization are looked for in one pass: what is said is cut into words once, and only phrases that
//! begin with a word that was said are compared.

use std::collections::HashMap;

use colloquy_folding::{Kind, fold, kind};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// A text, cut into words that compare as they should.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words {
    text: String,
    /// Where each word ends and begins.
    bounds: Vec<(usize, usize)>,
}

impl Words {
    /// Cuts a text into words.
    pub fn of(text: &str) -> Self {
        let mut words = Self::default();
        words.read(text);
        words
    }

    /// Cuts another text into words, in place of those before.
    pub fn read(&mut self, text: &str) {
        self.text.clear();
        self.bounds.clear();
        if text.is_ascii() {
            self.text.push_str(text);
            self.text.make_ascii_lowercase();
        } else {
            for part in text.nfkd().filter(|part| kind(*part) != Kind::Dropped) {
                // Both apostrophes are written.
                fold(part, |letter| self.text.push(if letter == '’' { '\'' } else { letter }));
            }
        }
        let words = self.text.unicode_word_indices().map(|(from, word)| (from, from + word.len()));
        self.bounds.extend(words);
    }

    /// Returns how many there are.
    pub const fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    fn get(&self, at: usize) -> Option<&str> {
        self.bounds.get(at).map(|(from, to)| &self.text[*from..*to])
    }

    /// Returns them in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.bounds.iter().map(|(from, to)| &self.text[*from..*to])
    }
}

/// Phrases that are looked for together; each has a number.
#[derive(Debug, Default)]
pub struct Phrases {
    /// The words of each.
    phrases: Vec<Box<[Box<str>]>>,
    numbers: HashMap<Box<[Box<str>]>, usize>,
    by_first_word: HashMap<Box<str>, Vec<usize>>,
}

impl Phrases {
    /// Adds a phrase, and returns its number; one that is there already keeps its number. `None` for a phrase without a word.
    pub fn add(&mut self, phrase: &str) -> Option<usize> {
        let words: Box<[Box<str>]> = Words::of(phrase).iter().map(Box::from).collect();
        let first = words.first()?.clone();
        if let Some(number) = self.numbers.get(&words) {
            return Some(*number);
        }
        let number = self.phrases.len();
        self.phrases.push(words.clone());
        self.numbers.insert(words, number);
        self.by_first_word.entry(first).or_default().push(number);
        Some(number)
    }

    /// Returns how many there are.
    pub const fn len(&self) -> usize {
        self.phrases.len()
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.phrases.is_empty()
    }

    /// Tells `found` the numbers of phrases that stand in `words`, each as often as it stands there.
    pub fn find(&self, words: &Words, mut found: impl FnMut(usize)) {
        for (at, word) in words.iter().enumerate() {
            let Some(numbers) = self.by_first_word.get(word) else { continue };
            for number in numbers {
                let phrase = &self.phrases[*number];
                let stands = phrase.iter().enumerate().skip(1).all(|(place, word)| words.get(at + place) == Some(&**word));
                if stands {
                    found(*number);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(phrases: &[&str], text: &str) -> Vec<usize> {
        let mut index = Phrases::default();
        for phrase in phrases {
            index.add(phrase).unwrap();
        }
        let mut numbers = Vec::new();
        index.find(&Words::of(text), |number| numbers.push(number));
        numbers
    }

    #[test]
    fn a_phrase_is_its_words_in_their_order_and_nothing_between() {
        let phrases = ["speak to a human", "human please", "Sprich mit mir"];
        assert_eq!(found(&phrases, "Can I SPEAK, to a human... please?"), [0, 1]);
        assert_eq!(found(&phrases, "speak to a nice human"), [0; 0]);
        assert_eq!(found(&phrases, "a human to speak"), [0; 0]);
        assert_eq!(found(&phrases, "speak to a"), [0; 0]);
    }

    #[test]
    fn accents_case_and_apostrophes_do_not_matter() {
        assert_eq!(found(&["ÜBER café", "don't"], "uber CAFE\u{301}, don’t"), [0, 1]);
        assert_eq!(found(&["ﬁne"], "FINE"), [0]);
        assert_eq!(found(&["STRASSE", "ΟΔΟΣ"], "Straße, οδός"), [0, 1]);
        assert_eq!(found(&["cooperate", "שלום", "محمد"], "co\u{AD}operate שָׁלוֹם محـمد"), [0, 1, 2]);
        assert_eq!(found(&["press 3"], "press 3\u{FE0F}\u{20E3}"), [0]);
    }

    #[test]
    fn vowel_signs_and_voicing_marks_make_other_words() {
        assert_eq!(found(&["किताब"], "कुतुब"), [0; 0]);
        assert_eq!(found(&["किताब"], "यह किताब है"), [0]);
        assert_eq!(found(&["カキ"], "ガギ"), [0; 0]);
        assert_eq!(found(&["ガギ"], "ｶﾞｷﾞ"), [0]);
    }

    #[test]
    fn what_has_no_letter_is_no_word() {
        assert!(Words::of("👍🏽 👩‍👩‍👧 ❤️ \u{301} — …").is_empty());
    }

    #[test]
    fn a_phrase_has_one_number_and_one_without_words_has_none() {
        let mut index = Phrases::default();
        assert_eq!((index.add("human please"), index.add("Human, please!"), index.add("...")), (Some(0), Some(0), None));
        assert_eq!(index.len(), 1);
    }
}
