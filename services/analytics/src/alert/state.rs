//! Where a rule over a window stands, and how it gets from there to elsewhere.
//!
//! A rule does not flap: once a value was too bad it must be better than the threshold by a margin to be good again, and few
//! conversations say nothing.

use colloquy_types::Timestamp;

use super::rule::{Metric, NoData, Op};

/// Without a margin of its own a rule has this one, as a part of the threshold.
const USUAL_MARGIN: f64 = 0.05;

/// Returns by how much a value that was too bad must be better than the threshold to be good again.
///
/// A part of the threshold. Of 0 there is no part: there the margin itself, except above values that are never below 0, of which 0 is the
/// best there is.
fn slack(metric: &Metric, threshold: f64) -> f64 {
    let margin = metric.recovery_margin.unwrap_or(USUAL_MARGIN);
    let is_below = matches!(metric.direction, Op::Lt | Op::Lte);
    if threshold == 0.0 && (is_below || metric.may_be_negative()) { margin } else { margin * threshold.abs() }
}

/// Where a rule stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It was not looked at yet.
    Unknown,
    /// All is well.
    Ok,
    /// The value is near to what is too bad.
    Warning,
    /// The value is too bad.
    Alert,
    /// There is no value.
    NoData,
    /// Nobody looks.
    Paused,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Unknown, Self::Ok, Self::Warning, Self::Alert, Self::NoData, Self::Paused];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Alert => "alert",
            Self::NoData => "no_data",
            Self::Paused => "paused",
        }
    }

    /// Returns the one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Where a rule stands, and since when.
#[derive(Clone, PartialEq, Debug)]
pub struct Standing {
    /// Where.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// The value when it was last looked at.
    pub last_value: Option<f64>,
}

/// What a look at a window found.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Measured {
    /// The value; `None` when there is none.
    pub value: Option<f64>,
    /// How many conversations there were.
    pub count: u64,
}

/// Returns where a rule stands after a look. `is_bad` says that the value was too bad when last there was one, and has not recovered.
pub fn next(metric: &Metric, before: State, is_bad: bool, measured: Measured) -> State {
    let value = measured.value.filter(|value| value.is_finite() && measured.count >= u64::from(metric.min_count));
    let Some(value) = value else {
        return match metric.no_data {
            NoData::Ignore => State::NoData,
            NoData::Ok => State::Ok,
            NoData::Alert => State::Alert,
        };
    };
    // What is called bad already must be better by the margin to be called good.
    let crosses = |threshold: f64, was: bool| {
        let slack = if was { slack(metric, threshold) } else { 0.0 };
        match metric.direction {
            Op::Lt | Op::Lte => metric.direction.holds(value, threshold + slack),
            _ => metric.direction.holds(value, threshold - slack),
        }
    };
    if crosses(metric.threshold, is_bad) {
        return State::Alert;
    }
    let warned = is_bad || before == State::Warning;
    match metric.warning_threshold {
        Some(threshold) if crosses(threshold, warned) => State::Warning,
        _ => State::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::rule::Comparison;
    use crate::alert::samples::metric;

    fn walk(metric: &Metric, values: &[Option<f64>]) -> Vec<State> {
        let (mut state, mut is_bad) = (State::Unknown, false);
        let looks = values.iter().map(|value| Measured { value: *value, count: 10 });
        looks
            .map(|measured| {
                state = next(metric, state, is_bad, measured);
                is_bad = state == State::Alert || (is_bad && state == State::NoData);
                state
            })
            .collect()
    }

    use State::{Alert, NoData as None_, Ok, Warning};

    #[test]
    fn a_value_around_its_threshold_alerts_once() {
        let rule = Metric { threshold: 100.0, recovery_margin: Some(0.1), ..metric() };
        let values = [99.0, 101.0, 99.0, 101.0, 95.0, 100.0, 90.0, 99.0].map(Some);
        assert_eq!(walk(&rule, &values), [Ok, Alert, Alert, Alert, Alert, Alert, Ok, Ok]);
    }

    #[test]
    fn below_is_as_bad_as_above_where_the_rule_says_so() {
        let rule = Metric { threshold: 3.0, direction: Op::Lt, warning_threshold: Some(4.0), ..metric() };
        let values = [4.5, 3.9, 4.1, 2.9, 3.1, 3.2, 4.3].map(Some);
        assert_eq!(walk(&rule, &values), [Ok, Warning, Warning, Alert, Alert, Warning, Ok]);
    }

    #[test]
    fn a_negative_threshold_has_its_margin_on_the_good_side() {
        let rule = Metric { threshold: -0.2, direction: Op::Lt, recovery_margin: Some(0.5), ..metric() };
        assert_eq!(walk(&rule, &[-0.1, -0.3, -0.15, -0.05].map(Some)), [Ok, Alert, Alert, Ok]);
    }

    #[test]
    fn a_value_around_a_threshold_of_zero_alerts_once() {
        let mood = Metric { field: "sentiment_score".to_owned(), direction: Op::Lt, threshold: 0.0, ..metric() };
        assert_eq!(walk(&mood, &[0.1, -0.01, 0.01, -0.01, 0.04, 0.06].map(Some)), [Ok, Alert, Alert, Alert, Alert, Ok]);
        let change = Metric { comparison: Comparison::Relative, threshold: 0.0, ..metric() };
        assert_eq!(walk(&change, &[0.2, -0.01, 0.01, -0.06].map(Some)), [Alert, Alert, Alert, Ok]);
        // There is no better than none.
        let errors = Metric { field: String::new(), op: "count".to_owned(), threshold: 0.0, ..metric() };
        assert_eq!(walk(&errors, &[1.0, 0.0].map(Some)), [Alert, Ok]);
    }

    #[test]
    fn no_data_means_what_the_rule_says() {
        let values = [Some(200.0), None, Some(96.0), Some(10.0)];
        let rule = |no_data| Metric { threshold: 100.0, no_data, ..metric() };
        assert_eq!(walk(&rule(NoData::Ignore), &values), [Alert, None_, Alert, Ok]);
        assert_eq!(walk(&rule(NoData::Ok), &values), [Alert, Ok, Ok, Ok]);
        assert_eq!(walk(&rule(NoData::Alert), &values), [Alert, Alert, Alert, Ok]);
    }

    #[test]
    fn too_few_conversations_say_nothing() {
        let rule = Metric { threshold: 1.0, min_count: 5, ..metric() };
        let look = |count| next(&rule, State::Ok, false, Measured { value: Some(9.0), count });
        assert_eq!((look(4), look(5)), (State::NoData, State::Alert));
    }
}
