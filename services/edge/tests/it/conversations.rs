//! Lists, records, changes, history, feedback and agents.

use http::Method;
use serde_json::{Value, json};
use tonic::Status;

use crate::fake::{Fake, KNOWN, request};

#[tokio::test]
async fn every_parameter_of_the_list_arrives() {
    let fake = Fake::default();
    let path = "/v1/conversations?agent_id=a%201&client_id=c&user_id=u&caller=%2B12025550123&provider=retell&channel=phone\
        &status=completed&call_successful=success&resolution_status=resolved&outcome=o&sentiment=positive&language=en&topic=t\
        &tag=x&tag=y&call_start_after_unix=100&started_after=1970-01-01T00:00:50Z&call_start_before_unix=300\
        &started_before=1970-01-01T00:04:10.5Z&duration_min_seconds=1.5&duration_max_seconds=60&summary_mode=include\
        &sort=-turn_count&page_size=2&cursor=abc&include_total=true&min_position=77&search=%22no%20refund%22\
        &filter=turn_count%20%3E%203";
    let answer = fake.get(path).await;
    assert_eq!(answer.status, 200);
    let call = fake.last("ListConversations");
    let expected = [
        "agent_id: Some(\"a 1\")",
        "client_id: Some(\"c\")",
        "user_id: Some(\"u\")",
        "caller: Some(\"+12025550123\")",
        "provider: Some(\"retell\")",
        "channel: Some(\"phone\")",
        "statuses: [Completed]",
        "call_successful: Some(\"success\")",
        "resolution_status: Some(\"resolved\")",
        "outcome: Some(\"o\")",
        "sentiment: Some(\"positive\")",
        "language: Some(\"en\")",
        "topic: Some(\"t\")",
        "tags: [\"x\", \"y\"]",
        "created_from: Some(Timestamp { seconds: 100, nanos: 0 })",
        "created_before: Some(Timestamp { seconds: 250, nanos: 500000000 })",
        "duration_min_ms: Some(1500)",
        "duration_max_ms: Some(60000)",
        "order_by: \"-turn_count\"",
        "page_size: 2",
        "page_token: \"abc\"",
        "include_total: true",
        "include_summary: true",
        "min_position: 77",
        "search: \"\\\"no refund\\\"\"",
        "expression: \"turn_count > 3\"",
    ];
    for part in expected {
        assert!(call.message.contains(part), "{part} in {}", call.message);
    }
    assert_eq!(call.api_key.as_deref(), Some("k"));
    let page = answer.json();
    assert_eq!((&page["has_more"], &page["cursor"], &page["total"]), (&json!(true), &json!("next"), &json!(1000)));
    assert_eq!(page["conversations"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn every_key_of_a_conversation_is_there() {
    let answer = Fake::default().get("/v1/conversations?page_size=1").await;
    let page = answer.json();
    let conversation = &page["conversations"][0];
    let expected = json!({
        "conversation_id": KNOWN, "external_id": "conv_1", "provider": "elevenlabs", "thread_id": null,
        "organization_id": "default", "client_id": null, "user_id": null, "agent_id": null, "agent_name": null,
        "agent_version_id": null, "channel": null, "direction": null, "caller": {"number": null, "name": null},
        "status": "completed", "end_reason": null, "end_reason_detail": null, "failure": null,
        "created_at": "2026-03-02T15:00:00.005Z", "started_at": null, "ended_at": null, "duration_seconds": 180.0,
        "turn_count": 0, "call_successful": "unknown", "summary": null, "language": null, "translation_language": null,
        "analytics": {"sentiment": null, "sentiment_score": null, "topics": [], "keywords": [], "intent": null,
            "resolution_status": "unknown", "satisfaction_score": null, "satisfaction_source": null, "custom_analysis": {}},
        "outcome": {"result": null, "actions": [], "follow_up_tasks": [], "integrations": []},
        "technical": {"voice_platform": null, "latency_ms": {}, "quality": {}, "network": {}, "errors": []},
        "recording": {"available": false, "content_type": null, "duration_seconds": null, "channels": []},
        "cost": null, "tags": [], "metadata": {"a": 1.10}, "feedback": [],
    });
    assert_eq!(conversation, &expected);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("{\"a\": 1.10}"), "the provider's own fields are untouched, to the letter");
}

#[tokio::test]
async fn every_bad_parameter_is_named_with_what_is_allowed() {
    let fake = Fake::default();
    let path = "/v1/conversations?page_size=101&status=open&started_after=yesterday&duration_min_seconds=NaN&agent_id=\
        &call_start_after_unix=1.5&include_total=1&sort=name&search=%01&filter=&cursor=a&cursor=b&tag=%07&Status=x";
    let answer = fake.get(path).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, "application/problem+json"));
    let bad = answer.bad_fields();
    let expected = [
        "page_size",
        "status",
        "started_after",
        "duration_min_seconds",
        "agent_id",
        "call_start_after_unix",
        "include_total",
        "sort",
        "search",
        "filter",
        "cursor",
        "tag",
        "Status",
    ];
    for field in expected {
        assert!(bad.iter().any(|bad| bad == field), "{field} in {bad:?}");
    }
    let text = answer.json().to_string();
    assert!(text.contains("initiated, in_progress, completed") && text.contains("from 1 to 100"), "{text}");
    assert!(fake.calls().is_empty(), "nothing was asked of any service");
}

#[tokio::test]
async fn the_active_list_asks_for_live_states() {
    let fake = Fake::default();
    assert_eq!(fake.get("/v1/conversations/active").await.status, 200);
    assert!(fake.last("ListConversations").message.contains("statuses: [Initiated, InProgress]"));
    assert_eq!(fake.get("/v1/conversations/active?status=in_progress").await.status, 200);
    assert!(fake.last("ListConversations").message.contains("statuses: [InProgress]"));
    assert_eq!(fake.get("/v1/conversations/active?status=failed").await.bad_fields(), ["status"]);
}

#[tokio::test]
async fn a_record_has_its_transcript_sessions_and_history() {
    let fake = Fake::default();
    fake.set_turns(vec![colloquy_proto::transcript::v1::Turn { text: Some("hi".to_owned()), ..Default::default() }]);
    let answer = fake.get(&format!("/v1/conversations/{KNOWN}?min_position=4")).await;
    let record = answer.json();
    assert_eq!(record["transcript"][0]["text"], "hi");
    assert_eq!(record["transcript"][0]["tool_call"], Value::Null);
    assert_eq!(record["sessions"], json!([]));
    assert_eq!(record["history"][1]["type"], "conversation.ended");
    for method in ["GetConversation", "GetTranscript", "ListConversationEvents"] {
        assert!(fake.last(method).message.contains("min_position: 4"), "{method}");
    }
    assert_eq!(fake.get("/v1/conversations/elevenlabs:conv_1").await.status, 200);
    assert_eq!(fake.get("/v1/voiceai/conversations/elevenlabs%3Aconv_1").await.status, 200);
}

#[tokio::test]
async fn a_key_without_transcripts_sees_null() {
    let fake = Fake::default();
    fake.fail("GetTranscript", Status::permission_denied("lacks transcripts:read"));
    let answer = fake.get(&format!("/v1/conversations/{KNOWN}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["transcript"], Value::Null);
    assert_eq!(fake.get(&format!("/v1/conversations/{KNOWN}/transcript")).await.status, 403);
}

#[tokio::test]
async fn a_past_state_has_the_history_of_its_time_and_no_transcript() {
    let fake = Fake::default();
    let answer = fake.get(&format!("/v1/conversations/{KNOWN}?as_of=1970-01-01T00:02:30Z")).await;
    let record = answer.json();
    assert_eq!(record["transcript"], Value::Null);
    assert_eq!(record["history"].as_array().unwrap().len(), 1);
    assert!(fake.last("GetConversation").message.contains("seconds: 150"));
    assert!(fake.calls().iter().all(|call| call.method != "GetTranscript"));
}

#[tokio::test]
async fn an_unknown_conversation_is_a_404_everywhere() {
    let fake = Fake::default();
    for path in
        ["/v1/conversations/none", "/v1/conversations/none/events", "/v1/conversations/none/audio", "/v1/convai/conversations/x"]
    {
        let answer = fake.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()["status"].clone()), (404, json!(404)), "{path}");
    }
}

#[tokio::test]
async fn a_change_is_a_merge_patch() {
    let fake = Fake::default();
    let path = format!("/v1/conversations/{KNOWN}");
    for content_type in ["application/json", "application/merge-patch+json; charset=utf-8", "Application/JSON"] {
        let body = json!({"tags": ["a"], "metadata": {"x": null}, "client_id": null}).to_string();
        let answer = fake.send(request(Method::PATCH, &path, &[("content-type", content_type)], body)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-colloquy-position")), (200, "7"), "{content_type}");
    }
    let message = fake.last("UpdateConversation").message;
    for part in [
        "TagsChange { tags: [\"a\"] }",
        "Some(\"{\\\"x\\\":null}\")",
        "client_id: Some(TextChange { value: None })",
        "user_id: None",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test]
async fn a_change_of_anything_else_is_refused() {
    let fake = Fake::default();
    let path = format!("/v1/conversations/{KNOWN}");
    let answer =
        fake.json(Method::PATCH, &path, json!({"status": "x", "tags": "a", "metadata": [], "user_id": 5}).to_string()).await;
    assert_eq!(answer.status, 400);
    let bad = answer.bad_fields();
    assert_eq!(bad, ["tags", "metadata", "user_id", "status"]);
    for (content_type, body, status) in [
        ("text/plain", "{}", 415),
        ("application/json", "[]", 400),
        ("application/json", "{", 400),
        ("application/json", "", 400),
    ] {
        let answer = fake.send(request(Method::PATCH, &path, &[("content-type", content_type)], body)).await;
        assert_eq!(answer.status, status, "{content_type} {body}");
    }
    assert_eq!(fake.send(request(Method::PATCH, &path, &[], "{}")).await.status, 415);
    assert!(fake.calls().is_empty());
}

#[tokio::test]
async fn feedback_is_checked_and_kept() {
    let fake = Fake::default();
    let path = format!("/v1/conversations/{KNOWN}/feedback");
    let answer = fake.json(Method::POST, &path, json!({"rating": 5, "comment": "good"}).to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-colloquy-position")), (200, "9"));
    assert_eq!(answer.json(), json!({"rating": 5, "thumbs": null, "comment": "good", "at": null}));
    let answer = fake.json(Method::POST, &path, json!({"rating": 6, "thumbs": "sideways", "stars": 1}).to_string()).await;
    assert_eq!(answer.bad_fields(), ["rating", "thumbs", "stars"]);
    let answer = fake.json(Method::POST, &path, json!({"rating": 4.5, "comment": 1}).to_string()).await;
    assert_eq!(answer.bad_fields(), ["rating", "comment"]);
}

#[tokio::test]
async fn agents_are_listed_and_read() {
    let fake = Fake::default();
    let page = fake.get("/v1/agents?page_size=5&cursor=c&min_position=1").await.json();
    assert_eq!((&page["agents"][0]["agent_id"], &page["has_more"], &page["cursor"]), (&json!("a"), &json!(false), &json!(null)));
    assert!(page["agents"][0].get("versions").is_none());
    let agent = fake.get("/v1/agents/a").await.json();
    assert_eq!((&agent["agent_id"], &agent["versions"][0]["snapshot"]), (&json!("a"), &json!(null)));
}
