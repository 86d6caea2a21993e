//! The provider's own latencies by stage, in one shape, whatever shape they came in.

use std::collections::BTreeMap;

use colloquy_events::JsonMap;
use serde_json::Value;

use super::{Distribution, Figure, Spread, speech};

const ANALYZER: &str = "latency_stages/2";
/// Stages of stages of stages say nothing.
const DEEPEST: usize = 3;
const MOST_STAGES: usize = 64;
/// Of an array, so many values are looked at.
const MOST_VALUES: usize = 100_000;

/// Returns the distributions by stage, in milliseconds. A stage is a number, an array of numbers, an object with `values` or with
/// figures (`p50`, `max`, `num`, …), or an object of stages, which are then called `asr.final` and the like. Of figures only those
/// are there that the provider tells.
pub(super) fn of(latency_ms: &JsonMap) -> Figure<BTreeMap<String, Spread>> {
    let mut stages = BTreeMap::new();
    for (name, value) in latency_ms {
        collect(name, value, DEEPEST, &mut stages);
    }
    if stages.is_empty() {
        return Figure::absent("the provider sent no latencies", ANALYZER);
    }
    Figure::of(stages, ANALYZER, [])
}

fn collect(name: &str, value: &Value, depth: usize, stages: &mut BTreeMap<String, Spread>) {
    if stages.len() >= MOST_STAGES || depth == 0 {
        return;
    }
    let spread = match value {
        Value::Number(_) => number(value).and_then(|millis| exact(vec![millis])).map(Into::into),
        Value::Array(values) => of_values(values),
        Value::Object(figures) => match figures.get("values") {
            Some(Value::Array(values)) if !values.is_empty() => of_values(values),
            _ => told(figures),
        },
        _ => None,
    };
    if let Some(spread) = spread {
        stages.insert(name.chars().take(100).collect(), spread);
    } else if let Value::Object(inner) = value {
        for (stage, value) in inner {
            if !value.is_number() {
                collect(&format!("{name}.{stage}"), value, depth - 1, stages);
            }
        }
    }
}

fn of_values(values: &[Value]) -> Option<Spread> {
    exact(values.iter().take(MOST_VALUES).filter_map(number).collect()).map(Into::into)
}

/// Returns the distribution of values.
pub(super) fn exact(values: Vec<f64>) -> Option<Distribution> {
    colloquy_figures::Distribution::of(values).map(speech::distribution)
}

/// Returns what a provider tells by its figures, and nothing that it leaves out; `None` when it tells none.
fn told(figures: &JsonMap) -> Option<Spread> {
    let figure = |names: &[&str]| names.iter().find_map(|name| figures.get(*name).and_then(number));
    let told = Spread {
        n: None,
        min: figure(&["min"]),
        max: figure(&["max"]),
        mean: figure(&["mean", "avg", "average"]),
        p50: figure(&["p50", "median"]),
        p90: figure(&["p90"]),
        p95: figure(&["p95"]),
        p99: figure(&["p99"]),
    };
    // How many there are says nothing of how long they took.
    (told != Spread::default()).then(|| Spread { n: figure(&["num", "n", "count"]).map(|count| count as u32), ..told })
}

/// Returns a duration; negative ones and other absurdities are none.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|millis| millis.is_finite() && *millis >= 0.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stages(value: Value) -> BTreeMap<String, Spread> {
        of(value.as_object().unwrap()).value.unwrap_or_default()
    }

    #[test]
    fn whatever_vendors_send_has_one_shape() {
        let stages = stages(json!({
            "llm": 250, "tts": [10, 30, 20], "e2e": {"p50": 5.0, "p99": 9.0, "num": 7, "values": []}, "model": {"avg": 412.0},
            "asr": {"final": {"p50": 3}, "partial": [1]}, "note": "fast", "odd": [-1, "x", null], "empty": {}, "counted": {"num": 3},
        }));
        let names: Vec<&str> = stages.keys().map(String::as_str).collect();
        assert_eq!(names, ["asr.final", "asr.partial", "e2e", "llm", "model", "tts"]);
        let tts = stages["tts"];
        assert_eq!((tts.n, tts.min, tts.p50, tts.p90, tts.mean), (Some(3), Some(10.0), Some(20.0), Some(30.0), Some(20.0)));
        let llm = stages["llm"];
        assert_eq!((llm.n, llm.min, llm.p50, llm.p99, llm.max), (Some(1), Some(250.0), Some(250.0), Some(250.0), Some(250.0)));
    }

    #[test]
    fn what_a_vendor_does_not_tell_is_not_made_up() {
        let stages =
            stages(json!({"e2e": {"p50": 5.0, "p99": 9.0, "num": 7}, "model": {"avg": 412.0}, "asr": {"max": 3, "min": -1}}));
        assert_eq!(stages["e2e"], Spread { n: Some(7), p50: Some(5.0), p99: Some(9.0), ..Spread::default() });
        assert_eq!(stages["model"], Spread { mean: Some(412.0), ..Spread::default() });
        assert_eq!(stages["asr"], Spread { max: Some(3.0), ..Spread::default() });
    }

    #[test]
    fn values_win_over_figures_and_ranks_are_nearest() {
        let stages = stages(json!({"e2e": {"p50": 1.0, "values": [812.0, 944.5, 1203.25]}}));
        assert_eq!((stages["e2e"].p50, stages["e2e"].p90, stages["e2e"].n), (Some(944.5), Some(1203.25), Some(3)));
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
