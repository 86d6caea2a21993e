//! What the samples mean, against the table that comes with them.

use std::collections::HashSet;

use colloquy_events::{
    CallSuccessful, Data, Direction, EndStatus, Event, Facts, LiveStatus, Recording, RecordingChannel, Role, Sentiment,
    TransferState, Turn, order, turn_set,
};
use colloquy_providers::splice::Splicer;
use colloquy_providers::{MapError, redact, spliced_field};
use colloquy_types::{EventId, Provider, Timestamp};
use serde_json::{Value, json};

use crate::{PROVIDERS, events_of, received_at, sample, samples_of, try_map};

/// What a delivery says of the state, in one word.
fn state(events: &[Event]) -> &'static str {
    let ended = events.iter().find_map(|event| match &event.data {
        Data::Ended(ended) => Some(ended.status.as_str()),
        _ => None,
    });
    let live = events.iter().rev().find_map(|event| match &event.data {
        Data::Updated(update) => update.status.map(LiveStatus::as_str),
        Data::Started(_) => Some("in_progress"),
        _ => None,
    });
    ended.or(live).unwrap_or("none")
}

fn analysis(events: &[Event]) -> (Option<CallSuccessful>, Option<Sentiment>) {
    let found = events.iter().find_map(|event| match &event.data {
        Data::Analyzed(analysis) => Some((analysis.call_successful, analysis.sentiment)),
        _ => None,
    });
    found.unwrap_or_default()
}

fn turns(events: &[Event]) -> Vec<Turn> {
    turn_set::resolve(events)
}

fn started(events: &[Event]) -> &Facts {
    let facts = events.iter().find_map(|event| match &event.data {
        Data::Started(facts) => Some(facts),
        _ => None,
    });
    facts.expect("a start")
}

fn recordings(events: &[Event]) -> Vec<&Recording> {
    let found = events.iter().filter_map(|event| match &event.data {
        Data::RecordingAvailable(recording) => Some(recording),
        _ => None,
    });
    found.collect()
}

/// The events as a reader would want to see them.
fn shown(events: &[Event]) -> String {
    let shown: Vec<Value> = events
        .iter()
        .map(|event| {
            json!({"event_id": event.event_id, "conversation_id": event.conversation_id, "external_id": event.external_id,
                "occurred_at": event.occurred_at, "ordinal": event.ordinal, "event": event.data})
        })
        .collect();
    serde_json::to_string_pretty(&shown).unwrap()
}

#[test]
fn every_sample_maps_to_what_it_always_mapped_to() {
    let mut count = 0;
    for provider in PROVIDERS {
        for (name, _) in samples_of(provider) {
            insta::assert_snapshot!(format!("{provider}__{name}"), shown(&events_of(provider, &name)));
            count += 1;
        }
    }
    assert_eq!(count, 24);
}

#[test]
fn every_sample_has_the_state_and_outcome_its_table_promises() {
    use CallSuccessful::{Failure, Success, Unknown};
    let table = [
        (Provider::ElevenLabs, "post_call_transcription", "completed", Some(Success), None),
        (Provider::ElevenLabs, "post_call_transcription_legacy", "completed", Some(Unknown), None),
        (Provider::ElevenLabs, "post_call_transcription_failed", "failed", None, None),
        (Provider::ElevenLabs, "post_call_audio", "none", None, None),
        (Provider::ElevenLabs, "call_initiation_failure", "abandoned", None, None),
        (Provider::ElevenLabs, "call_initiation_failure_sip", "abandoned", None, None),
        (Provider::Retell, "call_started", "in_progress", None, None),
        (Provider::Retell, "call_ended", "completed", None, None),
        (Provider::Retell, "call_analyzed", "completed", Some(Success), Some(Sentiment::Positive)),
        (Provider::Retell, "call_ended_dial_no_answer", "abandoned", None, None),
        (Provider::Retell, "transcript_updated", "none", None, None),
        (Provider::Retell, "transfer_started", "none", None, None),
        (Provider::Retell, "chat_started", "in_progress", None, None),
        (Provider::Retell, "chat_analyzed", "completed", Some(Success), Some(Sentiment::Neutral)),
        (Provider::Vapi, "end-of-call-report", "completed", Some(Success), None),
        (Provider::Vapi, "end-of-call-report_no_answer", "abandoned", None, None),
        (Provider::Vapi, "status-update", "in_progress", None, None),
        (Provider::Vapi, "status-update_ended", "completed", None, None),
        (Provider::Vapi, "transcript", "none", None, None),
        (Provider::Vapi, "transcript_partial", "none", None, None),
        (Provider::Vapi, "conversation-update", "none", None, None),
        (Provider::AgentSession, "started", "in_progress", None, None),
        (Provider::AgentSession, "ended", "completed", None, None),
        (Provider::AgentSession, "analyzed", "completed", Some(Failure), Some(Sentiment::Neutral)),
    ];
    for (provider, name, expected, success, sentiment) in table {
        let events = events_of(provider, name);
        assert_eq!(state(&events), expected, "{provider}/{name}");
        assert_eq!(analysis(&events), (success, sentiment), "{provider}/{name}");
    }
}

#[test]
fn only_the_fallback_time_depends_on_when_a_delivery_arrived() {
    let later = received_at().saturating_add_millis(86_400_000);
    for provider in PROVIDERS {
        for (name, body) in samples_of(provider) {
            let (now, then) = (try_map(provider, &body, received_at()).unwrap(), try_map(provider, &body, later).unwrap());
            for (now, then) in now.iter().zip(&then) {
                assert_eq!((now.event_id, &now.data), (then.event_id, &then.data), "{name}");
                let fallback = now.occurred_at == received_at() && then.occurred_at == later;
                assert!(fallback || now.occurred_at == then.occurred_at, "{name}");
            }
        }
    }
}

#[test]
fn the_person_is_the_caller_whichever_way_the_call_went() {
    for (provider, name, direction) in [
        (Provider::ElevenLabs, "post_call_transcription", Direction::Inbound),
        (Provider::ElevenLabs, "call_initiation_failure", Direction::Outbound),
        (Provider::ElevenLabs, "call_initiation_failure_sip", Direction::Outbound),
        (Provider::Retell, "call_ended", Direction::Inbound),
        (Provider::Retell, "call_ended_dial_no_answer", Direction::Outbound),
        (Provider::Vapi, "end-of-call-report", Direction::Inbound),
        (Provider::Vapi, "end-of-call-report_no_answer", Direction::Outbound),
        (Provider::AgentSession, "ended", Direction::Inbound),
    ] {
        let events = events_of(provider, name);
        let facts = started(&events);
        assert_eq!(facts.direction, Some(direction), "{provider}/{name}");
        assert_eq!(facts.caller_number.as_deref(), Some("+12025550143"), "{provider}/{name}");
    }
}

#[test]
fn a_turn_has_one_id_in_every_delivery_that_tells_of_it() {
    for (provider, poorer, richer) in [
        (Provider::Retell, "call_ended", "call_analyzed"),
        (Provider::Retell, "transcript_updated", "call_ended"),
        (Provider::Vapi, "status-update_ended", "end-of-call-report"),
        (Provider::Vapi, "conversation-update", "end-of-call-report"),
        (Provider::AgentSession, "started", "analyzed"),
        (Provider::AgentSession, "ended", "analyzed"),
    ] {
        let first: Vec<_> = turns(&events_of(provider, poorer)).iter().map(|turn| turn.turn_id).collect();
        let second: Vec<_> = turns(&events_of(provider, richer)).iter().map(|turn| turn.turn_id).collect();
        assert!(!first.is_empty(), "{provider}/{poorer}");
        assert_eq!(first[..], second[..first.len()], "{provider}/{poorer} and {richer}");
    }
}

#[test]
fn the_transcript_so_far_gives_way_to_the_final_one_whatever_comes_first() {
    let names = ["transcript", "transcript_partial", "conversation-update", "status-update_ended", "end-of-call-report"];
    let mut all: Vec<Event> = names.iter().flat_map(|name| events_of(Provider::Vapi, name)).collect();
    let forwards = turns(&all);
    all.reverse();
    assert_eq!(turns(&all), forwards);
    assert_eq!(forwards, turns(&events_of(Provider::Vapi, "end-of-call-report")));
    assert_eq!(forwards.len(), 6);
}

#[test]
fn interrupted_speech_keeps_what_was_meant_and_what_was_heard() {
    let turns = turns(&events_of(Provider::ElevenLabs, "post_call_transcription"));
    let cut = turns.iter().find(|turn| turn.heard_text.is_some()).expect("an interruption");
    assert_eq!(cut.heard_text.as_deref(), Some("Thursday at half past nine or two in the"));
    assert!(cut.text.as_deref().unwrap().ends_with("would both work for a cleaning."));
    let tools = turns.iter().filter(|turn| turn.role == Role::Tool).count();
    assert_eq!(tools, turns.iter().filter(|turn| turn.tool_call.is_some() || turn.tool_result.is_some()).count());
    assert!(turns.iter().any(|turn| turn.tool_result.as_ref().is_some_and(|result| result.is_error == Some(true))));
}

#[test]
fn retell_words_become_milliseconds_and_give_the_turn_its_times() {
    let turns = turns(&events_of(Provider::Retell, "call_ended"));
    let first = &turns[0];
    assert_eq!((first.start_ms, first.end_ms), (Some(640), Some(2480)));
    assert_eq!((first.words[0].start_ms, first.words[0].end_ms), (640, 930));
    let roles: Vec<Role> = turns.iter().map(|turn| turn.role).collect();
    use Role::{Agent, System, Tool, User};
    assert_eq!(roles, [Agent, User, System, Agent, Tool, Tool, Agent, User, Tool, Tool, User, Agent, Tool]);
}

#[test]
fn vapi_prompts_stay_out_and_times_come_from_the_clock() {
    let turns = turns(&events_of(Provider::Vapi, "end-of-call-report"));
    assert!(turns.iter().all(|turn| turn.role != Role::System && turn.words.is_empty()));
    assert_eq!((turns[0].start_ms, turns[0].end_ms), (Some(880), Some(3580)));
}

#[test]
fn recordings_are_found_and_the_signed_link_comes_first() {
    let events = events_of(Provider::Vapi, "end-of-call-report");
    let found: Vec<_> = recordings(&events).iter().map(|recording| (recording.channel, recording.url.clone().unwrap())).collect();
    assert_eq!(
        found.iter().map(|(channel, _)| *channel).collect::<Vec<_>>(),
        [RecordingChannel::Mixed, RecordingChannel::User, RecordingChannel::Agent]
    );
    assert!(found[0].1.ends_with("-mono.wav?sig=abc123"));
    let events = events_of(Provider::Retell, "call_ended");
    assert_eq!(recordings(&events)[0].content_type.as_deref(), Some("audio/wav"));
}

#[test]
fn a_redelivery_with_new_links_is_the_same_events() {
    let body = sample(Provider::Vapi, "end-of-call-report");
    let again = String::from_utf8(body.clone()).unwrap().replace("sig=abc123", "sig=another");
    let ids = |body: &[u8]| -> Vec<_> {
        try_map(Provider::Vapi, body, received_at()).unwrap().iter().map(|event| event.event_id).collect()
    };
    assert_eq!(ids(&body), ids(again.as_bytes()));
}

#[test]
fn the_recording_is_spliced_out_and_its_rest_still_maps() {
    let body = sample(Provider::ElevenLabs, "post_call_audio");
    let mut splicer = Splicer::new(spliced_field(Provider::ElevenLabs).unwrap(), 1 << 20);
    let mut audio = Vec::new();
    for chunk in body.chunks(97) {
        splicer.feed(chunk, &mut audio).unwrap();
    }
    let (rest, decoded) = splicer.finish().unwrap();
    assert_eq!((audio.len(), decoded), (1038, 1038));
    assert!(audio.starts_with(b"ID3"));
    let events = try_map(Provider::ElevenLabs, &rest, received_at()).unwrap();
    assert_eq!(events, events_of(Provider::ElevenLabs, "post_call_audio"));
    let found = recordings(&events)[0];
    assert_eq!((&found.url, &found.object_key, found.channel), (&None, &None, RecordingChannel::Mixed));
}

#[test]
fn neither_events_nor_stored_bodies_hold_a_secret() {
    for provider in PROVIDERS {
        for (name, body) in samples_of(provider) {
            let secret = "fake-token-that-must-be-redacted";
            let stored = String::from_utf8(redact(provider, &body)).unwrap();
            assert!(!stored.contains(secret), "{name}");
            let events = shown(&events_of(provider, &name));
            assert!(!events.contains(secret) && !events.contains("controlUrl") && !events.contains("listenUrl"), "{name}");
            // Mapped again, the stored body says the same, but no longer how to steer the call.
            let mut public = events_of(provider, &name);
            public.retain(|event| event.data.is_public());
            assert_eq!(try_map(provider, stored.as_bytes(), received_at()).unwrap(), public, "{name}");
        }
    }
}

#[test]
fn agents_that_hand_over_leave_a_session_each() {
    let mut body: Value = serde_json::from_slice(&sample(Provider::ElevenLabs, "post_call_transcription")).unwrap();
    let entries = body["data"]["transcript"].as_array_mut().unwrap();
    let last = entries.iter_mut().rev().find(|entry| entry["role"] == "agent").unwrap();
    last["agent_metadata"]["agent_id"] = json!("agent_second");
    let events = try_map(Provider::ElevenLabs, body.to_string().as_bytes(), received_at()).unwrap();
    let sessions: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.data {
            Data::SessionStarted(session) => Some(session.session_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(sessions, ["agent_2601kjq4x8n3eyz9v7m5c1d0abcd", "agent_second"]);
}

#[test]
fn a_transfer_to_a_person_is_known_by_its_result() {
    let mut body: Value = serde_json::from_slice(&sample(Provider::ElevenLabs, "post_call_transcription")).unwrap();
    let call = json!({"request_id": "t1", "tool_name": "transfer_to_number", "params_as_json": "{\"transfer_number\":\"+12025550177\"}"});
    let result = json!({"request_id": "t1", "tool_name": "transfer_to_number", "result_value": "ok", "is_error": false});
    body["data"]["transcript"][2]["tool_calls"] = json!([call]);
    body["data"]["transcript"][3]["tool_results"] = json!([result]);
    let events = try_map(Provider::ElevenLabs, body.to_string().as_bytes(), received_at()).unwrap();
    let ended = events.iter().find_map(|event| match &event.data {
        Data::Ended(ended) => Some(ended),
        _ => None,
    });
    let ended = ended.unwrap();
    assert_eq!((ended.status, ended.end_reason.as_deref()), (EndStatus::Completed, Some("transferred")));
    assert_eq!(ended.transferred_to.as_deref(), Some("+12025550177"));
    assert!(
        events
            .iter()
            .any(|event| matches!(&event.data, Data::TransferUpdated(transfer) if transfer.state == TransferState::Bridged))
    );
}

#[test]
fn handing_over_to_another_ai_agent_is_no_transfer_out_of_the_conversation() {
    let mut body: Value = serde_json::from_slice(&sample(Provider::ElevenLabs, "post_call_transcription")).unwrap();
    let call = json!({"request_id": "t1", "tool_name": "transfer_to_agent", "params_as_json": "{\"agent_id\":\"agent_second\"}"});
    let result = json!({"request_id": "t1", "tool_name": "transfer_to_agent", "result_value": "ok", "is_error": false});
    body["data"]["transcript"][2]["tool_calls"] = json!([call]);
    body["data"]["transcript"][3]["tool_results"] = json!([result]);
    let entries = body["data"]["transcript"].as_array_mut().unwrap();
    let last = entries.iter_mut().rev().find(|entry| entry["role"] == "agent").unwrap();
    last["agent_metadata"]["agent_id"] = json!("agent_second");
    let events = try_map(Provider::ElevenLabs, body.to_string().as_bytes(), received_at()).unwrap();
    let of_kind = |kind: &str| events.iter().filter(|event| event.data.kind() == kind).count();
    assert_eq!((of_kind("transfer.updated"), of_kind("session.started")), (0, 2));
}

/// The ids, times and scores of what is told once, of several deliveries in the order they came.
fn told_once(deliveries: &[&Value]) -> Vec<(EventId, i64, Option<u32>)> {
    let mut told: Vec<(EventId, i64, Option<u32>)> = Vec::new();
    for body in deliveries {
        for event in try_map(Provider::ElevenLabs, body.to_string().as_bytes(), received_at()).unwrap() {
            let rating = match &event.data {
                Data::FeedbackGiven(feedback) => feedback.rating,
                Data::ErrorRaised(_) => None,
                _ => continue,
            };
            if told.iter().all(|(id, ..)| *id != event.event_id) {
                told.push((event.event_id, event.occurred_at.as_millis(), rating));
            }
        }
    }
    told
}

#[test]
fn an_error_and_a_rating_are_told_once_however_many_deliveries_repeat_them() {
    let delivery = |kind: &str, status: &str, emitted: i64, rating: i64| {
        json!({"type": kind, "event_timestamp": 1_772_463_000 + emitted, "data": {"conversation_id": "c", "status": status, "transcript": [],
            "metadata": {"start_time_unix_secs": 1_772_463_000, "call_duration_secs": 60, "error": {"code": 1011, "reason": "llm"},
                "feedback": {"rating": rating}}}})
    };
    let at_second = |second: i64| (1_772_463_000 + second) * 1_000;
    let first = delivery("post_call_transcription", "processing", 900, 2);
    let second = delivery("post_call_transcription", "done", 1_000, 2);
    let unredacted = delivery("unredacted_transcript", "done", 1_001, 2);
    let again = delivery("post_call_transcription", "done", 2_000, 2);
    let told = told_once(&[&first, &second, &unredacted, &again]);
    let seen: Vec<_> = told.iter().map(|(_, at, rating)| (*at, *rating)).collect();
    // What failed did so before the end; the rating is told from the end on.
    assert_eq!(seen, [(at_second(60), None), (at_second(1_000), Some(2))]);
    let another = delivery("post_call_transcription", "done", 3_000, 4);
    let last = told_once(&[&second, &again, &another]).pop().unwrap();
    assert_eq!((last.1, last.2), (at_second(3_000), Some(4)), "another rating counts from when it was told");
}

#[test]
fn names_that_a_provider_uses_twice_give_no_id_twice() {
    let call = json!({"request_id": "t1", "tool_name": "transfer_to_number", "params_as_json": "{}"});
    let entries = json!([{"role": "agent", "tool_calls": [call, call]}, {"role": "agent", "tool_calls": [call]}]);
    let body = json!({"type": "post_call_transcription", "event_timestamp": 1_772_463_645, "data": {"conversation_id": "c",
        "status": "done", "transcript": entries, "metadata": {}}});
    let events = try_map(Provider::ElevenLabs, body.to_string().as_bytes(), received_at()).unwrap();
    let ids: HashSet<_> = events.iter().map(|event| event.event_id).collect();
    assert_eq!(ids.len(), events.len());
    let turns: HashSet<_> = turns(&events).iter().map(|turn| turn.turn_id).collect();
    assert_eq!(turns.len(), 3);
}

#[test]
fn a_longer_transcript_so_far_is_the_later_one() {
    let body: Value = serde_json::from_slice(&sample(Provider::Retell, "transcript_updated")).unwrap();
    let mut longer = body.clone();
    let entry = json!({"role": "tool_call_invocation", "tool_call_id": "x", "name": "n", "arguments": "{}"});
    longer["call"]["transcript_with_tool_calls"].as_array_mut().unwrap().push(entry);
    let of = |body: &Value| try_map(Provider::Retell, body.to_string().as_bytes(), received_at()).unwrap();
    let mut events = of(&longer);
    events.extend(of(&body));
    assert_eq!(turns(&events), turns(&of(&longer)));
    let facts: HashSet<_> =
        events.iter().filter(|event| matches!(event.data, Data::Updated(_))).map(|event| event.event_id).collect();
    assert_eq!(facts.len(), 1, "facts that are repeated are one event");
}

#[test]
fn of_two_deliveries_about_one_end_the_one_that_knows_more_wins() {
    for (provider, poorer, richer) in [
        (Provider::Retell, "call_ended", "call_analyzed"),
        (Provider::Vapi, "status-update_ended", "end-of-call-report"),
        (Provider::AgentSession, "ended", "analyzed"),
    ] {
        let end = |name: &str| {
            let events = events_of(provider, name);
            order::rank(events.iter().find(|event| matches!(event.data, Data::Ended(_))).unwrap())
        };
        assert!(end(poorer) < end(richer), "{provider}");
    }
}

#[test]
fn a_delivery_of_too_many_events_is_refused() {
    let event = json!({"event_id": "e", "conversation_id": "c", "type": "conversation.updated", "data": {}});
    let body = json!({"events": vec![event; 65_537]}).to_string();
    assert_eq!(try_map(Provider::Native, body.as_bytes(), received_at()), Err(MapError::TooManyEvents(65_537)));
}

#[test]
fn types_that_mean_nothing_to_a_record_are_understood() {
    let nothing = [
        (Provider::ElevenLabs, json!({"type": "voice_removal_notice", "data": {}})),
        (Provider::Retell, json!({"event": "call_inbound", "call_inbound": {}})),
        (Provider::Vapi, json!({"message": {"type": "speech-update", "call": {"id": "c"}}})),
        (Provider::Vapi, json!({"message": {"type": "user-interrupted"}})),
        (Provider::Vapi, json!({"message": {"type": "tool-calls"}})),
        (Provider::Vapi, json!({"message": {"type": "assistant-request"}})),
        (Provider::Vapi, json!({"message": {"type": "call.deleted"}})),
    ];
    for (provider, body) in nothing {
        assert_eq!(try_map(provider, body.to_string().as_bytes(), received_at()), Ok(vec![]), "{body}");
    }
}

#[test]
fn unknown_types_and_missing_ids_are_refused_with_a_reason() {
    let long = "x".repeat(257);
    let refused = [
        (Provider::ElevenLabs, json!({"type": "brand_new", "data": {"conversation_id": "c"}}), "unknown event type 'brand_new'"),
        (Provider::Retell, json!({"event": "brand_new", "call": {}}), "unknown event type 'brand_new'"),
        (Provider::Vapi, json!({"message": {"type": "brand-new"}}), "unknown event type 'brand-new'"),
        (Provider::AgentSession, json!({"event": "brand.new"}), "unknown event type 'brand.new'"),
        (Provider::ElevenLabs, json!({"type": "post_call_transcription"}), "data.conversation_id: is required"),
        (Provider::Retell, json!({"event": "call_ended"}), "chat: must be an object"),
        (Provider::Retell, json!({"event": "call_ended", "call": {"call_id": ""}}), "call.call_id: is required"),
        (
            Provider::Vapi,
            json!({"message": {"type": "end-of-call-report", "call": {"id": long}}}),
            "message.call.id: must not be longer than 256 bytes",
        ),
        (Provider::Vapi, json!({"type": "end-of-call-report"}), "message: must be an object"),
        (Provider::AgentSession, json!({"event": "conversation_agent_session.ended", "data": {}}), "data.id: is required"),
        (Provider::Native, json!({"events": 1}), "events: must be an array"),
    ];
    for (provider, body, reason) in refused {
        let error = try_map(provider, body.to_string().as_bytes(), received_at()).unwrap_err();
        assert_eq!(error.to_string(), reason, "{body}");
    }
    assert!(matches!(try_map(Provider::Vapi, b"[]", received_at()), Err(MapError::Malformed(_))));
    assert!(matches!(try_map(Provider::Vapi, b"{\"a\":\xff}", received_at()), Err(MapError::Malformed(_))));
}

#[test]
fn chats_and_sessions_of_vapi_become_conversations() {
    let chat = |session: Value| {
        json!({"message": {"type": "chat.created", "timestamp": 1_772_463_607_000_i64, "chat": {"id": "chat1", "sessionId": session,
            "assistantId": "a1", "createdAt": "2026-03-02T15:00:00.000Z", "input": "Hello?",
            "output": [{"role": "assistant", "content": "Hi."}]}}})
    };
    let alone = try_map(Provider::Vapi, chat(Value::Null).to_string().as_bytes(), received_at()).unwrap();
    assert_eq!((alone[0].external_id.as_str(), state(&alone)), ("chat1", "completed"));
    assert_eq!(turns(&alone).len(), 2);
    let within = try_map(Provider::Vapi, chat(json!("session1")).to_string().as_bytes(), received_at()).unwrap();
    assert_eq!((within[0].external_id.as_str(), state(&within)), ("session1", "in_progress"));
    assert_eq!(turns(&within).iter().map(|turn| turn.role).collect::<Vec<_>>(), [Role::User, Role::Agent]);
}

#[test]
fn times_that_cannot_be_are_left_out() {
    let mut body: Value = serde_json::from_slice(&sample(Provider::Retell, "call_ended")).unwrap();
    body["call"]["start_timestamp"] = json!(-5);
    body["call"]["end_timestamp"] = json!(1e300);
    let events = try_map(Provider::Retell, body.to_string().as_bytes(), received_at()).unwrap();
    assert_eq!(started(&events).started_at, None);
    assert!(events.iter().all(|event| event.occurred_at == received_at() || event.occurred_at < Timestamp::MAX));
}
