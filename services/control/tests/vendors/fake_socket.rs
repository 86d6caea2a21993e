//! ElevenLabs' monitor socket.

use std::sync::{Arc, Mutex};

use futures::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use url::Url;

/// What the vendor does once it has read a command.
#[derive(Clone)]
pub(crate) enum Then {
    /// Goes on with the conversation.
    Obey,
    /// Sends a frame.
    Say(String),
    /// Closes the socket.
    Close(u16, &'static str),
    /// Closes the socket before there is a command.
    Reject(u16, &'static str),
    /// Hangs up.
    Drop,
    /// Sends bytes that are no frame.
    Garbage,
    /// Reads on, and answers no pings.
    Ignore,
}

/// A connection as it went.
#[derive(Clone, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) frames: Vec<String>,
    /// The code with which the other side left.
    pub(crate) left: Option<u16>,
}

/// The socket, which goes through its behaviours and repeats the last.
pub(crate) struct FakeSocket {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl FakeSocket {
    pub(crate) async fn start(behaviours: Vec<Then>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let then = behaviours[number.min(behaviours.len() - 1)].clone();
                noted.lock().unwrap().push(Seen::default());
                tokio::spawn(serve(stream, then, Arc::clone(&noted), number));
            }
        });
        Self { url, seen, task }
    }

    /// Returns the connections so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the only connection, once the other side has left it.
    pub(crate) async fn only(&self) -> Seen {
        let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let seen = self.seen();
            assert_eq!(seen.len(), 1, "{seen:?}");
            if seen[0].left.is_some() {
                return seen[0].clone();
            }
            assert!(tokio::time::Instant::now() < patience, "nobody left: {seen:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, then: Then, all: Arc<Mutex<Vec<Seen>>>, number: usize) {
    let noted = Arc::clone(&all);
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let note = move |request: &Request, response: Response| {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let seen = &mut noted.lock().unwrap()[number];
        seen.path = request.uri().to_string();
        seen.key = header("xi-api-key");
        seen.host = header("host");
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
    if let Then::Reject(code, reason) = then {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        socket.close(Some(frame)).await.unwrap();
    }
    // What the conversation has had so far comes first, and none of it is an answer.
    let replayed = r#"{"type":"agent_response","agent_response_event":{"agent_response":"error"}}"#;
    for _ in 0..100 {
        // Nothing follows a farewell.
        let _ = socket.send(Message::text(replayed)).await;
    }
    while let Some(Ok(frame)) = socket.next().await {
        match frame {
            Message::Text(text) => {
                all.lock().unwrap()[number].frames.push(text.to_string());
                if !obey(&mut socket, &then).await {
                    return;
                }
            }
            Message::Close(frame) => {
                all.lock().unwrap()[number].left = Some(frame.map_or(1005, |frame| frame.code.into()));
            }
            _ => {}
        }
    }
}

/// Returns whether the connection goes on.
async fn obey(socket: &mut WebSocketStream<TcpStream>, then: &Then) -> bool {
    match then {
        Then::Obey | Then::Reject(..) => true,
        Then::Say(text) => socket.send(Message::text(text.clone())).await.is_ok(),
        Then::Close(code, reason) => {
            let frame = CloseFrame { code: CloseCode::from(*code), reason: (*reason).into() };
            socket.close(Some(frame)).await.unwrap();
            true
        }
        Then::Drop => false,
        Then::Garbage => {
            socket.get_mut().write_all(&[0xff; 64]).await.unwrap();
            std::future::pending().await
        }
        Then::Ignore => std::future::pending().await,
    }
}
