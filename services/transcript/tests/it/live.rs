//! Conversations while they run: what a reader sees of each provider's live messages, step by step, and in any order.

use colloquy_events::{Event, Role};
use colloquy_providers::{Context, map};
use colloquy_transcript::fold::{Transcript, fold};
use colloquy_transcript::kept;
use colloquy_types::{Provider, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::samples::{self, native, organization};

/// Returns what a delivery says, as it is when it was received so many milliseconds after 15:00:00 on 2 March 2026.
fn delivery(provider: Provider, body: &Value, received_after_ms: i64) -> Vec<Event> {
    let received_at = Timestamp::from_millis(1_772_463_600_000 + received_after_ms).unwrap();
    let context = Context { organization_id: &organization(), received_at };
    map(provider, body.to_string().as_bytes(), &context).unwrap().events
}

/// Returns the transcript that is kept of `deliveries`, heard of one by one.
fn transcript(deliveries: &[Vec<Event>]) -> Transcript {
    let records: Vec<_> = deliveries.iter().map(|events| samples::record(&organization(), events.clone())).collect();
    let rows = kept::rows(&records);
    let Some(id) = rows.first().map(|row| row.conversation_id) else { return fold(&[]) };
    let kept: Vec<_> = rows.into_iter().map(|row| row.kept).collect();
    fold(&kept::events(id, &kept).unwrap())
}

/// Returns the turns with words in them, partial ones with an ellipsis.
fn shown(deliveries: &[Vec<Event>]) -> Vec<String> {
    let turns = transcript(deliveries).turns;
    let spoken = turns.iter().filter(|turn| turn.is_spoken());
    spoken.map(|turn| format!("{}: {}{}", turn.role, turn.heard().unwrap(), if turn.is_final { "" } else { "…" })).collect()
}

/// Shows `deliveries` one more at a time, and that neither order nor repeats matter for what is shown in the end.
fn follow(steps: Vec<(Vec<Event>, &[&str])>) {
    let mut heard = Vec::new();
    for (events, expected) in steps {
        heard.push(events);
        assert_eq!(shown(&heard), expected, "after delivery {}", heard.len());
    }
    let expected = transcript(&heard);
    let again = prop::collection::vec(prop::sample::select(heard.clone()), 0..4);
    let any_order = again.prop_map(|again| [heard.clone(), again].concat()).prop_shuffle();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(100) });
    let tested = runner.run(&any_order, |heard| {
        prop_assert_eq!(transcript(&heard), expected.clone());
        Ok(())
    });
    tested.unwrap();
}

fn vapi(kind: &str, after_ms: i64, fields: Value) -> Vec<Event> {
    let mut message = json!({"type": kind, "timestamp": 1_772_463_600_000 + after_ms, "call": {"id": "call1", "status": "in-progress",
        "createdAt": "2026-03-02T14:59:59.000Z", "monitor": {"controlUrl": "https://voice.example/control"}}});
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    delivery(Provider::Vapi, &json!({"message": message}), after_ms + 40)
}

fn heard(role: &str, kind: &str, after_ms: i64, text: &str) -> Vec<Event> {
    vapi("transcript", after_ms, json!({"role": role, "transcriptType": kind, "transcript": text}))
}

fn history(after_ms: i64, entries: &[(&str, i64, &str)]) -> Vec<Event> {
    let prompt =
        json!({"role": "system", "message": "You are the front desk.", "time": 1_772_463_600_000_i64, "secondsFromStart": 0});
    let said = entries.iter().map(|(role, at, text)| {
        json!({"role": role, "message": text, "time": 1_772_463_600_000 + at, "endTime": 1_772_463_600_900_i64 + at,
            "secondsFromStart": *at as f64 / 1000.0})
    });
    let messages: Vec<Value> = std::iter::once(prompt).chain(said).collect();
    vapi("conversation-update", after_ms, json!({"messages": messages}))
}

#[test]
fn vapi_partial_turns_are_replaced_and_final_ones_stay() {
    let hello = ("bot", 100, "Hello, how can I help?");
    let move_it = ("user", 2_000, "I want to move it.");
    follow(vec![
        (vapi("status-update", 0, json!({"status": "in-progress"})), &[]),
        (vapi("speech-update", 50, json!({"role": "assistant", "status": "started"})), &[]),
        (heard("assistant", "partial", 400, "Hello"), &["agent: Hello…"]),
        (heard("assistant", "partial", 700, "Hello, how can"), &["agent: Hello, how can…"]),
        (heard("assistant", "final", 1_000, "Hello, how can I help?"), &["agent: Hello, how can I help?"]),
        // It overtook the final one, or was sent again.
        (heard("assistant", "partial", 900, "Hello, how can I"), &["agent: Hello, how can I help?"]),
        (heard("assistant", "partial", 1_000, "Hello, how can I hel"), &["agent: Hello, how can I help?"]),
        (heard("user", "partial", 2_200, "I want"), &["agent: Hello, how can I help?", "user: I want…"]),
        (heard("user", "final", 3_000, "I want to move it."), &["agent: Hello, how can I help?", "user: I want to move it."]),
        // The whole history so far takes the place of what was heard one by one.
        (history(3_050, &[hello, move_it]), &["agent: Hello, how can I help?", "user: I want to move it."]),
        // Older than it: late news of what is in it.
        (heard("user", "partial", 2_500, "I want to"), &["agent: Hello, how can I help?", "user: I want to move it."]),
        (heard("user", "final", 3_050, "I want to move it."), &["agent: Hello, how can I help?", "user: I want to move it."]),
        (history(1_100, &[hello]), &["agent: Hello, how can I help?", "user: I want to move it."]),
        (
            heard("assistant", "partial", 4_000, "When"),
            &["agent: Hello, how can I help?", "user: I want to move it.", "agent: When…"],
        ),
        (
            vapi("user-interrupted", 4_200, json!({})),
            &["agent: Hello, how can I help?", "user: I want to move it.", "agent: When…"],
        ),
        (
            heard("user", "partial", 4_300, "To Th"),
            &["agent: Hello, how can I help?", "user: I want to move it.", "agent: When…", "user: To Th…"],
        ),
        (
            heard("assistant", "final", 4_400, "When?"),
            &["agent: Hello, how can I help?", "user: I want to move it.", "agent: When?", "user: To Th…"],
        ),
    ]);
}

#[test]
fn vapi_says_again_what_was_said_before_and_it_is_said_twice() {
    follow(vec![
        (heard("user", "final", 1_000, "Yes."), &["user: Yes."]),
        (heard("user", "final", 2_000, "Yes."), &["user: Yes.", "user: Yes."]),
        (heard("user", "final", 2_000, "Yes."), &["user: Yes.", "user: Yes."]),
    ]);
    // Of one moment, in whichever order.
    let mut both = shown(&[heard("user", "final", 2_000, "Yes."), heard("user", "final", 2_000, "No.")]);
    both.sort();
    assert_eq!(both, ["user: No.", "user: Yes."]);
}

#[test]
fn vapi_calls_run_when_they_say_so_and_carry_what_they_were_told() {
    let ringing = vapi("status-update", 0, json!({"status": "ringing"}));
    assert_eq!(transcript(std::slice::from_ref(&ringing)).status.as_str(), "initiated");
    let speaking = vapi("speech-update", 10, json!({"role": "user", "status": "started"}));
    assert_eq!(transcript(&[ringing.clone(), speaking]).status.as_str(), "initiated", "what passes is not kept");
    let running = vapi("status-update", 20, json!({"status": "in-progress"}));
    let language = vapi("language-change-detected", 30, json!({"language": "de"}));
    let transcript = transcript(&[language, running, ringing]);
    assert_eq!((transcript.status.as_str(), transcript.language.as_deref()), ("in_progress", Some("de")));
}

fn retell(event: &str, entries: &[Value], received_after_ms: i64) -> Vec<Event> {
    let call = json!({"call_id": "call1", "agent_id": "a", "call_type": "web_call", "call_status": "ongoing",
        "start_timestamp": 1_772_463_600_000_i64, "transcript_with_tool_calls": entries});
    let destination = json!({"number": "+12025550177"});
    delivery(Provider::Retell, &json!({"event": event, "call": call, "transfer_destination": destination}), received_after_ms)
}

fn uttered(role: &str, start: f64, text: &str) -> Value {
    let words = text.split(' ').enumerate().map(|(number, word)| {
        let start = start + number as f64 * 0.3;
        json!({"word": word, "start": start, "end": start + 0.25})
    });
    json!({"role": role, "content": text, "words": words.collect::<Vec<_>>()})
}

#[test]
fn retells_transcript_so_far_is_replaced_by_the_longer_one() {
    let hello = uttered("agent", 0.5, "Hello there");
    let tool = json!({"role": "tool_call_invocation", "tool_call_id": "t", "name": "find", "arguments": "{}"});
    let untimed = json!({"role": "user", "content": "I would", "words": []});
    follow(vec![
        (retell("call_started", &[], 100), &[]),
        (retell("transcript_updated", &[uttered("agent", 0.5, "Hello")], 1_000), &["agent: Hello"]),
        (retell("transcript_updated", std::slice::from_ref(&hello), 1_500), &["agent: Hello there"]),
        (retell("transcript_updated", &[hello.clone(), untimed], 2_000), &["agent: Hello there", "user: I would"]),
        (
            retell("transcript_updated", &[hello.clone(), uttered("user", 1.9, "I would like a")], 2_500),
            &["agent: Hello there", "user: I would like a"],
        ),
        // An older one is late.
        (
            retell("transcript_updated", &[hello.clone(), uttered("user", 1.9, "I would")], 2_600),
            &["agent: Hello there", "user: I would like a"],
        ),
        (
            retell("transcript_updated", &[hello.clone(), uttered("user", 1.9, "I would like a"), tool], 2_700),
            &["agent: Hello there", "user: I would like a"],
        ),
        (retell("transfer_started", &[hello], 3_000), &["agent: Hello there", "user: I would like a"]),
    ]);
}

#[test]
fn a_session_of_messages_begins_with_those_there_are() {
    let message = |id: &str, direction: &str, body: &str, at: &str| json!({"id": id, "type": "SMS", "direction": direction, "mode": "ai", "body": body, "created_at": at});
    let body = json!({"event": "conversation_agent_session.started", "request_id": "r1", "created_at": "2026-03-02T15:00:01.000Z",
        "data": {"id": "s1", "conversation_id": "t1", "started_at": "2026-03-02T15:00:00.000Z", "messages": [
            message("m1", "INBOUND", "Are you open?", "2026-03-02T15:00:00.000Z"),
            message("m2", "OUTBOUND", "We are.", "2026-03-02T15:00:04.000Z")]}});
    let started = delivery(Provider::AgentSession, &body, 1_000);
    follow(vec![(started.clone(), &["user: Are you open?", "agent: We are."])]);
    let transcript = transcript(&[started]);
    assert_eq!(transcript.status.as_str(), "in_progress");
    assert_eq!(transcript.turns.iter().map(|turn| turn.start_ms).collect::<Vec<_>>(), [Some(0), Some(4_000)]);
}

#[test]
fn native_partial_turns_are_replaced_and_never_come_back() {
    let told = |event_id, kind, at, data| samples::native_record(&organization(), &[native(event_id, kind, at, data)]).events;
    follow(vec![
        (
            told("e1", "turn.added", "2026-03-02T15:00:01Z", r#"{"index": 0, "role": "agent", "text": "Hel", "final": false}"#),
            &["agent: Hel…"],
        ),
        (
            told(
                "e2",
                "turn.updated",
                "2026-03-02T15:00:02Z",
                r#"{"index": 0, "role": "agent", "text": "Hello", "final": false}"#,
            ),
            &["agent: Hello…"],
        ),
        (
            told("e3", "turn.added", "2026-03-02T15:00:02.500Z", r#"{"index": 1, "role": "user", "text": "Hi", "final": false}"#),
            &["agent: Hello…", "user: Hi…"],
        ),
        (
            told("e4", "turn.updated", "2026-03-02T15:00:03Z", r#"{"index": 0, "role": "agent", "text": "Hello!"}"#),
            &["agent: Hello!", "user: Hi…"],
        ),
        // Partial news of a turn that is closed, whatever its time says.
        (
            told(
                "e5",
                "turn.updated",
                "2026-03-02T15:00:09Z",
                r#"{"index": 0, "role": "agent", "text": "Hello! H", "final": false}"#,
            ),
            &["agent: Hello!", "user: Hi…"],
        ),
        (
            told("e6", "turn.added", "2026-03-02T15:00:10Z", r#"{"index": 1, "role": "user", "text": "Hi."}"#),
            &["agent: Hello!", "user: Hi."],
        ),
        (
            told("e7", "turn.added", "2026-03-02T15:00:11Z", r#"{"index": 2, "role": "agent", "text": "What", "final": false}"#),
            &["agent: Hello!", "user: Hi.", "agent: What…"],
        ),
    ]);
}

#[test]
fn what_is_partial_is_marked_so_to_whoever_reads_it() {
    let partial = transcript(&[heard("user", "partial", 1_000, "I want")]);
    assert_eq!((partial.turns[0].role, partial.turns[0].is_final), (Role::User, false));
    assert!(transcript(&[heard("user", "final", 1_000, "I want")]).turns[0].is_final);
}
