//! The provider's own latencies by stage, in one shape, whatever shape they came in.

use std::collections::BTreeMap;

use colloquy_events::JsonMap;
use serde_json::Value;

use super::{Distribution, Figure, speech};

const ANALYZER: &str = "latency_stages/1";
/// Stages of stages of stages say nothing.
const DEEPEST: usize = 3;
const MOST_STAGES: usize = 64;
/// Of an array, so many values are looked at.
const MOST_VALUES: usize = 100_000;

/// Returns the distributions by stage, in milliseconds. A stage is a number, an array of numbers, an object with `values` or with
/// figures (`p50`, `max`, `num`, …), or an object of stages, which are then called `asr.final` and the like.
pub(super) fn of(latency_ms: &JsonMap) -> Figure<BTreeMap<String, Distribution>> {
    let mut stages = BTreeMap::new();
    for (name, value) in latency_ms {
        collect(name, value, DEEPEST, &mut stages);
    }
    if stages.is_empty() {
        return Figure::absent("the provider sent no latencies", ANALYZER);
    }
    Figure::of(stages, ANALYZER, [])
}

fn collect(name: &str, value: &Value, depth: usize, stages: &mut BTreeMap<String, Distribution>) {
    if stages.len() >= MOST_STAGES || depth == 0 {
        return;
    }
    let distribution = match value {
        Value::Number(_) => number(value).and_then(|millis| exact(vec![millis])),
        Value::Array(values) => exact(values.iter().take(MOST_VALUES).filter_map(number).collect()),
        Value::Object(figures) => match figures.get("values") {
            Some(Value::Array(values)) if !values.is_empty() => {
                exact(values.iter().take(MOST_VALUES).filter_map(number).collect())
            }
            _ => told(figures),
        },
        _ => None,
    };
    if let Some(distribution) = distribution {
        stages.insert(name.chars().take(100).collect(), distribution);
    } else if let Value::Object(inner) = value {
        for (stage, value) in inner {
            if !value.is_number() {
                collect(&format!("{name}.{stage}"), value, depth - 1, stages);
            }
        }
    }
}

/// Returns the distribution of values.
pub(super) fn exact(values: Vec<f64>) -> Option<Distribution> {
    colloquy_figures::Distribution::of(values).map(speech::distribution)
}

/// Returns the distribution that a provider tells by its figures. What it leaves out is the next figure that bounds it: a
/// percentile is at most the next higher one, and the median, or the mean, stands for the other. `None` when it tells none.
fn told(figures: &JsonMap) -> Option<Distribution> {
    let figure = |names: &[&str]| names.iter().find_map(|name| figures.get(*name).and_then(number));
    let mean = figure(&["mean", "avg", "average"]);
    let middle = figure(&["p50", "median"]).or(mean);
    let max = figure(&["max"]);
    let (p90, p95, p99) = (figure(&["p90"]), figure(&["p95"]), figure(&["p99"]));
    let top = max.or(p99).or(p95).or(p90).or(middle)?;
    let p99 = p99.unwrap_or(top);
    let p95 = p95.unwrap_or(p99);
    let p90 = p90.unwrap_or(p95);
    let p50 = middle.unwrap_or(p90);
    let n = figure(&["num", "n", "count"]).map_or(1, |count| count as u32);
    Some(Distribution { n, min: figure(&["min"]).unwrap_or(p50), max: top, mean: mean.unwrap_or(p50), p50, p90, p95, p99 })
}

/// Returns a duration; negative ones and other absurdities are none.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|millis| millis.is_finite() && *millis >= 0.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stages(value: Value) -> BTreeMap<String, Distribution> {
        of(value.as_object().unwrap()).value.unwrap_or_default()
    }

    #[test]
    fn whatever_vendors_send_is_a_distribution() {
        let stages = stages(json!({
            "llm": 250, "tts": [10, 30, 20], "e2e": {"p50": 5.0, "p99": 9.0, "num": 7, "values": []}, "model": {"avg": 412.0},
            "asr": {"final": {"p50": 3}, "partial": [1]}, "note": "fast", "odd": [-1, "x", null], "empty": {},
        }));
        let names: Vec<&str> = stages.keys().map(String::as_str).collect();
        assert_eq!(names, ["asr.final", "asr.partial", "e2e", "llm", "model", "tts"]);
        let whole = |value: f64, n| Distribution {
            n,
            min: value,
            max: value,
            mean: value,
            p50: value,
            p90: value,
            p95: value,
            p99: value,
        };
        assert_eq!(stages["llm"], whole(250.0, 1));
        assert_eq!(stages["model"], whole(412.0, 1));
        assert_eq!((stages["tts"].p50, stages["tts"].p90, stages["tts"].mean), (20.0, 30.0, 20.0));
        let told = stages["e2e"];
        assert_eq!((told.n, told.min, told.p50, told.p90, told.p99, told.max), (7, 5.0, 5.0, 9.0, 9.0, 9.0));
    }

    #[test]
    fn values_win_over_figures_and_ranks_are_nearest() {
        let stages = stages(json!({"e2e": {"p50": 1.0, "values": [812.0, 944.5, 1203.25]}}));
        assert_eq!((stages["e2e"].p50, stages["e2e"].p90, stages["e2e"].n), (944.5, 1203.25, 3));
    }

    #[test]
    fn nothing_sent_is_absent_and_depth_is_bounded() {
        assert!(of(&JsonMap::new()).absent_because.is_some());
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!({"a": deep});
        }
        assert!(stages(json!({"deep": deep})).is_empty());
    }
}
