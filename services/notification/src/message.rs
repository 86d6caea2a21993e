//! Messages: what endpoints are told, once for all of them.

use bytes::Bytes;
use colloquy_types::{ConversationId, OrganizationId, Position, Timestamp};
use uuid::Uuid;

/// Something to tell, as it is made of one event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Derived from the event (or from conversation and phase), so that a repeat vanishes; receivers know the message by it.
    pub message_id: Uuid,
    /// A name of the catalogue.
    pub event_type: String,
    /// The conversation it is about.
    pub conversation_id: ConversationId,
    /// The position of its event: the order of messages of one conversation.
    pub position: Position,
    /// When it happened.
    pub at: Timestamp,
    /// What is sent.
    pub body: Body,
}

/// What is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// JSON, the same for every attempt and endpoint.
    Ready(Bytes),
    /// Shows the whole conversation as it is once every view has reached the message's position; it is made by the first worker
    /// that needs it, and kept.
    Snapshot,
}
