//! Paging through a list while it changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use colloquy_e2e::{Engine, Server};
use rand::RngExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

fn started(id: &str, at: u32) -> Value {
    json!({"event_id": format!("{id}-s"), "conversation_id": id, "type": "conversation.started",
           "occurred_at": format!("2026-03-02T{:02}:{:02}:00Z", at / 60, at % 60), "data": {"agent_id": "a", "client_id": "c"}})
}

/// Something that moves a conversation within every order and out of every filter.
fn moved(id: &str, step: u32) -> [Value; 2] {
    [
        json!({"event_id": format!("{id}-t{step}"), "conversation_id": id, "type": "turn.added",
               "data": {"role": if step.is_multiple_of(2) { "user" } else { "agent" }, "text": "x", "index": step}}),
        json!({"event_id": format!("{id}-e{step}"), "conversation_id": id, "type": "conversation.ended",
               "occurred_at": format!("2026-03-03T00:00:{:02}Z", step % 60),
               "data": {"status": if step.is_multiple_of(2) { "completed" } else { "failed" }, "duration_seconds": step * 7 % 100}}),
    ]
}

async fn walk(server: &Server, query: &str) -> Vec<String> {
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/conversations?page_size=7{query}{cursor}")).await;
        walked.extend(
            page["conversations"].as_array().unwrap().iter().map(|one| one["conversation_id"].as_str().unwrap().to_owned()),
        );
        assert_eq!(page["has_more"], json!(page["cursor"].is_string()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return walked,
        }
    }
}

#[tokio::test]
async fn a_walk_neither_repeats_nor_skips_while_conversations_come_and_change() {
    for engine in Engine::all().await {
        let shown = format!("{engine:?}");
        let server = Arc::new(Server::start(engine).await);
        let ids: Vec<String> = (0..60).map(|_| Uuid::now_v7().to_string()).collect();
        let events: Vec<Value> = ids.iter().enumerate().map(|(at, id)| started(id, at as u32)).collect();
        let written = server.post("/v1/events", &json!({"events": events})).await;
        server.get(&format!("/v1/conversations?min_position={}", written["position"])).await;

        let stop = Arc::new(AtomicBool::new(false));
        let churn = tokio::spawn({
            let (server, ids, stop) = (server.clone(), ids.clone(), stop.clone());
            async move {
                let mut step = 0;
                while !stop.load(Ordering::SeqCst) {
                    step += 1;
                    let id = ids[rand::rng().random_range(0..ids.len())].clone();
                    let mut events = moved(&id, step).to_vec();
                    events.push(started(&Uuid::now_v7().to_string(), step % 1_440));
                    server.post("/v1/events", &json!({"events": events})).await;
                }
            }
        });
        for sort in [
            "created_at",
            "-created_at",
            "duration_seconds",
            "-duration_seconds",
            "turn_count",
            "-turn_count",
            "-satisfaction_score",
        ] {
            let walked = walk(&server, &format!("&sort={sort}")).await;
            let unique: HashSet<&String> = walked.iter().collect();
            assert_eq!(unique.len(), walked.len(), "{shown} {sort}: repeated");
            let skipped: Vec<&String> = ids.iter().filter(|id| !unique.contains(id)).collect();
            assert!(skipped.is_empty(), "{shown} {sort}: skipped {skipped:?} of {}", walked.len());
        }
        stop.store(true, Ordering::SeqCst);
        churn.await.unwrap();
    }
}

#[tokio::test]
async fn a_cursor_is_bound_to_its_request() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let events: Vec<Value> = (0..5).map(|at| started(&Uuid::now_v7().to_string(), at)).collect();
        let written = server.post("/v1/events", &json!({"events": events})).await;
        let page = server.get(&format!("/v1/conversations?page_size=2&agent_id=a&min_position={}", written["position"])).await;
        let cursor = page["cursor"].as_str().unwrap();
        let (head, tail) = cursor.split_at(cursor.len() / 2);
        let forged = format!("{head}{}{}", if tail.starts_with('A') { "B" } else { "A" }, &tail[1..]);
        let refused = [
            format!("page_size=2&cursor={cursor}"),
            format!("page_size=2&agent_id=b&cursor={cursor}"),
            format!("page_size=2&agent_id=a&sort=created_at&cursor={cursor}"),
            format!("page_size=2&agent_id=a&cursor={forged}"),
        ];
        for query in refused {
            let answer = server.request(Method::GET, &format!("/v1/conversations?{query}")).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        }
        let foreign = server.key("stranger", "admin");
        let path = format!("/v1/conversations?page_size=2&agent_id=a&cursor={cursor}");
        let answer = server.anonymous(Method::GET, &path).header("x-api-key", foreign).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        // A page may be of another size than the one before it.
        server.get(&format!("/v1/conversations?page_size=3&agent_id=a&cursor={cursor}")).await;
    }
}

#[tokio::test]
async fn every_filter_narrows_and_all_of_them_combine() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let (one, other) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        let rich = json!({"events": [
            {"event_id": "1", "conversation_id": one, "type": "conversation.started", "occurred_at": "2026-03-02T15:00:00Z",
             "data": {"agent_id": "a1", "client_id": "c1", "user_id": "u1", "caller": {"number": "+12025550123"}, "channel": "phone",
                      "language": "en", "tags": ["red", "blue"]}},
            {"event_id": "2", "conversation_id": one, "type": "conversation.ended", "occurred_at": "2026-03-02T15:01:00Z",
             "data": {"status": "completed", "duration_seconds": 60}},
            {"event_id": "3", "conversation_id": one, "type": "conversation.analyzed", "occurred_at": "2026-03-02T15:02:00Z",
             "data": {"call_successful": "success", "sentiment": "positive", "topics": ["billing"], "resolution_status": "resolved",
                      "satisfaction_score": 4.5, "outcome": {"result": "booked"}}},
            {"event_id": "4", "conversation_id": other, "type": "conversation.started", "occurred_at": "2026-03-01T15:00:00Z",
             "data": {"agent_id": "a2"}},
        ]});
        let written = server.post("/v1/events", &rich).await;
        let filters = [
            "agent_id=a1",
            "client_id=c1",
            "user_id=u1",
            "caller=%2B1%20(202)%20555-0123",
            "channel=phone",
            "status=completed",
            "call_successful=success",
            "resolution_status=resolved",
            "outcome=booked",
            "sentiment=positive",
            "language=en",
            "topic=billing",
            "tag=green&tag=red",
            "call_start_after_unix=1772463600",
            "started_after=2026-03-02T15:00:00Z",
            "duration_min_seconds=60",
            "duration_max_seconds=60",
        ];
        for filter in filters.iter().copied().chain([&*filters.join("&")]) {
            let path =
                format!("/v1/conversations?provider=native&include_total=true&min_position={}&{filter}", written["position"]);
            let page = server.get(&path).await;
            let found: Vec<&str> =
                page["conversations"].as_array().unwrap().iter().map(|one| one["conversation_id"].as_str().unwrap()).collect();
            assert_eq!(found, [&one], "{filter}");
            assert_eq!(page["total"], 1, "{filter}");
        }
        let excluded = server.get("/v1/conversations?call_start_before_unix=1772463600").await;
        assert_eq!(excluded["conversations"][0]["conversation_id"], json!(other));
        assert_eq!(server.get("/v1/conversations/active").await["conversations"][0]["conversation_id"], json!(other));
    }
}
