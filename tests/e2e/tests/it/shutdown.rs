//! Starting and stopping.

use std::time::Duration;

use colloquy_e2e::{Engine, Server};
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn a_server_stops_within_its_grace_period_even_with_a_stream_open() {
    let mut server = Server::start_with(Engine::Sqlite, &[("COLLOQUY_SHUTDOWN_GRACE_SECONDS", "5")]).await;
    let id = Uuid::now_v7();
    let body =
        json!({"events": [{"event_id": id, "conversation_id": id, "type": "turn.added", "data": {"role": "user", "text": "x"}}]});
    server.post("/v1/events", &body).await;
    let mut log =
        colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient::connect(server.grpc.clone()).await.unwrap();
    let mut request = tonic::Request::new(colloquy_proto::log::v1::TailRequest { after_position: Some(0), ..Default::default() });
    request.metadata_mut().insert("x-api-key", server.key("default", "admin").parse().unwrap());
    let mut events = log.tail(request).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    assert!(server.terminate(Duration::from_secs(8)).await, "{}", server.log());
    assert!(!server.data_dir().join("addresses.json").exists());
}

#[tokio::test]
async fn health_and_reflection_answer_for_every_service() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let server = Server::start(Engine::Sqlite).await;
    let mut health =
        HealthClient::new(tonic::transport::Endpoint::from_shared(server.grpc.clone()).unwrap().connect().await.unwrap());
    let services = [
        "colloquy.access.v1.AccessService",
        "colloquy.conversation.v1.ConversationService",
        "colloquy.conversation.v1.RecordingService",
        "colloquy.ingestion.v1.IngestionService",
        "colloquy.ingestion.v1.SourceService",
        "colloquy.log.v1.EventLogService",
        "colloquy.transcript.v1.TranscriptService",
    ];
    for service in services {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status().as_str_name(), "SERVING", "{service}");
    }
    let metrics = server.metrics_text().await;
    assert!(metrics.contains("colloquy_grpc_request_duration_seconds"), "{metrics}");
}
