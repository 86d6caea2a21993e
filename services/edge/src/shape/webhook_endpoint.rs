//! Outbound webhooks: who is told what, and what became of it.

use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_proto::notification::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Json;
use super::time::Time;

/// Somebody who is told. Secrets and the values of headers are never shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookEndpoint {
    /// UUID.
    endpoint_id: String,
    /// `webhook`, `slack` or `email`.
    kind: String,
    /// Where to.
    url: String,
    /// What it is for.
    description: String,
    /// Which events; empty means all but `turn.*` and `speech.*`.
    event_types: Vec<String>,
    /// Of which conversations.
    filter: EndpointFilter,
    /// Whether later events of a conversation wait for earlier ones.
    ordered: bool,
    /// Whether anything is sent.
    enabled: bool,
    /// At most this many attempts a second; `null` sets no limit.
    rate_limit: Option<u32>,
    /// The names of the headers that are sent beside ours.
    headers: Vec<String>,
    /// Since when every attempt failed; `null` when the latest one succeeded.
    failing_since: Time,
    /// Why the server disabled it: `gone` (it answered 410) or `failing` (five days of only failures).
    disabled_reason: Option<String>,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
}

/// Of which conversations an endpoint hears; `null` does not matter.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndpointFilter {
    /// The agent that leads it.
    agent_id: Option<String>,
    /// The organization's customer.
    client_id: Option<String>,
    /// How it is carried.
    channel: Option<String>,
}

/// An endpoint that was made, with its secret: it is shown here, and when it is rotated.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedWebhookEndpoint {
    /// The endpoint.
    #[serde(flatten)]
    endpoint: WebhookEndpoint,
    /// `whsec_…`: what its deliveries are signed with (Standard Webhooks); empty for kinds that are not signed.
    secret: String,
}

/// A page of endpoints.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookEndpointPage {
    /// Newest first.
    endpoints: Vec<WebhookEndpoint>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    cursor: Option<String>,
}

/// A new secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatedSecret {
    /// `whsec_…`.
    secret: String,
    /// Until when the secret signs too that this one took the place of; those before it end a day after their own rotation.
    previous_secret_expires_at: Time,
}

/// One event for one endpoint.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookDelivery {
    /// UUID.
    delivery_id: String,
    /// What the receiver knows it by (`webhook-id`): the same for every attempt and endpoint.
    message_id: String,
    /// For example `conversation_agent_session.ended`.
    event_type: String,
    /// UUID; `null` when it is about no conversation.
    conversation_id: Option<String>,
    /// `pending`, `succeeded`, `failed` or `exhausted`.
    status: String,
    /// How many attempts were made.
    attempt_count: u32,
    /// The newest 20, oldest first.
    attempts: Vec<WebhookAttempt>,
    /// When it is tried again; `null` when it is not.
    next_attempt_at: Time,
    /// When it was made.
    created_at: Time,
}

/// One try at a delivery.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookAttempt {
    /// When.
    at: Time,
    /// What was answered; `null` when nothing was.
    status_code: Option<u32>,
    /// How long it took, in milliseconds.
    duration_ms: i64,
    /// What went wrong.
    error: Option<String>,
    /// The beginning of the answer's body.
    response: Option<String>,
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookDeliveryPage {
    /// Newest first.
    deliveries: Vec<WebhookDelivery>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    cursor: Option<String>,
}

/// What is tried again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recovered {
    /// How many deliveries.
    pub(crate) deliveries: u64,
}

/// What is sent again, in the background.
#[derive(Serialize, ToSchema)]
pub(crate) struct StartedReplay {
    /// UUID.
    pub(crate) replay_id: String,
}

/// Every event type.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookEventTypes {
    /// In alphabetical order.
    event_types: Vec<WebhookEventType>,
}

/// One event type.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookEventType {
    /// For example `conversation_agent_session.ended`.
    name: String,
    /// When it is sent.
    description: String,
    /// The JSON Schema (2020-12) of the body.
    #[schema(value_type = Object)]
    schema: Json,
    /// A body, for example.
    #[schema(value_type = Object)]
    example: Json,
}

impl From<pb::WebhookEndpoint> for WebhookEndpoint {
    fn from(given: pb::WebhookEndpoint) -> Self {
        Self {
            endpoint_id: given.endpoint_id,
            kind: given.kind,
            url: given.url,
            description: given.description,
            event_types: given.event_types,
            filter: given.filter.unwrap_or_default().into(),
            ordered: given.ordered,
            enabled: given.enabled,
            rate_limit: Some(given.rate_limit).filter(|limit| *limit > 0),
            headers: given.headers.into_iter().map(|header| header.name).collect(),
            failing_since: given.failing_since.into(),
            disabled_reason: given.disabled_reason,
            created_at: given.created_at.into(),
            updated_at: given.updated_at.into(),
        }
    }
}

impl From<ConversationFilter> for EndpointFilter {
    fn from(given: ConversationFilter) -> Self {
        Self { agent_id: given.agent_id, client_id: given.client_id, channel: given.channel }
    }
}

impl CreatedWebhookEndpoint {
    /// Returns the endpoint with its secret.
    pub(crate) fn new(endpoint: pb::WebhookEndpoint, secret: String) -> Self {
        Self { endpoint: endpoint.into(), secret }
    }
}

impl From<pb::ListWebhookEndpointsResponse> for WebhookEndpointPage {
    fn from(given: pb::ListWebhookEndpointsResponse) -> Self {
        let cursor = Some(given.next_page_token).filter(|cursor| !cursor.is_empty());
        Self { endpoints: given.endpoints.into_iter().map(Into::into).collect(), has_more: cursor.is_some(), cursor }
    }
}

impl From<pb::RotateWebhookSecretResponse> for RotatedSecret {
    fn from(given: pb::RotateWebhookSecretResponse) -> Self {
        Self { secret: given.secret, previous_secret_expires_at: given.previous_secret_expires_at.into() }
    }
}

impl From<pb::WebhookDelivery> for WebhookDelivery {
    fn from(given: pb::WebhookDelivery) -> Self {
        Self {
            delivery_id: given.delivery_id,
            message_id: given.message_id,
            event_type: given.event_type,
            conversation_id: Some(given.conversation_id).filter(|id| !id.is_empty()),
            status: given.status,
            attempt_count: given.attempt_count,
            attempts: given.attempts.into_iter().map(Into::into).collect(),
            next_attempt_at: given.next_attempt_at.into(),
            created_at: given.created_at.into(),
        }
    }
}

impl From<pb::WebhookAttempt> for WebhookAttempt {
    fn from(given: pb::WebhookAttempt) -> Self {
        Self {
            at: given.at.into(),
            status_code: given.status_code,
            duration_ms: given.duration_ms,
            error: given.error,
            response: given.response,
        }
    }
}

impl From<pb::ListWebhookDeliveriesResponse> for WebhookDeliveryPage {
    fn from(given: pb::ListWebhookDeliveriesResponse) -> Self {
        let cursor = Some(given.next_page_token).filter(|cursor| !cursor.is_empty());
        Self { deliveries: given.deliveries.into_iter().map(Into::into).collect(), has_more: cursor.is_some(), cursor }
    }
}

impl From<pb::ListWebhookEventTypesResponse> for WebhookEventTypes {
    fn from(given: pb::ListWebhookEventTypesResponse) -> Self {
        let event_type = |given: pb::WebhookEventType| WebhookEventType {
            name: given.name,
            description: given.description,
            schema: Json::object(given.schema_json),
            example: Json::object(given.example_json),
        };
        Self { event_types: given.event_types.into_iter().map(event_type).collect() }
    }
}
