//! Marked content goes through everything, and must not come out in logs, metrics or stored secrets.

use std::time::Duration;

use colloquy_e2e::{Engine, Server, Source};
use colloquy_testkit::until;
use colloquy_types::Provider;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::collector::Collector;

const WORDS: &str = "marked-words-7f3a";
const NUMBER: &str = "+12025550177";
const MAIL: &str = "marked-7f3a@example.com";
/// In everything the next test sends, in whatever form it takes there.
const MARK: &str = "7f3amarked";
const MARKED_NUMBER: &str = "12025550143";

#[tokio::test]
async fn nothing_anybody_said_reaches_a_log_or_a_metric() {
    for engine in Engine::all().await {
        let server = Server::start_with(engine, &[("RUST_LOG", "debug")]).await;
        let id = Uuid::now_v7().to_string();
        let body = json!({"events": [
            {"event_id": "s", "conversation_id": id, "type": "conversation.started",
             "data": {"agent_id": "a", "caller": {"number": NUMBER, "name": MAIL}, "metadata": {"mail": MAIL}}},
            {"event_id": "t", "conversation_id": id, "type": "turn.added", "data": {"role": "user", "text": WORDS}},
        ]});
        let written = server.post("/v1/events", &body).await;
        let record = server.get(&format!("/v1/conversations/{id}?min_position={}", written["position"])).await;
        assert_eq!(record["transcript"][0]["text"], WORDS);
        let caller = NUMBER.replace('+', "%2B");
        assert_eq!(server.get(&format!("/v1/conversations?caller={caller}")).await["conversations"].as_array().unwrap().len(), 1);
        // Refusals repeat what was sent, to its sender and nobody else.
        let bad = server
            .request(Method::POST, "/v1/events")
            .header("content-type", "application/json")
            .body(format!("{{\"{WORDS}\": \"{MAIL}\""))
            .send()
            .await
            .unwrap();
        assert_eq!(bad.status(), 400);
        let source = server.source(Provider::Vapi).await;
        server
            .deliver(&source, format!("{{\"message\": {{\"type\": \"{WORDS}\", \"x\": \"{MAIL}\"}}}}").as_bytes())
            .await
            .unwrap();

        let log = server.log();
        let metrics = server.metrics_text().await;
        assert!(log.contains("ready"), "nothing was logged at all");
        for marked in [WORDS, NUMBER, &NUMBER[1..], MAIL, &source.secret, "e2e-administrator-key"] {
            assert!(!log.contains(marked), "{marked} is in the log: {:?}", log.lines().find(|line| line.contains(marked)));
            assert!(!metrics.contains(marked), "{marked} is in the metrics");
        }
    }
}

#[tokio::test]
async fn nothing_anybody_sends_anywhere_reaches_what_operators_collect() {
    let suite = Engine::suite().await.map(|suite| (suite, "json"));
    for (engine, format) in [(Engine::Sqlite, "text"), (Engine::Sqlite, "json")].into_iter().chain(suite) {
        let collector = Collector::start().await;
        let mut settings = collector.settings();
        settings.extend([("COLLOQUY_LOG_FORMAT", format), ("RUST_LOG", "info,colloquy=debug")]);
        let server = Server::start_with(engine, &settings).await;
        let id = send_events(&server).await;
        send_deliveries(&server).await;
        ask(&server, &id).await;
        send_nonsense(&server, &id).await;
        call_what_is_not_there(&server).await;

        // The last of it has arrived, and so has all before it, from the edges as well as from behind them.
        for last in ["DELETE /v1/sources/{id}", "colloquy.ingestion.v1.SourceService/DeleteSource"] {
            let server_side = |span: &Span| span.name == last && span.kind == SpanKind::Server as i32;
            collector.until(last, |spans| spans.iter().any(server_side)).await;
        }
        let patience = Duration::from_secs(30);
        let counted =
            |text: &str| text.contains("colloquy_webhook_deliveries") && text.contains("colloquy_recording_fetch_queue");
        until(patience, "metrics over OTLP", async || counted(&collector.everything())).await;
        until(patience, "a failed fetch", async || fetch_failed(&server, &id).await).await;
        let (log, metrics, exported) = (server.log(), server.metrics_text().await, collector.everything());
        assert!(log.contains("was refused") && log.contains("quarantine"), "nothing was logged: {log}");
        for marked in [MARK, MARKED_NUMBER, server.admin_key()] {
            assert!(!log.contains(marked), "{marked} is in the log: {:?}", log.lines().find(|line| line.contains(marked)));
            assert!(!metrics.contains(marked), "{marked} is in the metrics");
            let place = exported.find(marked).map(|place| &exported[place.saturating_sub(300)..place + marked.len()]);
            assert!(place.is_none(), "{marked} is in what was exported: {place:?}");
        }
    }
}

/// Words, names, numbers, mail addresses, metadata and a signed URL, in events of one's own.
async fn send_events(server: &Server) -> String {
    let id = Uuid::now_v7().to_string();
    let event = |name: &str, kind: &str, data: Value| json!({"event_id": format!("{name}-{MARK}"), "conversation_id": id, "type": kind, "data": data});
    let caller = json!({"number": format!("+{MARKED_NUMBER}"), "name": format!("Name {MARK}")});
    let metadata = json!({format!("key-{MARK}"): format!("{MARK}@example.com")});
    let events = json!({"events": [
        event("s", "conversation.started", json!({"agent_id": format!("agent-{MARK}"), "caller": caller, "metadata": metadata})),
        event("t", "turn.added", json!({"role": "user", "text": format!("words {MARK}")})),
        // Nobody listens there, and it may not be asked: either way the URL is in no message.
        event("r", "recording.available", json!({"url": format!("https://127.0.0.1:9/{MARK}.wav?signature={MARK}")})),
    ]});
    let written = server.post("/v1/events", &events).await;
    server.get(&format!("/v1/conversations/{id}?min_position={}", written["position"])).await;
    id
}

/// Webhooks that are mapped, that cannot be, that are forged, and that are no JSON.
async fn send_deliveries(server: &Server) {
    let source = server.source(Provider::Vapi).await;
    let sample = colloquy_e2e::samples().into_iter().find(|sample| sample.name == "end-of-call-report").unwrap();
    let mut body: Value = serde_json::from_slice(&sample.body).unwrap();
    body["message"]["artifact"]["transcript"] = json!(format!("words {MARK}"));
    body["message"]["customer"] = json!({"number": format!("+{MARKED_NUMBER}"), "name": MARK});
    assert!(server.deliver(&source, body.to_string().as_bytes()).await.unwrap().status().is_success());
    for raw in [json!({"message": {"type": MARK, "x": MARK}}).to_string(), json!([MARK]).to_string(), format!("not JSON {MARK}")]
    {
        server.deliver(&source, raw.as_bytes()).await.unwrap();
    }
    let forged = Source { secret: format!("secret-{MARK}-0123456789abcdef"), ..source.clone() };
    assert_eq!(server.deliver(&forged, MARK.as_bytes()).await.unwrap().status(), 401);
    let unknown = server.anonymous(Method::POST, &format!("/v1/webhooks/{MARK}")).body(MARK);
    assert!(unknown.send().await.unwrap().status().is_client_error());
    let waiting = server.get("/v1/quarantine").await;
    for entry in waiting["deliveries"].as_array().unwrap() {
        let retry = format!("/v1/quarantine/{}/retry", entry["quarantine_id"].as_str().unwrap());
        server.request(Method::POST, &retry).send().await.unwrap();
    }
}

/// Searches, reads and changes that hold what people said.
async fn ask(server: &Server, id: &str) {
    for query in
        ["caller=%2B12025550143", "user_id=7f3amarked", "tag=7f3amarked", "topic=7f3amarked", "cursor=7f3amarked", "7f3amarked=1"]
    {
        server.request(Method::GET, &format!("/v1/conversations?{query}")).send().await.unwrap();
    }
    for path in ["", "/transcript", "/transcript?format=srt", "/events", "/audio", "/audio?format=7f3amarked"] {
        server.request(Method::GET, &format!("/v1/conversations/{id}{path}")).send().await.unwrap();
    }
    let change = json!({"tags": {"add": [MARK]}, "metadata": {"note": MARK}});
    server.request(Method::PATCH, &format!("/v1/conversations/{id}")).json(&change).send().await.unwrap();
    let feedback = json!({"rating": 5, "comment": MARK});
    server.request(Method::POST, &format!("/v1/conversations/{id}/feedback")).json(&feedback).send().await.unwrap();
    server.request(Method::GET, &format!("/v1/agents/agent-{MARK}")).send().await.unwrap();
    server.request(Method::GET, &format!("/v1/convai/conversations?agent_id={MARK}")).send().await.unwrap();
}

/// Bodies, paths, headers and keys that are wrong.
async fn send_nonsense(server: &Server, id: &str) {
    let bodies = [format!("{{\"{MARK}\": \"{MARK}\""), json!({MARK: MARK}).to_string(), json!({"events": MARK}).to_string()];
    for (method, path) in [
        (Method::POST, "/v1/events".to_owned()),
        (Method::POST, "/v1/sources".to_owned()),
        (Method::PATCH, format!("/v1/conversations/{id}")),
        (Method::POST, format!("/v1/conversations/{id}/feedback")),
        (Method::PUT, format!("/v1/conversations/{id}/audio")),
        (Method::POST, format!("/v1/{MARK}")),
    ] {
        for body in &bodies {
            let request = server.request(method.clone(), &path).header("content-type", "application/json").body(body.clone());
            assert!(!request.send().await.unwrap().status().is_server_error(), "{method} {path}");
        }
    }
    for path in
        [format!("/{MARK}"), format!("/v1/conversations/{MARK}"), format!("/v1/conversations/+{MARKED_NUMBER}/transcript")]
    {
        server.request(Method::GET, &path).send().await.unwrap();
    }
    for (name, value) in [
        ("x-api-key", MARK),
        ("authorization", "Bearer 7f3amarked"),
        ("x-request-id", MARK),
        ("traceparent", MARK),
        ("user-agent", MARK),
    ] {
        server.anonymous(Method::GET, "/v1/conversations").header(name, value).send().await.unwrap();
    }
    let named = json!({"provider": "native", "name": MARK, "verification": {"scheme": "bearer", "secret": MARK}});
    server.request(Method::POST, "/v1/sources").json(&named).send().await.unwrap();
    server.request(Method::DELETE, &format!("/v1/sources/{}", Uuid::now_v7())).send().await.unwrap();
}

/// A path names a method only when there is such a method.
async fn call_what_is_not_there(server: &Server) {
    let channel = tonic::transport::Endpoint::from_shared(server.grpc.clone()).unwrap().connect().await.unwrap();
    for path in [format!("/colloquy.log.v1.EventLogService/{MARK}"), format!("/{MARK}/{MARKED_NUMBER}")] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status = client.unary(tonic::Request::new(()), path.parse().unwrap(), codec).await.unwrap_err();
        // Without a key, a service does not even say which methods it has.
        assert!(matches!(status.code(), tonic::Code::Unimplemented | tonic::Code::Unauthenticated), "{status}");
    }
}

async fn fetch_failed(server: &Server, id: &str) -> bool {
    let record = server.get(&format!("/v1/conversations/{id}/events")).await;
    record.to_string().contains("recording.failed") || server.log().contains("the recording of")
}

#[tokio::test]
async fn secrets_are_nowhere_in_the_data_folder() {
    let server = Server::start(Engine::Sqlite).await;
    let source = server.source(Provider::Vapi).await;
    let sample = colloquy_e2e::samples().into_iter().find(|sample| sample.name == "end-of-call-report").unwrap();
    assert!(server.deliver(&source, &sample.body).await.unwrap().status().is_success());
    server.eventually(&format!("/v1/conversations/{}", sample.conversation), |record| record["status"] == "completed").await;
    let mut folders = vec![server.data_dir().to_owned()];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            read += bytes.len();
            for secret in [source.secret.as_str(), "fake-token-that-must-be-redacted", "e2e-administrator-key"] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} is in {}", path.display());
            }
        }
    }
    assert!(read > 100_000, "the data folder is empty");
}
