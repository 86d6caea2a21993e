//! What a comparison asks of the value as it is kept: what [`crate::sql`] writes down and [`crate::evaluate`] decides.

use std::borrow::Cow;

use crate::expression::{Field, Op, Value};
use crate::fields::{self, Kind, Spec};

/// A question about one kept value that is there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test<'a> {
    /// No value passes.
    Nothing,
    /// Every value passes.
    Anything,
    /// It stands so to this one. Never [`Op::Has`].
    Compare(Op, Against<'a>),
    /// It begins so, or does not.
    Begins {
        /// The beginning.
        with: &'a str,
        /// It must not begin so.
        not: bool,
    },
}

/// A value as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Against<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Real(f64),
    Bool(bool),
}

/// Returns what a comparison asks. What does not fit the field asks for nothing.
pub(crate) fn test<'a>(field: &Field, op: Op, value: &'a Value) -> Test<'a> {
    let Some(spec) = fields::spec(field) else { return Test::Nothing };
    let plain = if op == Op::Has { Op::Eq } else { op };
    match (spec.kind, value) {
        (Kind::Text | Kind::Phone | Kind::Words | Kind::Extracted, Value::Prefix(with)) => match op {
            Op::Eq | Op::Has => Test::Begins { with, not: false },
            Op::Ne => Test::Begins { with, not: true },
            _ => Test::Nothing,
        },
        (Kind::Text | Kind::Phone | Kind::Words | Kind::Word(_) | Kind::Extracted, Value::Text(text)) => {
            Test::Compare(plain, Against::Text(Cow::Borrowed(text)))
        }
        (Kind::Integer | Kind::Millis | Kind::Seconds | Kind::Money, Value::Integer(number)) if spec.kept_per_unit() == 1.0 => {
            Test::Compare(plain, Against::Int(*number))
        }
        (Kind::Integer | Kind::Millis | Kind::Seconds | Kind::Money, value) => match numeric(value) {
            Some(number) => whole(plain, number * spec.kept_per_unit()),
            None => Test::Nothing,
        },
        (Kind::Number, value) => match numeric(value) {
            Some(number) => Test::Compare(plain, Against::Real(number)),
            None => Test::Nothing,
        },
        (Kind::Extracted, Value::Bool(truth)) => Test::Compare(plain, Against::Real(f64::from(u8::from(*truth)))),
        (Kind::Extracted, value) => match numeric(value) {
            Some(number) => Test::Compare(plain, Against::Real(number)),
            None => Test::Nothing,
        },
        (Kind::Time, Value::Time(time)) => Test::Compare(plain, Against::Int(time.as_millis())),
        (Kind::Bool, Value::Bool(truth)) => Test::Compare(plain, Against::Bool(*truth)),
        _ => Test::Nothing,
    }
}

/// Returns what a comparison asks of a whole number, as it is kept: times and durations are milliseconds. `None` when it asks for
/// something else, or for nothing.
pub fn whole_comparison(field: &Field, op: Op, value: &Value) -> Option<(Op, i64)> {
    match test(field, op, value) {
        Test::Compare(op, Against::Int(number)) => Some((op, number)),
        _ => None,
    }
}

/// Returns whether the field has any number of values.
pub(crate) fn has_many(spec: &Spec) -> bool {
    spec.kind == Kind::Words
}

const fn numeric(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) if number.is_finite() => Some(*number),
        _ => None,
    }
}

/// Returns what comparing a whole number with `wanted` asks: a comparison of whole numbers, which indexes serve and which is
/// the same everywhere.
fn whole(op: Op, wanted: f64) -> Test<'static> {
    /// What a unit's conversion may be off by.
    const SLACK: f64 = 1e-6;
    let nearest = wanted.round();
    let wanted = if (wanted - nearest).abs() < SLACK { nearest } else { wanted };
    let is_whole = wanted.fract() == 0.0;
    match op {
        Op::Eq | Op::Has if !is_whole => Test::Nothing,
        Op::Ne if !is_whole => Test::Anything,
        Op::Lt | Op::Gte => Test::Compare(op, Against::Int(wanted.ceil() as i64)),
        Op::Gt | Op::Lte => Test::Compare(op, Against::Int(wanted.floor() as i64)),
        Op::Eq | Op::Ne | Op::Has => Test::Compare(op, Against::Int(wanted as i64)),
    }
}

/// Returns the least text that is greater than everything that begins with `prefix`; none when nothing is.
pub(crate) fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            other => char::from_u32(other as u32 + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_between_whole_ones_become_whole_ones() {
        let cases = [
            (Op::Gt, 2.5, Test::Compare(Op::Gt, Against::Int(2))),
            (Op::Gte, 2.5, Test::Compare(Op::Gte, Against::Int(3))),
            (Op::Lt, 2.5, Test::Compare(Op::Lt, Against::Int(3))),
            (Op::Lte, -2.5, Test::Compare(Op::Lte, Against::Int(-3))),
            (Op::Eq, 2.5, Test::Nothing),
            (Op::Ne, 2.5, Test::Anything),
            (Op::Eq, 2.0, Test::Compare(Op::Eq, Against::Int(2))),
            (Op::Lt, 1e300, Test::Compare(Op::Lt, Against::Int(i64::MAX))),
        ];
        for (op, wanted, expected) in cases {
            assert_eq!(whole(op, wanted), expected, "{op:?} {wanted}");
        }
    }

    #[test]
    fn a_fraction_of_a_second_is_its_milliseconds() {
        for millis in (0..100_000).step_by(7) {
            let value = Value::Number(f64::from(millis) / 1_000.0);
            let asked = test(&Field::Known("duration_seconds"), Op::Eq, &value);
            assert_eq!(asked, Test::Compare(Op::Eq, Against::Int(i64::from(millis))));
        }
    }

    #[test]
    fn a_prefix_ends_where_nothing_begins_with_it_any_more() {
        for (prefix, end) in [("ab", Some("ac")), ("a\u{10FFFF}", Some("b")), ("\u{D7FF}", Some("\u{E000}")), ("", None)] {
            assert_eq!(end_of_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
        assert_eq!(end_of_prefix("\u{10FFFF}"), None);
    }
}
