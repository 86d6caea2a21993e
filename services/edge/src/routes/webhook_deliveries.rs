//! Outbound webhooks: what became of what was to be told.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use colloquy_proto::notification::v1 as pb;
use colloquy_service::FieldErrors;
use colloquy_types::Timestamp;
use http::StatusCode;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Edge;
use crate::answer::json;
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, Member, Object};
use crate::clients::Calling;
use crate::naming::Naming;
use crate::path::UuidId;
use crate::problem::{Refusal, finish};
use crate::query::{NoQuery, Query};
use crate::routes::listing;
use crate::shape::time::to_message;
use crate::shape::webhook_endpoint::{Recovered, StartedReplay, WebhookDelivery, WebhookDeliveryPage};

const OF_REPLAY: Naming = Naming::of(&[]).with_bare_members("filter.");
const STATUSES: [&str; 4] = ["pending", "succeeded", "failed", "exhausted"];

/// A stretch of time.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `recover` reads")]
pub(super) struct Stretch {
    /// From then on, inclusive.
    #[schema(format = DateTime)]
    since: String,
    /// Before then; default now.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// What to send again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `replay` reads")]
pub(super) struct NewReplay {
    /// Of which conversations: the parameters of the list of conversations that narrow it, by their names.
    #[schema(value_type = Option<Object>)]
    filter: Option<()>,
    /// Only these types, of those the endpoint listens to; empty or absent means all of those. Only types that a replay can send:
    /// not `alert.*`, `turn.*`, `transcript.*` and `speech.*`.
    event_types: Option<Vec<String>>,
}

/// List an endpoint's deliveries
///
/// With the attempts at them, newest first, a page at a time. Needs the scope `webhooks:write`.
#[utoipa::path(get, path = "/webhook-endpoints/{id}/deliveries", tag = "Webhooks", operation_id = "list_webhook_deliveries",
    params(
        ("id" = String, Path, description = "UUID of the endpoint."),
        ("status" = Option<String>, Query, description = "Only `pending`, `succeeded`, `failed` or `exhausted` ones."),
        ("conversation_id" = Option<String>, Query, description = "Only of this conversation; UUID."),
        ("event_type" = Option<String>, Query, description = "Only of this type."),
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page, all else unchanged."),
    ),
    responses((status = 200, description = "A page of deliveries.", body = WebhookDeliveryPage)))]
pub(super) async fn list(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    mut query: Query,
) -> Result<Response, Refusal> {
    let request = pb::ListWebhookDeliveriesRequest {
        endpoint_id,
        status: query.word("status", &STATUSES).unwrap_or_default(),
        conversation_id: query.text("conversation_id").unwrap_or_default(),
        event_type: query.text("event_type").unwrap_or_default(),
        page_size: query.page_size(),
        page_token: query.cursor().unwrap_or_default(),
    };
    query.finish()?;
    let answer = edge.clients.webhooks.clone().list_webhook_deliveries(calling.call(request)).await?.into_inner();
    json(&WebhookDeliveryPage::from(answer))
}

/// Retry a delivery
///
/// Now, and with a new schedule if it fails. Needs the scope `webhooks:write`.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/deliveries/{delivery_id}/retry", tag = "Webhooks",
    operation_id = "retry_webhook_delivery",
    params(
        ("id" = String, Path, description = "UUID of the endpoint."),
        ("delivery_id" = String, Path, description = "UUID of the delivery."),
    ),
    responses((status = 202, description = "The delivery as it is now.", body = WebhookDelivery)))]
pub(super) async fn retry(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Path((endpoint_id, delivery_id)): Path<(String, String)>,
    _: NoQuery,
) -> Result<Response, Refusal> {
    if Uuid::try_parse(&endpoint_id).is_err() || Uuid::try_parse(&delivery_id).is_err() {
        return Err(Refusal::not_found("nothing has this id"));
    }
    let request = pb::RetryWebhookDeliveryRequest { endpoint_id, delivery_id };
    let answer = edge.clients.webhooks.clone().retry_webhook_delivery(calling.call(request)).await?.into_inner();
    taken(json(&WebhookDelivery::from(answer.delivery.ok_or_else(Refusal::internal)?))?)
}

/// Recover an endpoint
///
/// Tries everything again now that it missed in a stretch of time: deliveries that failed or are exhausted, and those that wait for
/// another attempt. Needs the scope `webhooks:write`.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/recover", tag = "Webhooks", operation_id = "recover_webhook_endpoint",
    params(("id" = String, Path, description = "UUID of the endpoint.")),
    request_body = Stretch,
    responses((status = 202, description = "How many deliveries are tried again.", body = Recovered)))]
pub(super) async fn recover(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(&body)?;
    let since = object.required_text("since", &mut errors);
    let until = object.text("until", &mut errors).value();
    object.finish(&mut errors);
    let since: Option<Timestamp> = since.and_then(|text| errors.parse("since", &text));
    let until: Option<Timestamp> = until.and_then(|text| errors.parse("until", &text));
    finish(errors)?;
    let (since, until) = (since.map(to_message), until.map(to_message));
    let request = pb::RecoverWebhookDeliveriesRequest { endpoint_id, since, until };
    let answer = edge.clients.webhooks.clone().recover_webhook_deliveries(calling.call(request)).await?.into_inner();
    taken(json(&Recovered { deliveries: answer.deliveries })?)
}

/// Replay conversations to an endpoint
///
/// Sends it, in the background, what happened in conversations, whether it was told before or not. Events keep their ids, so a
/// receiver that knows them can tell. It sends what is in the history of a conversation, and so no `alert.*`, `turn.*`,
/// `transcript.*` and `speech.*`: alerts are listed by `GET /v1/alerts`, and what was said is in
/// `conversation_agent_session.ended` and `GET /v1/conversations/{id}/transcript`. Needs the scope `webhooks:write`.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/replay", tag = "Webhooks", operation_id = "replay_webhook_endpoint",
    params(("id" = String, Path, description = "UUID of the endpoint.")),
    request_body = NewReplay,
    responses((status = 202, description = "The replay.", body = StartedReplay)))]
pub(super) async fn replay(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(&body)?;
    let filter = match object.raw("filter") {
        Member::Value(raw) => listing::read_filter_object("filter", raw, &mut errors),
        Member::Null | Member::Absent => None,
    };
    let event_types = object.read("event_types", "an array of strings", &mut errors).value().unwrap_or_default();
    object.finish(&mut errors);
    finish(errors)?;
    let request = pb::ReplayWebhookDeliveriesRequest { endpoint_id, filter, event_types };
    let answer = edge.clients.webhooks.clone().replay_webhook_deliveries(calling.call(request)).await;
    let answer = answer.map_err(|status| OF_REPLAY.refuse(status))?.into_inner();
    taken(json(&StartedReplay { replay_id: answer.replay_id })?)
}

/// Test an endpoint
///
/// Sends it a `webhook.test` event, and waits some seconds for what it answers. Needs the scope `webhooks:write`.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/test", tag = "Webhooks", operation_id = "test_webhook_endpoint",
    params(("id" = String, Path, description = "UUID of the endpoint.")),
    responses((status = 200, description = "The delivery of the test event.", body = WebhookDelivery)))]
pub(super) async fn test(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::TestWebhookEndpointRequest { endpoint_id };
    let answer = edge.clients.webhooks.clone().test_webhook_endpoint(calling.call(request)).await?.into_inner();
    json(&WebhookDelivery::from(answer.delivery.ok_or_else(Refusal::internal)?))
}

/// What is asked for is done soon.
fn taken(response: Response) -> Result<Response, Refusal> {
    Ok((StatusCode::ACCEPTED, response).into_response())
}
