//! `successEvaluation`: text whose meaning depends on the rubric the owner chose, which the report does not name (3.6).

use colloquy_events::CallSuccessful;
use serde_json::Value;

/// Reads an evaluation by any of the rubrics; `None` when there is none, `Unknown` when it cannot be read.
pub(super) fn read(evaluation: &Value) -> Option<CallSuccessful> {
    let written = match evaluation {
        Value::Bool(passed) => passed.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if !text.trim().is_empty() => text.trim().to_ascii_lowercase(),
        _ => return None,
    };
    Some(match written.as_str() {
        // PassFail, DescriptiveScale and LikertScale.
        "true" | "pass" | "passed" | "success" | "excellent" | "good" | "strongly agree" | "agree" => CallSuccessful::Success,
        "false" | "fail" | "failed" | "failure" | "poor" | "bad" | "disagree" | "strongly disagree" => CallSuccessful::Failure,
        other => by_number(other),
    })
}

/// NumericScale goes from 1 to 10, PercentageScale from 0 to 100.
fn by_number(written: &str) -> CallSuccessful {
    let (digits, is_percentage) = match written.strip_suffix('%') {
        Some(digits) => (digits.trim(), true),
        None => (written, false),
    };
    let Ok(number) = digits.parse::<f64>() else { return CallSuccessful::Unknown };
    let threshold = if is_percentage || number > 10.0 { 60.0 } else { 6.0 };
    match number {
        number if !(0.0..=100.0).contains(&number) => CallSuccessful::Unknown,
        number if number >= threshold => CallSuccessful::Success,
        _ => CallSuccessful::Failure,
    }
}

#[cfg(test)]
mod tests {
    use CallSuccessful::{Failure, Success, Unknown};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_rubric_is_read() {
        let evaluations = [
            (json!("true"), Some(Success)),
            (json!(true), Some(Success)),
            (json!("FAIL"), Some(Failure)),
            (json!("6"), Some(Success)),
            (json!(5), Some(Failure)),
            (json!("60%"), Some(Success)),
            (json!("59"), Some(Failure)),
            (json!("5%"), Some(Failure)),
            (json!("Strongly Agree"), Some(Success)),
            (json!("Disagree"), Some(Failure)),
            (json!("Good"), Some(Success)),
            (json!("Poor"), Some(Failure)),
            (json!("Neutral"), Some(Unknown)),
            (json!("1000"), Some(Unknown)),
            (json!("NaN"), Some(Unknown)),
            (json!(""), None),
            (json!(null), None),
            (json!({}), None),
        ];
        for (evaluation, expected) in evaluations {
            assert_eq!(read(&evaluation), expected, "{evaluation}");
        }
    }
}
