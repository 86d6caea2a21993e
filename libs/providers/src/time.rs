//! Times as providers write them. What cannot be a time of a conversation is no time at all.

use colloquy_types::Timestamp;
use serde_json::Value;

use crate::value::{number, text};

/// 2000-01-01T00:00:00Z and 2100-01-01T00:00:00Z: nothing we are told of happened outside.
const SANE_MILLIS: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;

/// The greatest length of a conversation: a year.
pub(crate) const MAX_OFFSET_MS: i64 = 366 * 24 * 3600 * 1000;

/// Returns whether a conversation can have happened at `at`.
pub(crate) fn is_sane(at: Timestamp) -> bool {
    SANE_MILLIS.contains(&at.as_millis())
}

/// Reads seconds since the epoch.
pub(crate) fn unix_seconds(value: &Value) -> Option<Timestamp> {
    Timestamp::from_seconds_f64(number(value)?).ok().filter(|at| is_sane(*at))
}

/// Reads milliseconds since the epoch.
pub(crate) fn unix_millis(value: &Value) -> Option<Timestamp> {
    let millis = number(value)?;
    // The cast saturates, and what saturated is not sane.
    Timestamp::from_millis(millis as i64).ok().filter(|at| is_sane(*at))
}

/// Reads ISO 8601; a time without an offset is taken as UTC, as every provider means it.
pub(crate) fn iso(value: &Value) -> Option<Timestamp> {
    let written = text(value)?;
    let parsed = written.parse().or_else(|_| format!("{written}Z").parse()).ok()?;
    is_sane(parsed).then_some(parsed)
}

/// Reads a duration or offset in seconds as whole milliseconds.
pub(crate) fn seconds_as_ms(value: &Value) -> Option<i64> {
    millis((number(value)? * 1000.0).round())
}

/// Reads a duration or offset in milliseconds.
pub(crate) fn millis_as_ms(value: &Value) -> Option<i64> {
    millis(number(value)?.round())
}

/// Returns the milliseconds from `earlier` to `later`, unless that is no time a conversation can take.
pub(crate) fn between(earlier: Option<Timestamp>, later: Option<Timestamp>) -> Option<i64> {
    let length = later?.millis_since(earlier?);
    (0..=MAX_OFFSET_MS).contains(&length).then_some(length)
}

/// Returns the instant `offset_ms` after `start`.
pub(crate) fn after(start: Option<Timestamp>, offset_ms: Option<i64>) -> Option<Timestamp> {
    Some(start?.saturating_add_millis(offset_ms?))
}

fn millis(millis: f64) -> Option<i64> {
    (millis.is_finite() && (0.0..=MAX_OFFSET_MS as f64).contains(&millis)).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_may_be_written_as_text_and_iso_times_may_lack_their_offset() {
        let expected = Timestamp::from_millis(1_772_463_600_000).ok();
        for seconds in [json!(1_772_463_600), json!("1772463600"), json!(1_772_463_600.0)] {
            assert_eq!(unix_seconds(&seconds), expected, "{seconds}");
        }
        for written in ["2026-03-02T15:00:00Z", "2026-03-02T15:00:00.000000", "2026-03-02T16:00:00+01:00"] {
            assert_eq!(iso(&json!(written)), expected, "{written}");
        }
    }

    #[test]
    fn absurd_times_are_no_times() {
        for absurd in [json!(0), json!(-1), json!(1e300), json!("NaN"), json!("soon"), json!(null), json!([1])] {
            assert_eq!(unix_seconds(&absurd), None, "{absurd}");
            assert_eq!(unix_millis(&absurd), None, "{absurd}");
            assert_eq!(iso(&absurd), None, "{absurd}");
        }
        for absurd in [json!(-0.5), json!(1e12), json!("inf"), json!({})] {
            assert_eq!(seconds_as_ms(&absurd), None, "{absurd}");
        }
    }
}
