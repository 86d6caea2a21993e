//! Endpoints, messages and deliveries for tests.

use bytes::Bytes;
use colloquy_types::{ConversationId, Position, Timestamp};
use uuid::Uuid;

use crate::delivery::Delivery;
use crate::endpoint::{Endpoint, Filter, Kind, SealedSecrets};
use crate::message::{Body, Message};

/// Returns an instant so many milliseconds after one in 2026.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_772_463_600_000 + millis).unwrap()
}

/// Returns an endpoint that is told everything.
pub(crate) fn endpoint(organization: &str, number: u128) -> Endpoint {
    Endpoint {
        organization_id: organization.parse().unwrap(),
        endpoint_id: Uuid::from_u128(number),
        kind: Kind::Webhook,
        url: "https://receiver.example/hook".to_owned(),
        description: String::new(),
        event_types: Vec::new(),
        filter: Filter::default(),
        ordered: false,
        enabled: true,
        rate_limit: None,
        sealed_headers: None,
        header_names: Vec::new(),
        secrets: SealedSecrets { current: vec![1, 2, 3], ..SealedSecrets::default() },
        failing_since: None,
        disabled_reason: None,
        created_at: at(0),
        updated_at: at(0),
        revision: 1,
    }
}

/// Returns the message number `number` of a conversation, at the position of that record.
pub(crate) fn message(organization: &str, conversation: u128, number: u64) -> Message {
    Message {
        organization_id: organization.parse().unwrap(),
        message_id: Uuid::new_v5(&Uuid::from_u128(conversation), &number.to_be_bytes()),
        event_type: "conversation.ended".to_owned(),
        conversation_id: ConversationId(Uuid::from_u128(conversation)),
        position: Position::new(number, 0),
        at: at(-5),
        body: Body::Ready(Bytes::from(format!("{{\"number\":{number}}}"))),
    }
}

/// Returns a message's delivery, made at `at(0)` and due then.
pub(crate) fn delivery(message: &Message, endpoint: &Endpoint) -> Delivery {
    crate::matching::delivery(message, endpoint, at(0))
}
