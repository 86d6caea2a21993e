//! The suite of processes on one machine: what apart costs, what replicas bring, and how far readers lag behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use colloquy_e2e::{Engine, JetStream, Server};
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use futures::StreamExt;
use reqwest::Method;
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::latency::Latencies;
use crate::processor::cpu_seconds;
use crate::space::resident_kib;
use crate::writes;

const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Webhooks a second while their latency is measured: far below the peak, so that it is not the queue that is measured.
const GENTLY: u32 = 20;

/// Measures the suite.
pub(crate) async fn measure(turns: u64, seconds: u64) {
    let engine = Engine::suite().await.expect("COLLOQUY_TEST_POSTGRES_URL, _NATS_URL and _S3_URL are set (tests/run load)");
    let Engine::Suite(suite) = &engine else { unreachable!("a suite is a suite") };
    let log = suite.log.clone().expect("a suite's log is in JetStream");
    let mut server = Server::start(engine).await;
    memory(&mut server, "idle");
    println!("two replicas of each reader:");
    let before = cpu(&mut server);
    let peak = writes::native_batches(&server, turns).await;
    report_cpu(&before, &cpu(&mut server));
    memory(&mut server, &format!("after {turns} turns"));
    writes::single_turns(&server, seconds, None).await;
    let before = cpu(&mut server);
    writes::webhooks(&server, seconds).await;
    report_cpu(&before, &cpu(&mut server));
    // By now there are many small records, which is what reading a log costs.
    consume_against_stream(&mut server, &log).await;
    webhook_to_readable(&server, seconds).await;
    lag(&server, peak * 0.8, seconds.max(15)).await;
    for reader in ["conversation-store-2", "transcript-2"] {
        server.installation().member(reader).running().kill();
    }
    println!("one replica of each reader:");
    writes::native_batches(&server, turns).await;
    writes::webhooks(&server, seconds).await;
}

fn memory(server: &mut Server, when: &str) {
    let mut by_service: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in server.installation().members() {
        let service = member.service().unwrap_or("all").to_owned();
        let megabytes = resident_kib(member.running().id()) / 1024;
        by_service.entry(service).or_default().push(megabytes.to_string());
    }
    let text: Vec<String> = by_service.iter().map(|(service, each)| format!("{service} {}", each.join("+"))).collect();
    println!("memory, {when}, MB resident: {}", text.join(", "));
}

/// Returns the processor time each service has had, and the engines on this machine, in seconds.
fn cpu(server: &mut Server) -> BTreeMap<String, f64> {
    let mut by_name: BTreeMap<String, f64> = BTreeMap::new();
    for member in server.installation().members() {
        let service = member.service().unwrap_or("all").to_owned();
        *by_name.entry(service).or_default() += cpu_seconds(&member.running().id().to_string()).unwrap_or_default();
    }
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let process = entry.file_name().to_string_lossy().into_owned();
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if let Some(engine) = ["postgres", "nats-server", "colloquy-load"].into_iter().find(|engine| *engine == name.trim()) {
            *by_name.entry(engine.to_owned()).or_default() += cpu_seconds(&process).unwrap_or_default();
        }
    }
    by_name
}

fn report_cpu(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    let spent: Vec<(&String, f64)> =
        after.iter().map(|(name, seconds)| (name, seconds - before.get(name).copied().unwrap_or_default())).collect();
    let all: f64 = spent.iter().map(|(_, seconds)| seconds).sum();
    let text: Vec<String> =
        spent.iter().map(|(name, seconds)| format!("{name} {:.0} %", 100.0 * seconds / all.max(0.01))).collect();
    println!("  processor time, {all:.1} s: {}", text.join(", "));
}

/// From a webhook's first byte sent to its conversation and its transcript read: two requests, as a person's browser makes them.
async fn webhook_to_readable(server: &Server, seconds: u64) {
    let webhooks = writes::Webhooks::new(server).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / GENTLY);
    let (mut record, mut transcript, mut answered) = (Latencies::default(), Latencies::default(), Latencies::default());
    for _ in 0..seconds * u64::from(GENTLY) {
        ticks.tick().await;
        let began = Instant::now();
        let (external_id, answer) = webhooks.send(server).await;
        assert!(answer.status().is_success());
        answered.add(began.elapsed());
        let position = answer.json::<Value>().await.unwrap()["position"].as_u64().unwrap();
        for (path, latencies) in [("", &mut record), ("/transcript", &mut transcript)] {
            let path = format!("/v1/conversations/elevenlabs:{external_id}{path}?min_position={position}");
            let read = server.request(Method::GET, &path).send().await.unwrap();
            assert!(read.status().is_success(), "{}", read.text().await.unwrap());
            latencies.add(began.elapsed());
        }
    }
    println!("webhook, {GENTLY}/s: answered {}", answered.summary());
    println!("  conversation readable {}", record.summary());
    println!("  transcript readable {}", transcript.summary());
}

/// How far readers are behind while turns come at a steady rate.
async fn lag(server: &Server, turns_per_second: f64, seconds: u64) {
    let watching = async {
        let (mut worst, mut seen): (BTreeMap<String, (f64, f64)>, u32) = (BTreeMap::new(), 0);
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            seen += 1;
            for line in server.metrics_text().await.lines() {
                for (place, name) in [(0, "colloquy_consumer_lag_records{"), (1, "colloquy_consumer_lag_seconds{")] {
                    let Some(rest) = line.strip_prefix(name) else { continue };
                    let consumer = rest.split('"').nth(1).unwrap_or_default().to_owned();
                    let value: f64 = rest.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default();
                    let worst = worst.entry(consumer).or_default();
                    let kept = if place == 0 { &mut worst.0 } else { &mut worst.1 };
                    *kept = kept.max(value);
                }
            }
        }
        (worst, seen)
    };
    let (sent, (worst, _)) = tokio::join!(writes::steady_batches(server, turns_per_second, seconds), watching);
    println!("at {turns_per_second:.0} turns/s asked for ({sent:.0} sent), the worst lag seen (asked every 5 s by the server):");
    for (consumer, (records, seconds)) in worst {
        println!("  {consumer}: {records:.0} records, {seconds:.2} s");
    }
}

/// What it costs to read the log through ingestion instead of from the stream itself.
async fn consume_against_stream(server: &mut Server, log: &JetStream) {
    let (direct, direct_took) = read_stream(log).await;
    let (through, through_took) = consume(server, direct).await;
    println!(
        "reading the log: {:.0} records/s from the stream ({direct}), {:.0} records/s through Consume ({through})",
        direct as f64 / direct_took.as_secs_f64(),
        through as f64 / through_took.as_secs_f64()
    );
}

async fn read_stream(log: &JetStream) -> (u64, Duration) {
    use async_nats::jetstream::consumer::{AckPolicy, pull};
    let context = async_nats::jetstream::new(async_nats::connect(&log.url).await.unwrap());
    let mut stream = context.get_stream(&log.stream).await.unwrap();
    let count = stream.info().await.unwrap().state.messages;
    let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let began = Instant::now();
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await.unwrap();
    for _ in 0..count {
        messages.next().await.unwrap().unwrap();
    }
    (count, began.elapsed())
}

async fn consume(server: &mut Server, count: u64) -> (u64, Duration) {
    let ingestion = server.installation().grpc_of("ingestion")[0];
    let channel = Channel::from_shared(format!("http://{ingestion}")).unwrap().connect().await.unwrap();
    let mut client = EventLogServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (said, saying) = tokio::sync::mpsc::channel(64);
    let start = pb::ConsumeStart { consumer: "load".to_owned(), after_position: None, max_batch_events: 10_000 };
    said.send(pb::ConsumeRequest { request: Some(pb::consume_request::Request::Start(start)) }).await.unwrap();
    let mut request = tonic::Request::new(ReceiverStream::new(saying));
    request.metadata_mut().insert("x-api-key", MetadataValue::from_static(server.admin_key()));
    let began = Instant::now();
    let mut batches = client.consume(request).await.unwrap().into_inner();
    let mut read = 0;
    while read < count {
        let batch = batches.message().await.unwrap().unwrap();
        read += batch.records.len() as u64;
        let ack = pb::ConsumeAck { batch_id: batch.batch_id };
        said.send(pb::ConsumeRequest { request: Some(pb::consume_request::Request::Ack(ack)) }).await.unwrap();
    }
    (read, began.elapsed())
}
