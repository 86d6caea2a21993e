//! What a question over many conversations comes to: flat rows.

use colloquy_proto::analytics::v1 as pb;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::shape::time::Time;
use crate::shape::word;

/// The answer to a question over many conversations.
#[derive(serde::Serialize, ToSchema)]
pub(crate) struct AnalyticsAnswer {
    /// One a bucket and combination of dimensions: `bucket`, the dimensions and the aliases by name; of a rate also `ALIAS_numerator` and
    /// `ALIAS_denominator`; `conversations_url` lists the conversations of the row. It is `null` where the list cannot be
    /// narrowed to them: where the question's filter names a figure that the list does not know (`talk_ratio` and the like), where hours
    /// of the day or days of the week lie in more than 31 stretches of time (take a step of at most a month), and for values longer
    /// than 512 bytes.
    #[schema(value_type = Vec<Object>)]
    rows: FlatRows,
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
    pub(crate) fn new(given: pb::QueryAnalyticsResponse, dimensions: Vec<String>, aliases: Vec<String>) -> Self {
        Self {
            rows: FlatRows { given: given.rows, dimensions, aliases },
            data_through: given.data_through.into(),
            step: word(given.step),
            truncated: given.truncated,
            relative_error: given.relative_error,
        }
    }
}

/// Rows as they are written: an object each, flat.
struct FlatRows {
    given: Vec<pb::Row>,
    dimensions: Vec<String>,
    aliases: Vec<String>,
}

impl Serialize for FlatRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.given.iter().map(|given| FlatRow { given, rows: self }))
    }
}

/// One of them. No two of its names are alike: the service refuses such questions.
struct FlatRow<'a> {
    given: &'a pb::Row,
    rows: &'a FlatRows,
}

impl Serialize for FlatRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("bucket", &said(&self.given.bucket))?;
        for dimension in &self.rows.dimensions {
            row.serialize_entry(dimension, &self.given.dimensions.get(dimension))?;
        }
        for alias in &self.rows.aliases {
            let Some(value) = self.given.values.get(alias) else {
                row.serialize_entry(alias, &())?;
                continue;
            };
            if value.histogram.is_empty() {
                row.serialize_entry(alias, &number(value.number))?;
            } else {
                row.serialize_entry(alias, &Bins(value))?;
            }
            if let pb::Value { numerator: Some(numerator), denominator: Some(denominator), .. } = value {
                row.serialize_entry(&format!("{alias}_numerator"), numerator)?;
                row.serialize_entry(&format!("{alias}_denominator"), denominator)?;
            }
        }
        let url = said(&self.given.conversations_query).map(|query| format!("/v1/conversations?{query}"));
        row.serialize_entry("conversations_url", &url)?;
        row.end()
    }
}

/// The counts of a histogram by the lower bounds of their bins, in order.
struct Bins<'a>(&'a pb::Value);

impl Serialize for Bins<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bins: Vec<(f64, (&String, &u64))> =
            self.0.histogram.iter().map(|bin| (bin.0.parse().unwrap_or_default(), bin)).collect();
        bins.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        serializer.collect_map(bins.into_iter().map(|(_, bin)| bin))
    }
}

fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
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
        let rows =
            FlatRows { given: vec![row], dimensions: names(&["agent_id", "outcome"]), aliases: names(&["r", "h", "gone"]) };
        let expected = json!([{"bucket": "2026-03-02T00:00:00+01:00", "agent_id": "a", "outcome": null, "r": 0.5, "r_numerator": 1,
            "r_denominator": 2, "h": {"9": 1, "10": 2}, "gone": null, "conversations_url": "/v1/conversations?agent_id=a"}]);
        assert_eq!(serde_json::to_string(&rows).unwrap(), expected.to_string());
    }
}
