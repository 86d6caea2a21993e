//! Writing an expression in the filter language.

use std::fmt::Write;

use crate::expression::{Expression, Field, Op, Value};
use crate::fields::EXTRACTED;

/// Returns the filter that [`crate::parse`] reads as an expression that holds for the same conversations; for an expression that was
/// parsed, as itself.
pub fn to_text(expression: &Expression) -> String {
    let mut text = String::new();
    match expression {
        Expression::All(parts) if parts.is_empty() => {}
        expression => write_down(&mut text, expression, Within::Nothing),
    }
    text
}

/// What an expression is a part of.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Nothing,
    All,
    Any,
    Not,
}

/// Holds for every conversation: the language has no word for it.
const ALWAYS: &str = "(provider:* OR NOT provider:*)";

fn write_down(out: &mut String, expression: &Expression, within: Within) {
    match expression {
        Expression::All(parts) if parts.is_empty() => out.push_str(ALWAYS),
        Expression::Any(parts) if parts.is_empty() => {
            let negated = if within == Within::Not { "(NOT " } else { "NOT " };
            out.push_str(negated);
            out.push_str(ALWAYS);
            if within == Within::Not {
                out.push(')');
            }
        }
        Expression::All(parts) | Expression::Any(parts) if parts.len() == 1 => write_down(out, &parts[0], within),
        Expression::All(parts) => join(out, parts, " AND ", Within::All, within),
        Expression::Any(parts) => join(out, parts, " OR ", Within::Any, within),
        Expression::Not(part) => {
            let nested = within == Within::Not;
            out.push_str(if nested { "(NOT " } else { "NOT " });
            write_down(out, part, Within::Not);
            if nested {
                out.push(')');
            }
        }
        Expression::Compare { field, op, value } => {
            name(out, field);
            out.push_str(match op {
                Op::Eq => " = ",
                Op::Ne => " != ",
                Op::Lt => " < ",
                Op::Lte => " <= ",
                Op::Gt => " > ",
                Op::Gte => " >= ",
                Op::Has => ":",
            });
            literal(out, value);
        }
        Expression::Present(field) => {
            name(out, field);
            out.push_str(":*");
        }
    }
}

fn join(out: &mut String, parts: &[Expression], word: &str, this: Within, within: Within) {
    let bare = matches!(within, Within::Nothing) || within == this;
    if !bare {
        out.push('(');
    }
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            out.push_str(word);
        }
        write_down(out, part, this);
    }
    if !bare {
        out.push(')');
    }
}

fn name(out: &mut String, field: &Field) {
    match field {
        Field::Known(name) => out.push_str(name),
        Field::Custom(name) => {
            out.push_str(EXTRACTED);
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
            if !name.is_empty() && name.chars().all(is_plain) {
                out.push_str(name);
            } else {
                quote(out, name, "");
            }
        }
    }
}

fn literal(out: &mut String, value: &Value) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Text(text) => {
            quote(out, text, "");
            Ok(())
        }
        Value::Prefix(text) => {
            quote(out, text, "*");
            Ok(())
        }
        Value::Integer(number) => write!(out, "{number}"),
        Value::Number(number) => write!(out, "{number:?}"),
        Value::Bool(truth) => write!(out, "{truth}"),
        Value::Time(time) => write!(out, "{time}"),
    };
}

fn quote(out: &mut String, text: &str, end: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' | '*' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter => out.push(letter),
        }
    }
    out.push_str(end);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use colloquy_types::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{View, parse};

    #[test]
    fn an_expression_is_written_as_people_would() {
        for text in [
            "",
            "agent_id = \"a\" AND (turn_count > 2 OR tag:\"v*\") AND NOT (status = \"failed\" AND custom.plan:*)",
            "NOT agent_id:* AND created_at >= 2026-03-02T15:00:00.000Z",
            "custom.\"two words\" = 5.0 OR settled = true",
        ] {
            assert_eq!(to_text(&parse(text, View::Analytics).unwrap()), text);
        }
    }

    #[test]
    fn what_the_language_has_no_word_for_is_written_round_about() {
        let (always, never) = (Expression::All(Vec::new()), Expression::Any(Vec::new()));
        let either = Expression::Any(vec![always.clone(), never.clone()]);
        for expression in [never.clone(), Expression::Not(Box::new(never)), Expression::Not(Box::new(always)), either] {
            assert!(parse(&to_text(&expression), View::Conversations).is_ok(), "{expression:?}");
        }
    }

    fn compared() -> impl Strategy<Value = Expression> {
        let text = "[a-c\"\\\\* \n:()ä]{0,5}";
        let texts = ["agent_id", "tag", "topic", "outcome"].map(Field::Known).to_vec();
        let text_ops = vec![Op::Eq, Op::Ne, Op::Has];
        let orders = vec![Op::Eq, Op::Ne, Op::Lt, Op::Lte, Op::Gt, Op::Gte];
        let custom = "[a-c \".]{1,4}".prop_map(Field::Custom);
        let of = |field: &'static str| Just(Field::Known(field));
        let of_orders = move || prop::sample::select(orders.clone());
        prop_oneof![
            (prop::sample::select(texts.clone()), prop::sample::select(text_ops.clone()), text.prop_map(Value::Text)),
            (prop::sample::select(texts), Just(Op::Ne), text.prop_map(Value::Prefix)),
            (of("turn_count"), of_orders(), any::<i64>().prop_map(Value::Integer)),
            (of("duration_seconds"), of_orders(), (-1e9..1e9_f64).prop_map(Value::Number)),
            (of("satisfaction_score"), of_orders(), any::<i32>().prop_map(|number| Value::Number(f64::from(number) / 7.0))),
            (
                of("created_at"),
                of_orders(),
                (0..4_000_000_000_000_i64).prop_map(|at| Value::Time(Timestamp::from_millis(at).unwrap()))
            ),
            (custom.clone(), of_orders(), (-1e3..1e3_f64).prop_map(Value::Number)),
            (custom.clone(), prop::sample::select(text_ops), text.prop_map(Value::Text)),
            (custom, prop_oneof![Just(Op::Eq), Just(Op::Ne)], any::<bool>().prop_map(Value::Bool)),
        ]
        .prop_map(|(field, op, value)| Expression::Compare { field, op, value })
    }

    /// Expressions as they are parsed: joined parts are two or more, and not joined alike within.
    fn parsed() -> impl Strategy<Value = Expression> {
        let present = prop_oneof![Just(Field::Known("agent_id")), Just(Field::Custom("a b".to_owned()))];
        let leaf = prop_oneof![4 => compared(), 1 => present.prop_map(Expression::Present)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let parts = prop::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                parts.clone().prop_map(|parts| joined(parts, true)),
                parts.prop_map(|parts| joined(parts, false)),
                inner.prop_map(|part| Expression::Not(Box::new(part))),
            ]
        })
    }

    fn joined(parts: Vec<Expression>, all: bool) -> Expression {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expression::All(inner) if all => flat.extend(inner),
                Expression::Any(inner) if !all => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if all { Expression::All(flat) } else { Expression::Any(flat) }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_what_it_was(expression in parsed()) {
            let text = to_text(&expression);
            let read = parse(&text, View::Analytics);
            prop_assert_eq!(read.as_ref(), Ok(&expression), "{}", text);
        }
    }
}
