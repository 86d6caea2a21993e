//! What rules over a window measure: of the store's rows live, of rows at hand over history.

use std::collections::HashSet;

use async_trait::async_trait;
use colloquy_events::JsonMap;
use colloquy_filter::{Expression, Field, FieldValue, Op as Compare, Value as Filtered, evaluate};
use colloquy_service::{Describe, Problem};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use serde_json::{Value, json};

use super::fields::{Kind, value_of};
use super::rule::{Comparison, Condition, Metric, Needs, Op, Rule, Subject, Test};
use super::state::Measured;
use crate::analysed::Frontier;
use crate::features::Features;
use crate::query::schema::COST;
use crate::query::{BadMeasure, Measure, NumberOf, Op as Measuring, Queries, Subject as Measurable};

/// Measures conversations that began in `[from, to)`.
#[async_trait]
pub trait Measures: Send + Sync + 'static {
    /// Returns a measure of those for which `which` holds, and of how many conversations it is made.
    async fn measure(
        &self,
        organization: &OrganizationId,
        measure: &Measure,
        which: &Expression,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Measured, Problem>;

    /// Returns some of those for which `which` holds, newest first.
    async fn conversations(
        &self,
        organization: &OrganizationId,
        which: &Expression,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<ConversationId>, Problem>;

    /// Returns until when everything that was received is in what is measured.
    async fn data_through(&self, organization: &OrganizationId) -> Result<Timestamp, Problem>;
}

/// Measures what the service has figures of.
#[derive(Clone)]
pub struct Figures {
    queries: Queries,
    frontier: Frontier,
}

impl Figures {
    /// Returns what measures by answering questions; `frontier` says up to where the answers are complete.
    pub const fn new(queries: Queries, frontier: Frontier) -> Self {
        Self { queries, frontier }
    }
}

#[async_trait]
impl Measures for Figures {
    async fn measure(
        &self,
        organization: &OrganizationId,
        measure: &Measure,
        which: &Expression,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Measured, Problem> {
        let found = self.queries.measure(organization, measure, which, from, to).await.map_err(|error| error.describe())?;
        Ok(Measured { value: found.value, count: found.n })
    }

    async fn conversations(
        &self,
        organization: &OrganizationId,
        which: &Expression,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<ConversationId>, Problem> {
        self.queries.conversations(organization, which, from, to, limit).await.map_err(|error| error.describe())
    }

    async fn data_through(&self, organization: &OrganizationId) -> Result<Timestamp, Problem> {
        self.frontier.data_through(organization).await.map_err(|error| error.describe())
    }
}

/// Returns what a rule over a window measures.
///
/// # Errors
/// What is wrong, for people.
pub fn read(field: &str, op: &str) -> Result<Measure, BadMeasure> {
    let bad_op = |message: String| BadMeasure { part: "op", message };
    if op.is_empty() {
        return Err(bad_op("is required: what the rule measures, for example count, or avg of a field".to_owned()));
    }
    let measure = Measure::parse(field, op)?;
    match measure.op {
        Measuring::Histogram | Measuring::ConcurrencyPeak | Measuring::ConcurrencyAvg => {
            Err(bad_op(format!("a rule over a window compares one value made of its conversations, which '{op}' is not")))
        }
        _ => Ok(measure),
    }
}

/// Returns what a rule over a window measures; of a share, how many conversations.
pub fn of(metric: &Metric) -> Measure {
    match metric.comparison {
        Comparison::Share => Measure::COUNT,
        // It was read when the rule was.
        Comparison::Absolute | Comparison::Relative => read(&metric.field, &metric.op).unwrap_or(Measure::COUNT),
    }
}

/// The conversations of a rule over a window.
#[derive(Clone, PartialEq, Debug)]
pub struct Sets {
    /// All it watches.
    pub watched: Expression,
    /// Those that meet its conditions.
    pub matching: Expression,
}

impl Sets {
    /// Returns those of a rule.
    pub fn of(rule: &Rule) -> Self {
        let watched = rule.filter.expression.as_deref().cloned().unwrap_or(Expression::All(Vec::new()));
        let conditions: Vec<Expression> = rule.conditions.iter().map(expression).collect();
        let conditions = match rule.needs {
            Needs::Any if !conditions.is_empty() => Expression::Any(conditions),
            // Without conditions all are met.
            Needs::Any | Needs::All => Expression::All(conditions),
        };
        Self { matching: Expression::All(vec![watched.clone(), conditions]), watched }
    }
}

/// Returns what a condition says as a filter. What was said is in no filter: rules over a window cannot ask for it.
fn expression(condition: &Condition) -> Expression {
    let Test::Compare { subject, op, values } = &condition.test else { return Expression::Any(Vec::new()) };
    let (field, per_unit, is_number) = match subject {
        Subject::Figure(figure) => {
            let (name, per_unit) = figure.in_filters();
            (Field::Known(name), per_unit, matches!(figure.kind, Kind::Number))
        }
        Subject::Custom(name) => (Field::Custom(name.clone()), 1.0, false),
    };
    let op = match op {
        Op::Eq | Op::Contains => Compare::Eq,
        Op::Ne => Compare::Ne,
        Op::Gt => Compare::Gt,
        Op::Gte => Compare::Gte,
        Op::Lt => Compare::Lt,
        Op::Lte => Compare::Lte,
    };
    let compare = |value: &Value| {
        let value = match value {
            Value::Number(number) => Filtered::Number(number.as_f64().unwrap_or_default() * per_unit),
            Value::Bool(truth) if !is_number => Filtered::Bool(*truth),
            Value::String(text) => Filtered::Text(text.clone()),
            _ => return Expression::Any(Vec::new()),
        };
        Expression::Compare { field: field.clone(), op, value }
    };
    let values = values.iter().map(compare).collect();
    if op == Compare::Ne { Expression::All(values) } else { Expression::Any(values) }
}

/// What a look at a window saw.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sight {
    /// What is compared with the threshold.
    pub measured: Measured,
    /// How many conversations are affected.
    pub affected: u64,
    /// The value of the window before.
    pub before: Option<f64>,
    /// The value of this window, where it is compared with the one before.
    pub now: Option<f64>,
    /// How many of how many.
    pub part: Option<(u64, u64)>,
}

impl Sight {
    /// Returns what is seen of a value as it is.
    pub const fn absolute(now: Measured) -> Self {
        Self { measured: now, affected: now.count, before: None, now: None, part: None }
    }

    /// Returns what is seen of a value and the one of the window before. Without a baseline there is no change.
    pub fn relative(now: Measured, before: Measured) -> Self {
        let change = now.value.zip(before.value.filter(|before| *before != 0.0)).map(|(now, before)| (now - before) / before);
        Self {
            measured: Measured { value: change, count: now.count.min(before.count) },
            affected: now.count,
            before: before.value,
            now: now.value,
            part: None,
        }
    }

    /// Returns what is seen of a part and the whole.
    pub fn share(matching: u64, watched: u64) -> Self {
        let value = (watched > 0).then(|| matching as f64 / watched as f64);
        let measured = Measured { value, count: watched };
        Self { measured, affected: matching, before: None, now: None, part: Some((matching, watched)) }
    }

    /// Returns the evidence of an alert.
    pub fn evidence(&self, metric: &Metric, from: Timestamp, to: Timestamp) -> JsonMap {
        let evidence = json!({
            "at": to,
            "field": metric.field,
            "op": metric.op,
            "comparison": metric.comparison.as_str(),
            "direction": metric.direction.as_str(),
            "threshold": metric.threshold,
            "value": self.measured.value,
            "now": self.now,
            "before": self.before,
            "matching": self.part.map(|(matching, _)| matching),
            "of": self.part.map(|(_, watched)| watched),
            // Of a change, those of the window that is named.
            "conversations": if self.part.is_some() { self.measured.count } else { self.affected },
            "window_from": from,
            "window_to": to,
        });
        match evidence {
            Value::Object(evidence) => evidence.into_iter().filter(|(_, value)| !value.is_null() && value != "").collect(),
            _ => JsonMap::new(),
        }
    }
}

/// Looks at a window of what `measures` has.
///
/// # Errors
/// When it cannot be measured.
pub async fn look(
    measures: &dyn Measures,
    rule: &Rule,
    metric: &Metric,
    from: Timestamp,
    to: Timestamp,
) -> Result<Sight, Problem> {
    let sets = Sets::of(rule);
    let measure = of(metric);
    let organization = &rule.organization_id;
    let now = measures.measure(organization, &measure, &sets.matching, from, to).await?;
    match metric.comparison {
        Comparison::Absolute => Ok(Sight::absolute(now)),
        Comparison::Relative => {
            let earlier = from.saturating_add_millis(-metric.window_ms);
            Ok(Sight::relative(now, measures.measure(organization, &measure, &sets.matching, earlier, from).await?))
        }
        Comparison::Share => {
            let watched = measures.measure(organization, &measure, &sets.watched, from, to).await?;
            Ok(Sight::share(now.count, watched.count))
        }
    }
}

/// What a conversation adds to a measure; `None` adds nothing.
fn part_of(measure: &Measure, row: &Features) -> Option<f64> {
    match &measure.subject {
        Measurable::Conversations => Some(1.0),
        Measurable::Number(number) => {
            let field = match number {
                NumberOf::Known(number) => Field::Known(number.column),
                NumberOf::Extracted(name) => Field::Custom(name.clone()),
            };
            match value_of(row, &field) {
                FieldValue::Integer(number) => Some(number as f64),
                FieldValue::Number(number) => Some(number),
                FieldValue::Bool(truth) => Some(f64::from(u8::from(truth))),
                _ => None,
            }
        }
        Measurable::Rate(rate) => {
            let (numerator, denominator) = rate.expressions();
            let holds = |expression| evaluate(expression, &|field| value_of(row, field));
            holds(&denominator).then(|| f64::from(u8::from(holds(&numerator))))
        }
    }
}

fn is_of_cost(measure: &Measure) -> bool {
    matches!(&measure.subject, Measurable::Number(NumberOf::Known(number)) if number.column == COST)
}

/// Conversations of history, in the order in which they began, to be measured window by window.
#[derive(Debug)]
pub struct Series {
    measure: Measure,
    /// When each began, and what it adds.
    parts: Vec<(Timestamp, f64)>,
    ids: Vec<ConversationId>,
    /// In which currency each adds it, as a place among `currencies`; all in one where it is no amount.
    currency_of: Vec<usize>,
    currencies: Vec<String>,
}

impl Series {
    /// Returns a series without conversations.
    pub const fn new(measure: Measure) -> Self {
        Self { measure, parts: Vec::new(), ids: Vec::new(), currency_of: Vec::new(), currencies: Vec::new() }
    }

    /// Adds a conversation that began no earlier than the last.
    pub fn add(&mut self, row: &Features) {
        if let Some(part) = part_of(&self.measure, row).filter(|part| part.is_finite()) {
            self.parts.push((row.created_at, part));
            self.ids.push(row.conversation_id);
            let currency = if is_of_cost(&self.measure) { row.cost_currency.as_deref().unwrap_or_default() } else { "" };
            let known = self.currencies.iter().position(|known| known == currency);
            self.currency_of.push(known.unwrap_or_else(|| {
                self.currencies.push(currency.to_owned());
                self.currencies.len() - 1
            }));
        }
    }

    /// Returns a window over it that begins before its beginning.
    pub fn windows(&self) -> Windows<'_> {
        let mut values: Vec<f64> = self.parts.iter().map(|(_, part)| *part).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        let counts = vec![0; values.len() + 1];
        let in_currency = vec![0; self.currencies.len()];
        Windows { series: self, counts, values, first: 0, end: 0, sum: 0.0, in_currency }
    }
}

/// A window that moves over a series, forwards only.
///
/// It keeps how often it holds each value in a binary indexed tree, so that the value of any rank is found without sorting what is
/// in the window anew at each step.
#[derive(Debug)]
pub struct Windows<'a> {
    series: &'a Series,
    values: Vec<f64>,
    counts: Vec<i64>,
    first: usize,
    end: usize,
    sum: f64,
    /// How many amounts of each currency it holds.
    in_currency: Vec<usize>,
}

impl Windows<'_> {
    fn change(&mut self, part: f64, by: i64) {
        self.sum += part * by as f64;
        let mut at = self.values.partition_point(|value| value.total_cmp(&part).is_lt()) + 1;
        while at < self.counts.len() {
            self.counts[at] += by;
            at += at & at.wrapping_neg();
        }
    }

    /// Returns the value of that rank, from 1.
    fn ranked(&self, mut rank: i64) -> Option<f64> {
        let mut at = 0;
        let mut width = self.counts.len().next_power_of_two();
        while width > 0 {
            if let Some(count) = self.counts.get(at + width).filter(|count| **count < rank) {
                rank -= count;
                at += width;
            }
            width /= 2;
        }
        self.values.get(at).copied()
    }

    /// Moves the window to `[from, to)` and measures it. Neither end may go back.
    pub fn measure(&mut self, from: Timestamp, to: Timestamp) -> Measured {
        while let Some((_, part)) = self.series.parts.get(self.end).filter(|(at, _)| *at < to) {
            self.change(*part, 1);
            self.in_currency[self.series.currency_of[self.end]] += 1;
            self.end += 1;
        }
        while let Some((_, part)) = self.series.parts.get(self.first).filter(|(at, _)| self.first < self.end && *at < from) {
            self.change(*part, -1);
            self.in_currency[self.series.currency_of[self.first]] -= 1;
            self.first += 1;
        }
        let count = self.end - self.first;
        let n = count as f64;
        let measure = &self.series.measure;
        let kept = match measure.op {
            Measuring::Count => Some(n),
            // Amounts of several currencies have nothing in common.
            _ if self.in_currency.iter().filter(|count| **count > 0).count() > 1 => None,
            Measuring::Sum => Some(if count == 0 { 0.0 } else { self.sum }),
            _ if count == 0 => None,
            Measuring::Avg | Measuring::Rate => Some(self.sum / n),
            Measuring::Min => self.ranked(1),
            Measuring::Max => self.ranked(i64::try_from(count).unwrap_or(i64::MAX)),
            // The nearest rank.
            Measuring::Percentile(percentile) => self.ranked((n * f64::from(percentile) / 100.0).ceil().max(1.0) as i64),
            Measuring::Histogram | Measuring::ConcurrencyPeak | Measuring::ConcurrencyAvg => None,
        };
        if count == 0 {
            // What was added and taken away again leaves nothing behind.
            self.sum = 0.0;
        }
        Measured { value: kept.map(|value| value / measure.per_unit()), count: count as u64 }
    }

    /// Returns some of the conversations in the window, newest first.
    pub fn newest(&self, limit: usize) -> Vec<ConversationId> {
        let mut seen = HashSet::new();
        self.series.ids[self.first..self.end].iter().rev().filter(|id| seen.insert(**id)).take(limit).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::samples::{at, condition, features, rule};

    #[test]
    fn a_window_that_moves_measures_what_is_in_it() {
        let lengths = [5_i64, 60, 30, 30, 90, 10, 20, 45];
        let rows: Vec<Features> = (lengths.iter().enumerate())
            .map(|(number, seconds)| Features {
                created_at: at(number as i64 * 1_000),
                duration_ms: Some(seconds * 1_000),
                ..features(number as u128)
            })
            .collect();
        for op in ["count", "sum", "avg", "min", "max", "p50", "p90", "p99"] {
            let mut series = Series::new(read("duration_seconds", op).unwrap());
            rows.iter().for_each(|row| series.add(row));
            let mut windows = series.windows();
            for end in 0..12_i64 {
                let from = end - 4;
                let mut inside: Vec<i64> =
                    (0..8).filter(|place| (from..end).contains(place)).map(|place| lengths[place as usize]).collect();
                inside.sort_unstable();
                let sum: i64 = inside.iter().sum();
                let rank =
                    |part: f64| inside.get(((inside.len() as f64 * part).ceil() as usize).max(1) - 1).map(|value| *value as f64);
                let expected = match op {
                    "count" => Some(inside.len() as f64),
                    "sum" => Some(sum as f64),
                    "avg" => (!inside.is_empty()).then(|| sum as f64 / inside.len() as f64),
                    "min" => inside.first().map(|value| *value as f64),
                    "max" => inside.last().map(|value| *value as f64),
                    "p50" => rank(0.5),
                    "p90" => rank(0.9),
                    _ => rank(0.99),
                };
                let measured = windows.measure(at(from * 1_000), at(end * 1_000));
                assert_eq!((measured.value, measured.count), (expected, inside.len() as u64), "{op} until {end}");
            }
        }
    }

    #[test]
    fn amounts_of_several_currencies_come_to_nothing() {
        let costs = |number: u128, currency: &str| Features {
            created_at: at(i64::try_from(number).unwrap()),
            cost_currency: Some(currency.to_owned()),
            ..features(number)
        };
        let rows = [costs(0, "EUR"), costs(1, "USD"), costs(2, "USD")];
        for (op, of_one) in [("sum", 0.24), ("avg", 0.12), ("max", 0.12), ("p50", 0.12)] {
            let mut series = Series::new(read("cost", op).unwrap());
            rows.iter().for_each(|row| series.add(row));
            let mut windows = series.windows();
            let values = [windows.measure(at(0), at(3)).value, windows.measure(at(1), at(3)).value];
            assert_eq!(values, [None, Some(of_one)], "{op}");
        }
        let mut series = Series::new(read("cost", "count").unwrap());
        rows.iter().for_each(|row| series.add(row));
        assert_eq!(series.windows().measure(at(0), at(3)).value, Some(3.0));
    }

    #[test]
    fn any_condition_is_enough_where_the_rule_says_so_and_none_are_met_by_all() {
        let signs = || vec![condition("error_count", "gte", json!(3)), condition("channel", "eq", json!("phone"))];
        let row = Features { error_count: 0, channel: Some("phone".to_owned()), ..features(1) };
        let meets = |needs, conditions| {
            let sets = Sets::of(&Rule { needs, ..rule(1, conditions) });
            colloquy_filter::evaluate(&sets.matching, &|field| crate::alert::fields::value_of(&row, field))
        };
        assert_eq!((meets(Needs::All, signs()), meets(Needs::Any, signs())), (false, true));
        assert_eq!((meets(Needs::All, Vec::new()), meets(Needs::Any, Vec::new())), (true, true));
    }

    #[test]
    fn a_rate_counts_those_it_can_be_said_of() {
        let mut series = Series::new(read("resolved", "rate").unwrap());
        for (number, status) in ["resolved", "unknown", "unresolved", "resolved"].into_iter().enumerate() {
            series.add(&Features { created_at: at(0), resolution_status: status.to_owned(), ..features(number as u128) });
        }
        let measured = series.windows().measure(at(0), at(1));
        assert_eq!(measured, Measured { value: Some(2.0 / 3.0), count: 3 });
    }

    #[test]
    fn a_change_from_nothing_is_none() {
        let seen = |value| Measured { value, count: 4 };
        assert_eq!(Sight::relative(seen(Some(3.0)), seen(Some(2.0))).measured.value, Some(0.5));
        assert_eq!(Sight::relative(seen(Some(3.0)), seen(Some(0.0))).measured.value, None);
        assert_eq!(Sight::relative(seen(Some(3.0)), seen(None)).measured.value, None);
        assert_eq!(Sight::share(0, 0).measured.value, None);
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for (field, op) in [("duration_seconds", "histogram"), ("", "concurrency_peak"), ("mood", "avg")] {
            assert!(read(field, op).is_err(), "{field} {op}");
        }
    }
}
