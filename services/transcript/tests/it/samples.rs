//! The providers' sample deliveries as records of the log.

use std::collections::BTreeSet;
use std::path::Path;

use colloquy_events::{Data, Event, Record, Role, Turn};
use colloquy_providers::{Context, map, native};
use colloquy_types::{ConversationId, EventId, OrganizationId, Provider, RecordId, Timestamp, TurnId};
use uuid::Uuid;

pub(crate) fn organization() -> OrganizationId {
    "acme".parse().unwrap()
}

/// 2026-03-02T15:03:20Z: soon after every sample.
fn received_at() -> Timestamp {
    Timestamp::from_millis(1_772_463_800_000).unwrap()
}

pub(crate) fn record(organization_id: &OrganizationId, events: Vec<Event>) -> Record {
    Record {
        record_id: RecordId::derive(organization_id, events.iter().map(|event| event.event_id)),
        organization_id: organization_id.clone(),
        source_id: None,
        received_at: received_at(),
        events,
        traceparent: String::new(),
        sequence: 0,
    }
}

/// Returns a record of somebody who says something in a conversation of its own.
pub(crate) fn said(conversation: u128, text: &str) -> Record {
    let turn = Turn { text: Some(text.to_owned()), start_ms: Some(0), ..Turn::new(TurnId(Uuid::from_u128(1)), Role::User) };
    let event = Event {
        event_id: EventId::generate(),
        conversation_id: ConversationId(Uuid::from_u128(conversation)),
        provider: Provider::Native,
        external_id: conversation.to_string(),
        occurred_at: received_at(),
        ordinal: 0,
        data: Data::TurnAdded(turn),
    };
    record(&organization(), vec![event])
}

/// Returns one record a sample of `provider`, in the order of their names.
pub(crate) fn records(provider: Provider) -> Vec<Record> {
    let organization_id = organization();
    if provider == Provider::Native {
        return native_deliveries().iter().map(|event| native_record(&organization_id, std::slice::from_ref(event))).collect();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/payloads").join(provider.as_str());
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(".json") && !path.ends_with(".headers.json")));
    paths.sort();
    assert!(!paths.is_empty());
    let context = Context { organization_id: &organization_id, received_at: received_at() };
    let mapped = paths.iter().map(|path| map(provider, &std::fs::read(path).unwrap(), &context).unwrap());
    mapped.map(|mapped| record(&organization_id, mapped.events)).collect()
}

pub(crate) fn native_record(organization_id: &OrganizationId, events: &[native::NativeEvent<'_>]) -> Record {
    let context = Context { organization_id, received_at: received_at() };
    record(organization_id, native::map_events(events, &context).unwrap())
}

/// Returns the conversations that `records` speak of.
pub(crate) fn conversations(records: &[Record]) -> BTreeSet<ConversationId> {
    records.iter().flat_map(|record| &record.events).map(|event| event.conversation_id).collect()
}

pub(crate) const fn native(
    event_id: &'static str,
    r#type: &'static str,
    occurred_at: &'static str,
    data_json: &'static str,
) -> native::NativeEvent<'static> {
    native::NativeEvent { event_id, conversation_id: "native-1", r#type, occurred_at: Some(occurred_at), data_json }
}

/// A conversation with everything native events can say of turns: partial turns, an update before its turn, an interruption, a
/// translation, a tool, a message.
fn native_deliveries() -> [native::NativeEvent<'static>; 11] {
    [
        native(
            "e1",
            "conversation.started",
            "2026-03-02T15:00:00Z",
            r#"{"agent_id": "a1", "agent_name": "Ana", "language": "de", "translation_language": "en-US",
                "caller": {"number": "+12025550123", "name": "Zoë"}}"#,
        ),
        native("e2", "turn.added", "2026-03-02T15:00:01Z", r#"{"index": 0, "role": "agent", "text": "Guten", "final": false}"#),
        native(
            "e3",
            "turn.added",
            "2026-03-02T15:00:02Z",
            r#"{"index": 0, "role": "agent", "text": "Guten Tag! Wie kann ich helfen?", "start_ms": 500, "end_ms": 2600}"#,
        ),
        native(
            "e4",
            "turn.updated",
            "2026-03-02T15:00:03Z",
            r#"{"index": 0, "role": "agent", "translated_text": "Good day! How can I help?"}"#,
        ),
        native(
            "e5",
            "turn.added",
            "2026-03-02T15:00:06Z",
            r#"{"index": 1, "role": "user", "text": "Ich möchte einen Termin.", "start_ms": 3000, "end_ms": 5200,
                "translated_text": "I would like an appointment.",
                "words": [{"text": "Ich", "start_ms": 3000, "end_ms": 3200}, {"text": "möchte", "start_ms": 3250, "end_ms": 3700},
                          {"text": "einen", "start_ms": 3750, "end_ms": 4000}, {"text": "Termin.", "start_ms": 4100, "end_ms": 5200}]}"#,
        ),
        native(
            "e6",
            "turn.added",
            "2026-03-02T15:00:07Z",
            r#"{"index": 2, "role": "tool", "tool_call": {"id": "t1", "name": "find_slots", "arguments": {"day": "friday"}}}"#,
        ),
        native(
            "e7",
            "turn.added",
            "2026-03-02T15:00:08Z",
            r#"{"index": 3, "role": "tool", "tool_result": {"id": "t1", "content": ["09:00", "10:30"], "is_error": false}}"#,
        ),
        native(
            "e8",
            "turn.added",
            "2026-03-02T15:00:10Z",
            r#"{"index": 4, "role": "agent", "text": "Ich habe neun Uhr oder halb elf am Freitag.", "heard_text": "Ich habe neun Uhr",
                "start_ms": 6000}"#,
        ),
        native(
            "e9",
            "turn.added",
            "2026-03-02T15:00:11Z",
            r#"{"index": 5, "role": "user", "text": "Neun Uhr, bitte.", "message": {"type": "sms", "direction": "inbound",
                "delivery_status": "delivered", "attachments": [{"name": "card.pdf"}]}}"#,
        ),
        native("e10", "turn.added", "2026-03-02T15:00:12Z", r#"{"index": 6, "role": "agent", "text": "Ger", "final": false}"#),
        native(
            "e11",
            "conversation.ended",
            "2026-03-02T15:00:15Z",
            r#"{"status": "completed", "end_reason": "user_ended", "duration_seconds": 15.0}"#,
        ),
    ]
}
