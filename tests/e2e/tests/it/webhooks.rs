//! Outbound webhooks, as a receiver sees them.

use std::collections::BTreeSet;
use std::time::Duration;

use colloquy_e2e::{Engine, Server, samples};
use colloquy_testkit::{Received, Receiver};
use colloquy_types::Provider;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use uuid::Uuid;

const ALLOWED: (&str, &str) = ("COLLOQUY_OUTBOUND_ALLOW_NETWORKS", "127.0.0.0/8");
const SOON: Duration = Duration::from_secs(30);

/// Makes an endpoint at `receiver`, and returns its path and secret.
async fn endpoint(server: &Server, receiver: &Receiver, more: &Value) -> (String, String) {
    let mut body = json!({"url": receiver.url("/hook"), "event_types": []});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = server.post("/v1/webhook-endpoints", &body).await;
    let path = format!("/v1/webhook-endpoints/{}", made["endpoint_id"].as_str().unwrap());
    (path, made["secret"].as_str().unwrap().to_owned())
}

fn types(received: &[Received]) -> Vec<String> {
    received.iter().map(type_of).collect()
}

fn type_of(received: &Received) -> String {
    let body = received.json();
    let named = if body["event"].is_string() { &body["event"] } else { &body["type"] };
    named.as_str().unwrap().to_owned()
}

fn assert_signed(received: &Received, secret: &str) {
    let webhook = Webhook::new(secret).unwrap();
    webhook.verify(&received.body, &received.headers).unwrap();
    assert!(received.header("webhook-id").starts_with("msg_"), "{:?}", received.headers);
}

/// Says where `value` has other keys than `sample`, or another order of them. Free-form objects are not looked into.
fn assert_shape(path: &str, value: &Value, sample: &Value) {
    let (Some(given), Some(expected)) = (value.as_object(), sample.as_object()) else { return };
    if path.ends_with("provider_settings") || path.ends_with("custom_analysis_data") || path.ends_with("metadata") {
        return;
    }
    let (given_keys, expected_keys) = (given.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_eq!(given_keys, expected_keys, "{path}");
    for (key, inner) in expected {
        assert_shape(&format!("{path}.{key}"), &given[key], inner);
        if let (Some(given), Some(expected)) = (given[key].as_array(), inner.as_array()) {
            for (given, expected) in given.iter().zip(expected) {
                assert_shape(&format!("{path}.{key}[]"), given, expected);
            }
        }
    }
}

#[tokio::test]
async fn sessions_arrive_signed_and_in_the_shape_of_the_samples() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[ALLOWED]).await;
        let receiver = Receiver::start().await;
        let events = json!({"event_types": ["conversation_agent_session.*"]});
        let (_, secret) = endpoint(&server, &receiver, &events).await;
        let source = server.source(Provider::AgentSession).await;
        let mut sent = Vec::new();
        for name in ["started", "ended", "analyzed"] {
            let sample = samples().into_iter().find(|each| each.provider == Provider::AgentSession && each.name == name).unwrap();
            assert_eq!(server.deliver(&source, &sample.body).await.unwrap().status(), StatusCode::OK);
            let name = format!("conversation_agent_session.{name}");
            receiver.until(SOON, &name, |received| types(received).contains(&name)).await;
            sent.push((name, serde_json::from_slice::<Value>(&sample.body).unwrap()));
        }
        let received = receiver.received();
        let ids: BTreeSet<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
        assert_eq!((received.len(), ids.len()), (3, 3), "{:?}", types(&received));
        for (name, sample) in sent {
            let one = received.iter().find(|one| type_of(one) == name).unwrap();
            assert_signed(one, &secret);
            let body = one.json();
            assert_shape(&name, &body, &sample);
            for key in ["id", "conversation_id", "started_at", "chat_transcript", "language"] {
                assert_eq!(body["data"][key], sample["data"][key], "{name}: {key}");
            }
        }
    }
}

#[tokio::test]
async fn every_provider_is_told_of_and_every_endpoint_hears_only_what_it_asked_for() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[ALLOWED]).await;
        let (all, turns, other) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        endpoint(&server, &all, &json!({})).await;
        endpoint(&server, &turns, &json!({"event_types": ["turn.*"], "filter": {"agent_id": "agent-1"}})).await;
        endpoint(&server, &other, &json!({"filter": {"agent_id": "agent-2"}})).await;
        let id = Uuid::now_v7().to_string();
        let events = json!({"events": [
            {"event_id": "s", "conversation_id": id, "type": "conversation.started", "occurred_at": "2026-03-02T15:00:00Z",
             "data": {"agent_id": "agent-1", "channel": "chat"}},
            {"event_id": "t", "conversation_id": id, "type": "turn.added", "occurred_at": "2026-03-02T15:00:01Z",
             "data": {"index": 0, "role": "user", "text": "Hello"}},
            {"event_id": "e", "conversation_id": id, "type": "conversation.ended", "occurred_at": "2026-03-02T15:00:09Z",
             "data": {"status": "completed"}},
        ]});
        server.post("/v1/events", &events).await;
        let expected = [
            "conversation.ended",
            "conversation.started",
            "conversation_agent_session.ended",
            "conversation_agent_session.started",
        ];
        let heard = all.until(SOON, "four webhooks", |received| received.len() >= 4).await;
        let mut heard = types(&heard);
        heard.sort_unstable();
        assert_eq!(heard, expected);
        let heard = turns.until(SOON, "the turn", |received| !received.is_empty()).await;
        let body = heard[0].json();
        assert_eq!((&body["type"], &body["data"]["text"]), (&json!("turn.added"), &json!("Hello")));
        assert_eq!(body["data"]["conversation_id"], json!(id));
        let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["type", "timestamp", "data"]);
        assert_eq!((other.received().len(), turns.received().len()), (0, 1));
    }
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_everything_once_it_is_back() {
    for engine in Engine::all().await {
        let mut server = Server::start_with(engine, &[ALLOWED]).await;
        let receiver = Receiver::start().await;
        receiver.answer_with(503);
        let (path, secret) = endpoint(&server, &receiver, &json!({"event_types": ["conversation.started"]})).await;
        let mut expected = BTreeSet::new();
        for _ in 0..20 {
            let id = Uuid::now_v7().to_string();
            let started = json!({"events": [{"event_id": id, "conversation_id": id, "type": "conversation.started",
                "data": {"agent_id": "a"}}]});
            server.post("/v1/events", &started).await;
            expected.insert(id);
        }
        let told = |received: &[Received]| -> BTreeSet<String> {
            received.iter().map(|one| one.json()["data"]["conversation_id"].as_str().unwrap().to_owned()).collect()
        };
        receiver.until(SOON, "a first attempt of each", |received| told(received).len() == 20).await;
        // What is queued outlives the process.
        server.kill();
        server.restart().await;
        receiver.forget();
        receiver.answer_with(200);
        let received = receiver.until(3 * SOON, "the second attempts", |received| told(received).len() == 20).await;
        assert_eq!(told(&received), expected);
        assert_signed(&received[0], &secret);
        let done = |page: &Value| {
            let deliveries = page["deliveries"].as_array().unwrap();
            deliveries.len() == 20 && deliveries.iter().all(|delivery| delivery["status"] == "succeeded")
        };
        let page = server.eventually(&format!("{path}/deliveries?page_size=100"), done).await;
        // What the first attempt came to may have died with the process, but not all of them.
        let deliveries = page["deliveries"].as_array().unwrap();
        let twice = deliveries.iter().filter(|delivery| delivery["attempts"][1]["status_code"] == 200);
        assert!(twice.clone().all(|delivery| delivery["attempts"][0]["status_code"] == 503), "{page}");
        assert!(twice.count() > 0, "{page}");
        assert_eq!(server.get(&path).await["failing_since"], Value::Null);
    }
}

#[tokio::test]
async fn a_test_event_a_rotation_a_retry_and_a_replay() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[ALLOWED]).await;
        let receiver = Receiver::start().await;
        let id = Uuid::now_v7().to_string();
        let started = json!({"events": [{"event_id": "s", "conversation_id": id, "type": "conversation.started",
            "data": {"agent_id": "a"}}]});
        let written = server.post("/v1/events", &started).await;
        server.get(&format!("/v1/conversations/{id}?min_position={}", written["position"])).await;

        let (path, old) = endpoint(&server, &receiver, &json!({"event_types": ["conversation.*", "webhook.test"]})).await;
        let tested = server.post(&format!("{path}/test"), &json!({})).await;
        assert_eq!((&tested["status"], &tested["event_type"]), (&json!("succeeded"), &json!("webhook.test")), "{tested}");
        let rotated = server.post(&format!("{path}/rotate-secret"), &json!({})).await;
        let new = rotated["secret"].as_str().unwrap();
        assert_ne!(new, old);

        // What happened before the endpoint was made comes only when it is asked for.
        receiver.forget();
        server.post(&format!("{path}/replay"), &json!({"filter": {"agent_id": "a"}})).await;
        let received = receiver.until(SOON, "the replay", |received| !received.is_empty()).await;
        assert_eq!(received[0].json()["data"]["conversation_id"], json!(id));
        assert_signed(&received[0], new);
        assert_signed(&received[0], &old);

        let listed = server
            .eventually(&format!("{path}/deliveries?event_type=conversation.started"), |page| {
                page["deliveries"][0]["status"] == "succeeded"
            })
            .await;
        let delivery = listed["deliveries"][0]["delivery_id"].as_str().unwrap();
        receiver.forget();
        server.post(&format!("{path}/deliveries/{delivery}/retry"), &json!({})).await;
        let again = receiver.until(SOON, "the retry", |received| !received.is_empty()).await;
        assert_eq!(again[0].header("webhook-id"), received[0].header("webhook-id"));

        let types = server.get("/v1/webhook-event-types").await;
        let names: Vec<&str> =
            types["event_types"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
        for name in ["conversation_agent_session.analyzed", "conversation.ended", "turn.added", "control.applied", "alert.opened"]
        {
            assert!(names.contains(&name), "{names:?}");
        }
        let removed = server.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(removed.status(), StatusCode::NO_CONTENT);
        assert_eq!(server.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn bad_endpoints_are_refused_with_every_reason_and_foreign_ones_are_not_there() {
    let server = Server::start(Engine::Sqlite).await;
    for url in ["http://127.0.0.1:9/x", "http://localhost/x", "http://169.254.169.254/latest", "http://[::1]/", "http://10.0.0.1"]
    {
        let answer = server.request(Method::POST, "/v1/webhook-endpoints").json(&json!({"url": url})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{url}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], "url", "{url}: {problem}");
    }
    let bad = json!({"url": "ftp://example.com", "event_types": ["no.such"], "rate_limit": 100_000,
        "headers": {"webhook-id": "x"}, "filter": {"agent_id": "a"}});
    let answer = server.request(Method::POST, "/v1/webhook-endpoints").json(&bad).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let problem: Value = answer.json().await.unwrap();
    let fields: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|bad| bad["field"].as_str().unwrap()).collect();
    for (field, part) in
        ["url", "event_types", "rate_limit", "headers"].into_iter().zip(["url", "event_types", "rate", "headers"])
    {
        assert!(fields.iter().any(|named| named.starts_with(part)), "{field} in {problem}");
    }
    // A public address, which nothing is sent to: it is disabled.
    let made = server.post("/v1/webhook-endpoints", &json!({"url": "https://1.1.1.1/hook", "enabled": false})).await;
    let path = format!("/v1/webhook-endpoints/{}", made["endpoint_id"].as_str().unwrap());
    let foreign = server.key("other", "admin");
    let reader = server.key("default", "conversations:read");
    for (method, path) in
        [(Method::GET, path.clone()), (Method::DELETE, path.clone()), (Method::GET, format!("{path}/deliveries"))]
    {
        let answer = server.anonymous(method.clone(), &path).header("x-api-key", &foreign).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
        let answer = server.anonymous(method, &path).header("x-api-key", &reader).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(server.get(&path).await["secret"], Value::Null);
}
