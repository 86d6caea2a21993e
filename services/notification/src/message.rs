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
    /// The conversation it is about, or the place of what is about none: see [`is_about_none`].
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

/// What is about no conversation and has no order has this place.
pub const NOWHERE: ConversationId = ConversationId(Uuid::nil());

/// How the places begin of what is about no conversation, but has an order: ids of a version (8) that no conversation has whose id
/// is derived, and drawn at random but for that, so that it is none that a sender chose either.
const PLACES: u64 = 0x7be1_0c5a_94d3_8e26;

/// Returns the place of messages that are about no conversation, but are to be told one after the other: those that `of` names.
pub fn place_of(of: Uuid) -> ConversationId {
    let (_, own) = of.as_u64_pair();
    ConversationId(Uuid::from_u64_pair(PLACES, own))
}

/// Returns whether this is the place of what is about no conversation.
pub fn is_about_none(place: ConversationId) -> bool {
    place == NOWHERE || place.0.as_u64_pair().0 == PLACES
}

impl Message {
    /// Returns whether it is about no conversation; then filters, which are about conversations, do not matter.
    pub fn is_about_none(&self) -> bool {
        is_about_none(self.conversation_id)
    }
}

#[cfg(test)]
mod tests {
    use colloquy_types::Provider;

    use super::*;

    #[test]
    fn places_are_told_from_conversations_and_from_each_other() {
        let organization = "acme".parse().unwrap();
        let conversation = ConversationId::derive(&organization, Provider::Native, "c");
        for id in [conversation, ConversationId(Uuid::from_u128(1)), ConversationId(Uuid::max())] {
            assert!(!is_about_none(id), "{id}");
        }
        let (one, other) = (place_of(Uuid::now_v7()), place_of(Uuid::now_v7()));
        assert!(is_about_none(one) && is_about_none(other) && is_about_none(NOWHERE) && one != other);
        assert_eq!(one.0.get_version_num(), 8);
    }
}
