//! Live streams: how many one edge holds, what each costs, and how soon an event reaches them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use colloquy_e2e::{Engine, Server};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use uuid::Uuid;

use crate::latency::Latencies;
use crate::space::memory_kib;

/// How many sockets are opened at once.
const OPENING: usize = 64;
/// At how many sockets latency is measured.
const WATCHING: usize = 1_000;
/// Events of a latency measurement, and how often they come.
const EVENTS: usize = 400;
const PACE: Duration = Duration::from_millis(20);

/// When events were sent, and how long it took until sockets had them.
#[derive(Default)]
struct Watch {
    sent: Mutex<HashMap<String, Instant>>,
    seen: Mutex<Latencies>,
}

impl Watch {
    fn saw(&self, frame: &Value) {
        let now = Instant::now();
        let Some(text) = frame["data"]["text"].as_str() else { return };
        if let Some(sent) = self.sent.lock().unwrap().get(text) {
            self.seen.lock().unwrap().add(now - *sent);
        }
    }
}

/// Measures sockets.
pub(crate) async fn measure(engine: Engine, sockets: usize) {
    let settings = [("COLLOQUY_MAX_SOCKETS_PER_KEY", "1000000"), ("COLLOQUY_MAX_SOCKETS", "1000000")];
    let server = Server::start_with(engine, &settings).await;
    let conversations = conversations(&server, WATCHING).await;
    let idle = memory_kib(&server);
    for (what, spread) in [("a conversation each", true), ("all on one conversation", false)] {
        let watch = Arc::new(Watch::default());
        let paths = (0..WATCHING).map(|number| path(&conversations[if spread { number } else { 0 }]));
        let open = open(&server, paths, &watch).await;
        for number in 0..EVENTS {
            let text = Uuid::now_v7().to_string();
            watch.sent.lock().unwrap().insert(text.clone(), Instant::now());
            let conversation = &conversations[if spread { number * 7 % WATCHING } else { 0 }];
            server.post("/v1/events", &json!({"events": [turn(conversation, number, &text)]})).await;
            tokio::time::sleep(PACE).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut seen = std::mem::take(&mut *watch.seen.lock().unwrap());
        let expected = if spread { EVENTS } else { EVENTS * WATCHING };
        println!("{WATCHING} sockets, {what}: post to socket {} ({} of {expected} seen)", seen.summary(), seen.len());
        drop(open);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let before = memory_kib(&server);
    let began = Instant::now();
    let watch = Arc::new(Watch::default());
    let paths = (0..sockets).map(|number| path(&conversations[number % WATCHING]));
    let open = open(&server, paths, &watch).await;
    println!("{} sockets opened in {:.1} s", open.len(), began.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = memory_kib(&server);
    println!(
        "memory: {} MB without sockets ({} MB idle), {} MB with {sockets}: {:.1} KB a socket",
        before / 1024,
        idle / 1024,
        after / 1024,
        after.saturating_sub(before) as f64 * 1.024 / sockets as f64
    );
    let text = Uuid::now_v7().to_string();
    watch.sent.lock().unwrap().insert(text.clone(), Instant::now());
    server.post("/v1/events", &json!({"events": [turn(&conversations[0], 9_999, &text)]})).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut seen = std::mem::take(&mut *watch.seen.lock().unwrap());
    println!("  and one event to {} of them: {}", seen.len(), seen.summary());
}

async fn conversations(server: &Server, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|_| Uuid::now_v7().to_string()).collect();
    let mut position = 0;
    for some in ids.chunks(500) {
        let events: Vec<Value> = some
            .iter()
            .map(|id| json!({"event_id": id, "conversation_id": id, "type": "conversation.started", "data": {"agent_id": "a"}}))
            .collect();
        position = server.post("/v1/events", &json!({ "events": events })).await["position"].as_u64().unwrap();
    }
    server.get(&format!("/v1/conversations?page_size=1&min_position={position}")).await;
    ids
}

fn path(conversation: &str) -> String {
    format!("/v1/conversations/{conversation}/stream")
}

fn turn(conversation: &str, index: usize, text: &str) -> Value {
    json!({"event_id": Uuid::now_v7(), "conversation_id": conversation, "type": "turn.added",
           "data": {"index": index, "role": "user", "text": text}})
}

/// Opens sockets and returns once each has had its snapshot; they are closed when the set is dropped.
async fn open(server: &Server, paths: impl Iterator<Item = String>, watch: &Arc<Watch>) -> JoinSet<()> {
    let address = server.base.strip_prefix("http://").unwrap().to_owned();
    let (mut open, opening) = (JoinSet::new(), Arc::new(Semaphore::new(OPENING)));
    let (ready, mut readies) = tokio::sync::mpsc::channel(1_024);
    let mut count = 0;
    for path in paths {
        count += 1;
        let (watch, opening, address, ready) = (watch.clone(), opening.clone(), address.clone(), ready.clone());
        let key = server.admin_key();
        open.spawn(async move {
            let permit = opening.acquire().await.unwrap();
            let tcp = TcpStream::connect(&address).await.unwrap();
            let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
            request.headers_mut().insert("x-api-key", key.parse().unwrap());
            let config = WebSocketConfig::default().read_buffer_size(2_048).write_buffer_size(0);
            let (mut socket, _) = client_async_with_config(request, tcp, Some(config)).await.unwrap();
            socket.next().await.unwrap().unwrap();
            drop(permit);
            ready.send(()).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    watch.saw(&serde_json::from_str(&text).unwrap());
                }
            }
        });
    }
    for _ in 0..count {
        readies.recv().await.unwrap();
    }
    open
}
