//! Latencies by stage, in one shape for all providers: `{num, min, max, p50, p90, p95, p99}` in milliseconds.

use serde_json::{Value, json};

/// Returns the distribution of `values`, or `None` when there are none. Percentiles are by nearest rank.
pub(crate) fn distribution(mut values: Vec<f64>) -> Option<Value> {
    values.retain(|value| value.is_finite() && *value >= 0.0);
    values.sort_by(f64::total_cmp);
    let (&min, &max) = (values.first()?, values.last()?);
    let rank = |percent: f64| {
        let at = (percent / 100.0 * values.len() as f64).ceil() as usize;
        tidy(values[at.clamp(1, values.len()) - 1])
    };
    Some(json!({
        "num": values.len(), "min": tidy(min), "max": tidy(max),
        "p50": rank(50.0), "p90": rank(90.0), "p95": rank(95.0), "p99": rank(99.0),
    }))
}

/// Returns milliseconds with at most three decimals: finer is noise of the conversion.
pub(crate) fn tidy(millis: f64) -> f64 {
    (millis * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let measured = distribution(vec![944.5, 812.0, 1203.25]).unwrap();
        assert_eq!(
            measured,
            json!({"num": 3, "min": 812.0, "max": 1203.25, "p50": 944.5, "p90": 1203.25, "p95": 1203.25, "p99": 1203.25})
        );
        assert_eq!(distribution(vec![f64::NAN, -1.0]), None);
    }
}
