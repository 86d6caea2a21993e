//! Following running conversations: WebSocket and Server-Sent Events, through restarts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use colloquy_e2e::{Engine, Server, samples};
use colloquy_types::Provider;
use futures::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(30);

/// A client that follows a stream, and begins again where it was.
struct Follower {
    socket: WebSocketStream<TcpStream>,
}

impl Follower {
    async fn open(base: &str, path: &str, key: &str) -> Result<Self, u16> {
        let address = base.strip_prefix("http://").unwrap();
        let tcp = TcpStream::connect(address).await.map_err(|_| 0_u16)?;
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
        match client_async(request, tcp).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    /// Returns the next frame; `None` once the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(SOON, self.socket.next()).await.expect("a frame within 30 s")?;
            match message.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Returns the next frame of a type.
    async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if frame["type"] == kind {
                return frame;
            }
        }
    }
}

fn turn(conversation: &str, index: usize, text: &str, more: &Value) -> Value {
    let mut data = json!({"index": index, "role": if index.is_multiple_of(2) { "agent" } else { "user" }, "text": text});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"event_id": Uuid::now_v7(), "conversation_id": conversation, "type": "turn.added", "data": data})
}

async fn started(server: &Server) -> String {
    let id = Uuid::now_v7().to_string();
    let events = json!({"events": [
        {"event_id": format!("{id}-s"), "conversation_id": id, "type": "conversation.started",
         "data": {"agent_id": "agent-1", "client_id": "client-1", "channel": "phone"}},
        turn(&id, 0, "Hello", &json!({"start_ms": 0, "end_ms": 1_000})),
    ]});
    let written = server.post("/v1/events", &events).await;
    server.get(&format!("/v1/conversations/{id}?min_position={}", written["position"])).await;
    id
}

#[tokio::test]
async fn the_mood_of_the_last_words_is_shown_although_nobody_speaks_again() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = started(&server).await;
        let path = format!("/v1/conversations/{id}/stream");
        let mut follower = Follower::open(&server.base, &path, server.admin_key()).await.unwrap();
        assert_eq!(follower.next().await.unwrap()["type"], "snapshot");
        let words = "This is terrible, I hate it and I am really angry!";
        let said = turn(&id, 1, words, &json!({"start_ms": 1_500, "end_ms": 4_000}));
        server.post("/v1/events", &json!({"events": [said]})).await;
        let until = Instant::now() + SOON;
        while follower.next_of("metrics").await["data"]["sentiment"] != "negative" {
            assert!(Instant::now() < until, "the mood is not shown");
        }
    }
}

#[tokio::test]
async fn a_conversation_is_followed_without_a_gap_through_kills_and_on_other_edges() {
    for engine in Engine::all().await {
        let mut server = Server::start(engine).await;
        let id = started(&server).await;
        let path = format!("/v1/conversations/{id}/stream");
        let mut follower = Follower::open(&server.base, &path, server.admin_key()).await.unwrap();
        let snapshot = follower.next().await.unwrap();
        assert_eq!((&snapshot["type"], &snapshot["conversation_id"]), (&json!("snapshot"), &json!(id)));
        assert_eq!(snapshot["data"]["conversation"]["status"], "in_progress");
        assert_eq!(snapshot["data"]["turns"][0]["text"], "Hello");
        assert_eq!(snapshot["data"]["metrics"]["turn_count"], 1);

        let mut position = snapshot["position"].as_u64().unwrap();
        let mut seen = Vec::new();
        for round in 0..3_usize {
            for index in 0..10 {
                let number = 1 + round * 10 + index;
                server.post("/v1/events", &json!({"events": [turn(&id, number, &format!("turn {number}"), &json!({}))]})).await;
                // Some of them while nobody listens.
                if index >= 5 {
                    continue;
                }
                let frame = follower.next_of("turn.added").await;
                assert!(frame["position"].as_u64().unwrap() > position, "{frame}");
                position = frame["position"].as_u64().unwrap();
                seen.push(frame["data"]["text"].as_str().unwrap().to_owned());
            }
            if round == 1 {
                server.kill();
                server.restart().await;
            }
            let base = server.bases()[round % server.bases().len()].clone();
            let resumed = format!("{path}?after={position}");
            follower = Follower::open(&base, &resumed, server.admin_key()).await.unwrap();
            while seen.len() < (round + 1) * 10 {
                let frame = follower.next().await.unwrap();
                assert_ne!(frame["type"], "snapshot", "a stream that goes on begins with what follows");
                if frame["type"] == "turn.added" {
                    position = frame["position"].as_u64().unwrap();
                    seen.push(frame["data"]["text"].as_str().unwrap().to_owned());
                }
            }
        }
        let expected: Vec<String> = (1..=30).map(|number| format!("turn {number}")).collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn every_live_input_of_the_vendors_reaches_the_organizations_stream() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let mut all = Follower::open(&server.base, "/v1/stream", server.admin_key()).await.unwrap();
        let mut partial = Follower::open(&server.base, "/v1/stream?kinds=turn.added", server.admin_key()).await.unwrap();
        for follower in [&mut all, &mut partial] {
            assert_eq!(follower.next().await.unwrap()["type"], "snapshot");
        }
        let live = [
            (Provider::Vapi, "status-update", "conversation.updated"),
            (Provider::Vapi, "transcript_partial", "turn.added"),
            (Provider::Vapi, "transcript", "turn.added"),
            (Provider::Vapi, "conversation-update", "transcript.updated"),
            (Provider::Retell, "transcript_updated", "transcript.updated"),
            (Provider::Retell, "transfer_started", "transfer.updated"),
            (Provider::AgentSession, "started", "conversation.started"),
        ];
        let (vapi, retell) = (server.source(Provider::Vapi).await, server.source(Provider::Retell).await);
        let session = server.source(Provider::AgentSession).await;
        for (provider, name, kind) in live {
            let sample = samples().into_iter().find(|each| each.provider == provider && each.name == name).unwrap();
            let source = match provider {
                Provider::Vapi => &vapi,
                Provider::Retell => &retell,
                _ => &session,
            };
            assert_eq!(server.deliver(source, &sample.body).await.unwrap().status(), StatusCode::OK);
            let frame = all.next_of(kind).await;
            assert!(frame["conversation_id"].is_string() && frame["position"].is_u64(), "{provider} {name}: {frame}");
        }
        let first = partial.next_of("turn.added").await;
        assert_eq!((&first["data"]["final"], &first["data"]["text"]), (&json!(false), &json!("I want to move my")));
        let second = partial.next_of("turn.added").await;
        assert_eq!(second["data"]["final"], json!(true));
    }
}

#[tokio::test]
async fn events_are_followed_with_server_sent_events_and_resumed_by_their_ids() {
    for engine in Engine::all().await {
        let server = Server::start(engine).await;
        let id = started(&server).await;
        let path = format!("/v1/conversations/{id}/stream");
        let events = async |last: Option<String>, count: usize| {
            let mut request = server.request(Method::GET, &path).header("accept", "text/event-stream");
            if let Some(last) = last {
                request = request.header("last-event-id", last);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
            let mut body = answer.bytes_stream();
            let (mut text, mut frames) = (String::new(), Vec::new());
            while frames.len() < count {
                let chunk = tokio::time::timeout(SOON, body.next()).await.unwrap().unwrap().unwrap();
                text.push_str(std::str::from_utf8(&chunk).unwrap());
                frames = read_events(&text);
            }
            frames
        };
        let first = events(None, 1).await;
        let (position, snapshot) = first[0].clone();
        assert_eq!(snapshot["type"], "snapshot");
        let five: Vec<Value> = (1..=5).map(|number| turn(&id, number, &format!("turn {number}"), &json!({}))).collect();
        server.post("/v1/events", &json!({"events": five})).await;
        let rest = events(position, 3).await;
        let turns: Vec<&Value> = rest.iter().map(|(_, frame)| frame).filter(|frame| frame["type"] == "turn.added").collect();
        assert_eq!(turns[0]["data"]["text"], "turn 1");
        // From the middle of what one request brought.
        let (middle, _) = rest.iter().find(|(_, frame)| frame["data"]["text"] == "turn 2").unwrap();
        let rest = events(middle.clone(), 3).await;
        let texts: Vec<&Value> = rest.iter().map(|(_, frame)| &frame["data"]["text"]).filter(|text| text.is_string()).collect();
        assert_eq!(texts, [&json!("turn 3"), &json!("turn 4"), &json!("turn 5")]);
    }
}

/// Returns the whole events of a text, with their ids.
fn read_events(text: &str) -> Vec<(Option<String>, Value)> {
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    let mut events = Vec::new();
    for block in whole.split("\n\n") {
        let field = |name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|text| text.trim_start().to_owned())
        };
        if let Some(data) = field("data") {
            events.push((field("id"), serde_json::from_str(&data).unwrap()));
        }
    }
    events
}

#[tokio::test]
async fn who_may_not_follow_is_told_before_the_upgrade_and_a_revoked_key_ends_the_stream() {
    let server = Server::start_with(Engine::Sqlite, &[("COLLOQUY_MAX_SOCKETS_PER_KEY", "3")]).await;
    let id = started(&server).await;
    let path = format!("/v1/conversations/{id}/stream");
    let refused = async |path: &str, key: &str| Follower::open(&server.base, path, key).await.err();
    for after in ["-1", "x", "1.5", "99999999999999999999", "140737488355328000"] {
        assert_eq!(refused(&format!("{path}?after={after}"), server.admin_key()).await, Some(400), "{after}");
    }
    assert_eq!(refused(&format!("{path}?nope=1"), server.admin_key()).await, Some(400));
    assert_eq!(refused(&format!("/v1/conversations/{}/stream", Uuid::now_v7()), server.admin_key()).await, Some(404));
    assert_eq!(refused(&path, &server.key("other", "admin")).await, Some(404));
    assert_eq!(refused(&path, &server.key("default", "audio:read")).await, Some(403));
    assert_eq!(refused(&path, "no-key").await, Some(401));

    let key = server.key("default", "conversations:read");
    let mut followers = Vec::new();
    for _ in 0..3 {
        followers.push(Follower::open(&server.base, &path, &key).await.ok().unwrap());
    }
    assert_eq!(refused(&path, &key).await, Some(429));
    let snapshot = followers[0].next().await.unwrap();
    assert_eq!(snapshot["data"]["turns"][0]["text"], Value::Null, "a key without transcripts:read sees no words");
    assert!(!snapshot.to_string().contains("Hello"), "{snapshot}");

    server.revoke(&key);
    let revoked = Instant::now();
    while followers[0].next().await.is_some() {
        assert!(revoked.elapsed() < SOON, "the stream goes on");
    }
    assert!(revoked.elapsed() < SOON);
}

#[tokio::test]
async fn a_stream_is_ended_cleanly_when_the_server_stops() {
    let mut server = Server::start_with(Engine::Sqlite, &[("COLLOQUY_SHUTDOWN_GRACE_SECONDS", "5")]).await;
    let id = started(&server).await;
    let path = format!("/v1/conversations/{id}/stream");
    let mut follower = Follower::open(&server.base, &path, server.admin_key()).await.unwrap();
    assert_eq!(follower.next().await.unwrap()["type"], "snapshot");
    let events = server.request(Method::GET, &path).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(events.status(), StatusCode::OK);
    assert!(server.terminate(Duration::from_secs(8)).await, "{}", server.log());
    let mut codes = BTreeSet::new();
    while let Some(Ok(message)) = follower.socket.next().await {
        if let Message::Close(Some(frame)) = message {
            codes.insert(u16::from(frame.code));
        }
    }
    assert!(codes.iter().any(|code| matches!(code, 1001 | 1012)), "{codes:?}");
    follower.socket.close(None).await.ok();
    follower.socket.flush().await.ok();
}
