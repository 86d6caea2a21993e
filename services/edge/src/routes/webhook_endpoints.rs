//! Outbound webhooks: who is told what.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_proto::notification::v1 as pb;
use colloquy_service::FieldErrors;
use http::StatusCode;
use tonic::Status;
use utoipa::ToSchema;

use crate::Edge;
use crate::answer::{created, json};
use crate::body::{self, JSON, MAX_SMALL_BODY_BYTES, MERGE_PATCH, Member, Object};
use crate::clients::Calling;
use crate::naming::Naming;
use crate::path::UuidId;
use crate::problem::{Refusal, finish};
use crate::query::{NoQuery, Query};
use crate::shape::webhook_endpoint::{
    CreatedWebhookEndpoint, RotatedSecret, WebhookEndpoint, WebhookEndpointPage, WebhookEventTypes,
};

const NAMING: Naming = Naming::of(&[("endpoint.", "")]);

/// An endpoint to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `create` reads")]
pub(super) struct NewWebhookEndpoint {
    /// Where to; not in loopback, private, link-local or metadata networks unless the settings allow it. For the kind `email`, a
    /// `mailto:` address.
    url: String,
    /// `webhook` (default), `slack` or `email`.
    kind: Option<String>,
    /// What it is for; at most 500 characters.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Which events: names of the catalogue (`GET /v1/webhook-event-types`), or groups such as `turn.*`; empty or absent means all
    /// but `turn.*` and `speech.*`.
    event_types: Option<Vec<String>>,
    /// Of which conversations.
    filter: Option<NewEndpointFilter>,
    /// Whether later events of a conversation wait for earlier ones; default false.
    ordered: Option<bool>,
    /// Whether anything is sent; default true.
    enabled: Option<bool>,
    /// At most this many attempts a second; absent or 0 sets no limit.
    #[schema(maximum = 10000)]
    rate_limit: Option<u32>,
    /// Headers to send beside ours, at most 20: names and values.
    headers: Option<std::collections::BTreeMap<String, String>>,
}

/// A change of an endpoint: a JSON merge patch (RFC 7396). What is absent stays; `null` takes a value away, and its default counts
/// again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `read_change` reads")]
pub(super) struct WebhookEndpointChange {
    /// Where to; cannot be taken away.
    url: Option<String>,
    /// Cannot be changed: only what it is.
    kind: Option<String>,
    /// What it is for; at most 500 characters.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Which events, all of them; `null` or empty means all but `turn.*` and `speech.*`.
    event_types: Option<Vec<String>>,
    /// Of which conversations, all of it; `null` means of all.
    filter: Option<NewEndpointFilter>,
    /// Whether later events of a conversation wait for earlier ones; default false.
    ordered: Option<bool>,
    /// Whether anything is sent; default true.
    enabled: Option<bool>,
    /// At most this many attempts a second; `null` or 0 sets no limit.
    #[schema(maximum = 10000)]
    rate_limit: Option<u32>,
    /// Headers to send beside ours, all of them, at most 20: names and values.
    headers: Option<std::collections::BTreeMap<String, String>>,
}

/// Of which conversations an endpoint hears; what is absent does not matter.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `filter` reads")]
pub(super) struct NewEndpointFilter {
    /// The agent that leads it.
    agent_id: Option<String>,
    /// The organization's customer.
    client_id: Option<String>,
    /// How it is carried.
    channel: Option<String>,
}

/// Make a webhook endpoint
///
/// It is told from now on what happens. Its secret is in this answer and in that of `rotate-secret` only. Needs the scope
/// `webhooks:write`.
#[utoipa::path(post, path = "/webhook-endpoints", tag = "Webhooks", operation_id = "create_webhook_endpoint",
    request_body = NewWebhookEndpoint,
    responses((status = 201, description = "The endpoint and its secret.", body = CreatedWebhookEndpoint,
        headers(("location" = String, description = "The path of the endpoint.")))))]
pub(super) async fn create(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let endpoint = read_new(&body)?;
    let headers = names_of_headers(&endpoint);
    let request = pb::CreateWebhookEndpointRequest { endpoint: Some(endpoint) };
    let answer = edge.clients.webhooks.clone().create_webhook_endpoint(calling.call(request)).await;
    let answer = answer.map_err(|status| refuse(status, &headers))?.into_inner();
    let endpoint = answer.endpoint.ok_or_else(Refusal::internal)?;
    let location = format!("/v1/webhook-endpoints/{}", endpoint.endpoint_id);
    created(&CreatedWebhookEndpoint::new(endpoint, answer.secret), Some(&location))
}

/// List webhook endpoints
///
/// Newest first, a page at a time. Needs the scope `webhooks:write`.
#[utoipa::path(get, path = "/webhook-endpoints", tag = "Webhooks", operation_id = "list_webhook_endpoints",
    params(
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page."),
    ),
    responses((status = 200, description = "A page of endpoints.", body = WebhookEndpointPage)))]
pub(super) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request =
        pb::ListWebhookEndpointsRequest { page_size: query.page_size(), page_token: query.cursor().unwrap_or_default() };
    query.finish()?;
    let answer = edge.clients.webhooks.clone().list_webhook_endpoints(calling.call(request)).await?.into_inner();
    json(&WebhookEndpointPage::from(answer))
}

/// Read a webhook endpoint
///
/// Needs the scope `webhooks:write`.
#[utoipa::path(get, path = "/webhook-endpoints/{id}", tag = "Webhooks", operation_id = "get_webhook_endpoint",
    params(("id" = String, Path, description = "UUID of the endpoint.")),
    responses((status = 200, description = "The endpoint.", body = WebhookEndpoint)))]
pub(super) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::GetWebhookEndpointRequest { endpoint_id };
    let answer = edge.clients.webhooks.clone().get_webhook_endpoint(calling.call(request)).await?.into_inner();
    json(&WebhookEndpoint::from(answer.endpoint.ok_or_else(Refusal::internal)?))
}

/// Change a webhook endpoint
///
/// What is absent stays; `headers` and `filter` are replaced as a whole. Enabling an endpoint that the server disabled lets it be
/// tried again: `recover` sends what had failed by then, and `replay` what happened in conversations while it was disabled. Neither
/// sends alerts raised while it was disabled: `GET /v1/alerts` lists them. Needs the scope `webhooks:write`.
#[utoipa::path(patch, path = "/webhook-endpoints/{id}", tag = "Webhooks", operation_id = "update_webhook_endpoint",
    params(("id" = String, Path, description = "UUID of the endpoint.")),
    request_body(content((WebhookEndpointChange = "application/json"), (WebhookEndpointChange = "application/merge-patch+json"))),
    responses((status = 200, description = "The endpoint as it is now.", body = WebhookEndpoint)))]
pub(super) async fn update(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, MERGE_PATCH, MAX_SMALL_BODY_BYTES, edge.settings.idle_timeout).await?;
    let change = read_change(endpoint_id, &body)?;
    let headers = change.endpoint.as_ref().map(names_of_headers).unwrap_or_default();
    let answer = edge.clients.webhooks.clone().update_webhook_endpoint(calling.call(change)).await;
    let answer = answer.map_err(|status| refuse(status, &headers))?.into_inner();
    json(&WebhookEndpoint::from(answer.endpoint.ok_or_else(Refusal::internal)?))
}

/// Remove a webhook endpoint
///
/// What is still to be delivered to it is dropped. Needs the scope `webhooks:write`.
#[utoipa::path(delete, path = "/webhook-endpoints/{id}", tag = "Webhooks", operation_id = "delete_webhook_endpoint",
    params(("id" = String, Path, description = "UUID of the endpoint.")),
    responses((status = 204, description = "It is removed.")))]
pub(super) async fn delete(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::DeleteWebhookEndpointRequest { endpoint_id };
    edge.clients.webhooks.clone().delete_webhook_endpoint(calling.call(request)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Rotate a webhook endpoint's secret
///
/// Old and new both sign for a day. Needs the scope `webhooks:write`.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/rotate-secret", tag = "Webhooks", operation_id = "rotate_webhook_secret",
    params(("id" = String, Path, description = "UUID of the endpoint.")),
    responses((status = 200, description = "The new secret.", body = RotatedSecret)))]
pub(super) async fn rotate_secret(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(endpoint_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::RotateWebhookSecretRequest { endpoint_id };
    let answer = edge.clients.webhooks.clone().rotate_webhook_secret(calling.call(request)).await?.into_inner();
    json(&RotatedSecret::from(answer))
}

/// List webhook event types
///
/// Each with the JSON Schema of its body and an example.
#[utoipa::path(get, path = "/webhook-event-types", tag = "Webhooks", operation_id = "list_webhook_event_types",
    responses((status = 200, description = "Every event type.", body = WebhookEventTypes)))]
pub(super) async fn event_types(State(edge): State<Arc<Edge>>, calling: Calling, _: NoQuery) -> Result<Response, Refusal> {
    let request = pb::ListWebhookEventTypesRequest {};
    let answer = edge.clients.webhooks.clone().list_webhook_event_types(calling.call(request)).await?.into_inner();
    json(&WebhookEventTypes::from(answer))
}

fn names_of_headers(endpoint: &pb::WebhookEndpoint) -> Vec<String> {
    endpoint.headers.iter().map(|header| header.name.chars().take(64).collect()).collect()
}

/// Refuses as the service did. It has a list of headers, of which a body has an object.
fn refuse(status: Status, headers: &[String]) -> Refusal {
    NAMING.refuse(status).renaming(|bad| {
        let number = bad.field.strip_prefix("headers[").and_then(|rest| rest.split_once(']')?.0.parse::<usize>().ok());
        if let Some(name) = number.and_then(|number| headers.get(number)) {
            bad.field = format!("headers.{name}");
        }
    })
}

fn read_new(body: &[u8]) -> Result<pb::WebhookEndpoint, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let endpoint = pb::WebhookEndpoint {
        url: object.required_text("url", &mut errors).unwrap_or_default(),
        kind: object.text("kind", &mut errors).value().unwrap_or_default(),
        description: object.text("description", &mut errors).value().unwrap_or_default(),
        event_types: object.read("event_types", "an array of strings", &mut errors).value().unwrap_or_default(),
        filter: Some(read_filter(&mut object, &mut errors).value().unwrap_or_default()),
        ordered: object.read("ordered", "true or false", &mut errors).value().unwrap_or_default(),
        enabled: object.read("enabled", "true or false", &mut errors).value().unwrap_or(true),
        rate_limit: object.read("rate_limit", "a whole number from 0 to 10000", &mut errors).value().unwrap_or_default(),
        headers: read_headers(&mut object, &mut errors).value().unwrap_or_default(),
        ..Default::default()
    };
    object.finish(&mut errors);
    finish(errors)?;
    Ok(endpoint)
}

fn read_change(endpoint_id: String, body: &[u8]) -> Result<pb::UpdateWebhookEndpointRequest, Refusal> {
    let mut errors = FieldErrors::new();
    let mut object = Object::from_body(body)?;
    let mut paths = Vec::new();
    // `null` takes a value away: its default stands for that, which mostly is an empty one.
    let mut given = |name: &str, is_given: bool| {
        if is_given {
            paths.push(name.to_owned());
        }
    };
    let url = object.text("url", &mut errors);
    given("url", url.is_given());
    let kind = object.text("kind", &mut errors);
    given("kind", kind.is_given());
    let description = object.text("description", &mut errors);
    given("description", description.is_given());
    let event_types = object.read("event_types", "an array of strings", &mut errors);
    given("event_types", event_types.is_given());
    let filter = read_filter(&mut object, &mut errors);
    given("filter", filter.is_given());
    let ordered = object.read("ordered", "true or false", &mut errors);
    given("ordered", ordered.is_given());
    let enabled = object.read("enabled", "true or false", &mut errors);
    given("enabled", enabled.is_given());
    let rate_limit = object.read("rate_limit", "a whole number from 0 to 10000", &mut errors);
    given("rate_limit", rate_limit.is_given());
    let headers = read_headers(&mut object, &mut errors);
    given("headers", headers.is_given());
    object.finish(&mut errors);
    finish(errors)?;
    let endpoint = pb::WebhookEndpoint {
        endpoint_id,
        url: url.value().unwrap_or_default(),
        kind: kind.value().unwrap_or_default(),
        description: description.value().unwrap_or_default(),
        event_types: event_types.value().unwrap_or_default(),
        filter: Some(filter.value().unwrap_or_default()),
        ordered: ordered.value().unwrap_or_default(),
        enabled: enabled.value().unwrap_or(true),
        rate_limit: rate_limit.value().unwrap_or_default(),
        headers: headers.value().unwrap_or_default(),
        ..Default::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths });
    Ok(pb::UpdateWebhookEndpointRequest { endpoint: Some(endpoint), update_mask })
}

fn read_filter(object: &mut Object<'_>, errors: &mut FieldErrors) -> Member<ConversationFilter> {
    match object.object("filter", errors) {
        Member::Absent => Member::Absent,
        Member::Null => Member::Null,
        Member::Value(mut object) => {
            let filter = ConversationFilter {
                agent_id: object.text("agent_id", errors).value(),
                client_id: object.text("client_id", errors).value(),
                channel: object.text("channel", errors).value(),
                ..Default::default()
            };
            object.finish(errors);
            Member::Value(filter)
        }
    }
}

/// Headers are an object, so that each has one value.
fn read_headers(object: &mut Object<'_>, errors: &mut FieldErrors) -> Member<Vec<pb::WebhookHeader>> {
    let expected = "an object of names and values, both strings";
    match object.read::<serde_json::Map<String, serde_json::Value>>("headers", expected, errors) {
        Member::Absent => Member::Absent,
        Member::Null => Member::Null,
        Member::Value(map) => {
            let mut headers = Vec::with_capacity(map.len());
            for (name, value) in map {
                match value {
                    serde_json::Value::String(value) => headers.push(pb::WebhookHeader { name, value }),
                    _ => errors.add("headers", format!("must be {expected}")),
                }
            }
            Member::Value(headers)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_is_taken_away_is_on_as_if_nobody_had_said_anything() {
        let change = |body: &str| read_change("e".to_owned(), body.as_bytes()).unwrap();
        for (body, enabled) in [(r#"{"enabled": null}"#, true), (r#"{"enabled": false}"#, false), (r#"{"enabled": true}"#, true)]
        {
            let change = change(body);
            assert_eq!(change.endpoint.unwrap().enabled, enabled, "{body}");
            assert_eq!(change.update_mask.unwrap().paths, ["enabled"], "{body}");
        }
        assert!(change("{}").update_mask.unwrap().paths.is_empty());
        let new = |rest: &str| read_new(format!(r#"{{"url": "https://example.com"{rest}}}"#).as_bytes()).unwrap();
        assert!(new("").enabled && new(r#", "enabled": null"#).enabled && !new(r#", "enabled": false"#).enabled);
    }
}
