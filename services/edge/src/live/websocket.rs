//! Streams over WebSockets.
//!
//! The upgrade is done here rather than by the framework, because what an idle socket costs is decided by it: who holds its task, how
//! large its buffers are, and that a great frame goes out in fragments, so that no buffer grows to its size and stays so.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame as WebSocketFrame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::frame::Frame;
use super::mailbox::Closing;
use super::session::{Gone, Sending, Wire};
use crate::problem::Refusal;

/// What frames are spoken.
const PROTOCOL: &str = "colloquy.v1";
/// How a browser, which can set no headers, presents its API key: as the name of a second protocol.
const KEY_PROTOCOL: &str = "api-key.";
/// Buffers of a socket. A frame that is larger goes out in fragments of this size.
const READ_BUFFER: usize = 512;
const WRITE_BUFFER: usize = 1 << 10;
const FRAGMENT: usize = 2 << 10;
/// Clients have nothing to say but that they are there.
const MAX_MESSAGE: usize = 4 << 10;
const MAX_MESSAGES_A_BEAT: u32 = 100;
/// How many pings in a row may stay unanswered.
const MAX_UNANSWERED: u32 = 2;
/// How long the peers may take to say goodbye to each other.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the connection may take to become a socket.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(30);

/// Returns whether a request asks for a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// Returns the API key among the protocols a request offers.
pub(super) fn offered_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).find_map(|token| token.strip_prefix(KEY_PROTOCOL))?;
    let mut key = HeaderValue::from_str(key).ok()?;
    key.set_sensitive(true);
    Some(key)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// A request for a WebSocket, as it should be.
pub(super) struct Handshake {
    upgrade: OnUpgrade,
    accept: HeaderValue,
    protocol: Option<HeaderValue>,
}

impl Handshake {
    /// Reads the request (RFC 6455, 4.2.1).
    ///
    /// # Errors
    /// When it is not as it should be, or the connection cannot become a socket.
    pub(super) fn read(parts: &mut Parts) -> Result<Self, Refusal> {
        let bad = |detail: &'static str| Refusal::new(StatusCode::BAD_REQUEST, "WEBSOCKET_HANDSHAKE_INVALID", detail);
        if parts.method != Method::GET || parts.version != Version::HTTP_11 {
            return Err(bad("a WebSocket begins with GET over HTTP/1.1"));
        }
        if !has_token(&parts.headers, &CONNECTION, "upgrade") {
            return Err(bad("the header Connection must hold 'Upgrade'"));
        }
        if parts.headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let refusal =
                Refusal::new(StatusCode::UPGRADE_REQUIRED, "WEBSOCKET_VERSION_UNKNOWN", "only version 13 is spoken here");
            return Err(refusal.with(SEC_WEBSOCKET_VERSION, "13"));
        }
        let key = parts.headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
        let key = key.ok_or_else(|| bad("the header Sec-WebSocket-Key must hold 16 bytes in base64"))?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Refusal::internal())?;
        let protocol = has_token(&parts.headers, &SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        Ok(Self {
            upgrade: upgrade.ok_or_else(|| bad("this connection cannot become a WebSocket"))?,
            accept,
            protocol: protocol.then(|| HeaderValue::from_static(PROTOCOL)),
        })
    }

    /// Returns the answer, and what waits until it was sent.
    pub(super) fn accept(self) -> (Response, Upgrading) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(protocol) = self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        (response, Upgrading(self.upgrade))
    }
}

/// A connection that becomes a socket.
pub(super) struct Upgrading(OnUpgrade);

impl Upgrading {
    /// Waits for the socket; `None` when the client went away.
    pub(super) async fn wait(self, send_timeout: Duration) -> Option<Socket> {
        let upgraded = tokio::time::timeout(UPGRADE_PATIENCE, self.0).await.ok()?.ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Some(Socket { stream, send_timeout, unanswered: 0, heard: 0 })
    }
}

/// A WebSocket.
pub(super) struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    send_timeout: Duration,
    /// Pings in a row that were not answered.
    unanswered: u32,
    /// Messages since the last beat.
    heard: u32,
}

/// Waits for a socket to take something.
async fn within(limit: Duration, sending: impl Future<Output = Result<(), Error>>) -> Result<(), Gone> {
    match tokio::time::timeout(limit, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Gone::Client),
        Err(_) => Err(Gone::Closing(Closing::Unresponsive)),
    }
}

/// Divides a text into fragments (RFC 6455, 5.4).
fn fragments(text: &Bytes) -> impl Iterator<Item = WebSocketFrame> {
    let count = text.len().div_ceil(FRAGMENT).max(1);
    (0..count).map(move |index| {
        let opcode = if index == 0 { Data::Text } else { Data::Continue };
        let part = text.slice(index * FRAGMENT..text.len().min((index + 1) * FRAGMENT));
        WebSocketFrame::message(part, OpCode::Data(opcode), index + 1 == count)
    })
}

impl Sending for Socket {
    async fn send(&mut self, frame: &Frame) -> Result<(), Gone> {
        self.feed(frame).await?;
        self.flush().await
    }
}

impl Wire for Socket {
    const NAME: &'static str = "websocket";

    async fn feed(&mut self, frame: &Frame) -> Result<(), Gone> {
        for fragment in fragments(&frame.text) {
            within(self.send_timeout, self.stream.feed(Message::Frame(fragment))).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        within(self.send_timeout, self.stream.flush()).await
    }

    async fn listen(&mut self) -> Gone {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Close(_))) => {}
                Some(Ok(_)) => {
                    self.unanswered = 0;
                    self.heard += 1;
                    if self.heard > MAX_MESSAGES_A_BEAT {
                        return Gone::Closing(Closing::TooTalkative);
                    }
                }
                Some(Err(Error::Capacity(_))) => return Gone::Closing(Closing::TooLarge),
                Some(Err(_)) | None => return Gone::Client,
            }
        }
    }

    async fn beat(&mut self) -> Result<(), Gone> {
        if self.unanswered >= MAX_UNANSWERED {
            return Err(Gone::Closing(Closing::Unresponsive));
        }
        self.unanswered += 1;
        self.heard = 0;
        within(self.send_timeout, self.stream.send(Message::Ping(Bytes::new()))).await
    }

    async fn close(mut self, closing: Closing) {
        let farewell = async {
            let frame = CloseFrame { code: closing.code().into(), reason: closing.reason().into() };
            if self.stream.send(Message::Close(Some(frame))).await.is_ok() {
                // The client's own close frame ends the connection; what it sends before is of no interest.
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_presents_its_key_as_a_protocol() {
        let headers = |value: &'static str| HeaderMap::from_iter([(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value))]);
        let key = |value| offered_key(&headers(value)).map(|key| key.to_str().unwrap().to_owned());
        assert_eq!(key("colloquy.v1, api-key.abc_1").as_deref(), Some("abc_1"));
        assert_eq!(key("colloquy.v1"), None);
        assert!(format!("{:?}", offered_key(&headers("api-key.secret"))).contains("Sensitive"));
    }

    #[test]
    fn fragments_make_up_the_whole() {
        for length in [0, 1, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 5 * FRAGMENT + 3] {
            let text = Bytes::from((0..length).map(|at| b'a' + (at % 26) as u8).collect::<Vec<_>>());
            let all: Vec<WebSocketFrame> = fragments(&text).collect();
            let whole: Vec<u8> = all.iter().flat_map(|frame| frame.payload().to_vec()).collect();
            assert_eq!(whole, text);
            let last = all.len() - 1;
            for (index, frame) in all.iter().enumerate() {
                assert_eq!(frame.header().is_final, index == last);
                let opcode = if index == 0 { Data::Text } else { Data::Continue };
                assert_eq!(frame.header().opcode, OpCode::Data(opcode));
            }
        }
    }
}
