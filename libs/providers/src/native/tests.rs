use colloquy_events::{Data, Role};
use colloquy_types::OrganizationId;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn organization() -> OrganizationId {
    "acme".parse().unwrap()
}

fn map_one(kind: &str, data: &Value) -> Result<Event, Vec<FieldError>> {
    let organization = organization();
    let context = Context { organization_id: &organization, received_at: Timestamp::from_millis(1_772_463_800_000).unwrap() };
    let data_json = data.to_string();
    let event = NativeEvent {
        event_id: "e1",
        conversation_id: "c1",
        r#type: kind,
        occurred_at: Some("2026-03-02T15:00:00Z"),
        data_json: &data_json,
    };
    map_events(&[event], &context).map(|mut events| events.remove(0))
}

fn problems(kind: &str, data: &Value) -> Vec<(String, String)> {
    map_one(kind, data).unwrap_err().into_iter().map(|error| (error.field, error.message)).collect()
}

/// One valid event of every type, with every field there is.
fn complete() -> Vec<(&'static str, Value)> {
    let facts = json!({"agent_id": "a", "agent_name": "A", "agent_version": "7", "channel": "phone", "direction": "inbound",
        "caller": {"number": "+1 202 555 0123", "name": "Zoë"}, "client_id": "k", "user_id": "u", "thread_id": "t",
        "language": "en", "translation_language": "de", "tags": ["x"], "metadata": {"any": {"thing": [1, null]}}});
    let mut update = facts.clone();
    update["status"] = json!("in_progress");
    let turn = json!({"turn_id": "t1", "index": 0, "role": "user", "text": "hello there", "heard_text": "hello",
        "translated_text": "hallo", "start_ms": 0, "end_ms": 900, "at": "2026-03-02T15:00:00Z",
        "words": [{"text": "hello", "start_ms": 0, "end_ms": 400}],
        "tool_call": {"id": "c", "name": "n", "arguments": {"a": 1}}, "tool_result": {"id": "c", "content": "ok", "is_error": false},
        "message": {"type": "sms", "direction": "inbound", "from": "+12025550123", "to": "+12025550110", "delivery_status": "sent",
            "attachments": [{"url": "x"}]}, "final": true});
    let session = json!({"session_id": "s", "agent_id": "a", "agent_version": {"id": "7", "voice": "v"}, "reason": "done"});
    vec![
        ("conversation.started", facts),
        ("conversation.updated", update),
        ("turn.added", turn.clone()),
        ("turn.updated", turn),
        ("session.started", session.clone()),
        ("session.ended", session),
        (
            "conversation.ended",
            json!({"status": "failed", "end_reason": "x", "end_reason_detail": "y",
            "failure": {"code": "c", "message": "m"}, "duration_seconds": 1.5,
            "cost": {"amount_micros": 5, "currency": "USD", "source": "me"}}),
        ),
        (
            "conversation.analyzed",
            json!({"call_successful": "success", "summary": "s", "sentiment": "positive", "topics": ["a"],
            "keywords": ["b"], "intent": "i", "resolution_status": "resolved", "satisfaction_score": 4.5,
            "outcome": {"result": "r", "actions": [1], "follow_up_tasks": [], "integrations": []},
            "custom_analysis": {"x": null}}),
        ),
        (
            "recording.available",
            json!({"url": "https://a.example/b.wav", "content_type": "audio/wav", "duration_seconds": 3,
            "channel": "user"}),
        ),
        ("feedback.given", json!({"rating": 5, "thumbs": "up", "comment": "c"})),
        ("error.raised", json!({"code": "c", "message": "m", "component": "p"})),
    ]
}

#[test]
fn every_type_takes_every_field_of_its_own_and_no_other() {
    assert_eq!(complete().len(), data::TYPES.len());
    for (kind, data) in complete() {
        let event = map_one(kind, &data).unwrap_or_else(|errors| panic!("{kind}: {errors:?}"));
        assert_eq!(event.data.kind(), kind);
        let mut strange = data.clone();
        strange["strange"] = json!(1);
        let found = problems(kind, &strange);
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
        assert_eq!(found[0].0, "events[0].data.strange");
        assert!(found[0].1.starts_with("is not a field of this event; allowed: "), "{}", found[0].1);
    }
}

#[test]
fn what_is_required_is_asked_for_by_name() {
    let required = [
        ("conversation.started", "agent_id"),
        ("turn.added", "role"),
        ("turn.updated", "role"),
        ("session.started", "session_id"),
        ("session.ended", "session_id"),
        ("conversation.ended", "status"),
        ("recording.available", "url"),
        ("feedback.given", "rating"),
        ("error.raised", "code"),
    ];
    for (kind, field) in required {
        let found = problems(kind, &json!({}));
        let (path, message) = found.iter().find(|(path, _)| *path == format!("events[0].data.{field}")).expect(kind);
        assert!(message.starts_with("is required"), "{path} {message}");
    }
    assert!(map_one("conversation.updated", &json!({})).is_ok());
    assert!(map_one("conversation.analyzed", &json!({})).is_ok());
}

#[test]
fn all_problems_are_told_at_once() {
    let data = json!({"role": "robot", "text": 7, "start_ms": 5, "end_ms": 4, "at": "yesterday",
        "words": [{"text": "a", "start_ms": -1, "end_ms": 2}, 3], "message": {"kind": "sms"}, "final": "yes"});
    let mut fields: Vec<String> = problems("turn.added", &data).into_iter().map(|(field, _)| field).collect();
    fields.sort();
    let expected = ["at", "end_ms", "final", "message.kind", "role", "text", "words[0].start_ms", "words[1]"];
    assert_eq!(fields, expected.map(|field| format!("events[0].data.{field}")));
}

#[test]
fn bounds_are_kept() {
    let long = "x".repeat(257);
    let cases = [
        ("conversation.started", json!({"agent_id": long}), "agent_id"),
        ("conversation.started", json!({"agent_id": "a\u{1}"}), "agent_id"),
        ("conversation.started", json!({"agent_id": ""}), "agent_id"),
        ("turn.added", json!({"role": "user", "text": "x".repeat((1 << 20) + 1)}), "text"),
        ("turn.added", json!({"role": "user", "at": "9999-01-01T00:00:00Z"}), "at"),
        ("turn.added", json!({"role": "user", "start_ms": 1e300}), "start_ms"),
        ("feedback.given", json!({"rating": 6}), "rating"),
        ("feedback.given", json!({"rating": 4.5}), "rating"),
        ("conversation.ended", json!({"status": "completed", "duration_seconds": -1}), "duration_seconds"),
        ("conversation.ended", json!({"status": "in_progress"}), "status"),
        (
            "conversation.ended",
            json!({"status": "completed", "cost": {"amount_micros": 1, "currency": "dollars"}}),
            "cost.currency",
        ),
        ("conversation.analyzed", json!({"topics": vec!["t"; 101]}), "topics"),
        ("recording.available", json!({"url": "file:///etc/passwd"}), "url"),
    ];
    for (kind, data, field) in cases {
        let found = problems(kind, &data);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, format!("events[0].data.{field}"));
    }
}

#[test]
fn the_envelope_is_checked_too() {
    let organization = organization();
    let context = Context { organization_id: &organization, received_at: Timestamp::default() };
    let long = "x".repeat(257);
    let good =
        NativeEvent { event_id: "e", conversation_id: "c", r#type: "conversation.updated", occurred_at: None, data_json: "{}" };
    let events = [
        good,
        NativeEvent { event_id: "", conversation_id: &long, r#type: "nonsense", occurred_at: Some("now"), ..good },
        NativeEvent { data_json: "[]", ..good },
        NativeEvent { data_json: "{", ..good },
    ];
    let errors = map_events(&events, &context).unwrap_err();
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    let expected = [
        "events[1].event_id",
        "events[1].conversation_id",
        "events[1].type",
        "events[1].occurred_at",
        "events[2].data",
        "events[3].data",
    ];
    assert_eq!(fields, expected);
    assert_eq!(map_events(&[good], &context).unwrap()[0].occurred_at, context.received_at);
}

#[test]
fn own_uuids_are_kept_and_turns_without_an_id_are_known_by_their_index() {
    let uuid = "3f1c5d5e-1111-4222-8333-444444444444";
    let turn_id = |data: &Value| match map_one("turn.added", data).unwrap().data {
        Data::TurnAdded(turn) => turn.turn_id.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(turn_id(&json!({"role": "user", "turn_id": uuid})), uuid);
    let first = turn_id(&json!({"role": "user", "index": 0}));
    assert_eq!(first, turn_id(&json!({"role": "user", "index": 0, "text": "again"})));
    assert_ne!(first, turn_id(&json!({"role": "user", "index": 1})));
    assert!(map_one("turn.updated", &json!({"role": "user"})).is_err());
}

#[test]
fn nul_is_removed_and_numbers_are_normalised() {
    let data = json!({"role": "user", "text": "a\u{0}b", "message": {"from": "+1 (202) 555-0123"}});
    let Data::TurnAdded(turn) = map_one("turn.added", &data).unwrap().data else { panic!("not a turn") };
    assert_eq!(turn.text.as_deref(), Some("ab"));
    assert_eq!(turn.role, Role::User);
    assert_eq!(turn.message.unwrap().from.as_deref(), Some("+12025550123"));
}

proptest! {
    #[test]
    fn no_data_makes_it_panic(
        which in any::<prop::sample::Index>(),
        field in any::<prop::sample::Index>(),
        value in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!(-1)), Just(json!(1e308)), Just(json!([{"a": []}])),
            Just(json!(true)), "\\PC{0,30}".prop_map(|text| json!(text)),
        ],
        noise in "\\PC{0,40}",
    ) {
        let samples = complete();
        let (kind, mut data) = samples[which.index(samples.len())].clone();
        let keys: Vec<String> = data.as_object().unwrap().keys().cloned().collect();
        data[&keys[field.index(keys.len())]] = value;
        if let Ok(event) = map_one(kind, &data) {
            let written = serde_json::to_string(&event.data).unwrap();
            prop_assert_eq!(serde_json::from_str::<Data>(&written).unwrap(), event.data);
        }
        let organization = organization();
        let context = Context { organization_id: &organization, received_at: Timestamp::default() };
        let event = NativeEvent { event_id: &noise, conversation_id: &noise, r#type: kind, occurred_at: Some(&noise), data_json: &noise };
        prop_assert!(map_events(&[event], &context).is_err());
    }
}
