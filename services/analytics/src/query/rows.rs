//! Lays an answer out in rows: gaps filled, ordered, cut off.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use colloquy_proto::analytics::v1 as pb;
use colloquy_service::Problem;

use super::answer::{Answer, Computed, computed, concurrent};
use super::concurrency::Concurrency;
use super::link::Link;
use super::question::{Layout, Order, Question};
use super::request::MOST_ROWS;
use super::schema::Source;
use super::table::Key;

/// A dimension with more values than this needs an order and a limit: nobody reads all of them.
const MOST_VALUES: usize = 1_000;

/// Returns the answer as it is sent.
///
/// # Errors
/// When a dimension has too many values for an answer without an order and a limit, with advice.
pub(crate) fn lay_out(
    question: &Question,
    layout: &Layout,
    mut answer: Answer,
    link: &Link<'_>,
) -> Result<pb::QueryAnalyticsResponse, Problem> {
    refuse_too_many(question, layout, &answer)?;
    fill(question, layout, &mut answer);
    let mut rows: Vec<Row> = (std::mem::take(&mut answer.rows).into_iter())
        .map(|(key, values)| {
            let value = |measure: usize| values.get(measure).and_then(|value: &Computed| value.number);
            let formulas = layout.formulas.iter().map(|(_, formula)| formula.value(&value)).collect();
            Row { key, values, formulas }
        })
        .collect();
    rows.sort_unstable_by(|one, other| one.compare(other, question, layout, &answer));
    let truncated = rows.len() > layout.limit;
    rows.truncate(layout.limit);
    let step = question.buckets.step.map_or("", |step| step.name());
    Ok(pb::QueryAnalyticsResponse {
        rows: rows.into_iter().map(|row| row.into_pb(question, layout, &answer, link)).collect(),
        data_through: None,
        step: step.to_owned(),
        truncated,
        relative_error: answer.relative_error,
    })
}

fn refuse_too_many(question: &Question, layout: &Layout, answer: &Answer) -> Result<(), Problem> {
    for (number, dimension) in question.dimensions.iter().enumerate() {
        let count = answer.names.count(number);
        if count > MOST_VALUES && !layout.is_chosen {
            let message = format!(
                "'{}' has {count} values here, more than {MOST_VALUES}; say which matter with order_by and limit, for example \
                 order_by [\"-{}\"] and limit 100, or narrow the filter",
                dimension.name,
                layout.aliases.first().map_or("", String::as_str)
            );
            return Err(Problem::invalid_field(format!("dimensions[{number}]"), message));
        }
    }
    Ok(())
}

/// Adds rows for buckets without conversations: for all of them, or, with dimensions, for every combination that was found, while
/// they fit into the answer.
fn fill(question: &Question, layout: &Layout, answer: &mut Answer) {
    let groups: BTreeSet<[u32; 3]> = match question.dimensions.is_empty() {
        true => BTreeSet::from([[0; 3]]),
        false => answer.rows.keys().map(|key| key.values).collect(),
    };
    let buckets = question.buckets.len();
    let fits = groups.len().saturating_mul(buckets) <= layout.limit.min(MOST_ROWS);
    if !question.dimensions.is_empty() && !fits {
        return;
    }
    let nothing = |at_once: Concurrency| -> Vec<Computed> {
        let measures = question.measures.iter().map(|(measure, _)| match measure.is_concurrency() {
            true => concurrent(measure, Some(at_once), 0),
            false => computed(measure, None, None),
        });
        measures.collect()
    };
    let past = nothing(Concurrency { peak: 0, average: Some(0.0) });
    let future = nothing(Concurrency { peak: 0, average: None });
    for values in groups {
        for bucket in (0_u32..).take(buckets) {
            let has_come = question.buckets.within(bucket as usize).0 < answer.known_until;
            answer.rows.entry(Key { bucket, values }).or_insert_with(|| if has_come { past.clone() } else { future.clone() });
        }
    }
}

struct Row {
    key: Key,
    values: Vec<Computed>,
    formulas: Vec<Option<f64>>,
}

impl Row {
    fn compare(&self, other: &Self, question: &Question, layout: &Layout, answer: &Answer) -> Ordering {
        let by_value = |number: usize| self.compare_values(other, number, question, answer);
        for (by, descends) in &layout.order {
            let ordering = match by {
                Order::Bucket => reversed(self.key.bucket.cmp(&other.key.bucket), *descends),
                Order::Dimension(number) => reversed(by_value(*number), *descends),
                Order::Measure(number) => numbers(self.number(*number), other.number(*number), *descends),
                Order::Formula(number) => numbers(self.formulas[*number], other.formulas[*number], *descends),
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        let values = (0..question.dimensions.len()).map(by_value);
        std::iter::once(self.key.bucket.cmp(&other.key.bucket)).chain(values).find(|one| one.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Compares the values of a dimension: words as words, hours and days of the week as numbers.
    fn compare_values(&self, other: &Self, dimension: usize, question: &Question, answer: &Answer) -> Ordering {
        let (one, other) = (self.word(dimension, answer), other.word(dimension, answer));
        match &question.dimensions[dimension].source {
            Source::HourOfDay | Source::DayOfWeek => one.parse::<u8>().ok().cmp(&other.parse::<u8>().ok()),
            Source::Column(_) | Source::Words(_) | Source::Extracted(_) => one.cmp(other),
        }
    }

    fn word<'a>(&self, dimension: usize, answer: &'a Answer) -> &'a str {
        answer.names.word(dimension, self.key.values[dimension])
    }

    fn number(&self, measure: usize) -> Option<f64> {
        self.values.get(measure).and_then(|value| value.number)
    }

    fn into_pb(self, question: &Question, layout: &Layout, answer: &Answer, link: &Link<'_>) -> pb::Row {
        let words = question.dimensions.iter().enumerate();
        let dimensions: BTreeMap<String, String> =
            words.map(|(number, dimension)| (dimension.name.clone(), self.word(number, answer).to_owned())).collect();
        let bucket = self.key.bucket as usize;
        let conversations_query = link.query(&question.buckets, bucket, &question.dimensions, &dimensions);
        let mut values: BTreeMap<String, pb::Value> = BTreeMap::new();
        for (alias, value) in layout.aliases.iter().zip(self.values) {
            values.extend(to_pb(value).map(|value| (alias.clone(), value)));
        }
        for ((alias, _), value) in layout.formulas.iter().zip(self.formulas) {
            values.extend(value.map(|number| (alias.clone(), pb::Value { number, ..pb::Value::default() })));
        }
        pb::Row { bucket: question.buckets.label(bucket), dimensions, values, conversations_query }
    }
}

fn reversed(ordering: Ordering, descends: bool) -> Ordering {
    if descends { ordering.reverse() } else { ordering }
}

/// What has no value comes last, whichever way.
fn numbers(one: Option<f64>, other: Option<f64>, descends: bool) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => reversed(one.total_cmp(&other), descends),
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
}

/// Returns nothing for what could not be computed.
fn to_pb(value: Computed) -> Option<pb::Value> {
    if let Some(histogram) = value.histogram.filter(|histogram| !histogram.is_empty()) {
        let histogram = histogram.into_iter().map(|(bound, count)| (bound.to_string(), count)).collect();
        return Some(pb::Value { number: value.n as f64, histogram, ..pb::Value::default() });
    }
    let number = value.number?;
    let (numerator, denominator) = value.ratio.unzip();
    Some(pb::Value { number, histogram: BTreeMap::new(), numerator, denominator })
}
