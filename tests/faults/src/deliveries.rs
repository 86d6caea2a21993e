//! The deliveries every test sends: always the same, so that what must come of them is known.

use colloquy_e2e::samples;
use colloquy_types::Provider;
use serde_json::{Value, json};
use uuid::Uuid;

/// How many conversations come as native events, one request an event.
const NATIVE: u32 = 40;
/// How many calls come as webhooks, beside the samples.
const CALLS: u32 = 40;

/// One request.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A signed webhook of a provider.
    Webhook(Provider, Vec<u8>),
    /// A body for `POST /v1/events`.
    Events(Value),
}

/// Returns all deliveries, in the order of the calls they tell of.
pub fn deliveries() -> Vec<Delivery> {
    let samples = samples();
    let mut all: Vec<Delivery> = samples.iter().map(|sample| Delivery::Webhook(sample.provider, sample.body.clone())).collect();
    for number in 0..NATIVE {
        all.extend(native(number).map(|event| Delivery::Events(json!({ "events": [event] }))));
    }
    for number in 0..CALLS {
        for name in ["call_started", "call_ended"] {
            let sample = samples.iter().find(|sample| sample.provider == Provider::Retell && sample.name == name).unwrap();
            let mut body: Value = serde_json::from_slice(&sample.body).unwrap();
            body["call"]["call_id"] = json!(format!("call_{number:028x}"));
            all.push(Delivery::Webhook(Provider::Retell, serde_json::to_vec(&body).unwrap()));
        }
    }
    all
}

fn native(number: u32) -> [Value; 5] {
    let conversation = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number));
    let event = |part: u32, kind: &str, data: Value| {
        json!({"event_id": format!("{conversation}-{part}"), "conversation_id": conversation, "type": kind,
               "occurred_at": format!("2026-03-02T15:{:02}:{:02}Z", number % 60, part * 10), "data": data})
    };
    let turn = |index: u32, role: &str| {
        json!({"role": role, "index": index, "text": format!("turn {index} of conversation {number}"),
               "start_ms": index * 4_000, "end_ms": index * 4_000 + 3_000})
    };
    [
        event(
            0,
            "conversation.started",
            json!({"agent_id": "agent-7", "channel": "phone", "tags": ["fault"], "metadata": {"n": number}}),
        ),
        event(1, "turn.added", turn(0, "agent")),
        event(2, "turn.added", turn(1, "user")),
        event(3, "turn.added", turn(2, "agent")),
        event(4, "conversation.ended", json!({"status": "completed", "end_reason": "user_ended", "duration_seconds": 40})),
    ]
}
