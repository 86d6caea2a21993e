//! Native events from an organization's own agents.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use colloquy_proto::ingestion::v1 as pb;
use colloquy_service::FieldErrors;
use serde::Deserialize;
use serde_json::value::RawValue;
use tonic::Status;
use utoipa::ToSchema;

use crate::Edge;
use crate::answer::{at_position, json};
use crate::body::{self, JSON, Member, Object, not_understood};
use crate::clients::Calling;
use crate::problem::{Refusal, finish};
use crate::query::NoQuery;
use crate::shape::ingestion::EventsReceipt;

/// More events at once are refused.
const MAX_EVENTS: usize = 1_000;

/// Native events to take: all or nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NativeEvents<'a> {
    /// 1 to 1,000 events.
    #[serde(borrow)]
    #[schema(min_items = 1, max_items = 1000)]
    events: Vec<NativeEvent<'a>>,
}

/// One native event.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NativeEvent<'a> {
    /// What identifies it; a repeat is ignored. At most 256 bytes.
    event_id: String,
    /// The sender's id of the conversation; a UUID is kept as the canonical id. At most 256 bytes.
    conversation_id: String,
    /// The kind, for example `turn.added`.
    r#type: String,
    /// When it happened (RFC 3339); absent means now.
    occurred_at: Option<String>,
    /// The fields of its kind.
    #[serde(borrow)]
    #[schema(value_type = Object)]
    data: Option<&'a RawValue>,
}

impl From<NativeEvent<'_>> for pb::NativeEvent {
    fn from(given: NativeEvent<'_>) -> Self {
        Self {
            event_id: given.event_id,
            conversation_id: given.conversation_id,
            r#type: given.r#type,
            occurred_at: given.occurred_at.unwrap_or_default(),
            data_json: given.data.map_or("{}", RawValue::get).to_owned(),
        }
    }
}

/// Send native events
///
/// From an organization's own agents: all or nothing, and a repeat is ignored. Needs the scope `events:write`.
#[utoipa::path(post, path = "/events", tag = "Ingestion", operation_id = "ingest_events", request_body = NativeEvents,
    responses((status = 200, description = "They are durable.", body = EventsReceipt,
        headers(("x-colloquy-position" = u64, description = "The position after which they can be read.")))))]
pub(super) async fn ingest(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    _: NoQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body::read(request, JSON, edge.settings.max_events_bytes, edge.settings.idle_timeout).await?;
    let request = read(&body)?;
    let answer = edge.clients.ingestion.clone().ingest_events(calling.call(request)).await.map_err(refuse)?.into_inner();
    let position = answer.position;
    Ok(at_position(json(&EventsReceipt::from(answer))?, position))
}

/// The data of an event is JSON within JSON to the service.
fn refuse(status: Status) -> Refusal {
    Refusal::from(status).renaming(|bad| bad.field = bad.field.replacen(".data_json", ".data", 1))
}

fn read(body: &[u8]) -> Result<pb::IngestEventsRequest, Refusal> {
    let batch: NativeEvents<'_> = match serde_json::from_slice(body) {
        Ok(batch) => batch,
        Err(error) => return Err(diagnose(body, &error)),
    };
    if !(1..=MAX_EVENTS).contains(&batch.events.len()) {
        return Err(Refusal::field("events", format!("must hold 1 to {MAX_EVENTS} events")));
    }
    let mut errors = FieldErrors::new();
    for (index, event) in batch.events.iter().enumerate() {
        if event.data.is_some_and(|data| !data.get().starts_with('{')) {
            errors.add(format!("events[{index}].data"), "must be an object");
        }
    }
    finish(errors)?;
    Ok(pb::IngestEventsRequest { events: batch.events.into_iter().map(pb::NativeEvent::from).collect() })
}

/// Reads a batch that is not as it should be again, slowly, to name everything that is wrong with it.
fn diagnose(body: &[u8], error: &serde_json::Error) -> Refusal {
    let mut errors = FieldErrors::new();
    let mut batch = match Object::from_body(body) {
        Ok(batch) => batch,
        Err(refusal) => return refusal,
    };
    match batch.raw("events") {
        Member::Absent => errors.add("events", "is required"),
        Member::Null => errors.add("events", "must be an array"),
        Member::Value(raw) => match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(events) => events.iter().take(MAX_EVENTS).enumerate().for_each(|(index, raw)| {
                if let Some(event) = Object::at(format!("events[{index}]"), raw, &mut errors) {
                    diagnose_event(event, &mut errors);
                }
            }),
            Err(_) => errors.add("events", "must be an array"),
        },
    }
    batch.finish(&mut errors);
    // Nothing was found where the fields were looked at one by one: the parser's own words are all there is.
    finish(errors).err().unwrap_or_else(|| not_understood(error))
}

fn diagnose_event(mut event: Object<'_>, errors: &mut FieldErrors) {
    for name in ["event_id", "conversation_id", "type"] {
        event.required_text(name, errors);
    }
    event.text("occurred_at", errors);
    if let Member::Value(data) = event.raw("data")
        && !data.get().starts_with('{')
    {
        errors.add(event.path_of("data"), "must be an object");
    }
    event.finish(errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(body: &str) -> String {
        format!("{:?}", read(body.as_bytes()).unwrap_err())
    }

    #[test]
    fn data_is_passed_on_as_it_stands() {
        let body = r#"{"events": [{"event_id": "e", "conversation_id": "c", "type": "turn.added", "data": {"n": 1.10}}]}"#;
        let request = read(body.as_bytes()).unwrap();
        assert_eq!(request.events[0].data_json, "{\"n\": 1.10}");
        assert_eq!(request.events[0].occurred_at, "");
    }

    #[test]
    fn every_bad_field_is_named_by_its_path() {
        let body = r#"{"events": [{"event_id": 1, "conversation_id": "c", "typ": "x", "data": []}, 5], "more": 1}"#;
        let named = complaints(body);
        for path in ["events[0].event_id", "events[0].type", "events[0].typ", "events[0].data", "events[1]", "more"] {
            assert!(named.contains(&format!("\"{path}\"")), "{path} in {named}");
        }
        assert!(complaints("{\"events\": []}").contains("1 to 1000"));
        assert!(complaints("{\"events\": {}}").contains("must be an array"));
        assert!(complaints("{").contains("must be valid JSON"));
        assert!(complaints("{\"events\":[],\"events\":[]}").contains("twice"));
    }
}
