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
    /// One a bucket and combination of dimensions: `bucket`, the dimensions (`null` for conversations without a value; `hour_of_day` from
    /// 0 to 23 and `day_of_week` from 1, Monday, to 7 are numbers) and the aliases by name; of a rate also `ALIAS_numerator` and
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
    /// Returns the answer to `dimensions` and what was `asked`: each is in every row, be it `null`.
    pub(crate) fn new(given: pb::QueryAnalyticsResponse, dimensions: Vec<String>, asked: Vec<Asked>) -> Self {
        Self {
            rows: FlatRows { given: given.rows, dimensions, asked },
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
    asked: Vec<Asked>,
}

/// A measure or formula that was asked for.
pub(crate) struct Asked {
    pub(crate) alias: String,
    /// Whether how many of how many is shown as well.
    pub(crate) is_rate: bool,
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
            let value = self.given.dimensions.get(dimension).and_then(|value| said(value));
            // What the clock and the calendar say are numbers.
            match value.filter(|_| ["hour_of_day", "day_of_week"].contains(&dimension.as_str())).map(str::parse::<u8>) {
                Some(Ok(number)) => row.serialize_entry(dimension, &number)?,
                _ => row.serialize_entry(dimension, &value)?,
            }
        }
        for Asked { alias, is_rate } in &self.rows.asked {
            let value = self.given.values.get(alias);
            match value {
                Some(value) if !value.histogram.is_empty() => row.serialize_entry(alias, &Bins(value))?,
                value => row.serialize_entry(alias, &value.map(|value| number(value.number)))?,
            }
            if *is_rate {
                // Of none, a rate is nothing; how many there were is known all the same.
                let part = |of: fn(&pb::Value) -> Option<u64>| value.and_then(of).unwrap_or_default();
                row.serialize_entry(&format!("{alias}_numerator"), &part(|value| value.numerator))?;
                row.serialize_entry(&format!("{alias}_denominator"), &part(|value| value.denominator))?;
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
            dimensions: [("agent_id", "a"), ("tag", ""), ("hour_of_day", "7")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            values: [("r".to_owned(), rate), ("h".to_owned(), pb::Value { histogram: bins, ..Default::default() })].into(),
            conversations_query: "agent_id=a".to_owned(),
        };
        let dimensions = ["agent_id", "outcome", "tag", "hour_of_day"].map(str::to_owned).to_vec();
        let asked = [("r", true), ("h", false), ("gone", false), ("none", true)];
        let asked = asked.map(|(alias, is_rate)| Asked { alias: alias.to_owned(), is_rate }).into();
        let rows = FlatRows { given: vec![row], dimensions, asked };
        let expected = json!([{"bucket": "2026-03-02T00:00:00+01:00", "agent_id": "a", "outcome": null, "tag": null, "hour_of_day": 7,
            "r": 0.5, "r_numerator": 1, "r_denominator": 2, "h": {"9": 1, "10": 2}, "gone": null, "none": null, "none_numerator": 0,
            "none_denominator": 0, "conversations_url": "/v1/conversations?agent_id=a"}]);
        assert_eq!(serde_json::to_string(&rows).unwrap(), expected.to_string());
    }
}
