//! The ElevenLabs-shaped routes.

use colloquy_proto::conversation::v1::{Conversation, ConversationStatus, RecordingSummary};
use serde_json::{Value, json};

use crate::fake::{Fake, RECORDING};

fn conversation() -> Conversation {
    let metadata = json!({
        "metadata": {"accepted_time_unix_secs": 5, "phone_call": {"type": "twilio"}},
        "analysis": {"evaluation_criteria_results": {}, "call_summary_title": "A title"},
        "conversation_initiation_client_data": {"dynamic_variables": {"a": 1}},
    });
    Conversation {
        conversation_id: "01980000-0000-7000-8000-000000000001".into(),
        external_id: "conv_1".into(),
        provider: "elevenlabs".into(),
        status: ConversationStatus::Completed as i32,
        started_at: Some(prost_types::Timestamp { seconds: 1_772_463_600, nanos: 0 }),
        duration_ms: Some(180_900),
        summary: Some("They spoke.".into()),
        call_successful: "success".into(),
        recording: Some(RecordingSummary { available: true, channels: vec!["mixed".into()], ..Default::default() }),
        metadata_json: metadata.to_string(),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_list_speaks_their_language() {
    let fake = Fake::default();
    let path = "/v1/convai/conversations?agent_id=a&call_duration_min_secs=10&call_duration_max_secs=20&user_id=u\
        &call_start_after_unix=1&call_start_before_unix=2&call_successful=failure&main_languages=en&sort_direction=asc\
        &summary_mode=include&page_size=1&cursor=c&include_invalid_tool_calls=false";
    let answer = fake.get_with(path, &[("xi-api-key", "k")]).await;
    assert_eq!(answer.status, 200);
    let call = fake.last("ListConversations");
    for part in ["duration_min_ms: Some(10000)", "language: Some(\"en\")", "order_by: \"created_at\"", "include_summary: true"] {
        assert!(call.message.contains(part), "{part} in {}", call.message);
    }
    assert_eq!(call.api_key.as_deref(), Some("k"));
    let page = answer.json();
    assert_eq!((&page["next_cursor"], &page["has_more"]), (&json!("next"), &json!(true)));
    let entry = &page["conversations"][0];
    for (key, value) in [
        ("agent_id", json!("")),
        ("conversation_id", json!("conv_1")),
        ("start_time_unix_secs", json!(1_772_463_600)),
        ("call_duration_secs", json!(180)),
        ("message_count", json!(0)),
        ("status", json!("done")),
        ("call_successful", json!("unknown")),
    ] {
        assert_eq!(entry[key], value, "{key}");
    }
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let fake = Fake::default();
    let path = "/v1/convai/conversations?tool_names=a&tool_names=b&search=x&page_size=0&include_invalid_tool_calls=true&main_languages=a\
        &main_languages=b&nonsense=1";
    let bad = fake.get(path).await.bad_fields();
    for field in ["tool_names", "search", "page_size", "include_invalid_tool_calls", "main_languages", "nonsense"] {
        assert!(bad.iter().any(|bad| bad == field), "{field} in {bad:?}");
    }
}

#[tokio::test]
async fn their_header_is_a_key_on_their_routes_only() {
    let fake = Fake::default();
    assert_eq!(fake.get_with("/v1/conversations", &[("xi-api-key", "k")]).await.status, 401);
    fake.get_with("/v1/convai/conversations", &[("xi-api-key", "k"), ("x-api-key", "own")]).await;
    assert_eq!(fake.last("ListConversations").api_key.as_deref(), Some("own"));
}

#[tokio::test]
async fn a_conversation_is_found_by_its_providers_id() {
    let fake = Fake::default();
    fake.set_conversation(conversation());
    let answer = fake.get("/v1/convai/conversations/conv_1?format=json").await;
    assert_eq!(answer.status, 200);
    let found = answer.json();
    assert_eq!(
        (&found["conversation_id"], &found["status"], &found["has_audio"]),
        (&json!("conv_1"), &json!("done"), &json!(true))
    );
    assert_eq!((&found["has_user_audio"], &found["has_auxiliary_audio"]), (&json!(true), &json!(false)));
    assert_eq!(found["metadata"]["start_time_unix_secs"], 1_772_463_600);
    assert_eq!(found["metadata"]["call_duration_secs"], 180);
    assert_eq!(found["metadata"]["accepted_time_unix_secs"], 5);
    assert_eq!(found["metadata"]["phone_call"], Value::Null, "half a phone call would make their parser throw");
    assert_eq!(found["analysis"]["transcript_summary"], "They spoke.");
    assert_eq!(found["analysis"]["call_summary_title"], "A title");
    assert_eq!(found["conversation_initiation_client_data"]["dynamic_variables"]["a"], 1);
    assert_eq!(fake.get("/v1/convai/conversations/conv_1?format=opentelemetry").await.bad_fields(), ["format"]);

    let id = conversation().conversation_id;
    for name in [format!("elevenlabs:{}", conversation().external_id), id] {
        assert_eq!(fake.get(&format!("/v1/convai/conversations/{name}")).await.status, 200, "{name}");
    }
    fake.set_conversation(Conversation { provider: "retell".into(), external_id: "call_9".into(), ..conversation() });
    let other = fake.get("/v1/convai/conversations/call_9").await;
    assert_eq!((other.status.as_u16(), &other.json()["conversation_id"]), (200, &json!("call_9")));
    assert_eq!(
        other.json()["conversation_initiation_client_data"],
        Value::Null,
        "another provider may mean another thing by a name"
    );
}

#[tokio::test]
async fn the_recording_is_the_bytes() {
    let fake = Fake::default();
    fake.set_conversation(conversation());
    let answer = fake.get("/v1/convai/conversations/conv_1/audio").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, RECORDING));
}

#[tokio::test]
async fn a_withheld_transcript_is_not_an_empty_one() {
    let fake = Fake::default();
    fake.fail("GetTranscript", tonic::Status::permission_denied("lacks transcripts:read"));
    assert_eq!(fake.get("/v1/convai/conversations/conv_1").await.status, 403);
}
