//! How two sets of conversations differ.

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shape::word;

/// How two sets of conversations differ.
#[derive(Serialize, ToSchema)]
pub(crate) struct Comparisons {
    /// One a measure, in the order asked for.
    comparisons: Vec<Comparison>,
}

/// How two sets differ in one measure.
#[derive(Serialize, ToSchema)]
pub(crate) struct Comparison {
    /// The measure's alias.
    alias: String,
    /// In the baseline.
    baseline: Option<f64>,
    /// In the candidate.
    candidate: Option<f64>,
    /// How many conversations the baseline's value comes from.
    baseline_n: u64,
    /// How many conversations the candidate's value comes from.
    candidate_n: u64,
    /// `(candidate - baseline) / baseline`.
    relative_change: Option<f64>,
    /// Why there is no relative change: `no_baseline` or `no_candidate`.
    absent_because: Option<String>,
    /// `welch_t` for means, `two_proportions_z` for rates.
    test: Option<String>,
    /// How likely a difference as great is by chance alone, from 0 to 1.
    p_value: Option<f64>,
    /// Whether `p_value` is below 0.05.
    significant: bool,
}

impl From<pb::CompareAnalyticsResponse> for Comparisons {
    fn from(given: pb::CompareAnalyticsResponse) -> Self {
        let comparison = |given: pb::Comparison| Comparison {
            alias: given.alias,
            baseline: given.baseline,
            candidate: given.candidate,
            baseline_n: given.baseline_n,
            candidate_n: given.candidate_n,
            relative_change: given.relative_change,
            absent_because: word(given.absent_because),
            test: word(given.test),
            p_value: given.p_value,
            significant: given.significant,
        };
        Self { comparisons: given.comparisons.into_iter().map(comparison).collect() }
    }
}
