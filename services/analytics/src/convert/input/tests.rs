use colloquy_events::CallSuccessful;
use colloquy_types::{ConversationId, TurnId};
use serde_json::json;

use super::*;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn record() -> pb::Conversation {
    pb::Conversation {
        conversation_id: ConversationId::generate().to_string(),
        organization_id: "acme".to_owned(),
        provider: "vapi".to_owned(),
        status: pb::ConversationStatus::Completed.into(),
        created_at: at(1_000),
        ..Default::default()
    }
}

fn turn(role: transcript::TurnRole) -> transcript::Turn {
    transcript::Turn { turn_id: TurnId::generate().to_string(), role: role.into(), ..Default::default() }
}

fn field(record: &pb::Conversation, turns: Vec<transcript::Turn>) -> String {
    Input::of(record, turns).unwrap_err().field
}

#[test]
fn a_record_of_which_little_is_known_is_read() {
    let read = Input::of(&record(), Vec::new()).unwrap();
    assert_eq!((read.record.provider.as_str(), read.record.status), ("vapi", Status::Completed));
    assert_eq!((read.record.created_at.as_millis(), read.record.started_at), (1_000_000, None));
    assert!(read.record.judgements.is_empty() && read.record.latency_ms.is_empty() && read.turns.is_empty());
}

#[test]
fn everything_analytics_makes_use_of_is_read() {
    let record = pb::Conversation {
        caller: Some(pb::Caller { number: Some("+12025550123".to_owned()), name: Some("A Person".to_owned()) }),
        failure: Some(pb::Failure { code: Some("no_answer".to_owned()), message: None }),
        outcome: Some(pb::Outcome { result: Some("booked".to_owned()), ..Default::default() }),
        technical: Some(pb::Technical {
            latency_ms_json: r#"{"llm": [1, 2]}"#.to_owned(),
            errors: vec![pb::ConversationError { code: "tts".to_owned(), at: at(5), ..Default::default() }],
            ..Default::default()
        }),
        cost: Some(pb::Cost { amount_micros: 7, currency: "USD".to_owned(), source: "provider".to_owned() }),
        feedback: vec![pb::Feedback { thumbs: Some("down".to_owned()), at: at(9), ..Default::default() }],
        judgements: vec![pb::Judgement {
            authority: "human".to_owned(),
            call_successful: "failure".to_owned(),
            ..Default::default()
        }],
        ..record()
    };
    let read = Input::of(&record, Vec::new()).unwrap().record;
    assert_eq!((read.caller.as_deref(), read.failure_code.as_deref()), (Some("+12025550123"), Some("no_answer")));
    assert_eq!((read.outcome.as_deref(), read.cost.unwrap().amount_micros), (Some("booked"), 7));
    assert_eq!((read.latency_ms["llm"].clone(), read.errors[0].code.as_str()), (json!([1, 2]), "tts"));
    assert_eq!((read.feedback[0].thumbs_up, read.feedback[0].at.unwrap().as_millis()), (Some(false), 9_000));
    assert_eq!(read.judgements["human"].call_successful, Some(CallSuccessful::Failure));
}

#[test]
fn a_turn_keeps_the_times_it_has_and_loses_those_that_were_estimated() {
    let timed = |timing: transcript::Timing| transcript::Turn {
        start_ms: Some(100),
        end_ms: Some(900),
        timing: timing.into(),
        ..turn(transcript::TurnRole::User)
    };
    let turns = vec![timed(transcript::Timing::Turn), timed(transcript::Timing::Word), timed(transcript::Timing::Estimated)];
    let read = Input::of(&record(), turns).unwrap().turns;
    let times: Vec<_> = read.iter().map(|turn| (turn.start_ms, turn.end_ms)).collect();
    assert_eq!(times, [(Some(100), Some(900)), (Some(100), Some(900)), (None, None)]);
    let half = transcript::Turn { start_is_told: true, ..timed(transcript::Timing::Estimated) };
    let other = transcript::Turn { end_is_told: true, ..timed(transcript::Timing::Estimated) };
    let read = Input::of(&record(), vec![half, other]).unwrap().turns;
    let times: Vec<_> = read.iter().map(|turn| (turn.start_ms, turn.end_ms)).collect();
    assert_eq!(times, [(Some(100), None), (None, Some(900))]);
}

#[test]
fn a_turn_comes_with_its_words_tools_and_message() {
    let turns = vec![transcript::Turn {
        index: 3,
        text: Some("hello there".to_owned()),
        heard_text: Some("hello".to_owned()),
        words: vec![transcript::Word { text: "hello".to_owned(), start_ms: 1, end_ms: 2 }],
        tool_call: Some(transcript::ToolCall { arguments_json: Some(r#"{"a":1}"#.to_owned()), ..Default::default() }),
        tool_result: Some(transcript::ToolResult { is_error: Some(true), ..Default::default() }),
        message: Some(transcript::TurnMessage {
            direction: Some("inbound".to_owned()),
            attachments_json: Some("[1]".to_owned()),
            ..Default::default()
        }),
        partial: true,
        ..turn(transcript::TurnRole::Agent)
    }];
    let read = Input::of(&record(), turns).unwrap().turns.remove(0);
    assert_eq!((read.index, read.role, read.heard(), read.is_final), (Some(3), Role::Agent, Some("hello"), false));
    assert_eq!(read.words, [Word { text: "hello".to_owned(), start_ms: 1, end_ms: 2 }]);
    assert_eq!(read.tool_call.unwrap().arguments, Some(json!({"a": 1})));
    assert_eq!((read.tool_result.unwrap().is_error, read.message.unwrap().attachments), (Some(true), vec![json!(1)]));
}

#[test]
fn what_cannot_be_read_is_named_and_not_quoted() {
    assert_eq!(field(&pb::Conversation { conversation_id: "?".to_owned(), ..record() }, Vec::new()), "conversation_id");
    assert_eq!(field(&pb::Conversation { status: 99, ..record() }, Vec::new()), "status");
    assert_eq!(field(&pb::Conversation { created_at: None, ..record() }, Vec::new()), "created_at");
    let technical = pb::Technical { quality_json: "[secret".to_owned(), ..Default::default() };
    let error = Input::of(&pb::Conversation { technical: Some(technical), ..record() }, Vec::new()).unwrap_err();
    assert_eq!((error.field.as_str(), error.message.contains("secret")), ("technical.quality_json", false));
    let judgement = pb::Judgement { authority: "nobody".to_owned(), ..Default::default() };
    assert_eq!(field(&pb::Conversation { judgements: vec![judgement], ..record() }, Vec::new()), "judgements[0].authority");
    let turns = vec![turn(transcript::TurnRole::User), turn(transcript::TurnRole::Unspecified)];
    assert_eq!(field(&record(), turns), "turns[1].role");
}
