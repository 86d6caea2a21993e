//! Every route with no key, with too small a key, and with another organization's key.

use colloquy_e2e::{Engine, Server};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

/// A route, the scope it needs, and whether it names an object that another organization must not see.
struct Route {
    method: Method,
    path: String,
    body: Option<Value>,
    scope: &'static str,
    names_object: bool,
}

fn route(method: Method, path: String, body: Option<Value>, scope: &'static str, names_object: bool) -> Route {
    Route { method, path, body, scope, names_object }
}

async fn routes(server: &Server) -> Vec<Route> {
    let id = Uuid::now_v7();
    let body = json!({"events": [
        {"event_id": "s", "conversation_id": id, "type": "conversation.started", "data": {"agent_id": "agent-7"}},
        {"event_id": "t", "conversation_id": id, "type": "turn.added", "data": {"role": "user", "text": "hello"}},
    ]});
    let written = server.post("/v1/events", &body).await;
    server.get(&format!("/v1/conversations/{id}?min_position={}", written["position"])).await;
    let audio = server.request(Method::PUT, &format!("/v1/conversations/{id}/audio"));
    let stored = audio.header("content-type", "audio/mpeg").body("ID3 not really").send().await.unwrap();
    assert!(stored.status().is_success());
    let source = server.source(colloquy_types::Provider::Retell).await.id;
    let quarantined = {
        let own = server.source(colloquy_types::Provider::Vapi).await;
        let answer: Value = server.deliver(&own, b"not json").await.unwrap().json().await.unwrap();
        answer["quarantine_id"].as_str().unwrap().to_owned()
    };
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let mut routes = Vec::new();
    for base in ["/v1", "/v1/voiceai"] {
        let one = format!("{base}/conversations/{id}");
        routes.extend([
            route(get.clone(), format!("{base}/conversations"), None, "conversations:read", false),
            route(get.clone(), format!("{base}/conversations/active"), None, "conversations:read", false),
            route(get.clone(), one.clone(), None, "conversations:read", true),
            route(patch.clone(), one.clone(), Some(json!({"tags": ["x"]})), "conversations:write", true),
            route(get.clone(), format!("{one}/events"), None, "conversations:read", true),
            route(get.clone(), format!("{one}/transcript"), None, "transcripts:read", true),
            route(get.clone(), format!("{one}/transcript?format=vtt"), None, "transcripts:read", true),
            route(get.clone(), format!("{one}/audio"), None, "audio:read", true),
            route(post.clone(), format!("{one}/feedback"), Some(json!({"rating": 4})), "conversations:write", true),
        ]);
    }
    routes.extend([
        route(get.clone(), "/v1/agents".to_owned(), None, "conversations:read", false),
        route(get.clone(), "/v1/agents/agent-7".to_owned(), None, "conversations:read", true),
        route(get.clone(), "/v1/convai/conversations".to_owned(), None, "conversations:read", false),
        route(get.clone(), "/v1/sources".to_owned(), None, "admin", false),
        route(get.clone(), format!("/v1/sources/{source}"), None, "admin", true),
        route(patch, format!("/v1/sources/{source}"), Some(json!({"name": "renamed"})), "admin", true),
        route(Method::DELETE, format!("/v1/sources/{source}"), None, "admin", true),
        route(get, "/v1/quarantine".to_owned(), None, "admin", false),
        route(post.clone(), format!("/v1/quarantine/{quarantined}/retry"), None, "admin", true),
        route(
            post,
            "/v1/events".to_owned(),
            Some(json!({"events": [{"event_id": "z", "conversation_id": "c",
            "type": "turn.added", "data": {"role": "user", "text": "x"}}]})),
            "events:write",
            false,
        ),
    ]);
    routes
}

async fn answer(server: &Server, route: &Route, key: Option<&str>) -> StatusCode {
    let mut request = server.anonymous(route.method.clone(), &route.path);
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    if let Some(body) = &route.body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    if !status.is_success() {
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{} {}", route.method, route.path);
        assert!(answer.headers().contains_key("x-request-id"));
    }
    status
}

#[tokio::test]
async fn strangers_are_not_told_what_a_request_should_look_like() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let nonsense = [
            (Method::GET, "/v1/conversations?bogus=1"),
            (Method::GET, "/v1/voiceai/conversations?bogus=1"),
            (Method::GET, "/v1/analytics/agents?bogus=1"),
            (Method::POST, "/v1/analytics/query"),
            (Method::POST, "/v1/alert-rules"),
            (Method::POST, "/v1/analyzers"),
            (Method::POST, "/v1/events"),
            // Those that may take long, and have no time limit around them.
            (Method::POST, "/v1/analyzers/01980000-0000-7000-8000-000000000001/run"),
            (Method::GET, "/v1/conversations/x/audio?channel=bogus"),
            (Method::PUT, "/v1/conversations/x/audio?channel=bogus"),
            (Method::GET, "/v1/voiceai/conversations/x/audio?channel=bogus"),
            (Method::GET, "/v1/convai/conversations/x/audio?bogus=1"),
            (Method::GET, "/v1/stream?after=x"),
            (Method::GET, "/v1/conversations/x/stream?after=x"),
            (Method::GET, "/v1/voiceai/conversations/x/stream?after=x"),
        ];
        for (method, path) in nonsense {
            for (key, expected) in [(None, 401), (Some("wrong"), 401), (Some("e2e-administrator-key"), 400)] {
                let mut request =
                    server.anonymous(method.clone(), path).body("nonsense").header("content-type", "application/json");
                if let Some(key) = key {
                    request = request.header("x-api-key", key);
                }
                assert_eq!(request.send().await.unwrap().status(), expected, "{method} {path} with {key:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_route_keeps_strangers_out() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let routes = routes(&server).await;
        let foreign = server.key("stranger", "admin");
        for route in &routes {
            let shown = format!("{} {}", route.method, route.path);
            assert_eq!(answer(&server, route, None).await, StatusCode::UNAUTHORIZED, "{shown} without a key");
            assert_eq!(answer(&server, route, Some("wrong")).await, StatusCode::UNAUTHORIZED, "{shown} with a wrong key");
            let other = if route.scope == "webhooks:write" { "audio:read" } else { "webhooks:write" };
            let poor = server.key("default", other);
            assert_eq!(answer(&server, route, Some(&poor)).await, StatusCode::FORBIDDEN, "{shown} without {}", route.scope);
            if route.names_object {
                assert_eq!(answer(&server, route, Some(&foreign)).await, StatusCode::NOT_FOUND, "{shown} from elsewhere");
            } else {
                assert!(answer(&server, route, Some(&foreign)).await.is_success(), "{shown} of one's own");
            }
        }
        // Nothing above may have changed or removed anything; now each works for its owner. Deleting comes last of its kind.
        for route in &routes {
            let key = server.key("default", route.scope);
            assert!(
                answer(&server, route, Some(&key)).await.is_success(),
                "{} {} with {}",
                route.method,
                route.path,
                route.scope
            );
        }
    }
}

#[tokio::test]
async fn without_transcripts_the_record_has_no_words_and_no_summary() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let source = server.source(colloquy_types::Provider::Retell).await;
        let sample = colloquy_e2e::samples().into_iter().find(|sample| sample.name == "call_analyzed").unwrap();
        assert!(server.deliver(&source, &sample.body).await.unwrap().status().is_success());
        let path = format!("/v1/conversations/{}", sample.conversation);
        let whole = server.eventually(&path, |record| record["summary"].is_string()).await;
        let key = server.key("default", "conversations:read");
        let answer = server.anonymous(Method::GET, &path).header("x-api-key", &key).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&record["transcript"], &record["summary"]), (&Value::Null, &Value::Null));
        assert!(!text.contains(whole["summary"].as_str().unwrap()), "the summary shows elsewhere in the record");
    }
}

#[tokio::test]
async fn a_revoked_key_stops_working_within_seconds() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let key = server.key("default", "conversations:read");
        let get = || async {
            server.anonymous(Method::GET, "/v1/conversations").header("x-api-key", &key).send().await.unwrap().status()
        };
        assert_eq!(get().await, StatusCode::OK);
        server.revoke(&key);
        let started = std::time::Instant::now();
        while get().await == StatusCode::OK {
            assert!(started.elapsed().as_secs() < 15, "the key still works");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}
