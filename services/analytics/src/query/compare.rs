//! Whether two sets of conversations differ by more than chance.

use colloquy_filter::Expression;
use colloquy_proto::analytics::v1 as pb;
use colloquy_service::FieldErrors;
use colloquy_types::{OrganizationId, Timestamp};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::answer::Computed;
use super::measure::{Measure, Op};
use super::request::{and, read_filter, read_measures, read_span};
use super::{Error, Queries, over};

/// A difference is significant when it would come by chance less often than this.
const SIGNIFICANCE: f64 = 0.05;

struct Segment {
    filter: Expression,
    from: Timestamp,
    to: Timestamp,
}

/// What one set comes to in one measure.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    value: Option<f64>,
    n: u64,
    /// Of a mean: the variance of the values, where there are two or more.
    variance: Option<f64>,
    ratio: Option<(u64, u64)>,
}

/// Answers the comparison.
pub(super) async fn compare(
    queries: &Queries,
    organization: &OrganizationId,
    request: &pb::CompareAnalyticsRequest,
) -> Result<pb::CompareAnalyticsResponse, Error> {
    let mut errors = FieldErrors::new();
    let (aliases, measures) = read_measures(&request.measures, &Expression::All(Vec::new()), &[], &mut errors);
    for (number, measure) in measures.iter().enumerate() {
        if let Some((measure, _)) = measure
            && !matches!(measure.op, Op::Avg | Op::Rate | Op::Count)
        {
            errors.add(format!("measures[{number}].op"), "must be avg, rate or count: only they can be compared");
        }
    }
    let now = queries.clock.now();
    let baseline = read_segment("baseline", request.baseline.as_ref(), now, &mut errors);
    let candidate = read_segment("candidate", request.candidate.as_ref(), now, &mut errors);
    errors.finish()?;
    let measures: Vec<(Measure, Expression)> = measures.into_iter().flatten().collect();
    let (Some(baseline), Some(candidate)) = (baseline, candidate) else {
        return Ok(pb::CompareAnalyticsResponse::default());
    };
    let baselines = sides(queries, organization, &measures, &baseline).await?;
    let candidates = sides(queries, organization, &measures, &candidate).await?;
    let comparisons = (aliases.into_iter().zip(&measures))
        .zip(baselines.into_iter().zip(candidates))
        .map(|((alias, (measure, _)), (baseline, candidate))| comparison(alias, measure.op, baseline, candidate))
        .collect();
    Ok(pb::CompareAnalyticsResponse { comparisons })
}

fn read_segment(field: &str, segment: Option<&pb::Segment>, now: Timestamp, errors: &mut FieldErrors) -> Option<Segment> {
    let segment = segment.cloned().unwrap_or_default();
    let filter = read_filter(&format!("{field}.filter"), segment.filter.as_ref(), errors);
    let (from_field, to_field) = (format!("{field}.from"), format!("{field}.to"));
    let span = read_span((&from_field, segment.from.as_ref()), (&to_field, segment.to.as_ref()), now, errors);
    span.map(|(from, to)| Segment { filter, from, to })
}

async fn sides(
    queries: &Queries,
    organization: &OrganizationId,
    measures: &[(Measure, Expression)],
    segment: &Segment,
) -> Result<Vec<Side>, Error> {
    let asked: Vec<(Measure, Expression)> =
        measures.iter().map(|(measure, filter)| (measure.clone(), and(&segment.filter, filter.clone()))).collect();
    let Some(question) = over(asked.clone(), Vec::new(), segment.from, segment.to) else { return Ok(Vec::new()) };
    let answer = queries.answer(organization, &question).await?;
    let found = answer.rows.into_values().next();
    let nothing = || measures.iter().map(|(measure, _)| super::answer::computed(measure, None, None)).collect();
    let found: Vec<Computed> = found.unwrap_or_else(nothing);
    let mut sides = Vec::with_capacity(found.len());
    for ((measure, filter), found) in asked.iter().zip(found) {
        let mut side = Side { value: found.number, n: found.n, variance: None, ratio: found.ratio };
        if measure.op == Op::Avg
            && let Some(mean) = found.number
        {
            side.variance = variance(queries, organization, measure, filter, segment, mean, found.n).await?;
        }
        sides.push(side);
    }
    Ok(sides)
}

/// Returns the variance of the values of a sample, around its mean.
async fn variance(
    queries: &Queries,
    organization: &OrganizationId,
    measure: &Measure,
    filter: &Expression,
    segment: &Segment,
    mean: f64,
    n: u64,
) -> Result<Option<f64>, Error> {
    if n < 2 {
        return Ok(None);
    }
    let squares = queries.squares(organization, measure, filter, (segment.from, segment.to), mean).await?;
    Ok(Some(squares / (n - 1) as f64))
}

fn comparison(alias: String, op: Op, baseline: Side, candidate: Side) -> pb::Comparison {
    let (relative_change, absent_because) = match (baseline.value, candidate.value) {
        (None | Some(0.0), _) => (None, "no_baseline"),
        (_, None) => (None, "no_candidate"),
        (Some(before), Some(now)) => (Some((now - before) / before), ""),
    };
    let (test, p_value) = match op {
        Op::Avg => ("welch_t", welch(baseline, candidate)),
        Op::Rate => ("two_proportions_z", two_proportions(baseline.ratio, candidate.ratio)),
        _ => ("", None),
    };
    pb::Comparison {
        alias,
        baseline: baseline.value,
        candidate: candidate.value,
        baseline_n: baseline.n,
        candidate_n: candidate.n,
        relative_change,
        absent_because: absent_because.to_owned(),
        test: test.to_owned(),
        p_value,
        significant: p_value.is_some_and(|p| p < SIGNIFICANCE),
    }
}

/// Returns how likely two means differ so by chance, whatever their variances.
fn welch(one: Side, other: Side) -> Option<f64> {
    let part = |side: Side| Some((side.value?, side.variance? / side.n as f64, side.n as f64 - 1.0));
    let ((one_mean, one_part, one_freedom), (other_mean, other_part, other_freedom)) = (part(one)?, part(other)?);
    let error = one_part + other_part;
    if error <= 0.0 {
        return Some(if one_mean == other_mean { 1.0 } else { 0.0 });
    }
    let freedom = error * error / (one_part * one_part / one_freedom + other_part * other_part / other_freedom);
    let t = (other_mean - one_mean) / error.sqrt();
    let distribution = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some(2.0 * distribution.cdf(-t.abs())).filter(|p| p.is_finite())
}

/// Returns how likely two parts differ so by chance.
fn two_proportions(one: Option<(u64, u64)>, other: Option<(u64, u64)>) -> Option<f64> {
    let ((one, of_one), (other, of_other)) = (one?, other?);
    if of_one == 0 || of_other == 0 {
        return None;
    }
    let (of_one, of_other) = (of_one as f64, of_other as f64);
    let (one_part, other_part) = (one as f64 / of_one, other as f64 / of_other);
    let pooled = (one + other) as f64 / (of_one + of_other);
    let error = (pooled * (1.0 - pooled) * (1.0 / of_one + 1.0 / of_other)).sqrt();
    if error <= 0.0 {
        return Some(1.0);
    }
    let z = (other_part - one_part) / error;
    Normal::new(0.0, 1.0).ok().map(|normal| 2.0 * normal.cdf(-z.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(value: f64, variance: f64, n: u64) -> Side {
        Side { value: Some(value), n, variance: Some(variance), ratio: None }
    }

    #[test]
    fn means_are_compared_as_statisticians_do() {
        // t = 1.905 with 18.4 degrees of freedom.
        let p = welch(side(20.8, 2.8, 15), side(23.0, 17.2, 15)).unwrap();
        assert!((p - 0.070).abs() < 0.005, "{p}");
        assert_eq!(welch(side(1.0, 0.0, 5), side(1.0, 0.0, 5)), Some(1.0));
        assert_eq!(welch(side(1.0, 0.0, 5), Side::default()), None);
    }

    #[test]
    fn parts_are_compared_by_their_pooled_part() {
        // 48 of 300 against 72 of 300: z = 2.449, p = 0.0143.
        let p = two_proportions(Some((48, 300)), Some((72, 300))).unwrap();
        assert!((p - 0.014_3).abs() < 1e-3, "{p}");
        assert_eq!(two_proportions(Some((0, 10)), Some((0, 20))), Some(1.0));
        assert_eq!(two_proportions(Some((0, 0)), Some((1, 2))), None);
    }

    #[test]
    fn without_a_baseline_there_is_no_relative_change() {
        let zero = Side { value: Some(0.0), n: 3, ..Side::default() };
        let one = Side { value: Some(1.0), n: 3, ..Side::default() };
        let of = |baseline, candidate| {
            let found = comparison("a".to_owned(), Op::Count, baseline, candidate);
            (found.relative_change, found.absent_because)
        };
        assert_eq!(of(zero, one), (None, "no_baseline".to_owned()));
        assert_eq!(of(Side::default(), one), (None, "no_baseline".to_owned()));
        assert_eq!(of(one, Side::default()), (None, "no_candidate".to_owned()));
        assert_eq!(of(one, zero), (Some(-1.0), String::new()));
    }
}
