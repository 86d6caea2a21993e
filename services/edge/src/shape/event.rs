//! A conversation's history.

use colloquy_proto::conversation::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Json;
use super::time::Time;

/// One entry of a conversation's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationEvent {
    /// UUID.
    event_id: String,
    /// The kind, for example `conversation.ended`.
    r#type: String,
    /// When it happened.
    occurred_at: Time,
    /// When Colloquy heard of it.
    pub(crate) received_at: Time,
    /// What happened, in the fields of its kind.
    #[schema(value_type = Object)]
    data: Json,
}

/// A conversation's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct History {
    /// Oldest first.
    pub(crate) events: Vec<ConversationEvent>,
}

impl From<pb::ConversationEvent> for ConversationEvent {
    fn from(given: pb::ConversationEvent) -> Self {
        Self {
            event_id: given.event_id,
            r#type: given.r#type,
            occurred_at: given.occurred_at.into(),
            received_at: given.received_at.into(),
            data: Json::object(given.data_json),
        }
    }
}
