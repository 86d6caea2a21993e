//! An expression as a condition of a statement, for both database engines.
//!
//! The text is made of a store's own words alone: whatever comes from a filter, names of extracted values included, is bound. A
//! condition is true or false for every row, never unknown, so that it can be negated.

use std::fmt::Write;

use colloquy_storage::engine;

use crate::comparison::{Against, Test, end_of_prefix, test};
use crate::expression::{Expression, Field, Op};
use crate::fields;

/// Where the values of a field stand, in words of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A column, or an expression of columns: `f.agent_id`. Texts must be ordered by their bytes.
    Column(String),
    /// A table with a row for each of the field's values.
    Words {
        /// The table and which of its rows belong to the conversation and field: `words w where w.conversation_id =
        /// c.conversation_id and w.kind = 'tag'`.
        from: String,
        /// The value in such a row: `w.word`. Ordered by its bytes.
        word: String,
    },
    /// A table with a row for each value by name.
    Extracted {
        /// The table and which of its rows belong to the conversation.
        from: String,
        /// The name in such a row.
        name: String,
        /// The value, where it is a text. Ordered by its bytes.
        text: String,
        /// The value, where it is a number or, as 0 or 1, a truth.
        number: String,
    },
    /// Nowhere: no conversation has one.
    Nowhere,
}

/// A value to be bound.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// A truth.
    Bool(bool),
}

impl Bound {
    /// Returns it as statements take it.
    pub fn as_value(&self) -> engine::Value<'_> {
        match self {
            Self::Text(text) => engine::Value::Text(text),
            Self::Int(number) => engine::Value::Int(*number),
            Self::Real(number) => engine::Value::Real(*number),
            Self::Bool(truth) => engine::Value::Bool(*truth),
        }
    }
}

/// A condition, in parentheses where it needs them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    /// What stands before the first value, between the values, and after the last: one more than there are values.
    pub texts: Vec<String>,
    /// The values.
    pub values: Vec<Bound>,
    /// Tables are looked up in, not joined.
    looks_up: bool,
}

impl Condition {
    /// Returns the text with `$first`, `$first + 1`, … for its values.
    pub fn numbered(&self, first: usize) -> String {
        let mut sql = String::new();
        for (number, text) in self.texts.iter().enumerate() {
            sql.push_str(text);
            if number < self.values.len() {
                // Writing to a string cannot fail.
                let _ = write!(sql, "${}", first + number);
            }
        }
        sql
    }

    fn push(&mut self, text: &str) {
        match self.texts.last_mut() {
            Some(last) => last.push_str(text),
            None => self.texts.push(text.to_owned()),
        }
    }

    /// Begins to ask whether a table has a row.
    fn open(&mut self, from: &str) {
        let open = if self.looks_up { "((select 1 from " } else { "exists (select 1 from " };
        self.push(open);
        self.push(from);
    }

    /// Ends asking so.
    fn close(&mut self) {
        self.push(if self.looks_up { " limit 1) is not null)" } else { ")" });
    }

    fn bind(&mut self, value: Bound) {
        if self.texts.is_empty() {
            self.texts.push(String::new());
        }
        self.values.push(value);
        self.texts.push(String::new());
    }
}

/// Returns the condition that an expression is, where `place_of` says where fields stand.
pub fn condition(expression: &Expression, place_of: &impl Fn(&Field) -> Place) -> Condition {
    let tables = count_tables(expression, place_of);
    let mut condition = Condition { looks_up: tables > MOST_JOINED, ..Condition::default() };
    write_down(&mut condition, expression, true, place_of);
    condition
}

/// So many tables may be joined as the database sees fit. Planning takes time that grows fast with their number (a minute at two
/// hundred), so where there are more, each is looked up in for each conversation.
const MOST_JOINED: usize = 4;

/// Returns how many tables of words and extracted values an expression asks.
fn count_tables(expression: &Expression, place_of: &impl Fn(&Field) -> Place) -> usize {
    match expression {
        Expression::All(parts) | Expression::Any(parts) => parts.iter().map(|part| count_tables(part, place_of)).sum(),
        Expression::Not(part) => count_tables(part, place_of),
        Expression::Compare { field, .. } | Expression::Present(field) => match place_of(field) {
            // Those that must not be are asked for twice.
            Place::Words { .. } => 2,
            Place::Extracted { .. } => 1,
            Place::Column(_) | Place::Nowhere => 0,
        },
    }
}

/// Returns where the fields stand in analytics' tables, for the row `alias` of `features`.
pub fn features(alias: &str) -> impl Fn(&Field) -> Place + '_ {
    let same = move |other: &str| {
        format!("{other}.organization_id = {alias}.organization_id and {other}.conversation_id = {alias}.conversation_id")
    };
    move |field| match (field, fields::spec(field)) {
        (Field::Custom(_), _) => Place::Extracted {
            from: format!("feature_values fv where {}", same("fv")),
            name: "fv.name".to_owned(),
            text: "fv.text_value".to_owned(),
            number: "fv.number_value".to_owned(),
        },
        (Field::Known(_), Some(spec)) if crate::comparison::has_many(spec) => Place::Words {
            from: format!("feature_words fw where {} and fw.kind = '{}'", same("fw"), spec.column),
            word: "fw.word".to_owned(),
        },
        (Field::Known(_), Some(spec)) => Place::Column(format!("{alias}.{}", spec.column)),
        (Field::Known(_), None) => Place::Nowhere,
    }
}

/// Writes that the expression holds, or that it does not.
fn write_down(out: &mut Condition, expression: &Expression, holds: bool, place_of: &impl Fn(&Field) -> Place) {
    match expression {
        Expression::All(parts) => join(out, parts, holds, holds, place_of),
        Expression::Any(parts) => join(out, parts, !holds, holds, place_of),
        Expression::Not(part) => write_down(out, part, !holds, place_of),
        Expression::Present(field) => question(out, field, &Test::Anything, holds, &place_of(field)),
        Expression::Compare { field, op, value } => question(out, field, &test(field, *op, value), holds, &place_of(field)),
    }
}

fn join(out: &mut Condition, parts: &[Expression], all: bool, holds: bool, place_of: &impl Fn(&Field) -> Place) {
    match parts {
        [] => out.push(truth(all)),
        [part] => write_down(out, part, holds, place_of),
        parts => {
            for (number, part) in parts.iter().enumerate() {
                out.push(match (number, all) {
                    (0, _) => "(",
                    (_, true) => " and ",
                    (_, false) => " or ",
                });
                write_down(out, part, holds, place_of);
            }
            out.push(")");
        }
    }
}

const fn truth(truth: bool) -> &'static str {
    if truth { "1 = 1" } else { "1 = 0" }
}

fn question(out: &mut Condition, field: &Field, asked: &Test<'_>, holds: bool, place: &Place) {
    match place {
        Place::Nowhere => out.push(truth(!holds)),
        Place::Column(column) => match (asked, holds) {
            (Test::Nothing, holds) => out.push(truth(!holds)),
            (Test::Anything, true) => out.push(&format!("{column} is not null")),
            (Test::Anything, false) => out.push(&format!("{column} is null")),
            // Unknown is as good as false where nothing negates it.
            (asked, true) => ask(out, column, asked),
            (asked, false) => {
                out.push(&format!("({column} is null or not "));
                ask(out, column, asked);
                out.push(")");
            }
        },
        Place::Words { from, word } => {
            let must_not = match asked {
                Test::Compare(Op::Ne, against) => Some(Test::Compare(Op::Eq, against.clone())),
                Test::Begins { with, not: true } => Some(Test::Begins { with, not: false }),
                _ => None,
            };
            if !holds {
                out.push("not ");
            }
            match (asked, must_not) {
                (_, Some(must_not)) => {
                    out.push("(");
                    out.open(from);
                    out.close();
                    out.push(" and not ");
                    out.open(from);
                    out.push(" and ");
                    ask(out, word, &must_not);
                    out.close();
                    out.push(")");
                }
                (Test::Anything, None) => {
                    out.open(from);
                    out.close();
                }
                (asked, None) => {
                    out.open(from);
                    out.push(" and ");
                    ask(out, word, asked);
                    out.close();
                }
            }
        }
        Place::Extracted { from, name, text, number } => {
            if !holds {
                out.push("not ");
            }
            out.open(from);
            out.push(&format!(" and {name} = "));
            out.bind(Bound::Text(match field {
                Field::Custom(name) => name.clone(),
                Field::Known(name) => (*name).to_owned(),
            }));
            match asked {
                Test::Anything => {}
                asked => {
                    out.push(" and ");
                    let column = match asked {
                        Test::Begins { .. } | Test::Compare(_, Against::Text(_)) => text,
                        _ => number,
                    };
                    ask(out, column, asked);
                }
            }
            out.close();
        }
    }
}

/// Asks of a column; the answer is unknown where it is null.
fn ask(out: &mut Condition, column: &str, asked: &Test<'_>) {
    match asked {
        Test::Nothing => out.push(truth(false)),
        Test::Anything => out.push(truth(true)),
        Test::Compare(op, against) => {
            out.push(&format!("({column} {} ", operator(*op)));
            out.bind(match against {
                Against::Text(text) => Bound::Text(text.clone().into_owned()),
                Against::Int(number) => Bound::Int(*number),
                Against::Real(number) => Bound::Real(*number),
                Against::Bool(truth) => Bound::Bool(*truth),
            });
            out.push(")");
        }
        // A range, which an index can serve.
        Test::Begins { with, not } => {
            let (from, until, joined) = if *not { ("<", ">=", "or") } else { (">=", "<", "and") };
            out.push(&format!("({column} {from} "));
            out.bind(Bound::Text((*with).to_owned()));
            if let Some(end) = end_of_prefix(with) {
                out.push(&format!(" {joined} {column} {until} "));
                out.bind(Bound::Text(end));
            }
            out.push(")");
        }
    }
}

const fn operator(op: Op) -> &'static str {
    match op {
        Op::Eq | Op::Has => "=",
        Op::Ne => "<>",
        Op::Lt => "<",
        Op::Lte => "<=",
        Op::Gt => ">",
        Op::Gte => ">=",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{View, parse};

    fn written(text: &str) -> (String, Vec<Bound>) {
        let condition = condition(&parse(text, View::Analytics).unwrap(), &features("f"));
        (condition.numbered(3), condition.values)
    }

    #[test]
    fn values_are_bound_and_numbered_from_where_the_statement_has_come() {
        let (sql, values) = written(r#"agent_id = "a" (turn_count > 2.5 OR NOT outcome = "x' or 1=1 --")"#);
        assert_eq!(sql, "((f.agent_id = $3) and ((f.turn_count > $4) or (f.outcome is null or not (f.outcome = $5))))");
        assert_eq!(values, [Bound::Text("a".to_owned()), Bound::Int(2), Bound::Text("x' or 1=1 --".to_owned())]);
    }

    #[test]
    fn names_of_extracted_values_are_bound_too() {
        let (sql, values) = written(r#"custom."a\"b'" = 5"#);
        assert!(sql.contains("fv.name = $3 and (fv.number_value = $4)"), "{sql}");
        assert_eq!(values, [Bound::Text("a\"b'".to_owned()), Bound::Real(5.0)]);
    }

    #[test]
    fn many_tables_are_looked_up_in_and_few_joined() {
        assert!(written("tag:a topic:b").0.contains("and exists (select 1 from feature_words"));
        let many = written("tag:a topic:b NOT tag:c").0;
        assert!(!many.contains("exists") && many.contains("and not ((select 1 from feature_words"), "{many}");
        assert!(many.ends_with("limit 1) is not null))"), "{many}");
    }

    #[test]
    fn an_empty_expression_is_true_and_its_negation_false() {
        let nothing = |expression| condition(&expression, &features("f")).numbered(1);
        assert_eq!(nothing(Expression::All(Vec::new())), "1 = 1");
        assert_eq!(nothing(Expression::Not(Box::new(Expression::All(Vec::new())))), "1 = 0");
        assert_eq!(nothing(Expression::Any(Vec::new())), "1 = 0");
    }
}
