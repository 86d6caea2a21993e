//! When a turn was spoken, as far as it says so itself.

use colloquy_events::{Turn, Word};

/// Times beyond this many milliseconds (9,999 hours) are mistakes, such as a date in the place of an offset.
pub const LATEST_MS: i64 = 9_999 * 3_600_000;

/// When a turn begins and ends, in milliseconds from the start of the conversation. Times that cannot be true count as unsaid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// Where it begins; never negative.
    pub start: Option<i64>,
    /// Where it ends; never before its start.
    pub end: Option<i64>,
    /// Whether its words say so; they know better than the turn.
    pub from_words: bool,
}

impl Times {
    /// Reads the times of a turn.
    pub fn of(turn: &Turn) -> Self {
        let mut spans = turn.words.iter().filter_map(word_span);
        if let Some((start, end)) = spans.next() {
            let (start, end) = spans.fold((start, end), |(first, last), (start, end)| (first.min(start), last.max(end)));
            return Self { start: Some(start), end: Some(end), from_words: true };
        }
        let start = turn.start_ms.filter(|ms| *ms <= LATEST_MS).map(|ms| ms.max(0));
        let end = turn.end_ms.filter(|end| (start.unwrap_or(0)..=LATEST_MS).contains(end));
        Self { start, end, from_words: false }
    }
}

/// A word's times when they can be true, moved to the nearest that can be where they nearly are.
pub fn word_span(word: &Word) -> Option<(i64, i64)> {
    let plausible = word.start_ms <= word.end_ms && word.end_ms >= 0 && word.end_ms <= LATEST_MS && !word.text.trim().is_empty();
    plausible.then(|| (word.start_ms.max(0), word.end_ms))
}
