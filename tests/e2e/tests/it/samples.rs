//! Every provider's samples through HTTP, on every engine.

use std::time::Duration;

use colloquy_e2e::{Engine, Server, Source, samples};
use colloquy_types::Provider;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What payloads/README.md says each conversation is in the end.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("elevenlabs:conv_2601kjq4xr7f8tgb2h6w3n9e5jkm", "completed", "success"),
    ("elevenlabs:conv_2601kjq4legacy00000000000000", "completed", "unknown"),
    ("elevenlabs:conv_2601kjq4failed00000000000000", "failed", "unknown"),
    ("elevenlabs:conv_2601kjq4busy000000000000000", "abandoned", "unknown"),
    ("elevenlabs:conv_2601kjq4noanswer00000000000", "abandoned", "unknown"),
    ("retell:call_4f1e2d3c4b5a69788796a5b4c3d2", "completed", "success"),
    ("retell:call_00aa11bb22cc33dd44ee55ff6677", "abandoned", "unknown"),
    ("retell:chat_5566778899aabbccddeeff001122", "completed", "success"),
    ("vapi:8d5c2f4e-1b3a-4c6d-9e7f-0a1b2c3d4e5f", "completed", "success"),
    ("vapi:9e6d3a5f-2c4b-4d7e-8f80-1b2c3d4e5f60", "abandoned", "unknown"),
    ("agent_session:19c9d7e7-f504-4312-8e2b-96a7b8c9daeb", "completed", "failure"),
];

async fn sources(server: &Server) -> Vec<Source> {
    let mut sources = Vec::new();
    for provider in [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession] {
        sources.push(server.source(provider).await);
    }
    sources
}

fn of(sources: &[Source], provider: Provider) -> &Source {
    sources.iter().find(|source| source.provider == provider).unwrap()
}

/// Delivers all samples, and waits until every conversation is what it must become.
async fn delivered(server: &Server, order: impl Fn(&mut Vec<colloquy_e2e::Sample>)) {
    let sources = sources(server).await;
    let mut all = samples();
    assert_eq!(all.len(), 24);
    order(&mut all);
    for sample in &all {
        let answer = server.deliver(of(&sources, sample.provider), &sample.body).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{} {}", sample.provider, sample.name);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["quarantine_id"], Value::Null, "{} {}: {answer}", sample.provider, sample.name);
    }
    for (id, status, successful) in EXPECTED {
        let path = format!("/v1/conversations/{id}");
        server.eventually(&path, |record| record["status"] == *status && record["call_successful"] == *successful).await;
    }
}

#[tokio::test]
async fn every_sample_becomes_the_conversation_it_should() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        delivered(&server, |_| ()).await;

        let list = server.get("/v1/conversations?include_total=true").await;
        assert_eq!(list["conversations"].as_array().unwrap().len(), EXPECTED.len());

        let record = server.get("/v1/conversations/elevenlabs:conv_2601kjq4xr7f8tgb2h6w3n9e5jkm").await;
        assert_eq!(record["agent_name"], "Clinic front desk");
        assert_eq!(record["created_at"], "2026-03-02T15:00:00.000Z");
        assert_eq!(record["analytics"]["satisfaction_score"], 4.0);
        assert_eq!(record["analytics"]["satisfaction_source"], "caller");
        assert_eq!(record["recording"]["available"], true);
        let interrupted = record["transcript"].as_array().unwrap().iter().find(|turn| !turn["heard_text"].is_null()).unwrap();
        assert_eq!(interrupted["heard_text"], "Thursday at half past nine or two in the");

        let record = server.get("/v1/conversations/retell:call_4f1e2d3c4b5a69788796a5b4c3d2").await;
        assert_eq!(record["caller"]["number"], "+12025550143");
        assert_eq!(record["analytics"]["sentiment"], "positive");
        assert_eq!(record["duration_seconds"], 19.48);
        assert_eq!(record["direction"], "inbound");

        let record = server.get("/v1/conversations/agent_session:19c9d7e7-f504-4312-8e2b-96a7b8c9daeb").await;
        assert_eq!(record["thread_id"], "91415f6e-7d8c-4b9a-8ca3-1e2f30415263");
        let roles: Vec<&str> =
            record["transcript"].as_array().unwrap().iter().map(|turn| turn["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "agent", "user", "agent", "human_agent"]);
        // The two last are both from the organization's side, but not from one speaker.
        assert_eq!(record["turn_count"], 5);
    }
}

/// When Colloquy heard of something is the one thing that really differs; it also dates what the provider does not.
fn undated(mut record: Value) -> Value {
    for event in record["history"].as_array_mut().into_iter().flatten() {
        event["received_at"] = Value::Null;
        if event["type"] == "transfer.updated" {
            event["occurred_at"] = Value::Null;
        }
    }
    record
}

#[tokio::test]
async fn order_and_repetition_make_no_difference() {
    let first = Server::start(Engine::Sqlite).await;
    delivered(&first, |_| ()).await;
    for engine in Engine::all().await {
        let second = Server::start(engine).await;
        delivered(&second, |samples| {
            samples.reverse();
            samples.extend(samples.clone());
        })
        .await;
        for (id, ..) in EXPECTED {
            for path in [format!("/v1/conversations/{id}"), format!("/v1/conversations/{id}/transcript")] {
                // What our own analysers say comes a moment later.
                let mut tries = 0;
                loop {
                    let [one, other] = [undated(first.get(&path).await), undated(second.get(&path).await)];
                    if one == other {
                        break;
                    }
                    tries += 1;
                    assert!(tries < 300, "{path} differs:\n{one}\n{other}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_transcript_comes_as_json_text_and_captions() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        delivered(&server, |_| ()).await;
        let base = "/v1/conversations/retell:call_4f1e2d3c4b5a69788796a5b4c3d2/transcript";
        let json = server.get(base).await;
        assert_eq!(json["turns"][0]["timing"], "word");
        assert_eq!(json["turns"][0]["words"][0], json!({"text": "Hello,", "start_ms": 640, "end_ms": 930}));

        let cases = [
            ("format=text", "text/plain", "Agent: Hello, thanks for calling Harbour Dental.\nUser: Hi, can I move"),
            ("format=srt", "application/x-subrip", "1\n00:00:00,640 --> "),
            ("format=vtt", "text/vtt", "WEBVTT\n"),
        ];
        for (query, content_type, begins) in cases {
            let answer = server.request(Method::GET, &format!("{base}?{query}")).send().await.unwrap();
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(content_type), "{query}");
            let text = answer.text().await.unwrap();
            assert!(text.starts_with(begins), "{query}: {text}");
        }
        let negotiated = server.request(Method::GET, base).header("accept", "text/vtt").send().await.unwrap();
        assert!(negotiated.text().await.unwrap().starts_with("WEBVTT"));
    }
}

#[tokio::test]
async fn a_recording_is_what_the_provider_sent() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        delivered(&server, |_| ()).await;
        let path = "/v1/conversations/elevenlabs:conv_2601kjq4xr7f8tgb2h6w3n9e5jkm/audio";
        let answer = server.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "audio/mpeg");
        assert_eq!(answer.headers()["etag"], "\"fa56019d2b85b9cb5b80b45a20f8f61605800f96644fda453076c054ab37ac60\"");
        let whole = answer.bytes().await.unwrap();
        assert_eq!(whole.len(), 1038);

        let part = server.request(Method::GET, path).header("range", "bytes=10-19").send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers()["content-range"], "bytes 10-19/1038");
        assert_eq!(part.bytes().await.unwrap(), whole.slice(10..20));
        let beyond = server.request(Method::GET, path).header("range", "bytes=2000-").send().await.unwrap();
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    }
}
