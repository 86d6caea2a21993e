//! What lists filter and sort by, as columns.

use colloquy_proto::conversation::v1 as pb;

use super::engine::{Columns, Engine, Value};
use crate::conversation::Conversation;

/// What is longer, in bytes, is not found by filters: PostgreSQL's indexes hold at most a third of a page.
const LONGEST: usize = 512;

fn indexable(text: &str) -> Option<&str> {
    (text.len() <= LONGEST && !text.contains('\0')).then_some(text)
}

/// Returns `text` when an index can hold it.
fn indexed(text: &Option<String>) -> Option<String> {
    text.as_deref().and_then(indexable).map(str::to_owned)
}

/// How many tags, and how many topics, of one conversation are found by filters.
const MOST_WORDS: usize = 256;

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
}

/// The names of the columns, in the order of [`ListColumns::values`].
pub(super) const NAMES: &str = "provider, agent_id, agent_version_id, client_id, user_id, caller, channel, status, call_successful, \
    resolution_status, outcome, sentiment, language, created_at, duration_ms, turn_count, satisfaction_score";

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
        })
    }

    pub(super) fn values(&self) -> [Value<'_>; 17] {
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
        ]
    }

    /// Returns whether the two differ in nothing but the number of turns: what changes all the time while people talk.
    pub(super) fn same_but_turns(&self, other: &Self) -> bool {
        Self { turn_count: other.turn_count, ..self.clone() } == *other
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
