//! The smallest pieces of text that a line or a cue can end with.

use unicode_segmentation::UnicodeSegmentation;

use super::COLUMNS;
use crate::width;

/// A word, a part of one that is too long for a line, or a character of a script that is written without spaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// Where it begins in the text.
    pub start: usize,
    /// Where it ends in the text, without the space behind it.
    pub end: usize,
    /// Columns to the left of it when the whole text stands on one line.
    pub column: usize,
    /// Columns it takes.
    pub width: usize,
    /// How good a place its end is to stop at.
    pub after: Break,
}

impl Piece {
    /// Returns the column behind it.
    pub(super) fn end_column(&self) -> usize {
        self.column + self.width
    }
}

/// What ends with a piece, from the best place to stop to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Break {
    Sentence,
    Clause,
    Word,
    InsideWord,
}

/// Returns the pieces of a line of text whose words are separated by single spaces.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut column = 0;
    let mut start = 0;
    for word in text.split(' ') {
        if !word.is_empty() {
            pieces_of_word(word, start, column, &mut pieces);
        }
        column = pieces.last().map_or(0, Piece::end_column) + 1;
        start += word.len() + 1;
    }
    pieces
}

fn pieces_of_word(word: &str, offset: usize, column: usize, pieces: &mut Vec<Piece>) {
    let mut piece = Piece { start: offset, end: offset, column, width: 0, after: Break::Word };
    let mut previous = "";
    for grapheme in word.graphemes(true) {
        let width = width::of_grapheme(grapheme);
        let stop = if previous.is_empty() {
            None
        } else if may_break(previous, grapheme) {
            Some(Break::Word)
        } else if piece.width + width > COLUMNS {
            Some(Break::InsideWord)
        } else {
            None
        };
        if let Some(stop) = stop {
            pieces.push(Piece { after: punctuation(&word[piece.start - offset..piece.end - offset]).unwrap_or(stop), ..piece });
            piece = Piece { start: piece.end, column: piece.end_column(), width: 0, ..piece };
        }
        piece.end += grapheme.len();
        piece.width += width;
        previous = grapheme;
    }
    pieces.push(Piece { after: punctuation(&word[piece.start - offset..]).unwrap_or(Break::Word), ..piece });
}

/// Returns whether a line may end between two graphemes of a word: next to ideographs, kana and emoji, but with punctuation
/// and small kana left where they belong.
fn may_break(left: &str, right: &str) -> bool {
    const OPENING: &str = "([{‘“«（［｛「『【《〈〔";
    const CLOSING: &str =
        ")]}’”»）］｝」』】》〉〕,.!?;:%…，．！？；：、。・ー々ゝゞヽヾぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ～〜";
    // A space that forbids a break holds together what is beside it, and is no piece by itself.
    let is_held = |grapheme: &str| grapheme.chars().all(char::is_whitespace);
    let belongs = is_held(left)
        || is_held(right)
        || right.chars().next().is_some_and(|c| CLOSING.contains(c))
        || left.chars().last().is_some_and(|c| OPENING.contains(c));
    (stands_alone(left) || stands_alone(right)) && !belongs
}

/// Returns whether a grapheme needs no space around it. Korean is wide too, but has spaces.
fn stands_alone(grapheme: &str) -> bool {
    let korean = |c| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}');
    width::of_grapheme(grapheme) == 2 && !grapheme.starts_with(korean)
}

fn punctuation(piece: &str) -> Option<Break> {
    let inner = piece.trim_end_matches(|c| ")]}’”\"'»）］｝」』】》〉〕".contains(c));
    match inner.chars().last()? {
        '.' | '!' | '?' | '…' | '。' | '．' | '！' | '？' | '؟' | '۔' | '।' | '॥' | '։' | '።' => {
            Some(Break::Sentence)
        }
        ',' | ';' | ':' | '—' | '–' | '،' | '؛' | '、' | '，' | '；' | '：' | '·' => Some(Break::Clause),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_that_forbids_a_break_is_no_piece() {
        let text = "👍\u{a0}👍";
        assert_eq!(pieces(text).iter().map(|piece| &text[piece.start..piece.end]).collect::<Vec<_>>(), [text]);
    }

    fn cut(text: &str) -> Vec<(&str, Break)> {
        pieces(text).into_iter().map(|piece| (&text[piece.start..piece.end], piece.after)).collect()
    }

    #[test]
    fn words_know_what_ends_with_them() {
        use Break::{Clause, Sentence, Word};
        let expected = [("Well,", Clause), ("yes.", Sentence), ("(3.5", Word), ("euros!)", Sentence), ("So", Word)];
        assert_eq!(cut("Well, yes. (3.5 euros!) So"), expected);
    }

    #[test]
    fn text_without_spaces_breaks_between_characters_but_not_before_punctuation() {
        let words: Vec<_> = cut("「你好。」今天ok 감사합니다").into_iter().map(|(piece, _)| piece).collect();
        assert_eq!(words, ["「你", "好。」", "今", "天", "ok", "감사합니다"]);
    }

    #[test]
    fn a_word_wider_than_a_line_breaks_between_graphemes() {
        let long = "e\u{301}".repeat(100);
        let words = cut(&long);
        assert_eq!(words.iter().map(|(piece, _)| width::of(piece)).collect::<Vec<_>>(), [42, 42, 16]);
        assert_eq!(words[0].1, Break::InsideWord);
        assert!(words.iter().all(|(piece, _)| piece.starts_with('e')), "no mark is torn off its letter");
    }
}
