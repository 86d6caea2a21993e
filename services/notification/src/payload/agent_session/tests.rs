//! The samples of the family, mapped and made again, are what they were.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::standing::Standing;
use colloquy_events::{Data, Event, Facts, Role, Turn, order, turn_set};
use serde_json::json;

use super::*;
use crate::payload::catalogue::tests::assert_fits;
use crate::payload::samples;

/// What the canonical model does not keep of a message.
const NOT_KEPT: [&str; 2] = ["id", "updated_at"];

fn turn_to_pb(turn: Turn) -> transcript_pb::Turn {
    let role = match turn.role {
        Role::Agent => TurnRole::Agent,
        Role::User => TurnRole::User,
        Role::HumanAgent => TurnRole::HumanAgent,
        Role::Tool => TurnRole::Tool,
        Role::System => TurnRole::System,
    };
    transcript_pb::Turn {
        turn_id: turn.turn_id.to_string(),
        role: role.into(),
        speaker: turn.speaker,
        text: turn.text,
        heard_text: turn.heard_text,
        translated_text: turn.translated_text,
        start_ms: turn.start_ms,
        message: turn.message.map(|message| transcript_pb::TurnMessage {
            r#type: message.kind,
            direction: message.direction.map(|direction| direction.to_string()),
            from: message.from,
            to: message.to,
            delivery_status: message.delivery_status,
            attachments_json: (!message.attachments.is_empty()).then(|| json!(message.attachments).to_string()),
        }),
        at: turn.at.map(timestamp_to_pb),
        partial: !turn.is_final,
        ..Default::default()
    }
}

/// The record and the turns of a conversation, as the views answer them.
fn views(events: &[Event]) -> (conversation_pb::Conversation, Vec<transcript_pb::Turn>, Option<JsonMap>) {
    let mut ordered: Vec<&Event> = events.iter().collect();
    ordered.sort_by_key(|event| order::rank(event));
    let standing = Standing::of(&ordered);
    let mut record = conversation_pb::Conversation {
        conversation_id: events[0].conversation_id.to_string(),
        external_id: events[0].external_id.clone(),
        provider: events[0].provider.to_string(),
        started_at: standing.started_at.map(timestamp_to_pb),
        ended_at: standing.ended_at.map(timestamp_to_pb),
        call_successful: "unknown".to_owned(),
        ..Default::default()
    };
    let mut metadata = JsonMap::new();
    let mut agent_version = None;
    for event in ordered {
        if let Some(facts) = event.data.facts() {
            learn(&mut record, facts);
            metadata.extend(facts.metadata.clone().unwrap_or_default());
            agent_version = facts.agent_version.clone().or(agent_version);
        }
        match &event.data {
            Data::Ended(ended) => {
                record.end_reason.clone_from(&ended.end_reason);
                record.end_reason_detail.clone_from(&ended.end_reason_detail);
            }
            Data::Analyzed(analysis) => {
                record.summary.clone_from(&analysis.summary);
                record.call_successful = analysis.call_successful.map(|word| word.to_string()).unwrap_or_default();
                record.analytics = Some(conversation_pb::Analytics {
                    sentiment: analysis.sentiment.map(|sentiment| sentiment.to_string()),
                    custom_analysis_json: json!(analysis.custom_analysis).to_string(),
                    ..Default::default()
                });
            }
            _ => {}
        }
    }
    record.metadata_json = Value::Object(metadata).to_string();
    let about_turns: Vec<Event> = events.iter().filter(|event| event.data.is_about_turns()).cloned().collect();
    (record, turn_set::resolve(&about_turns).into_iter().map(turn_to_pb).collect(), agent_version)
}

fn learn(record: &mut conversation_pb::Conversation, facts: &Facts) {
    let over = |known: &mut Option<String>, told: &Option<String>| *known = told.clone().or(known.take());
    over(&mut record.agent_id, &facts.agent_id);
    over(&mut record.agent_name, &facts.agent_name);
    over(&mut record.agent_version_id, &facts.agent_version_id);
    over(&mut record.thread_id, &facts.thread_id);
    over(&mut record.language, &facts.language);
    over(&mut record.translation_language, &facts.translation_language);
    over(&mut record.channel, &facts.channel);
    if let Some(number) = &facts.caller_number {
        record.caller = Some(conversation_pb::Caller { number: Some(number.clone()), name: None });
    }
}

fn made_of(events: &[Event], phase: Phase) -> Value {
    let (record, turns, agent_version) = views(events);
    let told = Told {
        phase,
        message_id: Uuid::from_u128(7),
        at: "2026-03-02T15:15:21.131Z".parse().unwrap(),
        conversation: &record,
        turns: &turns,
        agent_version: agent_version.as_ref(),
    };
    let body: Value = serde_json::from_slice(&body(&told)).unwrap();
    assert_fits(phase.event_type(), &body);
    body
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// Checks that both have the same members in the same order, all the way down, and the same values where ours keeps them.
fn assert_same(path: &str, ours: &Value, theirs: &Value) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let (our_names, their_names): (Vec<_>, Vec<_>) = (ours.keys().collect(), theirs.keys().collect());
            assert_eq!(our_names, their_names, "{path}");
            for (name, value) in ours {
                let is_kept = !(path.starts_with("data.messages") && NOT_KEPT.contains(&name.as_str()));
                if is_kept {
                    assert_same(format!("{path}.{name}").trim_start_matches('.'), value, &theirs[name]);
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{path}");
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                assert_same(&format!("{path}[{index}]"), ours, theirs);
            }
        }
        // Ours know milliseconds.
        (Value::String(ours), Value::String(theirs)) if path.ends_with("created_at") => {
            assert_eq!((ours.len(), &ours[..23]), (theirs.len(), &theirs[..23]), "{path}");
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

#[test]
fn the_samples_come_out_as_they_came_in() {
    let mut events = Vec::new();
    for (phase, name) in [(Phase::Started, "started.json"), (Phase::Ended, "ended.json"), (Phase::Analyzed, "analyzed.json")] {
        let sample = samples::sample(Provider::AgentSession, name);
        events.extend(samples::events(Provider::AgentSession, &sample));
        let (mut ours, mut theirs) = (made_of(&events, phase), parsed(&sample));
        // The envelope's own facts are the message's.
        for name in ["created_at", "request_id"] {
            assert!(ours[name].is_string() && theirs[name].is_string());
            (ours[name], theirs[name]) = (Value::Null, Value::Null);
        }
        assert_same("", &ours, &theirs);
    }
}

#[test]
fn an_earlier_phase_does_not_tell_of_a_later_one() {
    let sample = samples::sample(Provider::AgentSession, "analyzed.json");
    let events = samples::events(Provider::AgentSession, &sample);
    let started = made_of(&events, Phase::Started);
    let ended = made_of(&events, Phase::Ended);
    for name in ["ended_at", "ended_reason"] {
        assert!(started["data"][name].is_null() && !ended["data"][name].is_null(), "{name}");
    }
    for name in ["chat_completion_rating", "chat_summary", "user_sentiment", "custom_analysis_data"] {
        assert!(ended["data"][name].is_null() && !made_of(&events, Phase::Analyzed)["data"][name].is_null(), "{name}");
    }
}

#[test]
fn conversations_of_every_provider_have_the_same_shape() {
    let sample = parsed(&samples::sample(Provider::AgentSession, "analyzed.json"));
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut messages = 0;
    for provider in [Provider::ElevenLabs, Provider::Retell, Provider::Vapi] {
        for events in samples::deliveries(provider).into_iter().filter(|events| !events.is_empty()) {
            let body = made_of(&events, Phase::Analyzed);
            assert_eq!(names(&body), names(&sample));
            assert_eq!(names(&body["data"]), names(&sample["data"]));
            assert_eq!(names(&body["data"]["agent_version"]), names(&sample["data"]["agent_version"]));
            assert_eq!(body["data"]["id"], events[0].conversation_id.to_string());
            for message in body["data"]["messages"].as_array().unwrap() {
                assert_eq!(names(message), names(&sample["data"]["messages"][0]));
                messages += 1;
            }
        }
    }
    assert!(messages > 0);
}

fn spoken(role: TurnRole, text: &str) -> transcript_pb::Turn {
    transcript_pb::Turn {
        turn_id: Uuid::from_u128(5).to_string(),
        role: role.into(),
        text: Some(text.to_owned()),
        ..Default::default()
    }
}

fn shown(conversation: &conversation_pb::Conversation, turns: &[transcript_pb::Turn], phase: Phase) -> Value {
    let told = Told { phase, message_id: Uuid::nil(), at: Timestamp::default(), conversation, turns, agent_version: None };
    parsed(&body(&told))
}

#[test]
fn the_transcript_is_what_was_heard_and_messages_are_what_was_spoken() {
    let turns = [
        transcript_pb::Turn { heard_text: Some("Hello".to_owned()), ..spoken(TurnRole::Agent, "Hello, how are you?") },
        spoken(TurnRole::Tool, "{}"),
        spoken(TurnRole::User, "fine,\nthanks"),
        spoken(TurnRole::User, "  "),
        transcript_pb::Turn { speaker: Some("u1".to_owned()), ..spoken(TurnRole::HumanAgent, "Lee here") },
        transcript_pb::Turn { partial: true, ..spoken(TurnRole::User, "goo") },
    ];
    let conversation = conversation_pb::Conversation {
        channel: Some("phone".to_owned()),
        caller: Some(conversation_pb::Caller { number: Some("+12025550123".to_owned()), name: None }),
        started_at: Some(prost_types::Timestamp { seconds: 1_772_463_600, nanos: 0 }),
        ..Default::default()
    };
    let started = shown(&conversation, &turns, Phase::Started);
    assert_eq!(started["data"]["chat_transcript"], "Agent: Hello\nUser: fine, thanks\nAgent: Lee here");
    assert_eq!(started["data"]["translated_chat_transcript"], Value::Null);
    let messages = started["data"]["messages"].as_array().unwrap();
    let told: Vec<_> = messages
        .iter()
        .map(|message| (message["direction"].as_str(), message["mode"].as_str(), message["user_id"].as_str()))
        .collect();
    let expected = [
        (Some("OUTBOUND"), Some("ai"), None),
        (Some("INBOUND"), Some("manual"), None),
        (Some("OUTBOUND"), Some("manual"), Some("u1")),
    ];
    assert_eq!(told, expected);
    assert_eq!((&messages[0]["to"], &messages[1]["from"]), (&json!("+12025550123"), &json!("+12025550123")));
    assert_eq!((&messages[0]["from"], &messages[0]["type"]), (&Value::Null, &json!("call")));
    // What was never finished counts once nothing more can come.
    let ended = shown(&conversation, &turns, Phase::Ended);
    assert!(ended["data"]["chat_transcript"].as_str().unwrap().ends_with("\nUser: goo"));
}

#[test]
fn the_translation_stands_where_there_is_one() {
    let turns = [
        transcript_pb::Turn { translated_text: Some("Good morning".to_owned()), ..spoken(TurnRole::User, "Guten Morgen") },
        spoken(TurnRole::Agent, "Hallo"),
    ];
    let conversation = conversation_pb::Conversation {
        language: Some("de".to_owned()),
        translation_language: Some("en".to_owned()),
        ..Default::default()
    };
    let body = shown(&conversation, &turns, Phase::Ended);
    assert_eq!(body["data"]["translated_chat_transcript"], "User: Good morning\nAgent: Hallo");
    assert_eq!(body["data"]["messages"][0]["translation_language"], "en");
    assert_eq!(shown(&conversation, &turns[1..], Phase::Ended)["data"]["translated_chat_transcript"], Value::Null);
}

#[test]
fn a_verdict_becomes_a_rating_and_what_nobody_said_is_null() {
    for (verdict, rating) in [("success", json!("complete")), ("failure", json!("incomplete")), ("unknown", Value::Null)] {
        let conversation = conversation_pb::Conversation {
            call_successful: verdict.to_owned(),
            analytics: Some(conversation_pb::Analytics::default()),
            ..Default::default()
        };
        let body = shown(&conversation, &[], Phase::Analyzed);
        assert_eq!(body["data"]["chat_completion_rating"], rating);
        assert_eq!(body["data"]["chat_transcript"], Value::Null);
        assert_eq!(body["data"]["custom_analysis_data"], Value::Null);
    }
}
