//! What an analyzer said of a conversation, once.

use std::collections::BTreeMap;

use colloquy_types::{ConversationId, OrganizationId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::definition::{Definition, SCORE};
use crate::analysis::CustomValue;

/// One run. It never changes.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id.
    pub run_id: Uuid,
    /// Of which analyzer.
    pub analyzer_id: Uuid,
    /// Of which of its versions.
    pub version: u32,
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// Who was asked.
    pub model: String,
    /// SHA-256 of what was asked.
    pub prompt_hash: [u8; 32],
    /// What came of it.
    pub result: RunResult,
    /// The weighted part of the questions that apply which were answered with yes; `None` when none applies.
    pub score: Option<f64>,
    /// What it took.
    pub usage: Usage,
    /// When it ran.
    pub at: Timestamp,
    /// Whether its answer was taken from an earlier, equal question.
    pub cached: bool,
}

/// How many tokens an answer took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Sent.
    pub input: u64,
    /// Received.
    pub output: u64,
}

impl Usage {
    /// Returns both together.
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// What came of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// The model answered.
    Succeeded(Found),
    /// It did not, or nothing that could be read. Why, for people.
    Failed(String),
}

impl RunResult {
    /// Returns what was found, if the model answered.
    pub const fn found(&self) -> Option<&Found> {
        match self {
            Self::Succeeded(found) => Some(found),
            Self::Failed(_) => None,
        }
    }
}

/// What was found in a conversation.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// By field.
    pub values: BTreeMap<String, FoundValue>,
    /// By question: true, false, or no value when it does not apply, or could not be told.
    pub scorecard: BTreeMap<String, FoundValue>,
}

/// A value, or why there is none.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FoundValue {
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Why there is none, for people; only without a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_because: Option<String>,
    /// From 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The turns it follows from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<TurnId>,
}

impl FoundValue {
    /// Returns a value that could not be established.
    pub fn absent(because: impl Into<String>) -> Self {
        Self { absent_because: Some(because.into()), ..Self::default() }
    }
}

impl Found {
    /// Returns the result for a conversation in which nothing was said.
    pub fn nothing_said(definition: &Definition) -> Self {
        let absent = || FoundValue::absent("nothing was said in the conversation");
        Self {
            values: definition.fields.iter().map(|field| (field.name.clone(), absent())).collect(),
            scorecard: definition.scorecard.iter().map(|question| (question.name.clone(), absent())).collect(),
        }
    }

    /// Returns the weighted part of the questions that apply which were answered with yes; `None` when none applies.
    pub fn score(&self, definition: &Definition) -> Option<f64> {
        let (mut yes, mut all) = (0.0, 0.0);
        for question in &definition.scorecard {
            let answer = self.scorecard.get(&question.name).and_then(|answer| answer.value.as_ref()).and_then(Value::as_bool);
            if let Some(answer) = answer {
                all += question.weight;
                yes += if answer { question.weight } else { 0.0 };
            }
        }
        (all > 0.0).then(|| yes / all)
    }
}

impl Run {
    /// Returns what it found, by name, as figures of a conversation carry it.
    pub fn custom(&self) -> BTreeMap<String, CustomValue> {
        let Some(found) = self.result.found() else { return BTreeMap::new() };
        let custom = |found: &FoundValue| CustomValue {
            value: found.value.clone(),
            not_established_because: found.absent_because.clone(),
            confidence: found.confidence,
            turns: found.turns.clone(),
            source: self.analyzer_id.to_string(),
            version: self.version,
        };
        let mut all: BTreeMap<String, CustomValue> =
            found.values.iter().chain(&found.scorecard).map(|(name, value)| (name.clone(), custom(value))).collect();
        if !found.scorecard.is_empty() {
            let score = match self.score {
                Some(score) => FoundValue { value: Some(score.into()), ..FoundValue::default() },
                None => FoundValue::absent("no question of the scorecard applies"),
            };
            all.insert(SCORE.to_owned(), custom(&score));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyzer::definition::Question;

    #[test]
    fn what_does_not_apply_drops_out_of_the_score() {
        let question = |name: &str, weight: f64| Question { name: name.to_owned(), question: String::new(), weight };
        let definition =
            Definition { fields: Vec::new(), scorecard: vec![question("a", 3.0), question("b", 1.0), question("c", 100.0)] };
        let score = |answers: [Option<bool>; 3]| {
            let answer = |answer: Option<bool>| FoundValue { value: answer.map(Value::Bool), ..FoundValue::default() };
            let scorecard = ["a", "b", "c"].into_iter().zip(answers).map(|(name, one)| (name.to_owned(), answer(one))).collect();
            Found { scorecard, ..Found::default() }.score(&definition)
        };
        assert_eq!(score([Some(true), Some(false), None]), Some(0.75));
        assert_eq!(score([Some(false), Some(false), None]), Some(0.0));
        assert_eq!(score([Some(true), None, None]), Some(1.0));
        assert_eq!(score([None, None, None]), None);
    }
}
