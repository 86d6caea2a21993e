//! Cutting a turn into parts that fit a cue.
//!
//! Of all ways to cut, the one with the least total cost is taken: a cue costs something, so there are few; an end in the
//! wrong place costs more, so they follow sentences, clauses and pauses; uneven and very short parts cost too.

use super::pace::Pace;
use super::pieces::{Break, Piece, pieces};
use super::{COLUMNS, LONGEST_MS, SHORTEST_MS, lines};

const LINES: usize = 2;
const FULL: u64 = (COLUMNS * LINES) as u64;

/// What each cue costs.
const CUE: u64 = 1000;
/// What a sentence that ends in the middle of a cue costs.
const SENTENCE_INSIDE: u64 = 150;
/// A silence that is as good an end as a clause, and one that should not be shown over.
const PAUSE_MS: i64 = 500;
const LONG_PAUSE_MS: i64 = 1500;

/// A part of a turn's text and when it is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part<'a> {
    pub start_ms: i64,
    pub end_ms: i64,
    pub text: &'a str,
}

/// Returns the parts of a turn's text, in order; together they are the whole of it.
pub(super) fn split<'a>(text: &'a str, pace: &Pace) -> Vec<Part<'a>> {
    let pieces: Vec<Timed> = pieces(text).into_iter().map(|piece| Timed::new(piece, pace)).collect();
    // For each place: the least cost of everything before it, and where the last part before it begins.
    let mut best: Vec<(u64, usize)> = vec![(u64::MAX, 0); pieces.len() + 1];
    best[0].0 = 0;
    for from in 0..pieces.len() {
        let before = best[from].0;
        for (to, cost) in candidates(&pieces, from) {
            let total = before.saturating_add(cost);
            if total < best[to].0 {
                best[to] = (total, from);
            }
        }
    }
    let mut parts = Vec::new();
    let mut to = pieces.len();
    while to > 0 {
        let from = best[to].1;
        let (first, last) = (&pieces[from], &pieces[to - 1]);
        parts.push(Part { start_ms: first.start_ms, end_ms: last.end_ms, text: &text[first.piece.start..last.piece.end] });
        to = from;
    }
    parts.reverse();
    parts
}

struct Timed {
    piece: Piece,
    start_ms: i64,
    end_ms: i64,
}

impl Timed {
    fn new(piece: Piece, pace: &Pace) -> Self {
        let start_ms = pace.start_at(piece.start);
        Self { piece, start_ms, end_ms: pace.end_at(piece.end).max(start_ms) }
    }
}

/// Returns the parts that can begin with a piece, as the place behind each and its cost. A single piece always fits, so
/// there is always a way on.
fn candidates(pieces: &[Timed], from: usize) -> Vec<(usize, u64)> {
    let first = &pieces[from];
    let mut found = Vec::new();
    let mut inside = 0;
    let (mut line, mut line_start) = (1, first.piece);
    for (index, last) in pieces.iter().enumerate().skip(from) {
        if lines::columns(&line_start, &last.piece) > COLUMNS {
            (line, line_start) = (line + 1, last.piece);
        }
        let too_long = last.end_ms - first.start_ms > LONGEST_MS;
        if index > from && (line > LINES || too_long) {
            break;
        }
        let pause = pieces.get(index + 1).map(|next| next.start_ms - last.end_ms);
        let end = pause.map_or(0, |pause| end_cost(last.piece.after, pause));
        found.push((index + 1, CUE + inside + end + shape_cost(first, last)));
        inside += inside_cost(last.piece.after, pause.unwrap_or(0));
    }
    found
}

/// What it costs to end a cue here, although the turn goes on.
fn end_cost(after: Break, pause: i64) -> u64 {
    let text = match after {
        Break::Sentence => 0,
        Break::Clause => 300,
        Break::Word => 2000,
        Break::InsideWord => 4000,
    };
    if pause >= PAUSE_MS { text.min(200) } else { text }
}

/// What it costs to go on here.
fn inside_cost(after: Break, pause: i64) -> u64 {
    let sentence = if after == Break::Sentence { SENTENCE_INSIDE } else { 0 };
    let silence = match pause {
        LONG_PAUSE_MS.. => 2000,
        PAUSE_MS.. => 300,
        _ => 0,
    };
    sentence + silence
}

/// What it costs to be short: in time, because it has to be shown longer than it is heard, and in length, because one long
/// and one tiny cue read worse than two of the same length.
fn shape_cost(first: &Timed, last: &Timed) -> u64 {
    let missing_ms = (SHORTEST_MS - (last.end_ms - first.start_ms)).max(0).unsigned_abs();
    let empty = FULL.saturating_sub(lines::columns(&first.piece, &last.piece) as u64);
    missing_ms * 2 + 400 * empty * empty / (FULL * FULL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::{Source, Timing};

    fn parts(text: &str, end_ms: i64) -> Vec<&str> {
        let pace = Pace::new(text, &[], Timing { start_ms: 0, end_ms, source: Source::Turn });
        split(text, &pace).into_iter().map(|part| part.text).collect()
    }

    #[test]
    fn what_fits_stays_together() {
        assert_eq!(parts("Yes. I would like to book a table.", 3000), ["Yes. I would like to book a table."]);
    }

    #[test]
    fn a_long_turn_is_cut_after_sentences_then_clauses() {
        let text = "Thank you for calling the clinic. I can see your appointment with Doctor Moreau on Thursday at ten, and \
                    if you like I can move it to the same time on Friday, or to Monday in the afternoon.";
        let expected = [
            "Thank you for calling the clinic.",
            "I can see your appointment with Doctor Moreau on Thursday at ten,",
            "and if you like I can move it to the same time on Friday,",
            "or to Monday in the afternoon.",
        ];
        assert_eq!(parts(text, 12_000), expected);
    }

    #[test]
    fn no_part_lasts_longer_than_seven_seconds_unless_it_is_one_word() {
        let text = "slowly spoken words of which there are not so many";
        let pace = Pace::new(text, &[], Timing { start_ms: 0, end_ms: 10_000, source: Source::Turn });
        let parts = split(text, &pace);
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.end_ms - part.start_ms <= LONGEST_MS), "{parts:?}");
    }
}
