//! What can be computed of a set of conversations.

use colloquy_filter::{Expression, Field, Op as Compare, Value};

use super::schema::{self, Number, Rate, Unit, shown};

/// How the values of a set become one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// How many.
    Count,
    /// All together.
    Sum,
    /// The mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// So many of a hundred are at most this; by nearest rank.
    Percentile(u8),
    /// The part that holds.
    Rate,
    /// How many fell into each bin.
    Histogram,
    /// How many at once, at most.
    ConcurrencyPeak,
    /// How many at once, on average.
    ConcurrencyAvg,
}

const OPS: [(&str, Op); 14] = [
    ("count", Op::Count),
    ("sum", Op::Sum),
    ("avg", Op::Avg),
    ("min", Op::Min),
    ("max", Op::Max),
    ("p50", Op::Percentile(50)),
    ("p75", Op::Percentile(75)),
    ("p90", Op::Percentile(90)),
    ("p95", Op::Percentile(95)),
    ("p99", Op::Percentile(99)),
    ("rate", Op::Rate),
    ("histogram", Op::Histogram),
    ("concurrency_peak", Op::ConcurrencyPeak),
    ("concurrency_avg", Op::ConcurrencyAvg),
];

/// A number that conversations have.
#[derive(Clone, PartialEq, Debug)]
pub enum NumberOf {
    /// One of the schema.
    Known(&'static Number),
    /// A value extracted by name.
    Extracted(String),
}

impl NumberOf {
    pub(crate) fn per_unit(&self) -> f64 {
        match self {
            Self::Known(number) => number.per_unit,
            Self::Extracted(_) => 1.0,
        }
    }

    pub(crate) fn unit(&self) -> Unit {
        match self {
            Self::Known(number) => number.unit,
            Self::Extracted(_) => Unit::Unknown,
        }
    }

    /// Returns whether both read the same values.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(one), Self::Known(other)) => one.column == other.column,
            (Self::Extracted(one), Self::Extracted(other)) => one == other,
            _ => false,
        }
    }
}

/// Something that holds of a conversation, or not, or cannot be said of it.
#[derive(Clone, Debug)]
pub enum RateOf {
    /// One of the schema.
    Known(&'static Rate),
    /// A truth extracted by name.
    Extracted(String),
}

impl RateOf {
    /// Returns which conversations count, and which could.
    pub(crate) fn expressions(&self) -> (Expression, Expression) {
        match self {
            Self::Known(rate) => (rate.numerator.clone(), rate.denominator.clone()),
            Self::Extracted(name) => {
                let is = |truth| Expression::Compare {
                    field: Field::Custom(name.clone()),
                    op: Compare::Eq,
                    value: Value::Bool(truth),
                };
                (is(true), Expression::Any(vec![is(true), is(false)]))
            }
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(one), Self::Known(other)) => one.name == other.name,
            (Self::Extracted(one), Self::Extracted(other)) => one == other,
            _ => false,
        }
    }
}

/// What is looked at.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The conversations themselves.
    Conversations,
    /// A number of each.
    Number(NumberOf),
    /// Whether something holds.
    Rate(RateOf),
}

/// What to compute of a set of conversations.
#[derive(Clone, Debug)]
pub struct Measure {
    /// What is looked at.
    pub(crate) subject: Subject,
    /// What is made of it.
    pub(crate) op: Op,
}

/// Which part of a measure is wrong, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadMeasure {
    /// `field` or `op`.
    pub part: &'static str,
    /// What is wrong and what is allowed, for people.
    pub message: String,
}

impl Measure {
    /// Counts conversations.
    pub const COUNT: Self = Self { subject: Subject::Conversations, op: Op::Count };

    /// Reads a measure: a name of the schema (empty for the conversations themselves), and the name of an operation.
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn parse(field: &str, op: &str) -> Result<Self, BadMeasure> {
        let bad_op = |ops: &[&str]| BadMeasure { part: "op", message: format!("must be one of {}", ops.join(", ")) };
        let known_op = OPS.into_iter().find(|(name, _)| *name == op).map(|(_, op)| op);
        let (subject, ops) = match (field, known_op) {
            ("" | schema::CONVERSATIONS, _) => (Subject::Conversations, schema::COUNT_OPS),
            (field, op) => subject(field, op).map_err(|message| BadMeasure { part: "field", message })?,
        };
        match known_op.filter(|_| ops.contains(&op)) {
            Some(op) => Ok(Self { subject, op }),
            None if field.is_empty() && known_op.is_some() => {
                Err(BadMeasure { part: "field", message: format!("'{op}' needs a field; {}", known_fields()) })
            }
            None => Err(bad_op(ops)),
        }
    }

    /// Returns what an answer calls it when the question gives no name.
    pub(crate) fn default_alias(field: &str, op: &str) -> String {
        if field.is_empty() { op.to_owned() } else { format!("{op}_{field}") }
    }

    /// Returns what one of what is kept comes to in the measure's unit.
    pub(crate) fn per_unit(&self) -> f64 {
        match &self.subject {
            Subject::Number(number) if self.op != Op::Count => number.per_unit(),
            _ => 1.0,
        }
    }

    /// Returns whether it is about how many there are at once.
    pub(crate) const fn is_concurrency(&self) -> bool {
        matches!(self.op, Op::ConcurrencyPeak | Op::ConcurrencyAvg)
    }
}

fn subject(field: &str, op: Option<Op>) -> Result<(Subject, &'static [&'static str]), String> {
    if let Some(name) = schema::extracted(field)? {
        return Ok(match op {
            Some(Op::Rate) => (Subject::Rate(RateOf::Extracted(name)), schema::RATE_OPS),
            _ => (Subject::Number(NumberOf::Extracted(name)), schema::NUMBER_OPS),
        });
    }
    if let Some(number) = schema::NUMBERS.iter().find(|number| number.name == field) {
        return Ok((Subject::Number(NumberOf::Known(number)), schema::NUMBER_OPS));
    }
    if let Some(rate) = schema::RATES.iter().find(|rate| rate.name == field) {
        return Ok((Subject::Rate(RateOf::Known(rate)), schema::RATE_OPS));
    }
    Err(format!("there is no measure '{}'; {}", shown(field), known_fields()))
}

fn known_fields() -> String {
    let names: Vec<&str> = schema::measures().iter().map(|line| line.name).collect();
    format!("there are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_a_field_and_an_operation_of_it() {
        assert_eq!(Measure::parse("", "count").unwrap().op, Op::Count);
        assert_eq!(Measure::parse("duration_seconds", "p95").unwrap().op, Op::Percentile(95));
        assert_eq!(Measure::parse("custom.consented", "rate").unwrap().op, Op::Rate);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (field, op, part, says) in [
            ("lenght", "avg", "field", "duration_seconds"),
            ("duration_seconds", "rate", "op", "p99"),
            ("duration_seconds", "mean", "op", "avg"),
            ("success", "avg", "op", "rate"),
            ("", "avg", "field", "needs a field"),
            ("", "nonsense", "op", "concurrency_peak"),
            ("custom.", "avg", "field", "custom.NAME"),
        ] {
            let bad = Measure::parse(field, op).unwrap_err();
            assert!(bad.part == part && bad.message.contains(says), "{field} {op}: {bad:?}");
        }
    }
}
