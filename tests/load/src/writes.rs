//! How fast things can be written, durably, and read back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use colloquy_e2e::{Server, Source, samples};
use colloquy_types::Provider;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::latency::Latencies;

const TURNS_PER_CONVERSATION: u64 = 12;
const EVENTS_PER_BATCH: u64 = 996;
const BATCH_CLIENTS: u64 = 4;
const SINGLE_CLIENTS: usize = 64;
const WEBHOOK_CLIENTS: usize = 16;

const WORDS: [&str; 4] = [
    "Hello, thanks for calling Harbour Dental, how can I help you today?",
    "Hi, I would like to move my cleaning appointment to Thursday if you have anything free.",
    "Let me check what is free on Thursday for you, one moment please.",
    "Two o'clock would be perfect, thank you very much.",
];

fn turn(conversation: Uuid, index: u64) -> Value {
    json!({
        "event_id": Uuid::now_v7(), "conversation_id": conversation, "type": "turn.added",
        "data": {
            "index": index, "role": if index.is_multiple_of(2) { "agent" } else { "user" }, "text": WORDS[index as usize % WORDS.len()],
            "start_ms": index * 4_000, "end_ms": index * 4_000 + 3_500,
        },
    })
}

/// Returns the events of one batch: whole conversations.
fn batch() -> Vec<Value> {
    (0..EVENTS_PER_BATCH / TURNS_PER_CONVERSATION)
        .flat_map(|_| {
            let conversation = Uuid::now_v7();
            (0..TURNS_PER_CONVERSATION).map(move |index| turn(conversation, index))
        })
        .collect()
}

/// Sends batches at a steady rate; returns how many turns a second that came to.
pub(crate) async fn steady_batches(server: &Server, turns_per_second: f64, seconds: u64) -> f64 {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(EVENTS_PER_BATCH as f64 / turns_per_second));
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut sending, mut sent) = (futures::stream::FuturesUnordered::new(), 0_u64);
    while Instant::now() < until {
        ticks.tick().await;
        let events = batch();
        sending.push(async move { server.post("/v1/events", &json!({ "events": events })).await });
        sent += EVENTS_PER_BATCH;
        if sending.len() >= BATCH_CLIENTS as usize {
            futures::StreamExt::next(&mut sending).await;
        }
    }
    while futures::StreamExt::next(&mut sending).await.is_some() {}
    sent as f64 / seconds as f64
}

/// Sends turns in batches, and waits until the last one can be read; returns how many turns a second were readable.
pub(crate) async fn native_batches(server: &Server, turns: u64) -> f64 {
    let batches = turns.div_ceil(EVENTS_PER_BATCH);
    let next = Arc::new(AtomicU64::new(0));
    let last_position = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let clients = (0..BATCH_CLIENTS).map(|_| {
        let (next, last) = (next.clone(), last_position.clone());
        async move {
            while next.fetch_add(1, Ordering::Relaxed) < batches {
                let written = server.post("/v1/events", &json!({ "events": batch() })).await;
                last.fetch_max(written["position"].as_u64().unwrap(), Ordering::Relaxed);
            }
        }
    });
    futures::future::join_all(clients).await;
    let durable = started.elapsed();
    readable(server, last_position.load(Ordering::Relaxed)).await;
    let all = started.elapsed();
    let sent = batches * EVENTS_PER_BATCH;
    println!(
        "native batches of {EVENTS_PER_BATCH}: {:.0} turns/s durable, {:.0} turns/s readable ({sent} turns)",
        sent as f64 / durable.as_secs_f64(),
        sent as f64 / all.as_secs_f64()
    );
    sent as f64 / all.as_secs_f64()
}

/// Waits until both readers have read `position`.
pub(crate) async fn readable(server: &Server, position: u64) {
    let list = format!("/v1/conversations?page_size=1&min_position={position}");
    let started = Instant::now();
    let mut first = String::new();
    while started.elapsed() < Duration::from_secs(600) {
        let answer = server.request(Method::GET, &list).send().await.unwrap();
        if answer.status().is_success() {
            let page: Value = answer.json().await.unwrap();
            first = page["conversations"][0]["conversation_id"].as_str().unwrap().to_owned();
            break;
        }
    }
    while started.elapsed() < Duration::from_secs(600) {
        let path = format!("/v1/conversations/{first}/transcript?min_position={position}");
        if server.request(Method::GET, &path).send().await.unwrap().status().is_success() {
            return;
        }
    }
    panic!("position {position} is not readable");
}

/// Sends one turn a request, each answered once it is durable: as fast as they are answered, or `per_second`.
pub(crate) async fn single_turns(server: &Server, seconds: u64, per_second: Option<u32>) {
    let until = Instant::now() + Duration::from_secs(seconds);
    let refused = AtomicU64::new(0);
    let pace = per_second.map(|rate| Duration::from_secs(1) * SINGLE_CLIENTS as u32 / rate);
    let refused = &refused;
    let clients = (0..SINGLE_CLIENTS).map(|number| async move {
        let mut latencies = Latencies::default();
        let (mut conversation, mut index) = (Uuid::now_v7(), 0);
        // Spread over the first interval, as requests of strangers are.
        let mut next = Instant::now() + pace.unwrap_or_default() * number as u32 / SINGLE_CLIENTS as u32;
        while Instant::now() < until {
            if let Some(pace) = pace {
                tokio::time::sleep_until(next.into()).await;
                next += pace;
            }
            let body = json!({"events": [turn(conversation, index)]});
            let started = Instant::now();
            let answer = server.request(Method::POST, "/v1/events").json(&body).send().await.unwrap();
            if answer.status().is_success() {
                latencies.add(started.elapsed());
            } else {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            index += 1;
            if index == TURNS_PER_CONVERSATION {
                (conversation, index) = (Uuid::now_v7(), 0);
            }
        }
        latencies
    });
    let what = match per_second {
        None => "one turn a request, 64 connections, as fast as answered".to_owned(),
        Some(rate) => format!("one turn a request, 64 connections, {rate}/s asked for"),
    };
    report(&what, clients, seconds, refused).await;
}

/// Post-call webhooks, each of a call of its own.
pub(crate) struct Webhooks {
    source: Source,
    body: Value,
}

impl Webhooks {
    pub(crate) async fn new(server: &Server) -> Self {
        let source = server.source(Provider::ElevenLabs).await;
        let sample = samples().into_iter().find(|sample| sample.name == "post_call_transcription").unwrap();
        let mut body: Value = serde_json::from_slice(&sample.body).unwrap();
        let turns = body["data"]["transcript"].as_array_mut().unwrap();
        let spoken = turns[0].clone();
        turns.clear();
        for index in 0..TURNS_PER_CONVERSATION {
            let mut turn = spoken.clone();
            turn["message"] = json!(WORDS[index as usize % WORDS.len()]);
            turn["role"] = json!(if index.is_multiple_of(2) { "agent" } else { "user" });
            turn["time_in_call_secs"] = json!(index * 4);
            turns.push(turn);
        }
        Self { source, body }
    }

    /// Sends one; returns the provider's id of its conversation, and the answer.
    pub(crate) async fn send(&self, server: &Server) -> (String, Response) {
        let external_id = format!("conv_{}", Uuid::now_v7().simple());
        let mut body = self.body.clone();
        body["data"]["conversation_id"] = json!(external_id);
        let bytes = serde_json::to_vec(&body).unwrap();
        (external_id, server.deliver(&self.source, &bytes).await.unwrap())
    }
}

/// Sends post-call webhooks, and waits until the last one can be read.
pub(crate) async fn webhooks(server: &Server, seconds: u64) {
    let webhooks = Webhooks::new(server).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let refused = AtomicU64::new(0);
    let last = AtomicU64::new(0);
    let started = Instant::now();
    let clients = (0..WEBHOOK_CLIENTS).map(|_| {
        let (webhooks, refused, last) = (&webhooks, &refused, &last);
        async move {
            let mut latencies = Latencies::default();
            while Instant::now() < until {
                let started = Instant::now();
                let (_, answer) = webhooks.send(server).await;
                if answer.status().is_success() {
                    latencies.add(started.elapsed());
                    let answer: Value = answer.json().await.unwrap();
                    last.fetch_max(answer["position"].as_u64().unwrap(), Ordering::Relaxed);
                } else {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            latencies
        }
    });
    let answered = report("post-call webhooks of 12 turns", clients, seconds, &refused).await;
    readable(server, last.load(Ordering::Relaxed)).await;
    println!("  {:.0} webhooks/s answered and readable", answered as f64 / started.elapsed().as_secs_f64());
}

async fn report(
    what: &str,
    clients: impl Iterator<Item = impl Future<Output = Latencies>>,
    seconds: u64,
    refused: &AtomicU64,
) -> usize {
    let mut all = Latencies::default();
    for latencies in futures::future::join_all(clients).await {
        all.extend(latencies);
    }
    let answered = all.len();
    let refused = refused.load(Ordering::Relaxed);
    println!("{what}: {:.0}/s, {}, {refused} refused", answered as f64 / seconds as f64, all.summary());
    answered
}
