//! The log of attempts, as it is kept: a line of JSON each, oldest first, so that one more is only appended.

use colloquy_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::Attempt;

/// How many are shown.
pub(super) const KEPT: usize = 20;

#[derive(Serialize, Deserialize)]
struct Line {
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<String>,
}

/// Returns the line of an attempt.
pub(super) fn encode(attempt: &Attempt) -> String {
    let line = Line {
        at: attempt.at.as_millis(),
        code: attempt.status_code,
        ms: attempt.duration_ms,
        error: attempt.error.clone(),
        response: attempt.response.clone(),
    };
    // JSON has an escape for every control character, so a line has no end within it, nor the NUL that PostgreSQL refuses.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads the newest lines.
pub(super) fn decode(text: &str) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = text.lines().rev().take(KEPT).filter_map(decode_line).collect();
    attempts.reverse();
    attempts
}

fn decode_line(line: &str) -> Option<Attempt> {
    let line: Line = serde_json::from_str(line).ok()?;
    Some(Attempt {
        at: Timestamp::from_millis(line.at).unwrap_or_default(),
        status_code: line.code,
        duration_ms: line.ms,
        error: line.error,
        response: line.response,
    })
}

/// Returns the newest lines alone.
pub(super) fn newest(text: &str) -> &str {
    let Some(end) = text.trim_end_matches('\n').rmatch_indices('\n').nth(KEPT - 1) else { return text };
    &text[end.0 + 1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: i64) -> Attempt {
        Attempt {
            at: Timestamp::from_millis(number).unwrap(),
            status_code: (number % 2 == 0).then_some(500),
            duration_ms: 7,
            error: Some("a\0b\r\nc\u{2028}".to_owned()),
            response: None,
        }
    }

    #[test]
    fn the_newest_come_back_as_they_were() {
        let text: String = (0..45).map(|number| encode(&attempt(number))).collect();
        let expected: Vec<Attempt> = (25..45).map(attempt).collect();
        assert_eq!(decode(&text), expected);
        assert_eq!(decode(newest(&text)), expected);
        assert_eq!(newest(&text).lines().count(), KEPT);
        assert!(!text.contains('\0'));
    }

    #[test]
    fn few_are_all_the_newest() {
        for count in [0, 1, 19, 20] {
            let text: String = (0..count).map(|number| encode(&attempt(number))).collect();
            assert_eq!(newest(&text), text);
            assert_eq!(decode(&text).len(), usize::try_from(count).unwrap());
        }
    }
}
