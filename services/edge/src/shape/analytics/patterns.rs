//! The ways conversations go, and where they fail.

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shape::word;

/// The ways conversations go, and where they fail.
#[derive(Serialize, ToSchema)]
pub(crate) struct Patterns {
    /// The most frequent first.
    paths: Vec<PatternPath>,
    /// Where conversations that failed or stayed unresolved ended or broke, the most frequent first.
    failure_points: Vec<FailurePoint>,
}

/// A way that conversations go.
#[derive(Serialize, ToSchema)]
pub(crate) struct PatternPath {
    /// What it was about.
    topic: Option<String>,
    /// What the person wanted.
    intent: Option<String>,
    /// What came of it.
    outcome: Option<String>,
    /// How many went that way.
    count: u64,
    /// The part of all conversations, from 0 to 1.
    share: f64,
    /// Some of them, newest first.
    conversation_ids: Vec<String>,
}

/// A place where conversations fail.
#[derive(Serialize, ToSchema)]
pub(crate) struct FailurePoint {
    /// `error`, `negative_turn`, `unanswered`, `escalation` or `silence`.
    kind: String,
    /// The error's code, or the topic.
    detail: Option<String>,
    /// How many failed there.
    count: u64,
    /// The mean place among the turns, from 0 (the first) to 1 (the last).
    mean_position: Option<f64>,
    /// Some of the places, newest first.
    examples: Vec<FailureExample>,
}

/// One place where one conversation failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct FailureExample {
    /// UUID of the conversation.
    conversation_id: String,
    /// UUID of the turn; `null` when no turn marks it.
    turn_id: Option<String>,
}

impl From<pb::FindPatternsResponse> for Patterns {
    fn from(given: pb::FindPatternsResponse) -> Self {
        let path = |given: pb::Path| PatternPath {
            topic: word(given.topic),
            intent: word(given.intent),
            outcome: word(given.outcome),
            count: given.count,
            share: given.share,
            conversation_ids: given.conversation_ids,
        };
        let example =
            |given: pb::FailureExample| FailureExample { conversation_id: given.conversation_id, turn_id: word(given.turn_id) };
        let point = |given: pb::FailurePoint| FailurePoint {
            kind: given.kind,
            detail: word(given.detail),
            count: given.count,
            mean_position: given.mean_position,
            examples: given.examples.into_iter().map(example).collect(),
        };
        Self {
            paths: given.paths.into_iter().map(path).collect(),
            failure_points: given.failure_points.into_iter().map(point).collect(),
        }
    }
}
