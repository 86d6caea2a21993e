//! Native events: what an organization's own agents send, in the words of the API. Unlike providers they are under contract, so
//! everything is checked, and everything that is wrong is reported.

mod check;
mod data;
#[cfg(test)]
mod tests;

use colloquy_events::Event;
use colloquy_types::{ConversationId, EventId, Position, Provider, Timestamp};
use serde_json::Value;

use crate::mapping::{Context, MapError, Mapped};
use crate::value;
use check::{Fields, id_problem, parse_time};
use data::Frame;

/// More problems than this are not listed: a sender who made them all reads no further.
const MAX_ERRORS: usize = 100;

/// One native event as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct NativeEvent<'a> {
    /// The sender's own id of the event; a repeat has the same.
    pub event_id: &'a str,
    /// The sender's own id of the conversation.
    pub conversation_id: &'a str,
    /// What happened, for example `turn.added`.
    pub r#type: &'a str,
    /// When it happened, in RFC 3339; when it was received if absent.
    pub occurred_at: Option<&'a str>,
    /// The data: a JSON object.
    pub data_json: &'a str,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Its path, for example `events[3].data.role`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// Returns the canonical events of a request.
///
/// # Errors
/// Every field that is wrong; then nothing of the request is to be kept.
pub fn map_events(events: &[NativeEvent<'_>], context: &Context<'_>) -> Result<Vec<Event>, Vec<FieldError>> {
    let mut errors = Vec::new();
    if events.len() > Position::MAX_EVENTS_PER_RECORD {
        let message = format!("must not have more than {} items", Position::MAX_EVENTS_PER_RECORD);
        return Err(vec![FieldError { field: "events".to_owned(), message }]);
    }
    let mut mapped = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        mapped.extend(map_event(index, event, context, &mut errors));
        if errors.len() >= MAX_ERRORS {
            errors.truncate(MAX_ERRORS);
            break;
        }
    }
    if errors.is_empty() { Ok(mapped) } else { Err(errors) }
}

/// Maps one event; `None` when something is wrong with it, which `errors` then say.
fn map_event(index: usize, event: &NativeEvent<'_>, context: &Context<'_>, errors: &mut Vec<FieldError>) -> Option<Event> {
    let path = format!("events[{index}]");
    let errors_before = errors.len();
    let mut report = |field: &str, message: String| errors.push(FieldError { field: format!("{path}.{field}"), message });
    for (field, id) in [("event_id", event.event_id), ("conversation_id", event.conversation_id)] {
        if let Some(problem) = id_problem(id) {
            report(field, problem.to_owned());
        }
    }
    let is_known = data::TYPES.contains(&event.r#type);
    if !is_known {
        report("type", format!("must be one of {}", data::TYPES.join(", ")));
    }
    let occurred_at = occurred_at(event, context).unwrap_or_else(|problem| {
        report("occurred_at", problem);
        context.received_at
    });
    let parsed = match serde_json::from_str::<Value>(event.data_json) {
        Ok(mut parsed) => {
            value::strip_nul(&mut parsed);
            parsed
        }
        Err(error) => {
            report("data", format!("is not JSON: {error}"));
            return None;
        }
    };
    let Some(map) = parsed.as_object() else {
        report("data", "must be an object".to_owned());
        return None;
    };
    if !is_known {
        return None;
    }

    let conversation_id = ConversationId::derive(context.organization_id, Provider::Native, event.conversation_id);
    let frame = Frame { conversation_id, event_id: event.event_id, occurred_at };
    let mut fields = Fields::new(format!("{path}.data"), map, errors);
    let data = data::read(event.r#type, &mut fields, &frame);
    fields.finish();
    if errors.len() > errors_before {
        return None;
    }
    Some(Event {
        event_id: EventId::derive(conversation_id, &["native", event.event_id]),
        conversation_id,
        provider: Provider::Native,
        external_id: event.conversation_id.to_owned(),
        occurred_at,
        ordinal: u32::try_from(index).unwrap_or(u32::MAX),
        data: data?,
    })
}

fn occurred_at(event: &NativeEvent<'_>, context: &Context<'_>) -> Result<Timestamp, String> {
    event.occurred_at.map_or(Ok(context.received_at), parse_time)
}

/// Maps `{events: […]}` sent to a source's webhook instead of the API.
pub(crate) fn map_body(body: &[u8], context: &Context<'_>) -> Result<Mapped, MapError> {
    let parsed: Value =
        serde_json::from_slice(body).map_err(|error| MapError::Malformed(format!("the body is not JSON: {error}")))?;
    let Some(events) = parsed["events"].as_array() else { return Err(MapError::field("events", "must be an array")) };
    if events.len() > Position::MAX_EVENTS_PER_RECORD {
        return Err(MapError::TooManyEvents(events.len()));
    }
    let data: Vec<String> = events.iter().map(|event| event["data"].to_string()).collect();
    fn read<'a>((event, data_json): (&'a Value, &'a String)) -> NativeEvent<'a> {
        NativeEvent {
            event_id: value::word(&event["event_id"]),
            conversation_id: value::word(&event["conversation_id"]),
            r#type: value::word(&event["type"]),
            occurred_at: (!event["occurred_at"].is_null()).then(|| value::word(&event["occurred_at"])),
            data_json,
        }
    }
    let given: Vec<NativeEvent<'_>> = events.iter().zip(&data).map(read).collect();
    match map_events(&given, context) {
        Ok(events) => Ok(Mapped { events }),
        Err(errors) => Err(MapError::Malformed(errors.iter().take(5).map(FieldError::to_string).collect::<Vec<_>>().join("; "))),
    }
}
