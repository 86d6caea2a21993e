//! What is told of a conversation while it runs.

use std::collections::HashSet;

use colloquy_events::{ControlOffer, Data, Event, Role, Speech, SpeechState, TransferState, order, turn_set};
use colloquy_providers::redact;
use colloquy_types::{EventId, Provider};
use serde_json::{Value, json};

use crate::{events_of, received_at, sample, try_map};

const CONTROL_URL: &str = "https://voice.example/call1/control";

/// A message of a Vapi call that was made at 15:00:00 on 2 March 2026, so many milliseconds later.
fn vapi(kind: &str, after_ms: i64, fields: Value) -> Vec<Event> {
    try_map(Provider::Vapi, vapi_body(kind, after_ms, fields).to_string().as_bytes(), received_at()).unwrap()
}

fn vapi_body(kind: &str, after_ms: i64, fields: Value) -> Value {
    let mut message = json!({"type": kind, "timestamp": 1_772_463_600_000 + after_ms, "call": {"id": "call1", "status": "in-progress",
        "createdAt": "2026-03-02T15:00:00.000Z", "type": "webCall", "assistantId": "a1",
        "monitor": {"listenUrl": "wss://voice.example/call1/listen", "controlUrl": CONTROL_URL}}});
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"message": message})
}

/// Live messages that there are no samples of.
pub(crate) fn invented(provider: Provider) -> Vec<Value> {
    let squad = json!({"fromAssistant": {"id": "a1"}, "toAssistant": {"id": "a2", "name": "Bo"}});
    let chat = json!({"chat_id": "chat1", "agent_id": "a", "chat_status": "ongoing", "chat_type": "sms_chat",
        "start_timestamp": 1_772_463_600_000_i64, "message_with_tool_calls": [{"message_id": "m1", "role": "agent", "content": "Hello",
        "created_timestamp": 1_772_463_600_100_i64}, {"role": "user", "content": "Hi", "words": []}]});
    match provider {
        Provider::Vapi => vec![
            vapi_body("speech-update", 1, json!({"role": "user", "status": "started", "turn": 2})),
            vapi_body("user-interrupted", 2, json!({"turnId": "t"})),
            vapi_body("transfer-update", 3, squad),
            vapi_body("language-change-detected", 4, json!({"language": "de"})),
            vapi_body("assistant.started", 5, json!({"newAssistant": {"id": "a2"}})),
            vapi_body("hang", 6, json!({})),
        ],
        Provider::Retell => vec![json!({"event": "transcript_updated", "chat": chat})],
        _ => Vec::new(),
    }
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.event_id).collect()
}

/// Returns what events of `kind` say.
fn of_kind<'a>(events: &'a [Event], kind: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.data.kind() == kind).collect()
}

#[test]
fn who_speaks_right_now_is_told_and_is_no_part_of_the_record() {
    let table = [
        ("user", "started", Role::User, SpeechState::Started),
        ("assistant", "stopped", Role::Agent, SpeechState::Stopped),
        ("bot", "started", Role::Agent, SpeechState::Started),
    ];
    for (role, status, expected_role, state) in table {
        let events = vapi("speech-update", 1_000, json!({"role": role, "status": status, "turn": 2}));
        let told: Vec<&Data> = events.iter().filter(|event| !event.data.is_of_the_record()).map(|event| &event.data).collect();
        let speech = Data::SpeechUpdated(Speech { role: expected_role, state });
        assert_eq!(told, [&speech, &Data::ControlOffered(ControlOffer { url: CONTROL_URL.to_owned() })]);
    }
    let events = vapi("user-interrupted", 1_000, json!({"turnId": "t"}));
    let speech = of_kind(&events, "speech.updated")[0];
    assert_eq!(speech.data, Data::SpeechUpdated(Speech { role: Role::Agent, state: SpeechState::Stopped }));
    assert_eq!(speech.occurred_at.as_millis(), 1_772_463_601_000);
    for fields in [json!({"role": "tool", "status": "started"}), json!({"role": "user", "status": "shouted"}), json!({})] {
        assert_eq!(vapi("speech-update", 1_000, fields), []);
    }
}

#[test]
fn every_time_somebody_speaks_is_told_once() {
    let at = |after_ms, turn| ids(&vapi("speech-update", after_ms, json!({"role": "user", "status": "started", "turn": turn})));
    assert_eq!(at(1_000, 1), at(1_000, 1));
    let different: HashSet<EventId> = [at(1_000, 1), at(1_000, 2), at(2_000, 2)].map(|ids| ids[1]).into();
    assert_eq!(different.len(), 3);
}

#[test]
fn where_a_call_is_steered_is_one_event_however_often_it_is_told() {
    let mut offers = Vec::new();
    for (kind, fields) in [
        ("status-update", json!({"status": "ringing"})),
        ("status-update", json!({"status": "in-progress"})),
        ("status-update", json!({"status": "forwarding"})),
        ("transcript", json!({"role": "user", "transcriptType": "partial", "transcript": "he"})),
        ("conversation-update", json!({"messages": []})),
        ("speech-update", json!({"role": "user", "status": "started"})),
        ("transfer-update", json!({"destination": {"number": "+12025550177"}})),
        ("language-change-detected", json!({"language": "de"})),
        ("assistant.started", json!({})),
        ("hang", json!({})),
    ] {
        let events = vapi(kind, offers.len() as i64, fields);
        let offered = of_kind(&events, "control.offered");
        assert_eq!(offered.len(), 1, "{kind}");
        assert!(events.iter().any(|event| event.data.is_of_the_record()), "{kind}");
        offers.push((offered[0].event_id, offered[0].occurred_at, offered[0].data.clone()));
    }
    assert!(offers.iter().all(|offer| *offer == offers[0]));

    let elsewhere = json!({"id": "call1", "monitor": {"controlUrl": "https://other.example/control"}});
    let other = vapi("hang", 1, json!({ "call": elsewhere }));
    assert_ne!(of_kind(&other, "control.offered")[0].event_id, offers[0].0);
}

#[test]
fn what_is_told_after_a_call_offers_no_control_of_it() {
    for (name, expected) in [
        ("status-update", 1),
        ("transcript", 1),
        ("transcript_partial", 1),
        ("conversation-update", 1),
        ("status-update_ended", 0),
        ("end-of-call-report", 0),
    ] {
        assert_eq!(of_kind(&events_of(Provider::Vapi, name), "control.offered").len(), expected, "{name}");
    }
    for (kind, fields) in [
        ("status-update", json!({"status": "ended"})),
        ("end-of-call-report", json!({})),
        (
            "transcript",
            json!({"role": "user", "transcript": "late", "call": {"id": "call1", "status": "ended",
            "monitor": {"controlUrl": CONTROL_URL}}}),
        ),
    ] {
        assert_eq!(of_kind(&vapi(kind, 1, fields), "control.offered").len(), 0, "{kind}");
    }
}

#[test]
fn the_address_is_in_nothing_but_its_event() {
    let nested = json!({"call": {"monitor": {"controlUrl": CONTROL_URL, "listenUrl": "wss://voice.example/call1/listen"}}});
    for (kind, fields) in [
        ("conversation-update", json!({"messages": []})),
        ("end-of-call-report", json!({"artifact": {"variableValues": nested, "messages": []}, "endedReason": "hangup"})),
        ("status-update", json!({"status": "in-progress", "artifact": {"variableValues": nested}})),
    ] {
        let body = vapi_body(kind, 1, fields.clone()).to_string();
        let stored = String::from_utf8(redact(Provider::Vapi, body.as_bytes())).unwrap();
        assert!(body.contains("voice.example") && !stored.contains("voice.example"), "{kind}");
        for event in vapi(kind, 1, fields).iter().filter(|event| event.data.is_public()) {
            assert!(!serde_json::to_string(&event.data).unwrap().contains("voice.example"), "{kind}");
        }
    }
}

#[test]
fn a_partial_transcript_is_told_once_and_another_of_the_same_moment_is_another() {
    let partial = |after_ms, role: &str, text: &str| {
        let events = vapi("transcript", after_ms, json!({"role": role, "transcriptType": "partial", "transcript": text}));
        of_kind(&events, "turn.added")[0].event_id
    };
    assert_eq!(partial(5, "user", "I want"), partial(5, "user", "I want"));
    let different: HashSet<EventId> = [
        partial(5, "user", "I want"),
        partial(5, "user", "I want to"),
        partial(6, "user", "I want"),
        partial(5, "assistant", "I want"),
    ]
    .into();
    assert_eq!(different.len(), 4);
}

#[test]
fn an_utterance_that_grows_without_times_replaces_its_shorter_self() {
    let body: Value = serde_json::from_slice(&sample(Provider::Retell, "transcript_updated")).unwrap();
    let with = |entries: &[Value]| {
        let mut body = body.clone();
        body["call"]["transcript_with_tool_calls"].as_array_mut().unwrap().extend_from_slice(entries);
        try_map(Provider::Retell, body.to_string().as_bytes(), received_at()).unwrap()
    };
    let said = |text: &str| json!({"role": "user", "content": text, "words": []});
    let tool = json!({"role": "tool_call_invocation", "tool_call_id": "x", "name": "n", "arguments": "{}"});
    let snapshots = [
        with(&[]),
        with(&[said("I")]),
        with(&[said("I would")]),
        with(&[said("I would like")]),
        with(&[said("I would like"), tool.clone()]),
        with(&[said("I would like"), tool, json!({"role": "agent", "content": "Of course", "words": []})]),
    ];
    for number in 1..snapshots.len() {
        // The later may be heard of first.
        let mut events = snapshots[number].clone();
        events.extend(snapshots[number - 1].clone());
        assert_eq!(turn_set::resolve(&events), turn_set::resolve(&snapshots[number]), "{number}");
    }
    // Its words take longer to say than they count for.
    let timed =
        json!({"role": "user", "content": "I would like", "words": [{"word": "I would like", "start": 60.0, "end": 60.9}]});
    let mut events = with(std::slice::from_ref(&timed));
    events.extend(snapshots[3].clone());
    assert_eq!(turn_set::resolve(&events), turn_set::resolve(&with(&[timed])));
}

#[test]
fn retell_transfers_are_told_step_by_step() {
    let body: Value = serde_json::from_slice(&sample(Provider::Retell, "transfer_started")).unwrap();
    for (event, state) in [
        ("transfer_started", TransferState::Started),
        ("transfer_bridged", TransferState::Bridged),
        ("transfer_cancelled", TransferState::Cancelled),
        ("transfer_ended", TransferState::Ended),
    ] {
        let mut body = body.clone();
        body["event"] = json!(event);
        let map = |body: &Value| try_map(Provider::Retell, body.to_string().as_bytes(), received_at()).unwrap();
        let events = map(&body);
        let Data::TransferUpdated(transfer) = &of_kind(&events, "transfer.updated")[0].data else { panic!("a transfer") };
        assert_eq!(transfer.state, state);
        assert!(transfer.destination.is_some(), "{event}");
        assert_eq!(ids(&map(&body)), ids(&events));
        body["transfer_destination"]["number"] = json!("+12025550199");
        assert_ne!(ids(&map(&body))[1], ids(&events)[1], "another destination is another transfer");
    }
}

#[test]
fn chats_of_retell_are_followed_while_they_run() {
    let message = |id: &str, role: &str, text: &str, at: i64| json!({"message_id": id, "role": role, "content": text, "created_timestamp": 1_772_463_600_000_i64 + at});
    let chat = |messages: &[Value]| {
        let body = json!({"event": "transcript_updated", "chat": {"chat_id": "chat1", "agent_id": "a", "chat_status": "ongoing",
            "chat_type": "api_chat", "start_timestamp": 1_772_463_600_000_i64, "message_with_tool_calls": messages}});
        try_map(Provider::Retell, body.to_string().as_bytes(), received_at()).unwrap()
    };
    let (first, second) = (message("m1", "agent", "Hello!", 0), message("m2", "user", "Hi.", 9_000));
    let mut events = chat(&[first.clone(), second]);
    events.extend(chat(&[first]));
    assert!(events.iter().all(|event| event.external_id == "chat1"));
    let turns = turn_set::resolve(&events);
    assert_eq!(turns.iter().filter_map(|turn| turn.text.as_deref()).collect::<Vec<_>>(), ["Hello!", "Hi."]);
    assert_eq!(turns[1].start_ms, Some(9_000));
}

#[test]
fn a_squad_hands_over_from_one_assistant_to_the_next() {
    let events = vapi("transfer-update", 9, json!({"fromAssistant": {"id": "a1"}, "toAssistant": {"id": "a2", "name": "Bo"}}));
    let kinds: Vec<&str> = events.iter().filter(|event| event.data.is_of_the_record()).map(|event| event.data.kind()).collect();
    assert_eq!(kinds, ["conversation.updated", "session.ended", "session.started"]);
    let outside = vapi("transfer-update", 9, json!({"destination": {"type": "number", "number": "+12025550177"}}));
    let Data::TransferUpdated(transfer) = &of_kind(&outside, "transfer.updated")[0].data else { panic!("a transfer") };
    assert_eq!((transfer.state, transfer.destination.as_deref()), (TransferState::Started, Some("+12025550177")));
}

#[test]
fn a_session_that_began_has_the_messages_it_began_with() {
    let events = events_of(Provider::AgentSession, "started");
    let turns = turn_set::resolve(&events);
    assert!(!turns.is_empty() && turns.iter().all(|turn| turn.is_final && turn.message.is_some()));
    // What comes when it ended counts, whichever is heard of first.
    let mut all = events_of(Provider::AgentSession, "ended");
    let ended = turn_set::resolve(&all);
    all.extend(events);
    all.sort_by_key(|event| std::cmp::Reverse(order::rank(event)));
    assert_eq!(turn_set::resolve(&all), ended);
}
