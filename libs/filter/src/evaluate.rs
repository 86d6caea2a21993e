//! Deciding an expression for one conversation in memory.

use colloquy_types::Timestamp;

use crate::comparison::{Against, Test, has_many, test};
use crate::expression::{Expression, Field, Op};
use crate::fields;

/// The value a conversation has of a field, **as it is kept**: durations are milliseconds (also for `duration_seconds`), money is
/// millionths (also for `cost`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum FieldValue<'a> {
    /// There is none.
    Absent,
    /// A text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A truth.
    Bool(bool),
    /// A time.
    Time(Timestamp),
    /// Any number of texts.
    Words(&'a [String]),
}

impl FieldValue<'_> {
    /// Returns whether there is a value.
    const fn is_present(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Words(words) => !words.is_empty(),
            _ => true,
        }
    }
}

/// Returns whether an expression holds, given the value of each field.
pub fn evaluate<'a>(expression: &Expression, value_of: &impl Fn(&Field) -> FieldValue<'a>) -> bool {
    match expression {
        Expression::All(parts) => parts.iter().all(|part| evaluate(part, value_of)),
        Expression::Any(parts) => parts.iter().any(|part| evaluate(part, value_of)),
        Expression::Not(part) => !evaluate(part, value_of),
        Expression::Present(field) => value_of(field).is_present(),
        Expression::Compare { field, op, value } => {
            let Some(spec) = fields::spec(field) else { return false };
            let asked = test(field, *op, value);
            match value_of(field) {
                FieldValue::Words(words) if has_many(spec) => many(&asked, words),
                one => passes(&asked, &one),
            }
        }
    }
}

/// One of the words passes; or, where something must not be, all of them do.
fn many(asked: &Test<'_>, words: &[String]) -> bool {
    let mut words = words.iter().map(|word| FieldValue::Text(word));
    match asked {
        Test::Compare(Op::Ne, _) | Test::Begins { not: true, .. } => words.len() > 0 && words.all(|word| passes(asked, &word)),
        _ => words.any(|word| passes(asked, &word)),
    }
}

fn passes(asked: &Test<'_>, value: &FieldValue<'_>) -> bool {
    match (asked, value) {
        (Test::Nothing, _) | (_, FieldValue::Absent) => false,
        (Test::Anything, _) => true,
        (Test::Begins { with, not }, FieldValue::Text(text)) => text.starts_with(with) != *not,
        (Test::Compare(op, Against::Text(wanted)), FieldValue::Text(text)) => stands(*op, *text, wanted.as_ref()),
        (Test::Compare(op, Against::Int(wanted)), FieldValue::Integer(number)) => stands(*op, number, wanted),
        (Test::Compare(op, Against::Int(wanted)), FieldValue::Number(number)) => stands(*op, *number, *wanted as f64),
        (Test::Compare(op, Against::Int(wanted)), FieldValue::Time(time)) => stands(*op, time.as_millis(), *wanted),
        (Test::Compare(op, Against::Real(wanted)), FieldValue::Number(number)) => stands(*op, number, wanted),
        (Test::Compare(op, Against::Real(wanted)), FieldValue::Integer(number)) => stands(*op, *number as f64, *wanted),
        (Test::Compare(op, Against::Real(wanted)), FieldValue::Bool(truth)) => stands(*op, f64::from(u8::from(*truth)), *wanted),
        (Test::Compare(op, Against::Bool(wanted)), FieldValue::Bool(truth)) => stands(*op, truth, wanted),
        (Test::Begins { .. } | Test::Compare(..), _) => false,
    }
}

fn stands<T: PartialOrd>(op: Op, value: T, wanted: T) -> bool {
    match op {
        Op::Eq | Op::Has => value == wanted,
        Op::Ne => value != wanted,
        Op::Lt => value < wanted,
        Op::Lte => value <= wanted,
        Op::Gt => value > wanted,
        Op::Gte => value >= wanted,
    }
}
