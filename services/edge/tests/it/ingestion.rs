//! Webhooks, native events, sources and quarantine.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use colloquy_edge::Settings;
use colloquy_service::Problem;
use futures::{StreamExt, stream};
use http::Method;
use serde_json::json;
use tonic::Status;

use crate::fake::{Fake, KNOWN, request, send};

fn webhook() -> String {
    format!("/v1/webhooks/{KNOWN}")
}

#[tokio::test]
async fn a_delivery_is_passed_on_with_its_headers_and_in_small_pieces() {
    let fake = Fake::default();
    let body = vec![b'x'; 3 << 20];
    let headers = [("X-Vapi-Secret", "s"), ("authorization", "Bearer t"), ("x-api-key", "not passed on")];
    let answer = fake.send(request(Method::POST, &webhook(), &headers, body)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-colloquy-position")), (200, "3"));
    assert_eq!(answer.json(), json!({"accepted": 2, "duplicates": 1, "position": 3, "quarantine_id": null}));
    let call = fake.last("ReceiveWebhook");
    for part in ["name: \"x-vapi-secret\", value: \"s\"", "name: \"authorization\"", "total=3145728", "largest=262144", KNOWN] {
        assert!(call.message.contains(part), "{part} in {}", call.message);
    }
    assert_eq!((call.api_key, call.authorization), (None, None), "a delivery is nobody's call");
}

#[tokio::test]
async fn a_delivery_that_breaks_off_is_not_taken_for_whole() {
    let fake = Fake::default();
    let body = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"{}")), Err(std::io::Error::other("gone"))]));
    let answer = fake.send(request(Method::POST, &webhook(), &[], body)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(fake.last("ReceiveWebhook").message, "dropped", "the service saw no end");
}

#[tokio::test]
async fn a_delivery_that_stands_still_ends() {
    let fake = Fake::default();
    let stalled = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]).chain(stream::pending());
    let edge = fake.edge_with(Settings { idle_timeout: Duration::from_millis(50), ..Settings::default() });
    let answer = send(edge, request(Method::POST, &webhook(), &[], Body::from_stream(stalled))).await;
    assert_eq!(answer.status, 408);
    assert_eq!(fake.last("ReceiveWebhook").message, "dropped", "the service saw no end");
}

#[tokio::test]
async fn what_becomes_of_a_delivery_is_said_by_the_status() {
    let cases = [
        (Problem::unauthenticated("SIGNATURE_INVALID", "bad signature"), 401),
        (Problem::not_found("SOURCE_NOT_FOUND", "no such source"), 404),
        (Problem::exhausted("BODY_TOO_LARGE", "at most 8 MiB"), 413),
        (Problem::unavailable("LOG_FULL", "the log is full", Duration::from_millis(1500)), 503),
    ];
    for (problem, status) in cases {
        let fake = Fake::default();
        fake.fail("ReceiveWebhook", Status::from(problem));
        let answer = fake.send(request(Method::POST, &webhook(), &[], vec![0; 1 << 20])).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after"), if status == 503 { "2" } else { "" });
    }
    let answer = Fake::default().send(request(Method::POST, "/v1/webhooks/not-a-uuid", &[], "{}")).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn native_events_are_passed_on() {
    let fake = Fake::default();
    let event = json!({"event_id": "e", "conversation_id": "c", "type": "turn.added", "occurred_at": "2026-03-02T15:00:00Z",
        "data": {"role": "user", "text": "hi"}});
    let answer = fake.json(Method::POST, "/v1/events", json!({"events": [event]}).to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-colloquy-position")), (200, "5"));
    assert_eq!(answer.json(), json!({"accepted": 1, "duplicates": 0, "position": 5}));
    assert!(fake.last("IngestEvents").message.contains("occurred_at: \"2026-03-02T15:00:00Z\""));
}

#[tokio::test]
async fn a_batch_that_is_too_great_is_refused_before_it_is_read() {
    let fake = Fake::default();
    let edge = || fake.edge_with(Settings { max_events_bytes: 100, ..Settings::default() });
    let headers = [("content-type", "application/json"), ("content-length", "101")];
    assert_eq!(send(edge(), request(Method::POST, "/v1/events", &headers, "x".repeat(101))).await.status, 413);
    assert_eq!(send(edge(), request(Method::POST, "/v1/events", &headers[..1], "x".repeat(101))).await.status, 413);
}

#[tokio::test]
async fn fields_of_events_keep_their_paths() {
    let fake = Fake::default();
    fake.fail("IngestEvents", Problem::invalid_field("events[0].data_json.role", "must be one of agent, user").into());
    let event = json!({"event_id": "e", "conversation_id": "c", "type": "turn.added", "data": {}});
    let answer = fake.json(Method::POST, "/v1/events", json!({"events": [event]}).to_string()).await;
    assert_eq!(answer.bad_fields(), ["events[0].data.role"]);
}

#[tokio::test]
async fn a_source_is_made_and_its_secret_never_shown() {
    let fake = Fake::default();
    let body = json!({"provider": "vapi", "name": "n", "verification": {"scheme": "hmac", "secret": "hush"}, "client_id": "c"});
    let headers = [("content-type", "application/json"), ("host", "calls.example:8080")];
    let answer = fake.send(request(Method::POST, "/v1/sources", &headers, body.to_string())).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, format!("/v1/sources/{KNOWN}").as_str()));
    let source = answer.json();
    assert_eq!(source["webhook_url"], format!("http://calls.example:8080/v1/webhooks/{KNOWN}"));
    assert_eq!((&source["verification"]["has_secret"], &source["verification"]["header"]), (&json!(true), &json!(null)));
    assert!(!source.to_string().contains("hush"));
    assert!(fake.last("CreateSource").message.contains("hush"));
}

#[tokio::test]
async fn how_a_provider_is_called_is_given_with_a_source_and_its_key_never_shown() {
    let fake = Fake::default();
    let control = json!({"api_key": "hush", "base_url": "https://api.eu.example"});
    let body = json!({"provider": "vapi", "name": "n", "verification": {"scheme": "none"}, "control": control});
    let answer = fake.json(Method::POST, "/v1/sources", body.to_string()).await;
    assert_eq!(answer.json()["control"], json!({"has_api_key": true, "base_url": "https://api.eu.example"}));
    assert!(fake.last("CreateSource").message.contains(r#"api_key: Some("hush")"#));
    let body = json!({"provider": "vapi", "name": "n", "verification": {"scheme": "none"}});
    let answer = fake.json(Method::POST, "/v1/sources", body.to_string()).await;
    assert_eq!(answer.json()["control"], json!({"has_api_key": false, "base_url": null}));
    let body =
        json!({"provider": "vapi", "name": "n", "verification": {"scheme": "none"}, "control": {"base_url": 5, "key": "k"}});
    let answer = fake.json(Method::POST, "/v1/sources", body.to_string()).await;
    assert_eq!(answer.bad_fields(), ["control.base_url", "control.key"]);
}

#[tokio::test]
async fn a_change_of_how_a_provider_is_called_tells_null_from_absent() {
    let fake = Fake::default();
    let change = async |control: serde_json::Value| {
        let body = json!({"control": control}).to_string();
        assert_eq!(fake.json(Method::PATCH, &format!("/v1/sources/{KNOWN}"), body).await.status, 200);
        let message = fake.last("UpdateSource").message;
        assert!(message.contains(r#"paths: ["control"]"#), "{message}");
        message
    };
    let message = change(json!({"api_key": "hush"})).await;
    assert!(message.contains(r#"api_key: Some("hush")"#) && message.contains("base_url: None"), "{message}");
    let message = change(json!({"api_key": null, "base_url": "https://api.example"})).await;
    assert!(message.contains(r#"api_key: Some("")"#) && message.contains("base_url: Some("), "{message}");
    let message = change(json!(null)).await;
    assert!(message.contains("control: None"), "{message}");
}

#[tokio::test]
async fn a_public_url_stands_before_the_path() {
    let fake = Fake::default();
    let settings = Settings { public_url: Some("https://colloquy.example/".parse().unwrap()), ..Settings::default() };
    let answer = send(fake.edge_with(settings), request(Method::GET, &format!("/v1/sources/{KNOWN}"), &[], Body::empty())).await;
    assert_eq!(answer.json()["webhook_url"], format!("https://colloquy.example/v1/webhooks/{KNOWN}"));
}

#[tokio::test]
async fn a_source_that_is_not_whole_is_refused() {
    let fake = Fake::default();
    let body = json!({"name": 5, "verification": {"secret": "s", "colour": "red", "secret_is_base64": "yes"}, "url": "x"});
    let answer = fake.json(Method::POST, "/v1/sources", body.to_string()).await;
    let bad = answer.bad_fields();
    assert_eq!(bad, ["provider", "name", "verification.scheme", "verification.secret_is_base64", "verification.colour", "url"]);
    assert_eq!(fake.json(Method::POST, "/v1/sources", "{}").await.bad_fields(), ["provider", "name", "verification"]);
}

#[tokio::test]
async fn a_change_of_a_source_names_what_it_changes() {
    let fake = Fake::default();
    let path = format!("/v1/sources/{KNOWN}");
    let answer = fake.json(Method::PATCH, &path, json!({"client_id": null, "name": "m"}).to_string()).await;
    assert_eq!(answer.status, 200);
    assert!(fake.last("UpdateSource").message.contains("paths: [\"name\", \"client_id\"]"));
    let body = json!({"verification": {"scheme": "bearer", "secret": "t"}, "previous_secret_valid_seconds": 60}).to_string();
    assert_eq!(fake.json(Method::PATCH, &path, body).await.status, 200);
    let message = fake.last("UpdateSource").message;
    assert!(message.contains("paths: [\"verification\"]") && message.contains("previous_secret_valid_seconds: 60"), "{message}");
    let answer = fake.json(Method::PATCH, &path, json!({"name": null, "provider": "vapi"}).to_string()).await;
    assert_eq!(answer.bad_fields(), ["name", "provider"]);
    let gone = fake.send(request(Method::DELETE, &path, &[], Body::empty())).await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
}

#[tokio::test]
async fn the_quarantine_is_listed_and_retried() {
    let fake = Fake::default();
    let page = fake.get("/v1/quarantine?include_resolved=true&page_size=3").await.json();
    assert_eq!((&page["deliveries"][0]["reason"], &page["has_more"]), (&json!("unknown event"), &json!(false)));
    let answer = fake.send(request(Method::POST, &format!("/v1/quarantine/{KNOWN}/retry"), &[], Body::empty())).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-colloquy-position")), (200, "13"));
    assert_eq!(answer.json()["attempts"], 2);
    let unknown = fake.send(request(Method::POST, "/v1/quarantine/5/retry", &[], Body::empty())).await;
    assert_eq!(unknown.status, 404);
}
