//! What a question came to.

use std::collections::HashMap;

use super::concurrency::Concurrency;
use super::measure::{Measure, Op, Subject};
use super::table::{Currency, Key, Names, Partial};

/// The value of a measure for one key.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Computed {
    /// The number; `None` when there is none.
    pub(crate) number: Option<f64>,
    /// Of a rate: how many of how many.
    pub(crate) ratio: Option<(u64, u64)>,
    /// Of a histogram: lower bounds of bins, with how many fell into each.
    pub(crate) histogram: Option<Vec<(f64, u64)>>,
    /// How many conversations it comes from.
    pub(crate) n: u64,
}

/// What a question came to: for each key the values of its measures, in their order.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) names: Names,
    pub(crate) rows: HashMap<Key, Vec<Computed>>,
    /// By how much percentiles may be off, as a part of their value.
    pub(crate) relative_error: f64,
    /// Up to when anything can be known, in milliseconds.
    pub(crate) known_until: i64,
}

/// Returns what a measure comes to.
pub(crate) fn computed(measure: &Measure, found: Option<&Partial>, percentile: Option<f64>) -> Computed {
    let none = Partial::default();
    let found = found.unwrap_or(&none);
    let unit = measure.per_unit();
    let is_mixed = found.currency == Currency::Several;
    let mean = || (found.n > 0).then(|| found.sum / found.n as f64);
    let number = match measure.op {
        Op::Count => Some(found.n as f64),
        _ if is_mixed => None,
        Op::Sum => Some(found.sum),
        Op::Avg => mean(),
        Op::Min => Some(found.min).filter(|_| found.n > 0),
        Op::Max => Some(found.max).filter(|_| found.n > 0),
        Op::Percentile(_) => percentile,
        Op::Rate => (found.of > 0).then(|| found.n as f64 / found.of as f64),
        Op::Histogram | Op::ConcurrencyPeak | Op::ConcurrencyAvg => None,
    };
    let is_rate = matches!(measure.subject, Subject::Rate(_));
    Computed {
        number: number.map(|number| number / unit),
        ratio: is_rate.then_some((found.n, found.of)),
        histogram: None,
        n: if is_rate { found.of } else { found.n },
    }
}

/// Returns what a measure of concurrency comes to.
pub(crate) fn concurrent(measure: &Measure, found: Option<Concurrency>, n: u64) -> Computed {
    let found = found.unwrap_or(Concurrency { peak: 0, average: Some(0.0) });
    let number = if measure.op == Op::ConcurrencyPeak { Some(found.peak as f64) } else { found.average };
    Computed { number, n, ..Computed::default() }
}
