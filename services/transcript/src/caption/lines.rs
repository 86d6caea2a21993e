//! Breaking a cue into lines.

use super::COLUMNS;
use super::pieces::{Break, Piece, pieces};

/// Returns the one or two lines that hold a text, or none if it needs more.
///
/// Two lines are as alike in length as they can be, unless a sentence or clause ends nearby.
pub(super) fn wrap(text: &str) -> Option<Vec<String>> {
    let pieces = pieces(text);
    let (first, last) = (pieces.first()?, pieces.last()?);
    let line = |from: &Piece, to: &Piece| text[from.start..to.end].to_owned();
    if columns(first, last) <= COLUMNS {
        return Some(vec![line(first, last)]);
    }
    let breaks = pieces.windows(2).filter_map(|pair| {
        let (upper, lower) = (columns(first, &pair[0]), columns(&pair[1], last));
        let cost = upper.abs_diff(lower) + penalty(pair[0].after);
        (upper <= COLUMNS && lower <= COLUMNS).then_some((cost, pair))
    });
    let (_, pair) = breaks.min_by_key(|(cost, _)| *cost)?;
    Some(vec![line(first, &pair[0]), line(&pair[1], last)])
}

/// Returns the columns from the beginning of one piece to the end of another.
pub(super) fn columns(from: &Piece, to: &Piece) -> usize {
    to.end_column() - from.column
}

/// How many columns of unevenness a better break is worth.
fn penalty(stop: Break) -> usize {
    match stop {
        Break::Sentence => 0,
        Break::Clause => 4,
        Break::Word => 14,
        Break::InsideWord => 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_stays_on_one_line_and_too_long_text_does_not_fit() {
        assert_eq!(wrap("Hello there."), Some(vec!["Hello there.".to_owned()]));
        assert_eq!(wrap(&"x".repeat(84)).map(|lines| lines.len()), Some(2));
        assert_eq!(wrap(&"x".repeat(85)), None);
        assert_eq!(wrap(""), None);
    }

    #[test]
    fn lines_are_even_unless_a_clause_ends_nearby() {
        let text = "I would like to change my booking from Monday to Tuesday";
        assert_eq!(wrap(text).unwrap(), ["I would like to change my", "booking from Monday to Tuesday"]);
        let text = "If that is possible at all, I would like to move it to Tuesday";
        assert_eq!(wrap(text).unwrap(), ["If that is possible at all,", "I would like to move it to Tuesday"]);
    }
}
