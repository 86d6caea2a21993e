//! What operators see: traces that reach from a webhook to the last view, metrics under their documented names, log lines with
//! the ids of traces.

use std::time::Duration;

use colloquy_e2e::{Engine, Server, samples};
use colloquy_testkit::until;
use colloquy_types::Provider;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::collector::Collector;

const PATIENCE: Duration = Duration::from_secs(30);

/// Finds the one span of a trace with a name and a kind.
fn find<'a>(spans: &'a [Span], name: &str, kind: SpanKind) -> Option<&'a Span> {
    spans.iter().find(|span| span.name == name && span.kind == kind as i32)
}

#[tokio::test]
async fn one_trace_shows_a_webhook_from_http_to_the_last_view() {
    one_trace_shows_a_webhook(Engine::Sqlite, |_| "colloquy-all".to_owned()).await;
}

#[tokio::test]
async fn one_trace_shows_a_webhook_on_its_way_through_many_processes() {
    let Some(suite) = Engine::suite().await else { return };
    one_trace_shows_a_webhook(suite, |service| format!("colloquy-{service}")).await;
}

/// Delivers one, and follows it; `name` says how the process of a service calls itself.
async fn one_trace_shows_a_webhook(engine: Engine, name: impl Fn(&str) -> String) {
    let collector = Collector::start().await;
    let server = Server::start_with(engine, &collector.settings()).await;
    let source = server.source(Provider::Vapi).await;
    let sample = samples().into_iter().find(|sample| sample.name == "end-of-call-report").unwrap();
    assert!(server.deliver(&source, &sample.body).await.unwrap().status().is_success());

    let is_webhook = |span: &&Span| span.name == "POST /v1/webhooks/{source_id}";
    let whole = |spans: &[Span]| {
        let Some(http) = spans.iter().find(is_webhook) else { return false };
        let names = ["colloquy.log.append", "colloquy.conversation-store.apply", "colloquy.transcript.apply"];
        names.iter().all(|name| spans.iter().any(|span| span.trace_id == http.trace_id && span.name == *name))
    };
    let spans = collector.until("a trace of the whole way", whole).await;
    let http = spans.iter().find(is_webhook).unwrap().clone();
    let trace: Vec<Span> = spans.into_iter().filter(|span| span.trace_id == http.trace_id).collect();
    let receive = "colloquy.ingestion.v1.IngestionService/ReceiveWebhook";
    let client = find(&trace, receive, SpanKind::Client).unwrap();
    let server_side = find(&trace, receive, SpanKind::Server).unwrap();
    let append = find(&trace, "colloquy.log.append", SpanKind::Producer).unwrap();
    for (span, service) in [(&http, "edge"), (client, "edge"), (server_side, "ingestion"), (append, "ingestion")] {
        assert_eq!(collector.service_of(span), name(service), "{}", span.name);
    }
    assert_eq!(http.kind, SpanKind::Server as i32);
    assert!(http.parent_span_id.is_empty());
    assert_eq!(client.parent_span_id, http.span_id);
    assert_eq!(server_side.parent_span_id, client.span_id);
    assert_eq!(append.parent_span_id, server_side.span_id);
    for reader in ["conversation-store", "transcript"] {
        let apply = find(&trace, &format!("colloquy.{reader}.apply"), SpanKind::Consumer).unwrap();
        assert_eq!(apply.parent_span_id, server_side.span_id, "{reader}");
        assert!(apply.end_time_unix_nano >= append.start_time_unix_nano, "{reader}");
        assert_eq!(apply.links.len(), 1, "{reader}");
        assert_eq!(collector.service_of(apply), name(reader));
    }
    assert_eq!(collector.resource("service.version").unwrap(), env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_trace_goes_on_where_its_caller_began_it() {
    let collector = Collector::start().await;
    let mut settings = collector.settings();
    settings.extend([("OTEL_SERVICE_NAME", "somebody"), ("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
    let server = Server::start_with(Engine::Sqlite, &settings).await;
    let body = |id: &str| {
        let event = json!({"event_id": "s", "conversation_id": id, "type": "conversation.started", "data": {"agent_id": "a"}});
        json!({"events": [event]})
    };
    // Without a caller who wants a trace, this sampler makes none.
    server.post("/v1/events", &body("not-traced")).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = server.request(Method::POST, "/v1/events").header("traceparent", traceparent).json(&body("traced"));
    assert!(request.send().await.unwrap().status().is_success());
    let applied = |spans: &[Span]| spans.iter().any(|span| span.name == "colloquy.transcript.apply");
    let spans = collector.until("the applied span", applied).await;
    for span in &spans {
        assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes(), "{}", span.name);
    }
    let http = spans.iter().find(|span| span.name == "POST /v1/events").unwrap();
    assert_eq!(http.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(collector.resource("service.name").unwrap(), "somebody");
}

#[tokio::test]
async fn metrics_have_their_documented_names() {
    let collector = Collector::start().await;
    let server = Server::start_with(Engine::Sqlite, &collector.settings()).await;
    let source = server.source(Provider::Vapi).await;
    let sample = samples().into_iter().find(|sample| sample.name == "end-of-call-report").unwrap();
    for _ in 0..2 {
        assert!(server.deliver(&source, &sample.body).await.unwrap().status().is_success());
    }
    let forged = colloquy_e2e::Source { secret: "another-secret-0123456789abcdef".to_owned(), ..source.clone() };
    assert_eq!(server.deliver(&forged, &sample.body).await.unwrap().status(), 401);
    server.eventually(&format!("/v1/conversations/{}", sample.conversation), |record| record["status"] == "completed").await;
    server.get(&format!("/v1/conversations/{}/transcript", sample.conversation)).await;

    let expected = [
        "colloquy_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/webhooks/{source_id}\",status=\"200\"",
        "colloquy_grpc_request_duration_seconds_count{code=\"0\",method=\"colloquy.ingestion.v1.IngestionService/ReceiveWebhook\"",
        "colloquy_webhook_deliveries_total{outcome=\"accepted\",provider=\"vapi\"",
        "colloquy_webhook_deliveries_total{outcome=\"duplicate\",provider=\"vapi\"",
        "colloquy_webhook_deliveries_total{outcome=\"refused_signature\",provider=\"vapi\"",
        "colloquy_log_append_batch_records_count",
        "colloquy_log_append_duration_seconds_count",
        "colloquy_log_queue_appends",
        "colloquy_log_end_position",
        "colloquy_consumer_lag_records{consumer=\"conversation-store\"",
        "colloquy_consumer_lag_seconds{consumer=\"transcript\"",
        "colloquy_reader_applied_events_total{reader=\"conversation-store\"",
        "colloquy_reader_applied_events_total{reader=\"transcript\"",
        "colloquy_fold_duration_seconds_count{reader=\"conversation-store\"",
        "colloquy_fold_duration_seconds_count{reader=\"transcript\"",
        "colloquy_quarantine_deliveries",
        "colloquy_quarantine_bytes",
        "colloquy_recording_fetch_queue",
        "colloquy_database_pool_connections{pool=\"writer\",service=\"transcript\",state=\"max\"",
    ];
    // Some are asked for every few seconds.
    until(PATIENCE, "every metric", async || {
        let text = server.metrics_text().await;
        expected.iter().all(|metric| text.contains(metric))
    })
    .await;
    let over_otlp = ["colloquy_http_request_duration", "colloquy_webhook_deliveries", "colloquy_consumer_lag"];
    until(PATIENCE, "metrics over OTLP", async || {
        let names = collector.metric_names();
        over_otlp.iter().all(|wanted| names.iter().any(|name| name == wanted))
    })
    .await;
}

#[tokio::test]
async fn json_lines_carry_the_trace_they_belong_to() {
    let collector = Collector::start().await;
    let mut settings = collector.settings();
    settings.extend([("COLLOQUY_LOG_FORMAT", "json"), ("RUST_LOG", "info,colloquy=debug")]);
    let server = Server::start_with(Engine::Sqlite, &settings).await;
    let source = server.source(Provider::Vapi).await;
    let forged = colloquy_e2e::Source { secret: "another-secret-0123456789abcdef".to_owned(), ..source };
    assert_eq!(server.deliver(&forged, b"{}").await.unwrap().status(), 401);
    let spans = collector.until("the span", |spans| spans.iter().any(|span| span.name.contains("/v1/webhooks"))).await;
    let http = spans.iter().find(|span| span.name.contains("/v1/webhooks")).unwrap();
    let trace_id = Uuid::from_slice(&http.trace_id).unwrap().simple().to_string();
    let log = server.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let refused = lines.iter().find(|line| line["message"].as_str().is_some_and(|text| text.contains("was refused"))).unwrap();
    assert_eq!(refused["trace_id"], trace_id, "{refused}");
    assert_eq!(refused["span_id"].as_str().unwrap().len(), 16);
    assert!(lines.iter().all(|line| line["service"] == "colloquy-all"), "{log}");
    let started = lines.iter().find(|line| line["version"].is_string()).unwrap();
    assert!(started["message"].as_str().unwrap().contains("starts"), "{started}");
    assert!(!log.contains(server.admin_key()), "the key is in the log");
}
