//! What a question over many conversations comes to: flat rows.

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::shape::time::Time;
use crate::shape::word;

/// The answer to a question over many conversations.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyticsAnswer {
    /// One a bucket and combination of dimensions: `bucket`, the dimensions and the aliases by name; of a rate also `ALIAS_numerator` and
    /// `ALIAS_denominator`; `conversations_url` lists the conversations of the row. It is `null` where the list cannot be
    /// narrowed to them: where the question's filter names a figure that the list does not know (`talk_ratio` and the like), where hours
    /// of the day or days of the week lie in more than 31 stretches of time (take a step of at most a month), and for values longer
    /// than 512 bytes.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Map<String, Value>>,
    /// Everything received until then is in the answer.
    data_through: Time,
    /// The step that was used: what `auto` came to; `null` without steps.
    step: Option<String>,
    /// Whether there are more rows than `limit`.
    truncated: bool,
    /// By how much a percentile may be off, as a part of its value; 0 when all are exact.
    relative_error: f64,
}

impl AnalyticsAnswer {
    /// Returns the answer to `dimensions` and `aliases`: each is in every row, be it `null`.
    pub(crate) fn new(given: pb::QueryAnalyticsResponse, dimensions: &[String], aliases: &[String]) -> Self {
        Self {
            rows: given.rows.into_iter().map(|row| flat_row(row, dimensions, aliases)).collect(),
            data_through: given.data_through.into(),
            step: word(given.step),
            truncated: given.truncated,
            relative_error: given.relative_error,
        }
    }
}

fn flat_row(mut given: pb::Row, dimensions: &[String], aliases: &[String]) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("bucket".to_owned(), word(given.bucket).into());
    for dimension in dimensions {
        row.insert(dimension.clone(), given.dimensions.remove(dimension).into());
    }
    for alias in aliases {
        let value = given.values.remove(alias);
        let shown = match &value {
            Some(value) if !value.histogram.is_empty() => {
                let mut bins: Vec<(f64, &String, u64)> =
                    value.histogram.iter().map(|(bin, count)| (bin.parse().unwrap_or_default(), bin, *count)).collect();
                bins.sort_by(|a, b| a.0.total_cmp(&b.0));
                Value::Object(bins.into_iter().map(|(_, bin, count)| (bin.clone(), count.into())).collect())
            }
            Some(value) => number(value.number),
            None => Value::Null,
        };
        row.insert(alias.clone(), shown);
        if let Some(pb::Value { numerator: Some(numerator), denominator: Some(denominator), .. }) = value {
            row.insert(format!("{alias}_numerator"), json!(numerator));
            row.insert(format!("{alias}_denominator"), json!(denominator));
        }
    }
    let url = word(given.conversations_query).map(|query| format!("/v1/conversations?{query}"));
    row.insert("conversations_url".to_owned(), url.into());
    row
}

/// Counts are written as whole numbers.
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 { json!(number as i64) } else { json!(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_name_that_was_asked_for() {
        let rate = pb::Value { number: 0.5, numerator: Some(1), denominator: Some(2), ..Default::default() };
        let bins = [("10".to_owned(), 2), ("9".to_owned(), 1)].into();
        let row = pb::Row {
            bucket: "2026-03-02T00:00:00+01:00".to_owned(),
            dimensions: [("agent_id".to_owned(), "a".to_owned())].into(),
            values: [("r".to_owned(), rate), ("h".to_owned(), pb::Value { histogram: bins, ..Default::default() })].into(),
            conversations_query: "agent_id=a".to_owned(),
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let row = flat_row(row, &names(&["agent_id", "outcome"]), &names(&["r", "h", "gone"]));
        let expected = json!({"bucket": "2026-03-02T00:00:00+01:00", "agent_id": "a", "outcome": null, "r": 0.5, "r_numerator": 1,
            "r_denominator": 2, "h": {"9": 1, "10": 2}, "gone": null, "conversations_url": "/v1/conversations?agent_id=a"});
        assert_eq!(Value::Object(row), expected);
    }
}
