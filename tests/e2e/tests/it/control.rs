//! Taking a conversation over.

use std::time::Duration;

use colloquy_e2e::{Engine, Server, samples};
use colloquy_proto::control::v1 as pb;
use colloquy_proto::control::v1::control_service_client::ControlServiceClient;
use colloquy_testkit::Receiver;
use colloquy_types::Provider;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

const ALLOWED: (&str, &str) = ("COLLOQUY_OUTBOUND_ALLOW_NETWORKS", "127.0.0.0/8");
const SOON: Duration = Duration::from_secs(30);

/// Sends a command and returns the status and the body of the answer.
async fn command(server: &Server, conversation: &str, body: &Value) -> (StatusCode, Value) {
    let path = format!("/v1/conversations/{conversation}/control");
    let answer = server.request(Method::POST, &path).json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Delivers the sample of a running call whose control address is `receiver`, and returns the conversation's name.
async fn running_vapi_call(server: &Server, receiver: &Receiver) -> String {
    let sample = samples().into_iter().find(|each| each.provider == Provider::Vapi && each.name == "status-update").unwrap();
    let mut body: Value = serde_json::from_slice(&sample.body).unwrap();
    body["message"]["call"]["monitor"]["controlUrl"] = json!(receiver.url("/control"));
    let source = server.source(Provider::Vapi).await;
    let answer = server.deliver(&source, body.to_string().as_bytes()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let conversation = sample.conversation;
    // Control hears of it by its own reader.
    let path = format!("/v1/conversations/{conversation}/control");
    server.eventually(&path, |control| control["capabilities"].as_array().is_some_and(|all| !all.is_empty())).await;
    conversation
}

async fn history(server: &Server, conversation: &str, kind: &str) -> Vec<Value> {
    let events = server.get(&format!("/v1/conversations/{conversation}/events")).await;
    events["events"].as_array().unwrap().iter().filter(|event| event["type"] == kind).cloned().collect()
}

#[tokio::test]
async fn a_person_takes_a_call_over_speaks_and_gives_it_back() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[ALLOWED]).await;
        let vendor = Receiver::start().await;
        let conversation = running_vapi_call(&server, &vendor).await;

        let (status, refused) = command(&server, &conversation, &json!({"command": "say", "text": "Hello"})).await;
        assert_eq!(status, StatusCode::CONFLICT, "{refused}");
        let (status, taken) = command(&server, &conversation, &json!({"command": "take_over", "holder": "Ada"})).await;
        assert_eq!((status, &taken["status"]), (StatusCode::ACCEPTED, &json!("accepted")), "{taken}");
        let lease = taken["lease_id"].as_str().unwrap();
        let (status, held) = command(&server, &conversation, &json!({"command": "take_over", "holder": "Bob"})).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(held["detail"].as_str().unwrap().contains("Ada") && !held.to_string().contains(lease), "{held}");

        let say = json!({"command": "say", "text": "This is Ada.", "lease_id": lease, "idempotency_key": "k1"});
        let (status, first) = command(&server, &conversation, &say).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{first}");
        let (status, again) = command(&server, &conversation, &say).await;
        assert_eq!((status, &again["command_id"]), (StatusCode::ACCEPTED, &first["command_id"]));
        let (status, released) = command(&server, &conversation, &json!({"command": "release", "lease_id": lease})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{released}");

        let calls = vendor.until(SOON, "three calls", |received| received.len() >= 3).await;
        let bodies: Vec<Value> = calls.iter().map(colloquy_testkit::Received::json).collect();
        assert_eq!(bodies[0], json!({"type": "control", "control": "mute-assistant"}));
        assert_eq!((&bodies[1]["type"], &bodies[1]["content"]), (&json!("say"), &json!("This is Ada.")));
        assert_eq!(bodies[2], json!({"type": "control", "control": "unmute-assistant"}));
        assert!(calls.iter().all(|call| call.path == "/control" && call.method == Method::POST));

        let path = format!("/v1/conversations/{conversation}/events");
        server
            .eventually(&path, |events| {
                let applied = events["events"].as_array().unwrap().iter().filter(|event| event["type"] == "control.applied");
                applied.count() == 3
            })
            .await;
        assert_eq!(vendor.received().len(), 3, "nothing is done twice");
        assert_eq!(history(&server, &conversation, "control.accepted").await.len(), 3);
        let leases = history(&server, &conversation, "control.lease_changed").await;
        let states: Vec<&str> = leases.iter().map(|event| event["data"]["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["taken", "released"]);
        // Who knows the address can steer the call, so nobody is told.
        let record = server.get(&format!("/v1/conversations/{conversation}")).await;
        assert!(!record.to_string().contains(&vendor.url("/control")), "{record}");
    }
}

#[tokio::test]
async fn a_holder_who_is_gone_frees_the_conversation_and_the_agent_speaks_again() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[ALLOWED]).await;
        let vendor = Receiver::start().await;
        let conversation = running_vapi_call(&server, &vendor).await;
        let take = json!({"command": "take_over", "holder": "Ada", "lease_seconds": 5});
        let (status, taken) = command(&server, &conversation, &take).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{taken}");
        let calls = vendor.until(SOON, "the agent is heard again", |received| received.len() >= 2).await;
        assert_eq!(calls[1].json(), json!({"type": "control", "control": "unmute-assistant"}));
        let path = format!("/v1/conversations/{conversation}/control");
        server.eventually(&path, |control| control["lease"].is_null()).await;
        let stale = json!({"command": "say", "text": "?", "lease_id": taken["lease_id"]});
        let (status, problem) = command(&server, &conversation, &stale).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
        let (status, _) = command(&server, &conversation, &json!({"command": "take_over", "holder": "Bob"})).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn an_own_agent_is_handed_commands_and_answers_them() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[ALLOWED]).await;
        let id = Uuid::now_v7().to_string();
        let started = json!({"events": [{"event_id": "s", "conversation_id": id, "type": "conversation.started",
            "data": {"agent_id": "a"}}]});
        server.post("/v1/events", &started).await;
        let path = format!("/v1/conversations/{id}/control");
        server.eventually(&path, |control| control["capabilities"].as_array().is_some_and(|all| all.len() == 7)).await;
        let (status, taken) = command(&server, &id, &json!({"command": "take_over", "holder": "Ada"})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{taken}");

        let mut client = ControlServiceClient::connect(server.grpc_of("notification")).await.unwrap();
        let mut commands = client.subscribe(keyed(&server, pb::SubscribeRequest::default())).await.unwrap().into_inner();
        let next = tokio::time::timeout(SOON, commands.message()).await.unwrap().unwrap().unwrap().command.unwrap();
        assert_eq!((next.command.as_str(), next.conversation_id.as_str()), ("take_over", id.as_str()));
        let report = pb::ReportCommandRequest { command_id: next.command_id, rejected: None };
        client.report_command(keyed(&server, report)).await.unwrap();

        let say = json!({"command": "say", "text": "Hello", "lease_id": taken["lease_id"]});
        assert_eq!(command(&server, &id, &say).await.0, StatusCode::ACCEPTED);
        let next = loop {
            let next = tokio::time::timeout(SOON, commands.message()).await.unwrap().unwrap().unwrap().command.unwrap();
            if next.command == "say" {
                break next;
            }
        };
        assert_eq!(next.text.as_deref(), Some("Hello"));
        let report = pb::ReportCommandRequest { command_id: next.command_id, rejected: Some("no voice".to_owned()) };
        client.report_command(keyed(&server, report)).await.unwrap();
        let path = format!("/v1/conversations/{id}/events");
        let events = server
            .eventually(&path, |events| {
                events["events"].as_array().unwrap().iter().any(|event| event["type"] == "control.rejected")
            })
            .await;
        let rejected = events["events"].as_array().unwrap().iter().find(|event| event["type"] == "control.rejected").unwrap();
        assert_eq!((&rejected["data"]["reason"], &rejected["data"]["detail"]), (&json!("agent_refused"), &json!("no voice")));
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_foreign_conversations_are_not_there() {
    let server = Server::start_with(Engine::Sqlite, &[ALLOWED]).await;
    let vendor = Receiver::start().await;
    let conversation = running_vapi_call(&server, &vendor).await;
    let source = server.source(Provider::AgentSession).await;
    let sample = samples().into_iter().find(|each| each.provider == Provider::AgentSession && each.name == "started").unwrap();
    server.deliver(&source, &sample.body).await.unwrap();
    server.eventually(&format!("/v1/conversations/{}", sample.conversation), |record| record["status"] == "in_progress").await;
    let (status, problem) = command(&server, &sample.conversation, &json!({"command": "take_over"})).await;
    assert_eq!((status, &problem["type"]), (StatusCode::CONFLICT, &json!("urn:colloquy:problem:command-unsupported")));

    for bad in [
        json!({}),
        json!({"command": "dance"}),
        json!({"command": "take_over", "lease_seconds": 1}),
        json!({"command": "transfer", "destination": "somewhere", "lease_id": Uuid::now_v7()}),
        json!({"command": "say", "lease_id": Uuid::now_v7()}),
        json!({"command": "take_over", "what": 1}),
    ] {
        let (status, problem) = command(&server, &conversation, &bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {problem}");
    }
    let reader = server.key("default", "conversations:read");
    let foreign = server.key("other", "admin");
    let path = format!("/v1/conversations/{conversation}/control");
    for (key, expected) in [(reader, StatusCode::FORBIDDEN), (foreign, StatusCode::NOT_FOUND)] {
        let request = server.anonymous(Method::POST, &path).header("x-api-key", key).json(&json!({"command": "take_over"}));
        assert_eq!(request.send().await.unwrap().status(), expected);
    }
    let end = samples().into_iter().find(|each| each.provider == Provider::Vapi && each.name == "status-update_ended").unwrap();
    let source = server.source(Provider::Vapi).await;
    server.deliver(&source, &end.body).await.unwrap();
    server.eventually(&format!("/v1/conversations/{conversation}"), |record| record["status"] == "completed").await;
    let started = std::time::Instant::now();
    loop {
        let (status, problem) = command(&server, &conversation, &json!({"command": "take_over"})).await;
        if problem["type"] == "urn:colloquy:problem:conversation-ended" {
            assert_eq!(status, StatusCode::CONFLICT);
            break;
        }
        assert!(started.elapsed() < SOON, "{problem}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn keyed<T>(server: &Server, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-api-key", server.admin_key().parse().unwrap());
    request
}
