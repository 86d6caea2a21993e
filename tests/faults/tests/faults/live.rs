//! Live streams: a thousand sockets, and the edge that half of them are connected to dies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use colloquy_faults::{Log, Scene};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

const SOCKETS: usize = 1_000;
const CONVERSATIONS: usize = 20;
const TURNS: usize = 25;
const LIMIT: Duration = Duration::from_secs(120);

/// Follows a conversation, through whatever happens, until it has seen every turn.
struct Follower {
    bases: Vec<String>,
    turn: usize,
    path: String,
    key: &'static str,
    position: Option<u64>,
    seen: Vec<usize>,
}

impl Follower {
    async fn follow(mut self, connecting: Arc<Semaphore>, connected: tokio::sync::mpsc::Sender<()>) -> Vec<usize> {
        let began = Instant::now();
        while self.seen.len() < TURNS {
            assert!(began.elapsed() < LIMIT, "{} has seen {:?} after {:?}", self.path, self.seen, self.position);
            if self.once(&connecting, &connected).await.is_none() {
                self.turn += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        self.seen
    }

    /// Follows until the stream breaks, or everything was seen.
    async fn once(&mut self, connecting: &Semaphore, connected: &tokio::sync::mpsc::Sender<()>) -> Option<()> {
        let permit = connecting.acquire().await.unwrap();
        let address = self.bases[self.turn % self.bases.len()].strip_prefix("http://").unwrap();
        let tcp = TcpStream::connect(address).await.ok()?;
        let after = self.position.map(|position| format!("?after={position}")).unwrap_or_default();
        let mut request = format!("ws://{address}{}{after}", self.path).into_client_request().unwrap();
        request.headers_mut().insert("x-api-key", self.key.parse().unwrap());
        let (mut socket, _) = tokio::time::timeout(Duration::from_secs(20), client_async(request, tcp)).await.ok()?.ok()?;
        drop(permit);
        loop {
            let message = tokio::time::timeout(LIMIT, socket.next()).await.ok()??.ok()?;
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            self.take(&frame);
            if frame["type"] == "snapshot" {
                connected.try_send(()).ok();
            }
            if self.seen.len() == TURNS {
                return Some(());
            }
        }
    }

    fn take(&mut self, frame: &Value) {
        let kind = frame["type"].as_str().unwrap();
        if kind == "snapshot" {
            // A client that lagged begins again from what the snapshot holds.
            let turns = frame["data"]["turns"].as_array().unwrap();
            self.seen = turns.iter().map(number).collect();
        }
        let Some(position) = frame["position"].as_u64() else { return };
        if kind == "turn.added" {
            assert!(Some(position) > self.position, "{}: {position} after {:?}", self.path, self.position);
            let number = number(&frame["data"]);
            // A snapshot may hold more than its position says.
            if !self.seen.contains(&number) {
                self.seen.push(number);
            }
        }
        self.position = self.position.max(Some(position));
    }
}

fn number(turn: &Value) -> usize {
    turn["text"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn an_edge_with_a_thousand_sockets_can_be_killed() {
    let mut scene = Scene::start("an edge with a thousand sockets is killed", Log::jetstream().await).await;
    let conversations: Vec<String> = (0..CONVERSATIONS).map(|_| Uuid::now_v7().to_string()).collect();
    let started: Vec<Value> = conversations
        .iter()
        .map(|id| json!({"event_id": id, "conversation_id": id, "type": "conversation.started", "data": {"agent_id": "probe"}}))
        .collect();
    let written = scene.server.post("/v1/events", &json!({ "events": started })).await;
    scene.server.get(&format!("/v1/conversations?page_size=1&min_position={}", written["position"])).await;

    let (connecting, mut followers) = (Arc::new(Semaphore::new(32)), JoinSet::new());
    let (connected, mut connections) = tokio::sync::mpsc::channel(SOCKETS);
    for socket in 0..SOCKETS {
        let follower = Follower {
            bases: scene.server.bases().to_vec(),
            turn: socket,
            path: format!("/v1/conversations/{}/stream", conversations[socket % CONVERSATIONS]),
            key: scene.server.admin_key(),
            position: None,
            seen: Vec::new(),
        };
        followers.spawn(follower.follow(connecting.clone(), connected.clone()));
    }
    for _ in 0..SOCKETS {
        tokio::time::timeout(LIMIT, connections.recv()).await.expect("all sockets open in time").unwrap();
    }
    let edges = scene.replicas("edge");
    for turn in 0..TURNS {
        let events: Vec<Value> = conversations
            .iter()
            .map(|id| {
                json!({"event_id": format!("{id}-{turn}"), "conversation_id": id, "type": "turn.added",
                       "data": {"index": turn, "role": "user", "text": turn.to_string()}})
            })
            .collect();
        let body = json!({ "events": events });
        // The edge that takes it may be the one that is dead: then the other one does.
        let written = async || {
            let sent = scene.server.request(reqwest::Method::POST, "/v1/events").json(&body).send().await;
            sent.is_ok_and(|answer| answer.status().is_success())
        };
        colloquy_testkit::until(LIMIT, "a turn is written", written).await;
        match turn {
            8 => scene.server.installation().member(&edges[0]).running().kill(),
            16 => scene.server.installation().member(&edges[0]).start(),
            _ => {}
        }
        tokio::time::sleep(scene.chance.moment(Duration::from_millis(400))).await;
    }
    let mut ended = 0;
    while let Some(seen) = followers.join_next().await {
        let seen = seen.unwrap();
        assert_eq!(seen, (0..TURNS).collect::<Vec<_>>(), "each turn once, in order");
        ended += 1;
    }
    assert_eq!(ended, SOCKETS);
    scene.recovers().await;
}
