//! A body of every kind, for example.

use colloquy_events::{Data, Event};
use colloquy_types::{ConversationId, EventId, Position, Provider, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::payload::own;

/// Where the example stands in the log.
pub(super) const POSITION: Position = Position::new(4711, 0);

const CONVERSATION: Uuid = Uuid::from_u128(0x3f2c_8a10_5b7e_5d43_9a61_0c2d_4e6f_8091);
const EVENT: Uuid = Uuid::from_u128(0x0b1d_2f3a_4c5e_5678_8a9b_0c1d_2e3f_4051);
const OTHER: &str = "7c1e2a9d-4b5f-4c3a-9e8d-1f2a3b4c5d6e";
const AT: &str = "2026-03-02T15:00:04.168Z";

/// Returns an event of this kind.
pub(super) fn event(kind: &str) -> Event {
    let tagged = json!({"type": kind, "data": data(kind)});
    let data: Data = serde_json::from_value(tagged).expect("the examples are part of the program and are read by its tests");
    Event {
        event_id: EventId(EVENT),
        conversation_id: ConversationId(CONVERSATION),
        provider: Provider::Retell,
        external_id: "call_8c2f1e0d9b7a".to_owned(),
        occurred_at: AT.parse::<Timestamp>().unwrap_or_default(),
        ordinal: 0,
        data,
    }
}

/// Returns the body of something the service itself has to say.
pub(super) fn of_own(kind: &str) -> Value {
    let data = match kind {
        own::TEST => json!({"endpoint_id": OTHER, "text": "This is a test: nothing happened."}),
        own::ENDPOINT_FAILING => json!({
            "endpoint_id": OTHER,
            "kind": "webhook",
            "description": "Ticket system",
            "failing_since": "2026-02-25T15:00:00.000Z",
        }),
        _ => json!({
            "endpoint_id": OTHER,
            "kind": "webhook",
            "description": "Ticket system",
            "reason": "failing",
            "failing_since": "2026-02-25T15:00:00.000Z",
        }),
    };
    json!({"type": kind, "timestamp": AT, "data": data})
}

fn data(kind: &str) -> Value {
    match kind {
        "conversation.started" => json!({
            "agent_id": "agent_1", "agent_name": "Reception", "channel": "phone", "direction": "inbound",
            "caller_number": "+12025550123", "client_id": "acme", "started_at": AT,
        }),
        "conversation.updated" => json!({"status": "in_progress", "language": "en"}),
        "conversation.ended" => json!({
            "status": "completed", "end_reason": "user_ended", "end_reason_detail": "user_hangup",
            "ended_at": "2026-03-02T15:03:04.168Z", "duration_ms": 180_000,
            "cost": {"amount_micros": 120_000, "currency": "USD", "source": "provider"},
        }),
        "conversation.analyzed" => json!({
            "authority": "provider", "call_successful": "success", "summary": "The caller booked an appointment.",
            "sentiment": "positive", "sentiment_score": 0.6, "topics": ["appointment"], "resolution_status": "resolved",
            "outcome": {"result": "appointment_booked"}, "custom_analysis": {"day": "Friday"},
        }),
        "conversation.patched" => json!({"tags": ["vip"], "client_id": null}),
        "turn.added" | "turn.updated" => turn(),
        "transcript.updated" => json!({"turns": [turn()]}),
        "transcript.completed" => json!({"turns": [turn()], "revision": 1}),
        "session.started" => json!({"session_id": "1", "agent_id": "agent_1"}),
        "session.ended" => json!({"session_id": "1", "agent_id": "agent_1", "reason": "transferred"}),
        "transfer.updated" => json!({"state": "bridged", "destination": "+12025550199"}),
        "recording.available" => json!({
            "object_key": "stored", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "size_bytes": 1_440_000, "content_type": "audio/mpeg", "duration_ms": 180_000, "channel": "mixed",
        }),
        "recording.failed" => json!({"channel": "mixed", "reason": "the server answered with status 404"}),
        "feedback.given" => json!({"rating": 5, "comment": "Very helpful."}),
        "error.raised" => json!({"code": "llm_timeout", "message": "the model did not answer", "component": "llm"}),
        "speech.updated" => json!({"role": "user", "state": "started"}),
        "control.accepted" => json!({"command_id": OTHER, "command": "say", "text": "One moment, please.", "holder": "Ms Lee"}),
        "control.applied" => json!({"command_id": OTHER, "command": "say"}),
        "control.rejected" => json!({
            "command_id": OTHER, "command": "transfer", "reason": "unsupported",
            "detail": "the provider cannot transfer a running call",
        }),
        "control.lease_changed" => json!({"state": "taken", "holder": "Ms Lee", "expires_at": "2026-03-02T15:00:34.168Z"}),
        _ => json!({
            "alert_id": OTHER, "rule_id": "2d4f6a8c-0e1b-4c3d-8f5a-6b7c8d9e0f1a", "rule_name": "Caller is upset",
            "severity": "warning", "evidence": {"sentiment_score": -0.8},
        }),
    }
}

fn turn() -> Value {
    json!({
        "turn_id": OTHER, "index": 3, "role": "user", "text": "Friday, please.", "start_ms": 4_168, "end_ms": 5_020,
        "words": [
            {"text": "Friday,", "start_ms": 4_168, "end_ms": 4_610},
            {"text": "please.", "start_ms": 4_610, "end_ms": 5_020},
        ],
        "at": AT, "final": true,
    })
}
