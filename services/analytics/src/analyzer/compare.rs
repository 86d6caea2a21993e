//! How two versions of an analyzer agree on the conversations both have seen.

use std::collections::BTreeMap;

use colloquy_types::{ConversationId, OrganizationId};
use uuid::Uuid;

use super::error::Error;
use super::run::{Found, FoundValue, Run};
use super::store::Store;

/// How many pairs are read at once, and at most.
const PAGE: u32 = 200;
const MOST: u64 = 50_000;
/// How many conversations are named for each field.
const MOST_EXAMPLES: usize = 10;

/// How two versions agree.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Agreement {
    /// How many conversations both have seen; no more than 50,000 are compared.
    pub(super) conversations: u64,
    /// By field and question that both have.
    pub(super) fields: BTreeMap<String, FieldAgreement>,
    one: Mean,
    other: Mean,
}

/// How two versions agree on one field or question.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct FieldAgreement {
    /// Both established the same value.
    pub(super) same: u64,
    /// They established different values.
    pub(super) different: u64,
    /// Only the first established one.
    pub(super) only_one: u64,
    /// Only the second did.
    pub(super) only_other: u64,
    /// Some conversations on which they differ.
    pub(super) examples: Vec<ConversationId>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.count += 1;
        }
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl Agreement {
    /// Returns the mean score of each, where it has one.
    pub(super) fn mean_scores(&self) -> (Option<f64>, Option<f64>) {
        (self.one.value(), self.other.value())
    }

    fn add(&mut self, one: &Run, other: &Run) {
        self.conversations += 1;
        self.one.add(one.score);
        self.other.add(other.score);
        let (Some(found), Some(others)) = (one.result.found(), other.result.found()) else { return };
        let part = |found: &Found| -> Vec<(String, FoundValue)> {
            found.values.iter().chain(&found.scorecard).map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let others: BTreeMap<String, FoundValue> = part(others).into_iter().collect();
        for (name, value) in part(found) {
            if let Some(other) = others.get(&name) {
                self.fields.entry(name).or_default().add(one.conversation_id, &value, other);
            }
        }
    }
}

impl FieldAgreement {
    fn add(&mut self, conversation: ConversationId, one: &FoundValue, other: &FoundValue) {
        match (&one.value, &other.value) {
            (None, None) => return,
            (Some(one), Some(other)) if is_same(one, other) => {
                self.same += 1;
                return;
            }
            (Some(_), Some(_)) => self.different += 1,
            (Some(_), None) => self.only_one += 1,
            (None, Some(_)) => self.only_other += 1,
        }
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.push(conversation);
        }
    }
}

/// 4 and 4.0 are the same number.
fn is_same(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    one == other || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| one == other)
}

/// Compares two versions of an analyzer.
pub(super) async fn compare(
    store: &dyn Store,
    organization: &OrganizationId,
    analyzer: Uuid,
    versions: (u32, u32),
) -> Result<Agreement, Error> {
    for version in [versions.0, versions.1] {
        if store.definition(organization, analyzer, version).await?.is_none() {
            return Err(Error::VersionNotFound(analyzer, version));
        }
    }
    let mut agreement = Agreement::default();
    let mut after = ConversationId(Uuid::nil());
    while agreement.conversations < MOST {
        let pairs = store.pairs(organization, analyzer, versions, after, PAGE).await?;
        let Some((last, _)) = pairs.last() else { break };
        after = last.conversation_id;
        for (one, other) in &pairs {
            agreement.add(one, other);
        }
    }
    Ok(agreement)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_neither_established_is_no_agreement() {
        let value = |value: Option<serde_json::Value>| FoundValue { value, ..FoundValue::default() };
        let mut field = FieldAgreement::default();
        let conversation = ConversationId(Uuid::from_u128(1));
        for (one, other) in [
            (None, None),
            (Some(json!(4)), Some(json!(4.0))),
            (Some(json!("a")), Some(json!("b"))),
            (Some(json!(false)), None),
            (None, Some(json!(0))),
        ] {
            field.add(conversation, &value(one), &value(other));
        }
        let expected = FieldAgreement { same: 1, different: 1, only_one: 1, only_other: 1, examples: vec![conversation; 3] };
        assert_eq!(field, expected);
    }
}
