//! What the service itself has to say.

use bytes::Bytes;
use colloquy_types::{Position, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::endpoint::{DisabledReason, Endpoint};
use crate::message::{Body, Message, NOWHERE};

/// Sent when somebody asks for it.
pub const TEST: &str = "webhook.test";

/// Sent to an organization's other endpoints when the server disables one.
pub const ENDPOINT_DISABLED: &str = "webhook_endpoint.disabled";

/// Sent to an organization's other endpoints when every attempt at one has failed for a day.
pub const ENDPOINT_FAILING: &str = "webhook_endpoint.failing";

#[derive(Serialize)]
struct Envelope<'a, D> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: Timestamp,
    data: D,
}

#[derive(Serialize)]
struct Test {
    endpoint_id: Uuid,
    text: &'static str,
}

#[derive(Serialize)]
struct Disabled<'a> {
    endpoint_id: Uuid,
    kind: &'static str,
    description: &'a str,
    reason: &'static str,
    failing_since: Option<Timestamp>,
}

#[derive(Serialize)]
struct Failing<'a> {
    endpoint_id: Uuid,
    kind: &'static str,
    description: &'a str,
    failing_since: Timestamp,
}

/// Returns a message that an endpoint is tested with.
pub fn test(endpoint: &Endpoint, at: Timestamp) -> Message {
    let data = Test { endpoint_id: endpoint.endpoint_id, text: "This is a test: nothing happened." };
    message(endpoint, Uuid::now_v7(), TEST, at, data)
}

/// Returns the message that tells an organization that one of its endpoints was disabled. The endpoint's URL, which may hold a
/// secret, is not in it.
pub fn endpoint_disabled(endpoint: &Endpoint, reason: DisabledReason, at: Timestamp) -> Message {
    // Once for each time it was disabled: whoever enables it again changes its revision.
    let name = format!("{ENDPOINT_DISABLED} {} {}", endpoint.revision, reason.as_str());
    let data = Disabled {
        endpoint_id: endpoint.endpoint_id,
        kind: endpoint.kind.as_str(),
        description: &endpoint.description,
        reason: reason.as_str(),
        failing_since: endpoint.failing_since,
    };
    message(endpoint, Uuid::new_v5(&endpoint.endpoint_id, name.as_bytes()), ENDPOINT_DISABLED, at, data)
}

/// Returns the message that tells an organization that every attempt at one of its endpoints has failed for a day: once for each
/// time it began to fail.
pub fn endpoint_failing(endpoint: &Endpoint, failing_since: Timestamp, at: Timestamp) -> Message {
    let name = format!("{ENDPOINT_FAILING} {}", failing_since.as_millis());
    let data = Failing {
        endpoint_id: endpoint.endpoint_id,
        kind: endpoint.kind.as_str(),
        description: &endpoint.description,
        failing_since,
    };
    message(endpoint, Uuid::new_v5(&endpoint.endpoint_id, name.as_bytes()), ENDPOINT_FAILING, at, data)
}

fn message(endpoint: &Endpoint, message_id: Uuid, event_type: &str, at: Timestamp, data: impl Serialize) -> Message {
    // Plain structs always serialise.
    let body = serde_json::to_vec(&Envelope { kind: event_type, timestamp: at, data }).unwrap_or_default();
    Message {
        organization_id: endpoint.organization_id.clone(),
        message_id,
        event_type: event_type.to_owned(),
        conversation_id: NOWHERE,
        position: Position::START,
        at,
        body: Body::Ready(Bytes::from(body)),
    }
}
