//! To and from `colloquy.notification.v1`.

use colloquy_events::convert::{timestamp_from_pb, timestamp_to_pb};
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_proto::notification::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationId, Timestamp};
use uuid::Uuid;

use crate::delivery::{Attempt, Delivery, Status};
use crate::endpoint::{Endpoint, Filter};
use crate::endpoints::{Given, GivenFilter, MOST_EVENT_TYPES, check_types};
use crate::message::is_about_none;
use crate::payload::catalogue::{self, EventType};
use crate::send::Secret;
use crate::store::DeliveryFilter;

const PAGE_SIZE_DEFAULT: u32 = 30;
const PAGE_SIZE_MAX: u32 = 100;

/// What an update may change, by the names of the fields.
const CHANGEABLE: [&str; 9] =
    ["url", "kind", "description", "event_types", "filter", "ordered", "enabled", "rate_limit", "headers"];

/// Deliveries to list.
pub(crate) struct ListDeliveries {
    pub(crate) endpoint_id: Uuid,
    pub(crate) filter: DeliveryFilter,
    pub(crate) page_size: u32,
    pub(crate) page_token: String,
}

/// A stretch of time to recover; without an end it reaches to now.
pub(crate) struct Recover {
    pub(crate) endpoint_id: Uuid,
    pub(crate) since: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

/// Ends reading a request: its value, or everything that was wrong with it.
fn finish<T>(errors: FieldErrors, value: Option<T>) -> Result<T, Problem> {
    errors.finish()?;
    // A field that is missing was noted as bad.
    value.ok_or_else(|| Problem::invalid_field("request", "is incomplete"))
}

fn uuid(errors: &mut FieldErrors, field: &str, text: &str) -> Option<Uuid> {
    errors.check(field, Uuid::try_parse(text).map_err(|_| "must be a UUID"))
}

/// Reads the id of an endpoint.
pub(crate) fn endpoint_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::invalid_field("endpoint_id", "must be a UUID"))
}

/// Reads a page size: 0 means the default, more than the most is read as the most.
pub(crate) fn page_size(errors: &mut FieldErrors, given: i32) -> Option<u32> {
    match u32::try_from(given) {
        Ok(0) => Some(PAGE_SIZE_DEFAULT),
        Ok(size) => Some(size.min(PAGE_SIZE_MAX)),
        Err(_) => {
            errors.add("page_size", "must be 0 to 100");
            None
        }
    }
}

/// Reads the page size of a list that has no other parameters.
pub(crate) fn only_page_size(given: i32) -> Result<u32, Problem> {
    let mut errors = FieldErrors::new();
    let size = page_size(&mut errors, given);
    finish(errors, size)
}

/// Reads an endpoint to make.
pub(crate) fn new_endpoint(request: pb::CreateWebhookEndpointRequest) -> Result<Given, Problem> {
    let endpoint = request.endpoint.ok_or_else(|| Problem::invalid_field("endpoint", "is required"))?;
    // Whoever makes an endpoint says of every field what it is to be: an empty one is its default.
    Ok(given(endpoint, |_| true))
}

/// Reads a change.
pub(crate) fn change(request: pb::UpdateWebhookEndpointRequest) -> Result<(Uuid, Given), Problem> {
    let endpoint = request.endpoint.ok_or_else(|| Problem::invalid_field("endpoint", "is required"))?;
    let mut errors = FieldErrors::new();
    let id = uuid(&mut errors, "endpoint.endpoint_id", &endpoint.endpoint_id);
    let mask = request.update_mask.map(|mask| mask.paths);
    for path in mask.iter().flatten().filter(|path| !CHANGEABLE.contains(&path.as_str())) {
        let shown: String = path.chars().filter(|letter| !letter.is_control()).take(64).collect();
        errors.add("update_mask", format!("'{shown}' cannot be changed; allowed: {}", CHANGEABLE.join(", ")));
    }
    let id = finish(errors, id)?;
    let set = is_set(&endpoint);
    let given = match mask {
        Some(paths) => given(endpoint, |name| paths.iter().any(|path| path == name)),
        None => given(endpoint, |name| set.contains(&name)),
    };
    Ok((id, given))
}

/// Returns the names of the fields that are not at their defaults.
fn is_set(endpoint: &pb::WebhookEndpoint) -> Vec<&'static str> {
    let set = [
        !endpoint.url.is_empty(),
        !endpoint.kind.is_empty(),
        !endpoint.description.is_empty(),
        !endpoint.event_types.is_empty(),
        endpoint.filter.is_some(),
        endpoint.ordered,
        endpoint.enabled,
        endpoint.rate_limit > 0,
        !endpoint.headers.is_empty(),
    ];
    CHANGEABLE.into_iter().zip(set).filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

fn given(endpoint: pb::WebhookEndpoint, wants: impl Fn(&str) -> bool) -> Given {
    let headers = endpoint.headers.into_iter().map(|header| (header.name, Secret(header.value))).collect();
    Given {
        kind: wants("kind").then_some(endpoint.kind),
        url: wants("url").then_some(endpoint.url),
        description: wants("description").then_some(endpoint.description),
        event_types: wants("event_types").then_some(endpoint.event_types),
        filter: wants("filter").then(|| filter(endpoint.filter.unwrap_or_default())),
        ordered: wants("ordered").then_some(endpoint.ordered),
        enabled: wants("enabled").then_some(endpoint.enabled),
        rate_limit: wants("rate_limit").then_some(endpoint.rate_limit),
        headers: wants("headers").then_some(headers),
    }
}

fn filter(given: ConversationFilter) -> GivenFilter {
    let others = [
        ("user_id", given.user_id.is_some()),
        ("caller", given.caller.is_some()),
        ("provider", given.provider.is_some()),
        ("statuses", !given.statuses.is_empty()),
        ("call_successful", given.call_successful.is_some()),
        ("resolution_status", given.resolution_status.is_some()),
        ("outcome", given.outcome.is_some()),
        ("sentiment", given.sentiment.is_some()),
        ("language", given.language.is_some()),
        ("topic", given.topic.is_some()),
        ("tags", !given.tags.is_empty()),
        ("created_from", given.created_from.is_some()),
        ("created_before", given.created_before.is_some()),
        ("duration_min_ms", given.duration_min_ms.is_some()),
        ("duration_max_ms", given.duration_max_ms.is_some()),
        ("expression", !given.expression.is_empty()),
    ];
    GivenFilter {
        filter: Filter { agent_id: given.agent_id, client_id: given.client_id, channel: given.channel },
        others: others.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect(),
    }
}

/// Reads which deliveries to list.
pub(crate) fn list_deliveries(request: pb::ListWebhookDeliveriesRequest) -> Result<ListDeliveries, Problem> {
    let mut errors = FieldErrors::new();
    let endpoint_id = uuid(&mut errors, "endpoint_id", &request.endpoint_id);
    let status = match request.status.as_str() {
        "" => None,
        name => {
            let status = Status::ALL.into_iter().find(|status| status.as_str() == name);
            errors.check("status", status.ok_or("must be pending, succeeded, failed or exhausted"))
        }
    };
    let conversation_id = match request.conversation_id.as_str() {
        "" => None,
        text => uuid(&mut errors, "conversation_id", text).map(ConversationId),
    };
    let event_type = Some(request.event_type).filter(|name| !name.is_empty());
    if event_type.as_deref().is_some_and(|name| !catalogue::is_type(name)) {
        errors.add("event_type", "must be an event type, for example conversation.ended");
    }
    let page_size = page_size(&mut errors, request.page_size);
    let filter = DeliveryFilter { status, conversation_id, event_type };
    let read = endpoint_id.zip(page_size).map(|(endpoint_id, page_size)| ListDeliveries {
        endpoint_id,
        filter,
        page_size,
        page_token: request.page_token,
    });
    finish(errors, read)
}

/// Reads the ids of an endpoint and of one of its deliveries.
pub(crate) fn retry(request: &pb::RetryWebhookDeliveryRequest) -> Result<(Uuid, Uuid), Problem> {
    let mut errors = FieldErrors::new();
    let endpoint_id = uuid(&mut errors, "endpoint_id", &request.endpoint_id);
    let delivery_id = uuid(&mut errors, "delivery_id", &request.delivery_id);
    finish(errors, endpoint_id.zip(delivery_id))
}

/// Reads a stretch of time.
pub(crate) fn recover(request: pb::RecoverWebhookDeliveriesRequest) -> Result<Recover, Problem> {
    let mut errors = FieldErrors::new();
    let endpoint_id = uuid(&mut errors, "endpoint_id", &request.endpoint_id);
    let mut time = |field: &'static str, at: prost_types::Timestamp| {
        errors.check(field, timestamp_from_pb(field, at).map_err(|bad| bad.message))
    };
    let until = request.until.map(|at| time("until", at));
    let since = match request.since {
        Some(at) => time("since", at),
        None => {
            errors.add("since", "is required");
            None
        }
    };
    if let (Some(since), Some(Some(until))) = (since, until)
        && since > until
    {
        errors.add("since", "must not be after 'until'");
    }
    let read = endpoint_id.zip(since).map(|(endpoint_id, since)| Recover { endpoint_id, since, until: until.flatten() });
    finish(errors, read)
}

/// Reads whom to send what happened again; of which conversations is checked by who lists them.
pub(crate) fn replay(request: &mut pb::ReplayWebhookDeliveriesRequest) -> Result<Uuid, Problem> {
    let mut errors = FieldErrors::new();
    let endpoint_id = uuid(&mut errors, "endpoint_id", &request.endpoint_id);
    let is_known = |name: &str| catalogue::is_type(name) || catalogue::is_group(name);
    for (index, name) in request.event_types.iter().enumerate().take(MOST_EVENT_TYPES).filter(|(_, name)| is_known(name)) {
        if !catalogue::is_replayed(name) {
            let instead = instead_of_replaying(name);
            errors.add(format!("event_types[{index}]"), format!("'{name}' is not kept in conversations' histories: {instead}"));
        }
    }
    check_types("event_types", &mut request.event_types, &mut errors);
    finish(errors, endpoint_id)
}

/// Returns what to do to have what cannot be replayed.
fn instead_of_replaying(name: &str) -> &'static str {
    match name.split('.').next() {
        Some("alert") => "list the alerts, which keep what they saw",
        Some("turn" | "transcript") => {
            "read the transcripts, or ask for conversation_agent_session.ended, which has everything that was said"
        }
        Some("speech") => "who speaks is told while it happens, and never again",
        _ => "recover the endpoint, which sends again what it missed",
    }
}

/// Shows an endpoint; secrets and the values of headers are not shown.
pub(crate) fn endpoint_to_pb(endpoint: Endpoint) -> pb::WebhookEndpoint {
    let Filter { agent_id, client_id, channel } = endpoint.filter;
    let header = |name: String| pb::WebhookHeader { name, value: String::new() };
    pb::WebhookEndpoint {
        endpoint_id: endpoint.endpoint_id.to_string(),
        url: endpoint.url,
        event_types: endpoint.event_types,
        filter: Some(ConversationFilter { agent_id, client_id, channel, ..Default::default() }),
        ordered: endpoint.ordered,
        enabled: endpoint.enabled,
        created_at: Some(timestamp_to_pb(endpoint.created_at)),
        updated_at: Some(timestamp_to_pb(endpoint.updated_at)),
        kind: endpoint.kind.as_str().to_owned(),
        description: endpoint.description,
        rate_limit: endpoint.rate_limit.map_or(0, Into::into),
        headers: endpoint.header_names.into_iter().map(header).collect(),
        failing_since: endpoint.failing_since.map(timestamp_to_pb),
        disabled_reason: endpoint.disabled_reason.map(|reason| reason.as_str().to_owned()),
    }
}

/// Shows a delivery.
pub(crate) fn delivery_to_pb(delivery: Delivery) -> pb::WebhookDelivery {
    pb::WebhookDelivery {
        delivery_id: delivery.delivery_id.to_string(),
        event_type: delivery.event_type,
        // What the service itself has to say is about no conversation, and some alerts are.
        conversation_id: if is_about_none(delivery.conversation_id) {
            String::new()
        } else {
            delivery.conversation_id.to_string()
        },
        status: delivery.status.as_str().to_owned(),
        attempts: delivery.attempts.into_iter().map(attempt_to_pb).collect(),
        next_attempt_at: delivery.next_attempt_at.map(timestamp_to_pb),
        created_at: Some(timestamp_to_pb(delivery.created_at)),
        message_id: format!("msg_{}", delivery.message_id.simple()),
        attempt_count: delivery.attempt_count,
    }
}

fn attempt_to_pb(attempt: Attempt) -> pb::WebhookAttempt {
    pb::WebhookAttempt {
        at: Some(timestamp_to_pb(attempt.at)),
        status_code: attempt.status_code.map(Into::into),
        duration_ms: attempt.duration_ms,
        error: attempt.error,
        response: attempt.response,
    }
}

/// Shows an event type.
pub(crate) fn event_type_to_pb(event_type: &EventType) -> pb::WebhookEventType {
    pb::WebhookEventType {
        name: event_type.name.to_owned(),
        description: event_type.description.to_owned(),
        schema_json: event_type.schema_json.clone(),
        example_json: event_type.example_json.clone(),
    }
}
