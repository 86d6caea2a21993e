//! What lists filter and sort by, as columns.

use std::collections::{BTreeMap, HashSet};

use colloquy_events::{Authority, JsonMap};
use colloquy_proto::conversation::v1 as pb;
use serde_json::Value as Json;

use super::engine::{Columns, Engine, Value};
use crate::conversation::{Analytics, Conversation};

/// What is longer, in bytes, is not found by filters: PostgreSQL's indexes hold at most a third of a page.
const LONGEST: usize = 512;

fn indexable(text: &str) -> Option<&str> {
    (text.len() <= LONGEST && !text.contains('\0')).then_some(text)
}

/// Returns `text` when an index can hold it.
fn indexed(text: &Option<String>) -> Option<String> {
    text.as_deref().and_then(indexable).map(str::to_owned)
}

/// How many tags, topics, keywords, codes of errors and values by name of one conversation are found by filters.
const MOST_WORDS: usize = 256;

/// Returns the beginning of `text` that is found by filters, as analytics has it: of at most so many bytes, without NUL.
fn cut(text: &str, bytes: usize) -> Option<String> {
    let mut cut = String::with_capacity(text.len().min(bytes));
    for letter in text.chars().filter(|letter| *letter != '\0') {
        if cut.len() + letter.len_utf8() > bytes {
            break;
        }
        cut.push(letter);
    }
    Some(cut).filter(|cut| !cut.is_empty())
}

fn word(text: Option<&String>) -> Option<String> {
    text.and_then(|text| cut(text, LONGEST))
}

/// Returns words as a JSON array, each once.
fn json_words<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut seen = HashSet::new();
    let words = words.filter_map(|word| cut(word, LONGEST)).filter(|word| seen.insert(word.clone()));
    let words: Vec<String> = words.take(MOST_WORDS).collect();
    if words.is_empty() { None } else { serde_json::to_string(&words).ok() }
}

/// Returns what the weightiest authority says that says anything.
fn leading<'a, T>(conversation: &'a Conversation, said: impl Fn(&'a Analytics) -> Option<T>) -> Option<T> {
    conversation.judgements.iter().rev().find_map(|(_, analytics)| said(analytics))
}

/// The columns of one conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListColumns {
    pub(super) provider: String,
    pub(super) agent_id: Option<String>,
    pub(super) agent_version_id: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) caller: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) status: String,
    pub(super) call_successful: String,
    pub(super) resolution_status: String,
    pub(super) outcome: Option<String>,
    pub(super) sentiment: Option<String>,
    pub(super) language: Option<String>,
    pub(super) created_at: i64,
    pub(super) duration_ms: Option<i64>,
    pub(super) turn_count: i64,
    pub(super) satisfaction_score: Option<f64>,
    pub(super) direction: Option<String>,
    pub(super) end_reason: Option<String>,
    pub(super) failure_code: Option<String>,
    pub(super) intent: Option<String>,
    pub(super) cost_currency: Option<String>,
    pub(super) cost_micros: Option<i64>,
    pub(super) started_at: Option<i64>,
    pub(super) ended_at: Option<i64>,
    /// A JSON array.
    pub(super) keywords: Option<String>,
    /// A JSON array.
    pub(super) error_codes: Option<String>,
}

/// The names of the columns, in the order of [`ListColumns::values`].
pub(super) const NAMES: &str = "provider, agent_id, agent_version_id, client_id, user_id, caller, channel, status, call_successful, \
    resolution_status, outcome, sentiment, language, created_at, duration_ms, turn_count, satisfaction_score, direction, end_reason, \
    failure_code, intent, cost_currency, cost_micros, started_at, ended_at, keywords, error_codes";

impl ListColumns {
    pub(super) fn of(conversation: &Conversation) -> Self {
        Self {
            provider: conversation.provider.to_string(),
            agent_id: indexed(&conversation.agent.id),
            agent_version_id: indexed(&conversation.agent.version_id),
            client_id: indexed(&conversation.client_id),
            user_id: indexed(&conversation.user_id),
            caller: indexed(&conversation.caller_number),
            channel: indexed(&conversation.channel),
            status: conversation.status.as_str().to_owned(),
            call_successful: conversation.analytics.call_successful.to_string(),
            resolution_status: conversation.analytics.resolution_status.to_string(),
            outcome: indexed(&conversation.outcome.result),
            sentiment: conversation.analytics.sentiment.map(|sentiment| sentiment.to_string()),
            language: indexed(&conversation.language),
            created_at: conversation.created_at.as_millis(),
            duration_ms: conversation.duration_ms,
            turn_count: i64::from(conversation.turn_count),
            satisfaction_score: conversation.analytics.satisfaction.map(|satisfaction| satisfaction.score()),
            direction: conversation.direction.map(|direction| direction.to_string()),
            end_reason: word(conversation.end_reason.as_ref()),
            failure_code: word(conversation.failure_code.as_ref()),
            intent: word(leading(conversation, |said| said.intent.as_ref().filter(|intent| !intent.trim().is_empty()))),
            cost_currency: conversation.cost.as_ref().and_then(|cost| cut(&cost.currency, LONGEST)),
            cost_micros: conversation.cost.as_ref().map(|cost| cost.amount_micros),
            started_at: conversation.started_at.map(|at| at.as_millis()),
            ended_at: conversation.ended_at.map(|at| at.as_millis()),
            keywords: leading(conversation, |said| Some(&said.keywords).filter(|keywords| !keywords.is_empty()))
                .and_then(|keywords| json_words(keywords.iter().map(String::as_str))),
            error_codes: json_words(conversation.technical.errors.iter().map(|error| error.code.as_str())),
        }
    }

    pub(super) fn read<E: Engine>(columns: &mut Columns<'_, E>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            provider: columns.text()?,
            agent_id: columns.opt_text()?,
            agent_version_id: columns.opt_text()?,
            client_id: columns.opt_text()?,
            user_id: columns.opt_text()?,
            caller: columns.opt_text()?,
            channel: columns.opt_text()?,
            status: columns.text()?,
            call_successful: columns.text()?,
            resolution_status: columns.text()?,
            outcome: columns.opt_text()?,
            sentiment: columns.opt_text()?,
            language: columns.opt_text()?,
            created_at: columns.int()?,
            duration_ms: columns.opt_int()?,
            turn_count: columns.int()?,
            satisfaction_score: columns.opt_real()?,
            direction: columns.opt_text()?,
            end_reason: columns.opt_text()?,
            failure_code: columns.opt_text()?,
            intent: columns.opt_text()?,
            cost_currency: columns.opt_text()?,
            cost_micros: columns.opt_int()?,
            started_at: columns.opt_int()?,
            ended_at: columns.opt_int()?,
            keywords: columns.opt_text()?,
            error_codes: columns.opt_text()?,
        })
    }

    pub(super) fn values(&self) -> [Value<'_>; 27] {
        [
            Value::Text(&self.provider),
            Value::OptText(self.agent_id.as_deref()),
            Value::OptText(self.agent_version_id.as_deref()),
            Value::OptText(self.client_id.as_deref()),
            Value::OptText(self.user_id.as_deref()),
            Value::OptText(self.caller.as_deref()),
            Value::OptText(self.channel.as_deref()),
            Value::Text(&self.status),
            Value::Text(&self.call_successful),
            Value::Text(&self.resolution_status),
            Value::OptText(self.outcome.as_deref()),
            Value::OptText(self.sentiment.as_deref()),
            Value::OptText(self.language.as_deref()),
            Value::Int(self.created_at),
            Value::OptInt(self.duration_ms),
            Value::Int(self.turn_count),
            Value::OptReal(self.satisfaction_score),
            Value::OptText(self.direction.as_deref()),
            Value::OptText(self.end_reason.as_deref()),
            Value::OptText(self.failure_code.as_deref()),
            Value::OptText(self.intent.as_deref()),
            Value::OptText(self.cost_currency.as_deref()),
            Value::OptInt(self.cost_micros),
            Value::OptInt(self.started_at),
            Value::OptInt(self.ended_at),
            Value::OptText(self.keywords.as_deref()),
            Value::OptText(self.error_codes.as_deref()),
        ]
    }

    /// Returns whether the two differ in nothing but the number of turns: what changes all the time while people talk.
    pub(super) fn same_but_turns(&self, other: &Self) -> bool {
        Self { turn_count: other.turn_count, ..self.clone() } == *other
    }

    /// Returns whether the two differ in nothing but the columns that releases before the fourth migration do not know.
    pub(super) fn same_but_later_ones(&self, other: &Self) -> bool {
        let later = Self {
            direction: self.direction.clone(),
            end_reason: self.end_reason.clone(),
            failure_code: self.failure_code.clone(),
            intent: self.intent.clone(),
            cost_currency: self.cost_currency.clone(),
            cost_micros: self.cost_micros,
            started_at: self.started_at,
            ended_at: self.ended_at,
            keywords: self.keywords.clone(),
            error_codes: self.error_codes.clone(),
            ..other.clone()
        };
        *self == later
    }

    /// Returns whether anything is in these columns.
    pub(super) fn has_later_ones(&self) -> bool {
        self.direction.is_some()
            || self.end_reason.is_some()
            || self.failure_code.is_some()
            || self.intent.is_some()
            || self.cost_currency.is_some()
            || self.cost_micros.is_some()
            || self.started_at.is_some()
            || self.ended_at.is_some()
            || self.keywords.is_some()
            || self.error_codes.is_some()
    }
}

/// The tags and topics a list is filtered by.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Words {
    pub(super) tags: Vec<String>,
    pub(super) topics: Vec<String>,
}

impl Words {
    pub(super) fn of(conversation: &Conversation) -> Self {
        Self { tags: words(&conversation.tags), topics: words(&conversation.analytics.topics) }
    }

    pub(super) fn of_record(record: &pb::Conversation) -> Self {
        Self {
            tags: words(&record.tags),
            topics: record.analytics.as_ref().map(|analytics| words(&analytics.topics)).unwrap_or_default(),
        }
    }

    /// Returns every word with its kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let tags = self.tags.iter().map(|tag| ("tag", tag.as_str()));
        tags.chain(self.topics.iter().map(|topic| ("topic", topic.as_str())))
    }
}

fn words(words: &[String]) -> Vec<String> {
    let mut words: Vec<String> = words.iter().filter_map(|word| indexable(word)).map(str::to_owned).collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(MOST_WORDS);
    words
}

/// A value extracted by name, as filters compare it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Extracted {
    Text(String),
    /// A number; of a truth 0 or 1.
    Number(f64),
}

/// The values by name a list is filtered by: those that were established, as analytics has them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Extractions(BTreeMap<String, Extracted>);

/// A text has at most this many bytes.
const LONGEST_VALUE: usize = 4_096;
/// The longest name a filter can ask for, in bytes.
const LONGEST_NAME: usize = 128;

impl Extractions {
    pub(super) fn of(conversation: &Conversation) -> Self {
        let judged = conversation.judgements.iter();
        Self::judged(judged.map(|(authority, analytics)| (*authority, &analytics.custom_analysis)).collect())
    }

    pub(super) fn of_record(record: &pb::Conversation) -> Self {
        let judged: Vec<(Authority, JsonMap)> = record
            .judgements
            .iter()
            .filter_map(|judgement| {
                let values = judgement.analytics.as_ref().map(|analytics| analytics.custom_analysis_json.as_str())?;
                let values = Some(values).filter(|values| !matches!(*values, "" | "{}"))?;
                Some((judgement.authority.parse().ok()?, serde_json::from_str(values).ok()?))
            })
            .collect();
        Self::judged(judged.iter().map(|(authority, values)| (*authority, values)).collect())
    }

    /// Returns what authorities come to. What a person says of a name stands, also that there is nothing; else the weightiest says
    /// it that established anything.
    fn judged(mut judged: Vec<(Authority, &JsonMap)>) -> Self {
        judged.retain(|(_, values)| !values.is_empty());
        if judged.is_empty() {
            return Self::default();
        }
        judged.sort_unstable_by_key(|(authority, _)| *authority);
        let mut by_name: BTreeMap<&str, &Json> = BTreeMap::new();
        for (authority, values) in judged {
            for (name, value) in values {
                let counts = match authority {
                    Authority::Human => true,
                    Authority::Provider => !is_empty(value),
                    Authority::Own | Authority::OwnLeading => !value.is_null(),
                };
                if counts {
                    by_name.insert(name, value);
                }
            }
        }
        let established = by_name.into_iter().filter_map(|(name, value)| Some((cut(name, LONGEST)?, plain(value)?)));
        Self(established.take(MOST_WORDS).filter(|(name, _)| name.len() <= LONGEST_NAME).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a value that [`Extracted::parts`] was asked of: its text, whichever it was, or its number.
    pub(super) fn add(&mut self, name: String, text: Option<String>, number: Option<f64>) {
        let value = text.map(Extracted::Text).or(number.map(Extracted::Number));
        self.0.extend(value.map(|value| (name, value)));
    }

    /// Returns each value with its name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Extracted)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns them as a JSON object of texts and numbers.
    pub(super) fn to_json(&self) -> Option<String> {
        let json = |value: &Extracted| match value {
            Extracted::Text(text) => Json::from(text.as_str()),
            Extracted::Number(number) => Json::from(*number),
        };
        let values: BTreeMap<&str, Json> = self.iter().map(|(name, value)| (name, json(value))).collect();
        if values.is_empty() { None } else { serde_json::to_string(&values).ok() }
    }
}

impl Extracted {
    /// Returns the text an index holds, the text that is too long for one, and the number.
    pub(super) fn parts(&self) -> (Option<&str>, Option<&str>, Option<f64>) {
        match self {
            Self::Text(text) if text.len() <= LONGEST => (Some(text), None, None),
            Self::Text(text) => (None, Some(text), None),
            Self::Number(number) => (None, None, Some(*number)),
        }
    }
}

/// Returns whether a provider left a value empty.
fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.trim().is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Returns a value as filters compare it; lists and objects are none.
fn plain(value: &Json) -> Option<Extracted> {
    match value {
        Json::Bool(truth) => Some(Extracted::Number(f64::from(u8::from(*truth)))),
        Json::Number(number) => number.as_f64().filter(|number| number.is_finite()).map(Extracted::Number),
        Json::String(text) => cut(text, LONGEST_VALUE).map(Extracted::Text),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(said: &[(Authority, Json)]) -> Option<String> {
        let said: Vec<(Authority, JsonMap)> =
            said.iter().map(|(authority, values)| (*authority, values.as_object().unwrap().clone())).collect();
        Extractions::judged(said.iter().map(|(authority, values)| (*authority, values)).collect()).to_json()
    }

    #[test]
    fn of_a_value_that_several_say_the_weightiest_counts_that_established_it() {
        let provider = || (Authority::Provider, json!({"plan": "gold", "paid": true, "note": " ", "parts": [1]}));
        let found = json!({"plan": "silver", "paid": null, "note": "late", "parts": "one", "own": 2});
        let ours = |authority| judged(&[(authority, found.clone()), provider()]).unwrap();
        assert_eq!(ours(Authority::Own), r#"{"note":"late","own":2.0,"paid":1.0,"plan":"gold"}"#);
        assert_eq!(ours(Authority::OwnLeading), r#"{"note":"late","own":2.0,"paid":1.0,"parts":"one","plan":"silver"}"#);
        let corrected = (Authority::Human, json!({"plan": null, "note": "on time", "own": false}));
        assert_eq!(
            judged(&[corrected, (Authority::Own, found.clone()), provider()]).unwrap(),
            r#"{"note":"on time","own":0.0,"paid":1.0}"#
        );
        assert_eq!(judged(&[(Authority::Provider, json!({"note": ""}))]), None);
    }

    #[test]
    fn texts_are_cut_where_no_database_takes_them() {
        assert_eq!(cut("a\0b", 9).as_deref(), Some("ab"));
        assert_eq!(cut("ää", 3).as_deref(), Some("ä"));
        assert_eq!(cut("\0", 9), None);
        let (text, long) = (Extracted::Text("x".repeat(LONGEST)), Extracted::Text("x".repeat(LONGEST + 1)));
        assert!(text.parts().0.is_some() && long.parts().0.is_none() && long.parts().1.is_some());
    }
}
