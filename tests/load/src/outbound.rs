//! Outbound webhooks: how many a second, what each costs, how soon it arrives, and what a hanging endpoint does to others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use colloquy_e2e::{Engine, Server};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::latency::Latencies;
use crate::processor::{cpu_of_all, cpu_seconds};
use crate::space::memory_kib;

/// Events a request while the rate is measured.
const BATCH: u64 = 500;
/// Single events of a latency measurement, and how often they come.
const SINGLE: usize = 300;
const PACE: Duration = Duration::from_millis(20);
/// Who sends at a steady rate.
const STEADY_CLIENTS: u32 = 8;

/// A receiver within this process.
#[derive(Default)]
struct Receiver {
    count: AtomicU64,
    sent: Mutex<HashMap<String, Instant>>,
    arrived: Mutex<Latencies>,
}

/// Measures webhooks.
pub(crate) async fn measure(engine: Engine, webhooks: u64) {
    let server = Server::start_with(engine, &[("COLLOQUY_OUTBOUND_ALLOW_NETWORKS", "127.0.0.0/8")]).await;
    let receiver = Arc::new(Receiver::default());
    let router = Router::new().route("/hook", post(take)).route("/hang", post(hang)).with_state(receiver.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let made = server.post("/v1/webhook-endpoints", &endpoint(&format!("http://{address}/hook"))).await;
    assert!(made["endpoint_id"].is_string());
    // The reader hears of the endpoint, and connections are made.
    single(&server, &receiver, 50).await;

    let mut answered = Latencies::default();
    println!("webhooks, idle: post to arrival {}", single_of(&server, &receiver, SINGLE, &mut answered).await.summary());
    println!("  post to answer, which waits for the log to be durable: {}", answered.summary());
    rate(&server, &receiver, webhooks).await;
    println!("memory after {webhooks} webhooks: {} MB", memory_kib(&server) / 1024);
    let mut alone = steady(&server, &receiver, 200).await;
    println!("healthy endpoint alone, 200/s: {}", alone.summary());
    server.post("/v1/webhook-endpoints", &endpoint(&format!("http://{address}/hang"))).await;
    let mut beside = steady(&server, &receiver, 200).await;
    println!("healthy endpoint beside a hanging one, 200/s: {}", beside.summary());
    serving.abort();
}

fn endpoint(url: &str) -> Value {
    json!({"url": url, "event_types": ["conversation.updated"]})
}

fn event() -> (String, Value) {
    let id = Uuid::now_v7().to_string();
    let event = json!({"event_id": id, "conversation_id": id, "type": "conversation.updated",
                       "data": {"agent_id": "a", "channel": "phone", "status": "in_progress"}});
    (id, event)
}

async fn take(State(receiver): State<Arc<Receiver>>, body: Bytes) {
    let now = Instant::now();
    receiver.count.fetch_add(1, Ordering::Relaxed);
    if receiver.sent.lock().unwrap().is_empty() {
        return;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let id = body["data"]["conversation_id"].as_str().unwrap();
    if let Some(sent) = receiver.sent.lock().unwrap().remove(id) {
        receiver.arrived.lock().unwrap().add(now - sent);
    }
}

async fn hang() {
    std::future::pending::<()>().await;
}

/// Sends events one by one, waiting for each to arrive.
async fn single(server: &Server, receiver: &Receiver, count: usize) -> Latencies {
    single_of(server, receiver, count, &mut Latencies::default()).await
}

/// Does the same, and adds how long each answer took to `answered`.
async fn single_of(server: &Server, receiver: &Receiver, count: usize, answered: &mut Latencies) -> Latencies {
    for _ in 0..count {
        let (id, event) = event();
        let began = Instant::now();
        receiver.sent.lock().unwrap().insert(id, began);
        server.post("/v1/events", &json!({"events": [event]})).await;
        answered.add(began.elapsed());
        tokio::time::sleep(PACE).await;
    }
    arrived(receiver).await
}

/// Sends events at a steady rate, as long as a few at once are enough for that.
async fn steady(server: &Server, receiver: &Receiver, per_second: u32) -> Latencies {
    let clients = (0..STEADY_CLIENTS).map(|_| async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) * STEADY_CLIENTS / per_second);
        for _ in 0..per_second * 10 / STEADY_CLIENTS {
            ticks.tick().await;
            let (id, event) = event();
            receiver.sent.lock().unwrap().insert(id, Instant::now());
            server.post("/v1/events", &json!({"events": [event]})).await;
        }
    });
    futures::future::join_all(clients).await;
    arrived(receiver).await
}

/// Waits until everything that was sent has arrived.
async fn arrived(receiver: &Receiver) -> Latencies {
    let began = Instant::now();
    while !receiver.sent.lock().unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "{} never arrived", receiver.sent.lock().unwrap().len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::mem::take(&mut *receiver.arrived.lock().unwrap())
}

async fn rate(server: &Server, receiver: &Receiver, webhooks: u64) {
    let before = receiver.count.load(Ordering::Relaxed);
    let process = server.pid().to_string();
    let (cpu, engine) = (cpu_seconds(&process).unwrap(), cpu_of_all("postgres"));
    let began = Instant::now();
    let mut sent = 0;
    while sent < webhooks {
        let events: Vec<Value> = (0..BATCH).map(|_| event().1).collect();
        server.post("/v1/events", &json!({ "events": events })).await;
        sent += BATCH;
    }
    let posted = began.elapsed();
    while receiver.count.load(Ordering::Relaxed) - before < sent {
        assert!(began.elapsed() < Duration::from_secs(600), "{} arrived", receiver.count.load(Ordering::Relaxed) - before);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let each = |seconds: f64| 1_000.0 * seconds / sent as f64;
    println!(
        "webhooks, as fast as they go: {:.0}/s ({sent} posted in {:.1} s, arrived in {took:.1} s); processor time each: \
         {:.2} ms here, {:.2} ms in PostgreSQL",
        sent as f64 / took,
        posted.as_secs_f64(),
        each(cpu_seconds(&process).unwrap() - cpu),
        each(cpu_of_all("postgres") - engine),
    );
}
