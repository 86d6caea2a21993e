//! Errors, request ids, keys and health.

use std::time::Duration;

use axum::body::Body;
use colloquy_edge::Deps;
use colloquy_service::Problem;
use colloquy_service::transport::LocalSlot;
use http::Method;
use serde_json::json;
use tonic::Status;

use crate::fake::{Fake, KNOWN, request, send, stream_deps};

#[tokio::test]
async fn every_code_has_its_status() {
    let cases = [
        (Status::invalid_argument("x"), 400),
        (Status::out_of_range("x"), 400),
        (Status::unauthenticated("x"), 401),
        (Status::permission_denied("x"), 403),
        (Status::not_found("x"), 404),
        (Status::already_exists("x"), 409),
        (Status::aborted("x"), 409),
        (Status::failed_precondition("x"), 409),
        (Status::resource_exhausted("x"), 429),
        (Status::internal("x"), 500),
        (Status::data_loss("x"), 500),
        (Status::unimplemented("x"), 501),
        (Status::unavailable("x"), 503),
        (Status::unknown("x"), 503),
        (Status::deadline_exceeded("x"), 504),
        (Status::cancelled("x"), 504),
    ];
    for (failure, status) in cases {
        let fake = Fake::default();
        fake.fail("*", failure);
        let answer = fake.get("/v1/agents").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], answer.header("x-request-id"));
        for key in ["type", "title", "detail"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {problem}");
        }
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503 || status == 429);
    }
}

#[tokio::test]
async fn a_problem_names_its_kind_and_its_fields_as_rest_calls_them() {
    let fake = Fake::default();
    fake.fail("ListConversations", Problem::invalid_field("page_token", "belongs to another filter").into());
    let problem = fake.get("/v1/conversations?cursor=x").await.json();
    assert_eq!(problem["errors"], json!([{"field": "cursor", "message": "belongs to another filter"}]));
    assert_eq!(problem["type"], "urn:colloquy:problem:invalid-argument");
    fake.fail("GetAgent", Problem::not_found("AGENT_NOT_FOUND", "agent x does not exist").into());
    let problem = fake.get("/v1/agents/x").await.json();
    assert_eq!((&problem["type"], &problem["title"]), (&json!("urn:colloquy:problem:agent-not-found"), &json!("Not Found")));
    assert_eq!(problem["detail"], "agent x does not exist");
    assert!(problem.get("errors").is_none());
}

#[tokio::test]
async fn what_axum_refuses_by_itself_is_a_problem_too() {
    let fake = Fake::default();
    let missing = fake.get("/v1/nothing/here").await;
    assert_eq!((missing.status.as_u16(), &missing.json()["type"]), (404, &json!("about:blank")));
    for path in ["/v1/conversations/", "/v2", "/v1/webhook-endpoint", "/v1/streams", "//v1/conversations"] {
        assert_eq!(fake.get(path).await.status, 404, "{path}");
    }
    let wrong = fake.send(request(Method::DELETE, "/v1/conversations", &[], Body::empty())).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["status"]), (405, &json!(405)));
    assert!(wrong.header("allow").contains("GET"), "{:?}", wrong.headers);
    let wrong = fake.send(request(Method::GET, &format!("/v1/webhooks/{KNOWN}"), &[], Body::empty())).await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn request_ids_are_taken_over_when_they_are_plain() {
    let fake = Fake::default();
    let answer = fake.get_with("/v1/agents", &[("x-request-id", "mine-1")]).await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(fake.last("ListAgents").request_id.as_deref(), Some("mine-1"));
    for strange in ["a b", "<script>", &"x".repeat(200)] {
        let answer = fake.get_with("/v1/agents", &[("x-request-id", strange)]).await;
        let given = answer.header("x-request-id");
        assert!(uuid::Uuid::try_parse(given).is_ok_and(|id| id.get_version_num() == 7), "{given}");
    }
}

#[tokio::test]
async fn keys_travel_on_as_they_came() {
    let fake = Fake::default();
    fake.get_with("/v1/agents", &[("x-api-key", "k"), ("authorization", "Bearer b")]).await;
    let call = fake.last("ListAgents");
    assert_eq!((call.api_key.as_deref(), call.authorization.as_deref()), (Some("k"), Some("Bearer b")));
    // The token of services opens nothing here.
    let own = [("x-api-key", "own"), ("x-colloquy-service-token", "stolen")];
    assert_eq!(fake.get_with("/v1/agents", &own).await.status, 200);
    assert_eq!(fake.last("ListAgents").api_key.as_deref(), Some("own"));
    let stolen = [("authorization", "Bearer b"), ("x-colloquy-service-token", "stolen")];
    assert_eq!(fake.get_with("/v1/agents", &stolen).await.status, 401);
}

#[tokio::test]
async fn strangers_are_refused_before_anything_of_a_request_is_looked_at() {
    let fake = Fake::default();
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let one = format!("/v1/conversations/{KNOWN}");
    let long = "x".repeat(4_096);
    let slow = [
        (post.clone(), format!("/v1/analyzers/{KNOWN}/run"), 400),
        (post.clone(), "/v1/analyzers/x/run".to_owned(), 404),
        (get.clone(), format!("{one}/audio?channel=bogus"), 400),
        (get.clone(), format!("/v1/voiceai/conversations/{KNOWN}/audio?channel=bogus"), 400),
        (put.clone(), format!("{one}/audio"), 415),
        (put, format!("/v1/voiceai/conversations/{KNOWN}/audio"), 415),
        (get.clone(), "/v1/convai/conversations/x/audio?bogus=1".to_owned(), 400),
        (get.clone(), "/v1/stream?after=x".to_owned(), 400),
        (get.clone(), "/v1/stream".to_owned(), 426),
        (get.clone(), format!("{one}/stream?after=x"), 400),
        (get.clone(), format!("/v1/conversations/{long}/stream"), 400),
        (get, format!("/v1/voiceai/conversations/{KNOWN}/stream"), 426),
    ];
    for (method, path, told) in slow {
        let shown = format!("{method} {}", &path[..path.len().min(80)]);
        let asked = |headers: &[(&str, &str)]| {
            let mut asked = request(method.clone(), &path, headers, Body::from("{}"));
            if headers.is_empty() {
                asked.headers_mut().clear();
            }
            asked.headers_mut().insert("content-type", "application/json".parse().unwrap());
            asked
        };
        assert_eq!(fake.send(asked(&[])).await.status, 401, "{shown}");
        assert_eq!(fake.send(asked(&[("x-api-key", "wrong")])).await.status, 401, "{shown}");
        assert_eq!(fake.send(asked(&[("x-api-key", "k")])).await.status, told, "{shown}");
    }
    // What a provider sends is proved by its signature.
    let mut delivery = request(post, &format!("/v1/webhooks/{KNOWN}"), &[], Body::from("{}"));
    delivery.headers_mut().clear();
    assert_eq!(fake.send(delivery).await.status, 200);
}

#[tokio::test]
async fn a_stranger_is_refused_without_waiting_for_a_body() {
    let fake = Fake::default();
    let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    // Whoever waits for permission to send has nothing thrown away.
    let headers = [("x-api-key", "wrong"), ("content-type", "application/json"), ("expect", "100-continue")];
    let asked = request(Method::POST, &format!("/v1/analyzers/{KNOWN}/run"), &headers, body);
    let answer = tokio::time::timeout(Duration::from_secs(4), fake.send(asked)).await.expect("it is answered at once");
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn answers_are_not_kept_by_caches() {
    let answer = Fake::default().get("/v1/agents").await;
    assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-store", "nosniff"));
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let fake = Fake::default();
    assert_eq!(fake.get("/healthz").await.status, 200);
    assert_eq!(fake.get("/readyz").await.status, 200);
    let empty = LocalSlot::new().transport();
    let deps = Deps {
        conversation_store: empty.clone(),
        transcript: empty.clone(),
        ingestion: empty.clone(),
        analytics: empty.clone(),
        notification: empty.clone(),
        access: empty,
    };
    let (edge, _) = colloquy_edge::build(colloquy_edge::Settings::default(), deps, stream_deps(LocalSlot::new().transport()));
    let answer = send(edge.clone(), request(Method::GET, "/readyz", &[], Body::empty())).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["detail"].as_str().unwrap().contains("conversation-store"));
    assert_eq!(send(edge.clone(), request(Method::GET, "/healthz", &[], Body::empty())).await.status, 200);
    let answer = send(edge, request(Method::GET, "/v1/agents", &[], Body::empty())).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
}

#[tokio::test]
async fn a_body_that_never_comes_ends_the_request() {
    let fake = Fake::default();
    let settings = colloquy_edge::Settings { idle_timeout: Duration::from_millis(50), ..Default::default() };
    let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer =
        send(fake.edge_with(settings), request(Method::POST, "/v1/events", &[("content-type", "application/json")], body)).await;
    assert_eq!(answer.status, 408);
}
