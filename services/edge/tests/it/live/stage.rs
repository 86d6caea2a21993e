//! Edges on real sockets, and clients of their streams.

use std::net::SocketAddr;
use std::time::Duration;

use colloquy_edge::{Settings, StreamSettings};
use colloquy_events::{Data, Role, Turn};
use colloquy_types::{ConversationId, TurnId};
use futures::StreamExt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::log::{FakeLog, event};
use crate::fake::{Fake, KNOWN};

/// Nothing takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// The scopes of who may see everything.
pub(crate) const ALL: [&str; 3] = ["conversations:read", "transcripts:read", "analytics:read"];

/// The services, and the edges over them.
pub(crate) struct Stage {
    pub(crate) fake: Fake,
}

/// One edge.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<()>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let fake = Fake::default();
        fake.access().add("k", "default", &ALL);
        Self { fake }
    }

    pub(crate) fn log(&self) -> &FakeLog {
        self.fake.log()
    }

    /// Starts an edge.
    pub(crate) async fn edge(&self) -> Edge {
        self.edge_with(StreamSettings::default()).await
    }

    pub(crate) async fn edge_with(&self, streams: StreamSettings) -> Edge {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (router, task) = self.fake.build(Settings { streams, ..Settings::default() }, stop.clone());
        let serving = colloquy_service::server::serve(listener, router, stop.clone(), Duration::from_secs(5));
        let ended = tokio::spawn(async move {
            let (_, outcome) = tokio::join!(serving, task.work);
            outcome.unwrap();
        });
        Edge { address, stop, ended }
    }

    /// Says something in the known conversation, and returns its position.
    pub(crate) fn say(&self, text: &str) -> u64 {
        self.say_in(known(), text)
    }

    pub(crate) fn say_in(&self, conversation: ConversationId, text: &str) -> u64 {
        self.log().append("default", vec![event(conversation, turn(text))])[0]
    }
}

pub(crate) fn known() -> ConversationId {
    KNOWN.parse().unwrap()
}

pub(crate) fn turn(text: &str) -> Data {
    Data::TurnAdded(Turn { text: Some(text.to_owned()), ..Turn::new(TurnId::generate(), Role::User) })
}

/// The path of the known conversation's stream.
pub(crate) fn path() -> String {
    format!("/v1/conversations/{KNOWN}/stream")
}

/// A WebSocket client.
pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

/// An answer that is no upgrade.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) problem: Value,
}

impl Edge {
    pub(crate) async fn connect(&self, path: &str) -> Client {
        self.try_connect(path, &[("x-api-key", "k")]).await.unwrap()
    }

    pub(crate) async fn try_connect(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, Refused> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.try_connect_over(stream, path, headers).await
    }

    pub(crate) async fn try_connect_over(
        &self,
        stream: TcpStream,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Refused> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let handshake = tokio_tungstenite::client_async(request, stream);
        match tokio::time::timeout(LIMIT, handshake).await.expect("an answer comes") {
            Ok((stream, _)) => Ok(Client(stream)),
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let problem = serde_json::from_slice(&body).unwrap_or_default();
                Err(Refused { status: response.status().as_u16(), problem })
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Asks for Server-Sent Events.
    pub(crate) async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nx-api-key: k\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        Events { stream, text: String::new() }
    }
}

impl Client {
    /// Waits for the next frame, whatever it is.
    pub(crate) async fn any(&mut self) -> Value {
        match self.step().await {
            Ok(frame) => frame,
            Err(close) => panic!("the stream ended: {close:?}"),
        }
    }

    /// Waits for the next frame that is no `metrics`.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let frame = self.any().await;
            if frame["type"] != "metrics" {
                return frame;
            }
        }
    }

    /// Waits for the next frame of a kind.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.any().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Waits for the end, and returns its code.
    pub(crate) async fn end(&mut self) -> u16 {
        loop {
            if let Err(close) = self.step().await {
                return close.map_or(1006, |close| close.code.into());
            }
        }
    }

    async fn step(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            match tokio::time::timeout(LIMIT, self.0.next()).await.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }
}

/// A client of Server-Sent Events, byte by byte.
pub(crate) struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    /// Returns the head of the answer.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn until(&mut self, end: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let count = tokio::time::timeout(LIMIT, self.stream.read(&mut buffer)).await.expect("something comes").unwrap();
            assert!(count > 0, "the stream ended: {}", self.text);
            self.text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    /// Waits for the next event that is no `metrics`, and returns its id and data.
    pub(crate) async fn next(&mut self) -> (Option<u64>, Value) {
        loop {
            let (id, data) = self.any().await;
            if data["type"] != "metrics" {
                return (id, data);
            }
        }
    }

    /// Waits for the next event of a kind, and returns its data.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let (_, data) = self.any().await;
            if data["type"] == kind {
                return data;
            }
        }
    }

    async fn any(&mut self) -> (Option<u64>, Value) {
        loop {
            let event = self.until("\n\n").await;
            let lines = |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            if let Some(data) = lines("data: ") {
                return (lines("id: ").map(|id| id.parse().unwrap()), serde_json::from_str(&data).unwrap());
            }
        }
    }
}

pub(crate) fn position(frame: &Value) -> u64 {
    frame["position"].as_u64().unwrap_or_else(|| panic!("no position: {frame}"))
}
