//! What analysers are given: a conversation's record and its turns, as plain types.

use std::collections::BTreeMap;

use colloquy_events::{CallSuccessful, JsonMap, ResolutionStatus, Sentiment, Status, Turn};
use colloquy_types::{ConversationId, OrganizationId, Position, Provider, Timestamp};

/// A conversation, as far as it is known.
#[derive(Clone, PartialEq, Debug)]
pub struct Input {
    /// Its record.
    pub record: Record,
    /// Its turns, in order. Estimated times are left out: figures are made of facts.
    pub turns: Vec<Turn>,
}

/// The record of a conversation: what conversation-store knows of it, of which analytics makes use.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id.
    pub conversation_id: ConversationId,
    /// Who it runs on.
    pub provider: Provider,
    /// The provider's own id of it.
    pub external_id: String,
    /// The agent that led it.
    pub agent_id: Option<String>,
    /// The agent's version.
    pub agent_version_id: Option<String>,
    /// The organization's customer.
    pub client_id: Option<String>,
    /// The end user.
    pub user_id: Option<String>,
    /// The person's number.
    pub caller: Option<String>,
    /// `phone`, `web`, …
    pub channel: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Why it ended, in our words.
    pub end_reason: Option<String>,
    /// What failed, by code.
    pub failure_code: Option<String>,
    /// When it started, or was first seen.
    pub created_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How long it lasted.
    pub duration_ms: Option<i64>,
    /// The language, as the provider says it; not what we detected and told the record.
    pub language: Option<String>,
    /// One word for what came of it.
    pub outcome: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// The provider's latencies by stage, in milliseconds: numbers, or objects and arrays of them.
    pub latency_ms: JsonMap,
    /// The provider's quality figures.
    pub quality: JsonMap,
    /// The provider's network facts.
    pub network: JsonMap,
    /// What went wrong on the way.
    pub errors: Vec<Error>,
    /// What it cost.
    pub cost: Option<Cost>,
    /// What people said of it, oldest first.
    pub feedback: Vec<Feedback>,
    /// What each authority says of it, by `own`, `provider`, `own_leading`, `human`.
    pub judgements: BTreeMap<String, Judgement>,
}

/// Something that went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// By code.
    pub code: String,
    /// Where.
    pub component: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// Money.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// Millionths of the currency unit.
    pub amount_micros: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Who says so.
    pub source: String,
}

/// A person's rating.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feedback {
    /// From 1 to 5.
    pub rating: Option<u32>,
    /// `true` is up.
    pub thumbs_up: Option<bool>,
    /// When.
    pub at: Option<Timestamp>,
}

/// How one authority judges a conversation. `None` says nothing.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Judgement {
    /// Whether it reached its goal.
    pub call_successful: Option<CallSuccessful>,
    /// A summary in prose.
    pub summary: Option<String>,
    /// The person's mood.
    pub sentiment: Option<Sentiment>,
    /// From -1 to 1.
    pub sentiment_score: Option<f64>,
    /// What it was about.
    pub topics: Option<Vec<String>>,
    /// Words that mattered.
    pub keywords: Option<Vec<String>>,
    /// What the person wanted.
    pub intent: Option<String>,
    /// What became of it.
    pub resolution_status: Option<ResolutionStatus>,
    /// From 1 to 5, inferred.
    pub satisfaction_score: Option<f64>,
    /// Values by name.
    pub custom_analysis: JsonMap,
}

/// Where an input was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadAt {
    /// Everything up to here is in it.
    pub position: Position,
}
