//! Technical quality, from 0 to 1: how much of the conversation was not in the way of itself.
//!
//! `quality/1` is the product of what is known of four parts, each from 0 to 1:
//! - the line, the worst of: mean opinion score, (MOS − 1) / 3.5; packet loss, 1 − loss / 10 %; jitter, 1 up to 20 ms and falling
//!   to 0 at 220 ms;
//! - errors: 0.8 for each of the first five;
//! - failure: 0.5 when the conversation failed;
//! - answers: 1 while half of them take at most 1 s, falling to 0.5 at 5 s.

use colloquy_events::{JsonMap, Status};
use serde_json::Value;

use super::figure::rounded;
use super::{Distribution, Figure};
use crate::input::Record;

const ANALYZER: &str = "quality/1";
/// Figures are looked for so deep...
const DEEPEST: usize = 4;
/// ...and in so many values.
const MOST_VALUES: usize = 1_000;

/// Returns the quality, as far as anything of it is known.
pub(super) fn of(record: &Record, latency: &Figure<Distribution>) -> Figure<f64> {
    let line = line(record);
    let errors = record.errors.len();
    let failed = record.status == Status::Failed;
    let answers = latency.value.map(|answers| answers.p50);
    if line.is_none() && answers.is_none() && errors == 0 && !failed {
        return Figure::absent("the provider sent no figures of quality, and no answer could be timed", ANALYZER);
    }
    let of_errors = 0.8_f64.powi(i32::try_from(errors.min(5)).unwrap_or(5));
    let of_failure = if failed { 0.5 } else { 1.0 };
    let of_answers = answers.map_or(1.0, |millis| (1.0 - (millis - 1_000.0) / 8_000.0).clamp(0.5, 1.0));
    let turns = if answers.is_some() { latency.turns.clone() } else { Vec::new() };
    Figure::of(rounded(line.unwrap_or(1.0) * of_errors * of_failure * of_answers, 4), ANALYZER, turns)
}

/// Returns the quality of the line by the provider's figures.
fn line(record: &Record) -> Option<f64> {
    let mut worst = None;
    let mut left = MOST_VALUES;
    for figures in [&record.quality, &record.network] {
        look(figures, DEEPEST, &mut left, &mut |part: f64| {
            worst = Some(worst.map_or(part, |worst: f64| worst.min(part)));
        });
    }
    worst
}

fn look(figures: &JsonMap, depth: usize, left: &mut usize, found: &mut impl FnMut(f64)) {
    for (name, value) in figures {
        if *left == 0 || depth == 0 {
            return;
        }
        *left -= 1;
        match value {
            Value::Object(inner) => look(inner, depth - 1, left, found),
            Value::Number(number) => {
                let number = number.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
                if let Some(part) = number.and_then(|number| part(name, number)) {
                    found(part.clamp(0.0, 1.0));
                }
            }
            _ => {}
        }
    }
}

/// Returns what a figure means for the quality, if it is one of those that are known.
fn part(name: &str, number: f64) -> Option<f64> {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    let is_percent = name.ends_with("percent") || name.ends_with("pct") || name.ends_with("percentage");
    let name = name.trim_end_matches("percentage").trim_end_matches("percent").trim_end_matches("pct");
    match name {
        // A MOS below 1 was not measured.
        "mos" | "mosscore" | "meanopinionscore" | "avgmos" | "averagemos" | "minmos" if number >= 1.0 => {
            Some((number - 1.0) / 3.5)
        }
        "packetloss" | "packetlossrate" | "packetlossratio" | "packetslost" if name != "packetslost" || is_percent => {
            // Without a unit, up to 1 is a ratio.
            let ratio = if is_percent || number > 1.0 { number / 100.0 } else { number };
            Some(1.0 - ratio / 0.1)
        }
        "jitter" | "jitterms" | "avgjitter" | "avgjitterms" | "averagejitter" | "averagejitterms" => {
            Some(1.0 - (number - 20.0) / 200.0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::tests::record;
    use crate::input::Error;

    fn quality(of: impl FnOnce(&mut Record)) -> Option<f64> {
        let mut record = record();
        of(&mut record);
        super::of(&record, &Figure::absent("", "")).value
    }

    fn figures(value: Value) -> JsonMap {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn nothing_known_is_no_quality() {
        assert_eq!(quality(|_| ()), None);
        assert_eq!(
            quality(|record| record.quality = figures(json!({"interruptions_by_user": 3, "mos": "good", "MOS": 0}))),
            None
        );
    }

    #[test]
    fn the_worst_of_the_line_counts() {
        assert_eq!(quality(|record| record.quality = figures(json!({"mos": 4.5}))), Some(1.0));
        assert_eq!(
            quality(|record| record.quality = figures(json!({"mos": 2.75, "audio": {"packet_loss_percent": 1}}))),
            Some(0.5)
        );
        assert_eq!(quality(|record| record.network = figures(json!({"packetLoss": 0.05, "jitter_ms": 10}))), Some(0.5));
        assert_eq!(quality(|record| record.network = figures(json!({"jitter": 1e308}))), Some(0.0));
    }

    #[test]
    fn errors_and_failure_lower_it() {
        let error = |code: &str| Error { code: code.to_owned(), component: None, at: None };
        assert_eq!(quality(|record| record.errors = vec![error("a"), error("a")]), Some(0.64));
        assert_eq!(quality(|record| record.errors = vec![error("a"); 1_000]), Some(0.3277));
        assert_eq!(quality(|record| record.status = Status::Failed), Some(0.5));
    }

    #[test]
    fn slow_answers_lower_it_by_half_at_most() {
        let answers = |millis: f64| {
            let latency = crate::analysis::latency_stages::exact(vec![millis]);
            super::of(&record(), &Figure::of(latency.unwrap(), "", [])).value
        };
        assert_eq!((answers(800.0), answers(3_000.0), answers(60_000.0)), (Some(1.0), Some(0.75), Some(0.5)));
    }
}
