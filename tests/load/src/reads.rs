//! How fast things can be read.

use std::time::Instant;

use colloquy_e2e::Server;
use colloquy_proto::conversation::v1 as conversation;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::transcript::v1::GetTranscriptRequest;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::latency::Latencies;

const ROUNDS: usize = 2_000;
const AGENTS: u64 = 50;

fn with_key<T>(server: &Server, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-api-key", server.admin_key().parse().unwrap());
    request
}

/// Reads a transcript of 12 turns over gRPC, again and again.
pub(crate) async fn transcript(server: &Server) {
    let page = server.get("/v1/conversations?page_size=1").await;
    let conversation_id = page["conversations"][0]["conversation_id"].as_str().unwrap().to_owned();
    let mut client = TranscriptServiceClient::connect(server.grpc.clone()).await.unwrap();
    let mut latencies = Latencies::default();
    for _ in 0..ROUNDS {
        let request = with_key(
            server,
            GetTranscriptRequest { conversation_id: conversation_id.clone(), min_position: 0, organization_id: String::new() },
        );
        let started = Instant::now();
        let answer = client.get_transcript(request).await.unwrap().into_inner();
        latencies.add(started.elapsed());
        assert_eq!(answer.turns.len(), 12);
    }
    println!("transcript of 12 turns over gRPC: {}", latencies.summary());
}

/// Lists 30 of many conversations by agent, newest first, over gRPC and REST; first of 10,000, then of all.
pub(crate) async fn lists(server: &Server, conversations: u64) {
    let first = conversations.min(10_000);
    fill(server, 0, first).await;
    list(server, first).await;
    fill(server, first, conversations).await;
    list(server, conversations).await;
}

async fn fill(server: &Server, from: u64, to: u64) {
    let started = Instant::now();
    let mut position = json!(0);
    let mut next = from;
    while next < to {
        let end = (next + 500).min(to);
        let events: Vec<Value> = (next..end)
            .flat_map(|number| {
                let id = Uuid::now_v7();
                let at = 1_772_463_600 + number * 7;
                let at = colloquy_types::Timestamp::from_millis(at as i64 * 1000).unwrap();
                let data = json!({"agent_id": format!("agent-{}", number % AGENTS), "channel": "phone", "direction": "inbound",
                                  "caller": {"number": format!("+1202555{:04}", number % 10_000)}});
                [
                    json!({"event_id": Uuid::now_v7(), "conversation_id": id, "type": "conversation.started", "occurred_at": at, "data": data}),
                    json!({"event_id": Uuid::now_v7(), "conversation_id": id, "type": "conversation.ended", "occurred_at": at,
                           "data": {"status": "completed", "duration_seconds": number % 600}}),
                ]
            })
            .collect();
        let written = server.post("/v1/events", &json!({ "events": events })).await;
        position = written["position"].clone();
        next = end;
    }
    crate::writes::readable(server, position.as_u64().unwrap()).await;
    println!("filled {} conversations in {:.1} s", to - from, started.elapsed().as_secs_f64());
}

async fn list(server: &Server, of: u64) {
    let mut client = ConversationServiceClient::connect(server.grpc.clone()).await.unwrap();
    let mut grpc = Latencies::default();
    let mut rest = Latencies::default();
    for round in 0..ROUNDS {
        let agent = format!("agent-{}", round as u64 % AGENTS);
        let filter = conversation::ConversationFilter { agent_id: Some(agent.clone()), ..Default::default() };
        let request = conversation::ListConversationsRequest { filter: Some(filter), page_size: 30, ..Default::default() };
        let request = with_key(server, request);
        let started = Instant::now();
        let answer = client.list_conversations(request).await.unwrap().into_inner();
        grpc.add(started.elapsed());
        assert_eq!(answer.conversations.len(), 30);

        let path = format!("/v1/conversations?agent_id={agent}&page_size=30");
        let started = Instant::now();
        let answer = server.request(Method::GET, &path).send().await.unwrap();
        answer.bytes().await.unwrap();
        rest.add(started.elapsed());
    }
    println!("list of 30 of {of} over gRPC: {}", grpc.summary());
    println!("list of 30 of {of} over REST: {}", rest.summary());
}
