//! Native events, and everything a person can change.

use colloquy_e2e::{Engine, Server};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

fn turn(id: &str, conversation: &str, index: u32, role: &str, text: &str) -> Value {
    json!({
        "event_id": id, "conversation_id": conversation, "type": "turn.added", "occurred_at": "2026-03-02T15:00:01Z",
        "data": {"index": index, "role": role, "text": text},
    })
}

fn call(conversation: &str) -> Value {
    json!({"events": [
        {"event_id": format!("{conversation}-s"), "conversation_id": conversation, "type": "conversation.started",
         "occurred_at": "2026-03-02T15:00:00Z",
         "data": {"agent_id": "agent-1", "agent_name": "Nia", "channel": "phone", "direction": "inbound",
                  "caller": {"number": "+1 202 555 0123"}, "tags": ["vip"], "metadata": {"order": 7}}},
        turn(&format!("{conversation}-1"), conversation, 0, "agent", "Hello"),
        turn(&format!("{conversation}-2"), conversation, 1, "user", "Hi there"),
        {"event_id": format!("{conversation}-e"), "conversation_id": conversation, "type": "conversation.ended",
         "occurred_at": "2026-03-02T15:01:00Z", "data": {"status": "completed", "end_reason": "user_ended", "duration_seconds": 60}},
    ]})
}

#[tokio::test]
async fn events_are_taken_once_and_their_uuid_is_kept() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = Uuid::now_v7().to_string();
        let first = server.post("/v1/events", &call(&id)).await;
        assert_eq!((&first["accepted"], &first["duplicates"]), (&json!(4), &json!(0)));
        let again = server.post("/v1/events", &call(&id)).await;
        assert_eq!((&again["accepted"], &again["duplicates"]), (&json!(0), &json!(4)));

        let record = server.get(&format!("/v1/conversations/{id}?min_position={}", first["position"])).await;
        assert_eq!(record["conversation_id"], json!(id));
        assert_eq!(record["external_id"], json!(id));
        assert_eq!(record["status"], "completed");
        assert_eq!(record["turn_count"], 2);
        assert_eq!(record["duration_seconds"], 60.0);
        assert_eq!(record["caller"]["number"], "+12025550123");
        assert_eq!(record["tags"], json!(["vip"]));
        assert_eq!(record["metadata"], json!({"order": 7}));
        assert_eq!(record["summary"], Value::Null);
    }
}

#[tokio::test]
async fn a_write_can_be_read_at_its_position() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        for _ in 0..20 {
            let id = Uuid::now_v7().to_string();
            let written = server.post("/v1/events", &call(&id)).await;
            let transcript = server.get(&format!("/v1/conversations/{id}/transcript?min_position={}", written["position"])).await;
            assert_eq!(transcript["turns"].as_array().unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn one_bad_event_refuses_all_and_every_fault_is_named() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = Uuid::now_v7().to_string();
        let mut body = call(&id);
        body["events"][1]["data"]["role"] = json!("robot");
        body["events"][2]["data"]["mood"] = json!("good");
        let answer = server.request(Method::POST, "/v1/events").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let problem: Value = answer.json().await.unwrap();
        let fields: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|bad| bad["field"].as_str().unwrap()).collect();
        assert_eq!(fields, ["events[1].data.role", "events[2].data.mood"]);
        let missing = server.request(Method::GET, &format!("/v1/conversations/{id}")).send().await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn people_change_tags_metadata_and_owners_and_rate() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = Uuid::now_v7().to_string();
        let written = server.post("/v1/events", &call(&id)).await;
        let path = format!("/v1/conversations/{id}");
        server.get(&format!("{path}?min_position={}", written["position"])).await;

        let patch = json!({"tags": ["a", "b"], "metadata": {"order": null, "crm": "x1"}, "client_id": "client-9"});
        let answer = server.request(Method::PATCH, &path).json(&patch).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let record = server.get(&path).await;
        assert_eq!(record["tags"], json!(["a", "b"]));
        assert_eq!(record["metadata"], json!({"crm": "x1"}));
        assert_eq!(record["client_id"], "client-9");

        for _ in 0..2 {
            let cleared = server.request(Method::PATCH, &path).json(&json!({"metadata": null})).send().await.unwrap();
            assert_eq!(cleared.status(), StatusCode::OK);
            assert_eq!(server.get(&path).await["metadata"], json!({}));
        }

        server.post(&format!("{path}/feedback"), &json!({"rating": 5, "comment": "kind"})).await;
        let record = server.get(&path).await;
        assert_eq!(record["analytics"]["satisfaction_score"], 5.0);
        assert_eq!(record["analytics"]["satisfaction_source"], "caller");

        let history = server.get(&format!("{path}/events")).await;
        let kinds: Vec<&str> =
            history["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
        for kind in ["conversation.started", "conversation.ended", "conversation.patched", "feedback.given"] {
            assert!(kinds.contains(&kind), "{kinds:?}");
        }
        let before = server.get(&format!("{path}?as_of={}", record["history"][0]["received_at"].as_str().unwrap())).await;
        assert_eq!(before["tags"], json!(["vip"]));
    }
}

#[tokio::test]
async fn an_uploaded_recording_comes_back() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = Uuid::now_v7().to_string();
        let written = server.post("/v1/events", &call(&id)).await;
        server.get(&format!("/v1/conversations/{id}?min_position={}", written["position"])).await;
        let path = format!("/v1/conversations/{id}/audio");
        let bytes: Vec<u8> = b"ID3".iter().copied().chain((0..3_000_000_u32).map(|at| (at % 251) as u8)).collect();
        let stored =
            server.request(Method::PUT, &path).header("content-type", "audio/mpeg").body(bytes.clone()).send().await.unwrap();
        assert!(stored.status().is_success(), "{}", stored.text().await.unwrap());
        let answer = server.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.bytes().await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_conversation_nobody_hears_of_any_more_is_closed_and_a_real_end_overrides_it() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[("COLLOQUY_STUCK_AFTER_SECONDS", "1")]).await;
        let id = Uuid::now_v7().to_string();
        let all = call(&id);
        let started = json!({"events": [all["events"][0]]});
        server.post("/v1/events", &started).await;
        let path = format!("/v1/conversations/{id}");
        let closed = server.eventually(&path, |record| record["status"] == "failed").await;
        assert_eq!(closed["end_reason"], "unknown_end");
        server.post("/v1/events", &all).await;
        let ended = server.eventually(&path, |record| record["status"] == "completed").await;
        assert_eq!(ended["end_reason"], "user_ended");
        assert_eq!(ended["failure"], Value::Null);
    }
}
