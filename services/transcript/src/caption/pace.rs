//! When each place in a turn's text is spoken.

use colloquy_events::Word;
use colloquy_figures::word_span;
use unicode_width::UnicodeWidthChar;

use crate::timing::{Source, Timing};
use crate::width;

/// How many letters ahead a word is looked for, when what was recognised and what is shown differ.
const LOOK_AHEAD: usize = 80;
/// Nobody speaks slower than a third of the usual pace; a longer time is silence around the words.
const SLOWEST: i64 = 3;

/// Known places of a text and their times, both ascending; everything between is in proportion.
#[derive(Debug)]
pub(super) struct Pace {
    anchors: Vec<(usize, i64)>,
}

impl Pace {
    /// Returns the pace of a turn's text, by its words if they occur in it.
    ///
    /// Words are found by their letters, in order, so differences in punctuation and case, words left out, and text that was
    /// cut at an interruption do no harm.
    pub(super) fn new(text: &str, words: &[Word], timing: Timing) -> Self {
        let mut anchors = align(text, words);
        let (Some(&(first, first_ms)), Some(&(last, last_ms))) = (anchors.first(), anchors.last()) else {
            return Self { anchors: proportional(text, timing) };
        };
        // Words that are shown but have no times take the usual time before and after those that have.
        if first > 0 {
            anchors.insert(0, (0, (first_ms - width::spoken_ms(&text[..first])).max(0)));
        }
        if last < text.len() {
            anchors.push((text.len(), last_ms + width::spoken_ms(&text[last..])));
        }
        Self { anchors }
    }

    /// Returns when the text behind a place begins.
    pub(super) fn start_at(&self, offset: usize) -> i64 {
        let after = self.anchors.partition_point(|(place, _)| *place <= offset);
        self.between(after, offset)
    }

    /// Returns when the text before a place ends.
    pub(super) fn end_at(&self, offset: usize) -> i64 {
        let after = self.anchors.partition_point(|(place, _)| *place < offset);
        match self.anchors.get(after) {
            Some((place, ms)) if *place == offset => *ms,
            _ => self.between(after, offset),
        }
    }

    fn between(&self, after: usize, offset: usize) -> i64 {
        let before = after.checked_sub(1).and_then(|before| self.anchors.get(before));
        match (before, self.anchors.get(after)) {
            (Some(&(from, from_ms)), Some(&(to, to_ms))) => {
                let share = i128::from(to_ms - from_ms) * (offset - from) as i128 / (to - from).max(1) as i128;
                from_ms + i64::try_from(share).unwrap_or(0)
            }
            (Some(&(_, ms)), None) | (None, Some(&(_, ms))) => ms,
            (None, None) => 0,
        }
    }
}

/// Without words, the text is spread over the turn. A turn that was given more time than anybody needs (an estimate
/// reaches up to the next turn) is spoken at its beginning.
fn proportional(text: &str, timing: Timing) -> Vec<(usize, i64)> {
    let usual = width::spoken_ms(text).max(super::SHORTEST_MS);
    let longest = if timing.source == Source::Estimated { usual } else { usual.saturating_mul(SLOWEST) };
    let length = (timing.end_ms - timing.start_ms).min(longest);
    vec![(0, timing.start_ms), (text.len(), timing.start_ms + length)]
}

/// A letter or digit of the text, with case folded away.
struct Letter {
    letter: char,
    start: usize,
    end: usize,
}

fn letters(text: &str) -> Vec<Letter> {
    let letters = text.char_indices().filter(|(_, c)| c.is_alphanumeric());
    letters
        .flat_map(|(start, c)| c.to_lowercase().map(move |letter| Letter { letter, start, end: start + c.len_utf8() }))
        .collect()
}

fn align(text: &str, words: &[Word]) -> Vec<(usize, i64)> {
    let letters = letters(text);
    let mut anchors: Vec<(usize, i64)> = Vec::new();
    let mut cursor = 0;
    for word in words {
        let Some((start_ms, end_ms)) = word_span(word) else { continue };
        let sought: Vec<char> = word.text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let Some(found) = find(&letters, cursor, &sought) else { continue };
        cursor = found + sought.len();
        let (from, earliest) = anchors.last().copied().unwrap_or((0, 0));
        let (start_ms, end_ms) = (start_ms.max(earliest), end_ms.max(earliest));
        // Punctuation belongs to the word it touches.
        let touches = |c: char| !c.is_whitespace() && !c.is_alphanumeric();
        let (start, end) = (letters[found].start, letters[cursor - 1].end);
        let before = if start > from { text[from..start].trim_end_matches(touches).len() } else { 0 };
        let behind = text[end..].len() - text[end..].trim_start_matches(touches).len();
        anchors.push(((from + before).min(start).max(from), start_ms));
        anchors.push((end + behind, end_ms));
    }
    anchors
}

/// Returns where the letters of a word occur next: as a whole word nearby, else right here, as a part of one.
fn find(letters: &[Letter], cursor: usize, sought: &[char]) -> Option<usize> {
    if sought.is_empty() {
        return None;
    }
    let occurs = |at: usize| {
        let here = letters.get(at..at + sought.len());
        here.is_some_and(|here| here.iter().map(|letter| letter.letter).eq(sought.iter().copied()))
    };
    let whole = |at: &usize| is_boundary(letters, *at) && is_boundary(letters, *at + sought.len());
    let ahead = cursor..cursor.saturating_add(LOOK_AHEAD).min(letters.len());
    let found = ahead.filter(|at| occurs(*at)).find(whole);
    found.or_else(|| occurs(cursor).then_some(cursor))
}

/// Returns whether a word may begin at a letter: nothing joins it to the letter before, or its script has no spaces.
fn is_boundary(letters: &[Letter], at: usize) -> bool {
    let (Some(before), Some(letter)) = (at.checked_sub(1).and_then(|before| letters.get(before)), letters.get(at)) else {
        return true;
    };
    let wide = |letter: &Letter| letter.letter.width() == Some(2);
    before.end < letter.start || (before.end <= letter.start && (wide(before) || wide(letter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { start_ms: 1000, end_ms: 3000, source: Source::Turn };

    fn words(words: &[(&str, i64, i64)]) -> Vec<Word> {
        words.iter().map(|&(text, start_ms, end_ms)| Word { text: text.into(), start_ms, end_ms }).collect()
    }

    /// When each word of a text is spoken.
    fn spoken(text: &str, given: &[(&str, i64, i64)]) -> Vec<(i64, i64)> {
        let pace = Pace::new(text, &words(given), TIMING);
        let place = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
        text.split(' ').map(|word| (pace.start_at(place(word)), pace.end_at(place(word) + word.len()))).collect()
    }

    #[test]
    fn words_are_found_whatever_their_case_and_punctuation() {
        let given = [("hello", 100, 300), ("world", 900, 1200), ("its", 1300, 1400), ("me", 1500, 1600)];
        assert_eq!(spoken("\"Hello, World! It's (me).", &given), [(100, 300), (900, 1200), (1300, 1400), (1500, 1600)]);
    }

    #[test]
    fn words_that_are_missing_on_either_side_do_no_harm() {
        let given = [("um", 0, 90), ("hello", 100, 300), ("world", 900, 1200), ("and", 1300, 1400)];
        let times = spoken("Hello big world", &given);
        assert_eq!((times[0], times[2]), ((100, 300), (900, 1200)));
        assert!(times[1].0 >= 300 && times[1].1 <= 900, "{times:?}");
        let tail = spoken("hello fifteen letters", &[("hello", 100, 300)]);
        assert!(tail[2].1 > 300, "{tail:?}");
    }

    #[test]
    fn parts_of_words_and_characters_without_spaces_are_found() {
        assert_eq!(spoken("welcome back", &[("wel", 0, 100), ("come", 100, 250), ("back", 300, 400)]), [(0, 250), (300, 400)]);
        let pace = Pace::new("你好世界", &words(&[("你好", 0, 100), ("世界", 500, 700)]), TIMING);
        assert_eq!((pace.end_at(6), pace.start_at(6)), (100, 500));
    }

    #[test]
    fn times_never_go_back() {
        let times = spoken("a b c", &[("a", 500, 600), ("b", 100, 200), ("c", 700, 800)]);
        assert_eq!(times, [(500, 600), (600, 600), (700, 800)]);
    }

    #[test]
    fn without_words_the_text_is_spread_over_the_turn() {
        let thirty = "123456789 123456789 123456789 ";
        assert_eq!(Pace::new(thirty, &[], TIMING).start_at(15), 2000);
        let estimated = Timing { end_ms: 900_000, source: Source::Estimated, ..TIMING };
        assert_eq!(Pace::new(thirty, &[], estimated).end_at(30), 3000, "an estimate ends when all is said");
    }
}
