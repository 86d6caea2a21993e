//! Analytics, search and alerts over many conversations of one organization.

use std::time::{Duration, Instant};

use colloquy_e2e::{Engine, Server};
use colloquy_types::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::latency::Latencies;
use crate::search::Bare;

/// Conversations begin within a year of this: 2025-01-01.
const YEAR_FROM: i64 = 1_735_689_600_000;
const YEAR_MS: i64 = 365 * 24 * 3_600_000;
const AGENTS: u64 = 10;
const OUTCOMES: [&str; 4] = ["booked", "refunded", "informed", "none"];
/// Conversations in one request.
const BATCH: u64 = 200;
const ROUNDS: usize = 300;
/// As many as an organization may have, with the four it begins with.
const RULES: usize = 996;

/// Fills a server with conversations of two turns, and measures what is asked of them.
pub(crate) async fn measure(engine: Engine, conversations: u64) {
    let server = Server::start(engine.clone()).await;
    let started = Instant::now();
    let mut position = 0;
    for from in (0..conversations).step_by(BATCH as usize) {
        position = send(&server, from, (from + BATCH).min(conversations)).await;
    }
    let turns = conversations * 2;
    let took = started.elapsed().as_secs_f64();
    println!("{conversations} conversations of 2 turns taken in {took:.0} s: {:.0} turns/s", turns as f64 / took);
    let searchable = until(&server, &format!("/v1/search?q=word&page_size=1&min_position={position}")).await;
    println!("searchable {:.1} s later", searchable.as_secs_f64());
    let march = json!({"from": "2025-03-01T00:00:00Z", "to": "2025-03-02T00:00:00Z"});
    let count = json!({"measures": [{"op": "count"}], "time": march, "min_position": position});
    let analysed = until_answered(&server, &count).await;
    let all = (searchable + analysed + Duration::from_secs_f64(took)).as_secs_f64();
    println!("analysed {:.1} s after that: {:.0} turns/s in all", analysed.as_secs_f64(), turns as f64 / all);
    println!("hours summed up {:.1} s after that", summed_up(&server).await.as_secs_f64());

    let measures = json!([{"op": "count", "alias": "n"}, {"op": "avg", "field": "duration_seconds", "alias": "d"}]);
    let month = json!({"measures": measures, "dimensions": ["agent_id", "outcome"], "limit": 10_000,
        "time": {"from": "2025-03-01T00:00:00Z", "to": "2025-03-31T00:00:00Z", "step": "day"}});
    query(&server, "30 days by day, agent and outcome", &month).await;
    let berlin = json!({"measures": measures, "dimensions": ["agent_id", "outcome"], "limit": 10_000,
        "time": {"from": "2025-03-01T00:00:00+01:00", "to": "2025-03-31T00:00:00+02:00", "step": "day", "timezone": "Europe/Berlin"}});
    query(&server, "the same in Berlin", &berlin).await;
    let year =
        json!({"measures": measures, "time": {"from": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "step": "day"}});
    query(&server, "by day over all time", &year).await;
    let filtered = json!({"measures": [{"op": "p95", "field": "duration_seconds", "alias": "p"}], "dimensions": ["agent_id"],
        "filter": {"filter": "turn_count > 1"},
        "time": {"from": "2025-03-01T00:00:00Z", "to": "2025-03-31T00:00:00Z", "step": "day"}});
    query(&server, "p95 by day and agent over 30 days, filtered", &filtered).await;

    read(&server, "search for a rare word, newest first", "/v1/search?q=rare77").await;
    read(&server, "search for two common words, newest first", "/v1/search?q=word+common3").await;
    if let Engine::Postgres(url) = &engine {
        let mut bare = Bare::of(url).await;
        println!("  bare query, a rare word: {}", bare.ask(&["rare77"], ROUNDS).await.summary());
        println!("  bare query, two common words: {}", bare.ask(&["word", "common3"], ROUNDS).await.summary());
    }
    read(&server, "list with a rare word", "/v1/conversations?search=rare77").await;
    read(&server, "list with a common word", "/v1/conversations?search=common3").await;
    alerts(&server, conversations).await;
}

/// Sends conversations `from..to` and returns the position of the last.
async fn send(server: &Server, from: u64, to: u64) -> u64 {
    let events: Vec<Value> = (from..to).flat_map(conversation).collect();
    server.post("/v1/events", &json!({ "events": events })).await["position"].as_u64().unwrap()
}

/// A number that looks random, the same for the same `number`.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn conversation(number: u64) -> [Value; 5] {
    let random = scattered(number);
    let at = Timestamp::from_millis(YEAR_FROM + (random % YEAR_MS as u64) as i64).unwrap();
    let id = Uuid::now_v7();
    let event = |kind: &str, data: Value| json!({"event_id": Uuid::now_v7(), "conversation_id": id, "type": kind, "occurred_at": at, "data": data});
    let seconds = 5 + random % 600;
    let said = format!("word common{} rare{} I would like to ask about my order", random % 10, random % 100_000);
    [
        event("conversation.started", json!({"agent_id": format!("agent-{}", random % AGENTS), "channel": "phone"})),
        event("turn.added", json!({"index": 0, "role": "user", "text": said, "start_ms": 0, "end_ms": 3_000})),
        event(
            "turn.added",
            json!({"index": 1, "role": "agent", "text": "Thank you, I can help you with that", "start_ms": 4_000, "end_ms": 6_000}),
        ),
        event("conversation.ended", json!({"status": "completed", "duration_seconds": seconds})),
        event("conversation.analyzed", json!({"outcome": {"result": OUTCOMES[(random / AGENTS % 4) as usize]}})),
    ]
}

/// Asks until the answer is there: a read waits five seconds at most.
async fn until(server: &Server, path: &str) -> Duration {
    let started = Instant::now();
    while !server.request(Method::GET, path).send().await.unwrap().status().is_success() {}
    started.elapsed()
}

async fn until_answered(server: &Server, question: &Value) -> Duration {
    let started = Instant::now();
    while !server.request(Method::POST, "/v1/analytics/query").json(question).send().await.unwrap().status().is_success() {}
    started.elapsed()
}

/// Waits until the hours are summed up, as the gauge says, which is looked at every ten seconds.
async fn summed_up(server: &Server) -> Duration {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < Duration::from_secs(3_600), "the hours are not summed up within an hour");
        tokio::time::sleep(Duration::from_secs(11)).await;
        let metrics = server.metrics_text().await;
        let waiting = metrics.lines().filter(|line| line.starts_with("colloquy_analysis_hours"));
        let waiting: Vec<f64> = waiting.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        if waiting.iter().all(|hours| *hours < 1.0) && !waiting.is_empty() {
            return started.elapsed();
        }
    }
}

async fn query(server: &Server, name: &str, question: &Value) {
    let mut latencies = Latencies::default();
    let mut rows = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let answer = server.request(Method::POST, "/v1/analytics/query").json(question).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        let bytes = answer.bytes().await.unwrap();
        latencies.add(started.elapsed());
        rows = serde_json::from_slice::<Value>(&bytes).unwrap()["rows"].as_array().unwrap().len();
    }
    println!("query, {name} ({rows} rows): {}", latencies.summary());
}

async fn read(server: &Server, name: &str, path: &str) {
    let mut latencies = Latencies::default();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let answer = server.request(Method::GET, path).send().await.unwrap();
        assert!(answer.status().is_success());
        answer.bytes().await.unwrap();
        latencies.add(started.elapsed());
    }
    println!("{name}: {}", latencies.summary());
}

/// Measures how long it takes until conversations are analysed without rules, and with a thousand.
async fn alerts(server: &Server, from: u64) {
    let more = 2_000;
    let bare = analysed_in(server, from, more).await;
    for number in 0..RULES {
        let rule = json!({"name": format!("rule {number}"), "severity": "info", "scope": "conversation", "conditions": [
            {"field": "user_text", "op": "contains", "value": format!("nobody says {number}")},
            {"field": "duration_seconds", "op": "gt", "value": number}]});
        let answer = server.request(Method::POST, "/v1/alert-rules").json(&rule).send().await.unwrap();
        if !answer.status().is_success() {
            println!("{number} rules, and then: {}", answer.text().await.unwrap());
            break;
        }
    }
    let watched = analysed_in(server, from + more, more).await;
    let each = |took: Duration| took.as_secs_f64() * 1e6 / more as f64;
    println!("analysed without rules in {:.0} µs a conversation, with {RULES} in {:.0} µs", each(bare), each(watched));
}

async fn analysed_in(server: &Server, from: u64, more: u64) -> Duration {
    let started = Instant::now();
    let mut position = 0;
    for from in (from..from + more).step_by(BATCH as usize) {
        position = send(server, from, from + BATCH).await;
    }
    until(server, &format!("/v1/alerts?min_position={position}")).await;
    started.elapsed()
}
