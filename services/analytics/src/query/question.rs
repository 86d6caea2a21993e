//! A question, read and found good.

use colloquy_filter::{Expression, Field, Op, Value};

use super::formula::Formula;
use super::measure::Measure;
use super::schema::Dimension;
use super::time::Buckets;

/// What is asked of the store: measures over sets of conversations, by dimensions, over time.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What to compute, each over which of the conversations.
    pub(crate) measures: Vec<(Measure, Expression)>,
    /// By what.
    pub(crate) dimensions: Vec<Dimension>,
    /// Over which time.
    pub(crate) buckets: Buckets,
}

/// How an answer is laid out.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// What the measures are called, in their order.
    pub(crate) aliases: Vec<String>,
    /// What the formulas are called, with them.
    pub(crate) formulas: Vec<(String, Formula)>,
    /// By what rows are ordered, and which of them descend.
    pub(crate) order: Vec<(Order, bool)>,
    /// How many rows there are at most.
    pub(crate) limit: usize,
    /// Whether the sender said which rows matter: an order and a limit.
    pub(crate) is_chosen: bool,
}

/// What rows are ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// The bucket.
    Bucket,
    /// A dimension, by its place.
    Dimension(usize),
    /// A measure, by its place.
    Measure(usize),
    /// A formula, by its place.
    Formula(usize),
}

/// Returns the stretch of time that a condition leaves of one: what it says of when conversations began, where all of it must hold.
pub(crate) fn began_within(condition: &Expression, from: i64, to: i64) -> (i64, i64) {
    match condition {
        Expression::All(parts) => parts.iter().fold((from, to), |(from, to), part| began_within(part, from, to)),
        Expression::Compare { field: Field::Known("created_at"), op, value: Value::Time(at) } => {
            let (at, after) = (at.as_millis(), at.as_millis() + 1);
            match op {
                Op::Gte => (from.max(at), to),
                Op::Gt => (from.max(after), to),
                Op::Lt => (from, to.min(at)),
                Op::Lte => (from, to.min(after)),
                Op::Eq => (from.max(at), to.min(after)),
                Op::Ne | Op::Has => (from, to),
            }
        }
        _ => (from, to),
    }
}

#[cfg(test)]
mod tests {
    use colloquy_filter::{View, parse};

    use super::*;

    #[test]
    fn what_must_hold_of_the_beginning_narrows_the_time_and_nothing_else_does() {
        let within = |text: &str| began_within(&parse(text, View::Analytics).unwrap(), 0, 10_000);
        let at = |seconds: i64| format!("\"1970-01-01T00:00:0{seconds}Z\"");
        assert_eq!(within(&format!("created_at >= {}", at(2))), (2_000, 10_000));
        assert_eq!(within(&format!("created_at > {} AND created_at <= {}", at(2), at(5))), (2_001, 5_001));
        assert_eq!(within(&format!("status = failed AND (created_at < {} AND created_at >= {})", at(5), at(1))), (1_000, 5_000));
        assert_eq!(within(&format!("created_at = {}", at(3))), (3_000, 3_001));
        for whole in ["created_at < {} OR status = failed", "NOT created_at < {}", "created_at != {}"] {
            assert_eq!(within(&whole.replace("{}", &at(3))), (0, 10_000), "{whole}");
        }
    }
}
