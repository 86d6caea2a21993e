//! Marked content goes through everything, and must not come out in logs, metrics or stored secrets.

use colloquy_e2e::{Engine, Server};
use colloquy_types::Provider;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

const WORDS: &str = "marked-words-7f3a";
const NUMBER: &str = "+12025550177";
const MAIL: &str = "marked-7f3a@example.com";

#[tokio::test]
async fn nothing_anybody_said_reaches_a_log_or_a_metric() {
    let server = Server::start_with(Engine::Sqlite, &[("RUST_LOG", "debug")]).await;
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
    server.deliver(&source, format!("{{\"message\": {{\"type\": \"{WORDS}\", \"x\": \"{MAIL}\"}}}}").as_bytes()).await.unwrap();

    let log = server.log();
    let metrics = server.metrics_text().await;
    assert!(log.contains("ready"), "nothing was logged at all");
    for marked in [WORDS, NUMBER, &NUMBER[1..], MAIL, &source.secret, "e2e-administrator-key"] {
        assert!(!log.contains(marked), "{marked} is in the log: {:?}", log.lines().find(|line| line.contains(marked)));
        assert!(!metrics.contains(marked), "{marked} is in the metrics");
    }
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
