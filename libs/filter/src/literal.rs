//! What a value as it is written means for a field.

use colloquy_types::{Timestamp, normalize_phone_number};

use crate::LONGEST_TEXT;
use crate::expression::{Op, Value};
use crate::fields::{Kind, Spec, shown};

/// A value as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Literal {
    /// Without its quotes, its escapes and the `*` at its end.
    pub(crate) text: String,
    /// It stands in quotes.
    pub(crate) quoted: bool,
    /// It ends with `*`.
    pub(crate) prefix: bool,
}

/// Returns what `literal` is when a field is compared with it by `op`; what is wrong with it, for people, when it is nothing.
pub(crate) fn read(spec: &Spec, op: Op, literal: Literal) -> Result<(Op, Value), String> {
    if literal.text.len() > LONGEST_TEXT {
        return Err(format!("a value must be at most {LONGEST_TEXT} bytes"));
    }
    if literal.text.contains('\0') {
        return Err("a value must not contain the character NUL".to_owned());
    }
    let is_ordered = matches!(op, Op::Lt | Op::Lte | Op::Gt | Op::Gte);
    if is_ordered && matches!(spec.kind, Kind::Word(_) | Kind::Words | Kind::Bool | Kind::Phone) {
        return Err(format!("'{}' has no order; compare it with =, != or :", spec.name));
    }
    if literal.prefix {
        return match spec.kind {
            Kind::Text | Kind::Phone | Kind::Words | Kind::Extracted if !is_ordered => Ok((op, Value::Prefix(literal.text))),
            Kind::Text | Kind::Extracted => Err("a beginning (*) can be compared with =, != or : only".to_owned()),
            _ => Err(format!("'{}' has no beginnings; leave out the *", spec.name)),
        };
    }
    // What a text has is a part of its own; elsewhere having is being equal.
    let plain = if op == Op::Has { Op::Eq } else { op };
    match spec.kind {
        Kind::Text | Kind::Words => Ok((op, Value::Text(literal.text))),
        Kind::Phone => Ok((op, Value::Text(normalize_phone_number(&literal.text).unwrap_or(literal.text)))),
        Kind::Word(words) if words.contains(&literal.text.as_str()) => Ok((plain, Value::Text(literal.text))),
        Kind::Word(words) => Err(format!("'{}' is one of {}", spec.name, words.join(", "))),
        Kind::Bool => truth(&literal.text)
            .map(|truth| (plain, Value::Bool(truth)))
            .ok_or_else(|| format!("'{}' is true or false", spec.name)),
        Kind::Time => match literal.text.parse::<Timestamp>() {
            Ok(time) => Ok((plain, Value::Time(time))),
            Err(error) => Err(format!("'{}' {error}", spec.name)),
        },
        Kind::Integer => whole_or_not(&literal.text)
            .map(|value| (plain, value))
            .ok_or_else(|| format!("'{}' is a number, and '{}' is none", spec.name, shown(&literal.text))),
        Kind::Number | Kind::Money => number(&literal.text)
            .map(|number| (plain, Value::Number(number)))
            .ok_or_else(|| format!("'{}' is a number, and '{}' is none", spec.name, shown(&literal.text))),
        Kind::Seconds => number(&literal.text)
            .or_else(|| millis(&literal.text).map(|millis| millis / 1_000.0))
            .map(|seconds| (plain, Value::Number(seconds)))
            .ok_or_else(|| format!("'{}' is a number of seconds or a duration such as 90s", spec.name)),
        Kind::Millis => whole_or_not(&literal.text)
            .or_else(|| millis(&literal.text).map(whole_if_it_is))
            .map(|value| (plain, value))
            .ok_or_else(|| format!("'{}' is a number of milliseconds or a duration such as 90s", spec.name)),
        Kind::Extracted if literal.quoted => Ok((op, Value::Text(literal.text))),
        Kind::Extracted => Ok(match (truth(&literal.text), number(&literal.text)) {
            (Some(truth), _) if !is_ordered => (plain, Value::Bool(truth)),
            (_, Some(number)) => (plain, Value::Number(number)),
            _ => (op, Value::Text(literal.text)),
        }),
    }
}

fn truth(text: &str) -> Option<bool> {
    text.parse().ok()
}

fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['-', '+']);
    // Rust also reads words as numbers.
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn whole_or_not(text: &str) -> Option<Value> {
    text.parse().map(Value::Integer).ok().or_else(|| number(text).map(Value::Number))
}

fn whole_if_it_is(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT { Value::Integer(number as i64) } else { Value::Number(number) }
}

/// Reads a duration.
fn millis(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 4] = [("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0), ("h", 3_600_000.0)];
    let (count, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    number(count).map(|count| count * unit).filter(|millis| millis.is_finite())
}
