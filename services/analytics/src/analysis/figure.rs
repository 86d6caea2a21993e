//! How figures are made: a value with where it comes from, or the reason why there is none.

use super::{Figure, MOST_EVIDENCE};

impl<T> Figure<T> {
    /// Returns a figure that was established from these turns, given in ascending order.
    pub(super) fn of(value: T, analyzer: &str, turns: impl IntoIterator<Item = u32>) -> Self {
        let mut figure = Self::absent("", analyzer).with_turns(turns);
        figure.value = Some(value);
        figure.absent_because = None;
        figure
    }

    /// Returns a figure that could not be established, with the reason for people.
    pub(super) fn absent(reason: impl Into<String>, analyzer: &str) -> Self {
        Self { value: None, absent_because: Some(reason.into()), analyzer: analyzer.to_owned(), turns: Vec::new(), turn_count: 0 }
    }

    /// Returns the figure with the turns it comes from: the first of them by place, and how many there are.
    pub(super) fn with_turns(mut self, turns: impl IntoIterator<Item = u32>) -> Self {
        self.turns.clear();
        self.turn_count = 0;
        for turn in turns {
            if self.turns.len() < MOST_EVIDENCE {
                self.turns.push(turn);
            }
            self.turn_count += 1;
        }
        self
    }
}

/// Returns a number with at most `decimals` decimals, and never a negative zero: finer is noise of the arithmetic.
pub(super) fn rounded(number: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (number * scale).round() / scale + 0.0
}
