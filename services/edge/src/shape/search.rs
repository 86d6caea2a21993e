//! Turns that were found.

use colloquy_proto::transcript::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use super::turn::role_word;

/// A page of turns that were found.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchPage {
    /// In the order asked for.
    hits: Vec<SearchHit>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    cursor: Option<String>,
}

/// A turn that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchHit {
    /// UUID of the conversation.
    conversation_id: String,
    /// UUID of the turn.
    turn_id: String,
    /// The turn's place, from 0.
    index: u32,
    /// `agent`, `user` or `human_agent`.
    role: Option<&'static str>,
    /// The agent that led the conversation.
    agent_id: Option<String>,
    /// A part of what was said, around what was found.
    snippet: String,
    /// What was found in the snippet.
    highlights: Vec<Highlight>,
    /// Milliseconds from the start of the conversation.
    start_ms: Option<i64>,
    /// When it was said.
    at: Time,
    /// How well it fits: greater is better; `null` unless ordered by relevance.
    relevance: Option<f64>,
}

/// A part of a snippet, in Unicode characters from its beginning.
#[derive(Serialize, ToSchema)]
pub(crate) struct Highlight {
    /// Inclusive.
    from: u32,
    /// Exclusive.
    to: u32,
}

impl From<pb::SearchTurnsResponse> for SearchPage {
    fn from(given: pb::SearchTurnsResponse) -> Self {
        let cursor = Some(given.next_page_token).filter(|cursor| !cursor.is_empty());
        Self { hits: given.hits.into_iter().map(Into::into).collect(), has_more: cursor.is_some(), cursor }
    }
}

impl From<pb::SearchHit> for SearchHit {
    fn from(given: pb::SearchHit) -> Self {
        Self {
            role: role_word(given.role()),
            conversation_id: given.conversation_id,
            turn_id: given.turn_id,
            index: given.index,
            agent_id: given.agent_id,
            snippet: given.snippet,
            highlights: given.highlights.into_iter().map(|part| Highlight { from: part.from, to: part.to }).collect(),
            start_ms: given.start_ms,
            at: given.at.into(),
            relevance: given.relevance,
        }
    }
}
