//! SIGKILL in the middle of a stream of deliveries: what was answered 200 is there, once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use colloquy_e2e::{Engine, Server};
use colloquy_types::Provider;
use rand::RngExt;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

const CLIENTS: usize = 4;
const ROUNDS: usize = 5;

/// What a client keeps of what was answered 200: conversations by native events, and by signed webhooks.
type Answered = (Vec<Uuid>, Vec<String>);

async fn rounds(engine: Engine) {
    let mut server = Server::start(engine).await;
    let source = server.source(Provider::Retell).await;
    let mut all: Answered = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (base, source) = (server.base.clone(), source.clone());
                let (stop, count) = (stop.clone(), answered.clone());
                tokio::spawn(async move { stream(&base, &source, &stop, &count).await })
            })
            .collect();
        // Not before something was answered, and then at any moment.
        while answered.load(Ordering::SeqCst) < CLIENTS * 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..500))).await;
        server.kill();
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            let (native, webhooks) = client.await.unwrap();
            all.0.extend(native);
            all.1.extend(webhooks);
        }
        server.restart().await;
    }
    assert!(all.0.len() > CLIENTS && all.1.len() > CLIENTS, "too little was answered to prove anything: {all:?}");

    // A write after the last restart tells how far to wait.
    let last = server.post("/v1/events", &event(Uuid::now_v7())).await;
    for id in &all.0 {
        let record = server.get(&format!("/v1/conversations/{id}?min_position={}", last["position"])).await;
        assert_eq!(record["transcript"].as_array().unwrap().len(), 1, "{record}");
    }
    for id in &all.1 {
        let record = server.get(&format!("/v1/conversations/retell:{id}?min_position={}", last["position"])).await;
        assert_eq!(record["status"], "in_progress");
    }
    let mut seen = HashSet::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/conversations?page_size=100{cursor}")).await;
        for record in page["conversations"].as_array().unwrap() {
            assert!(seen.insert(record["conversation_id"].as_str().unwrap().to_owned()), "twice: {record}");
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(all.0.iter().all(|id| seen.contains(&id.to_string())));
}

fn event(id: Uuid) -> Value {
    json!({"events": [{"event_id": id.to_string(), "conversation_id": id.to_string(), "type": "turn.added",
                       "data": {"role": "user", "text": "hello"}}]})
}

async fn stream(base: &str, source: &colloquy_e2e::Source, stop: &AtomicBool, count: &AtomicUsize) -> Answered {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let mut answered = (Vec::new(), Vec::new());
    while !stop.load(Ordering::SeqCst) {
        let id = Uuid::now_v7();
        let request = http.request(Method::POST, format!("{base}/v1/events")).header("x-api-key", "e2e-administrator-key");
        match request.json(&event(id)).send().await {
            Ok(answer) if answer.status().is_success() => answered.0.push(id),
            _ => continue,
        }
        let call = format!("call_{}", Uuid::now_v7().simple());
        let body = json!({"event": "call_started", "call": {"call_id": call, "call_type": "web_call", "agent_id": "a",
                          "call_status": "ongoing", "start_timestamp": 1_772_463_600_000_i64}});
        if let Ok(answer) = source.deliver_to(&http, base, &serde_json::to_vec(&body).unwrap()).await
            && answer.status().is_success()
        {
            answered.1.push(call);
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    answered
}

#[tokio::test]
async fn what_was_answered_survives_kills_on_sqlite() {
    rounds(Engine::Sqlite).await;
}

#[tokio::test]
async fn what_was_answered_survives_kills_on_postgres() {
    for engine in Engine::all().await.into_iter().filter(|engine| *engine != Engine::Sqlite) {
        rounds(engine).await;
    }
}
