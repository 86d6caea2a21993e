//! Streams as Server-Sent Events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use colloquy_types::Clock;
use futures::stream::unfold;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;

use super::frame::Frame;
use super::mailbox::Closing;
use super::session::{Gone, Sending, Wire};

/// How soon a client should come again.
const FIRST_LINE: &str = "retry: 1000\n\n";
/// Parts of the body that wait for the connection.
const WAITING: usize = 2;
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Returns whether a request asks for Server-Sent Events, by name: `*/*` says nothing of the kind.
pub(super) fn are_asked_for(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(',')).map(|part| part.split(';').next().unwrap_or_default().trim());
    types.any(|media_type| media_type.eq_ignore_ascii_case("text/event-stream"))
}

/// The sending end of a body.
pub(super) struct Events {
    sender: mpsc::Sender<Bytes>,
    send_timeout: Duration,
    clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
struct Closed {
    code: u16,
    reason: &'static str,
}

/// Returns the answer and what fills it.
pub(super) fn begin(send_timeout: Duration, clock: Arc<dyn Clock>) -> (Response, Events) {
    let (sender, receiver) = mpsc::channel::<Bytes>(WAITING);
    let _ = sender.try_send(Bytes::from_static(FIRST_LINE.as_bytes()));
    let parts = unfold(receiver, |mut receiver| async move {
        let part = receiver.recv().await?;
        Some((Ok::<_, Infallible>(part), receiver))
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that collect an answer before they pass it on are asked not to.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    (response, Events { sender, send_timeout, clock })
}

/// Writes a frame as an event. The browser remembers the id of the last event that has one, and comes again with it.
fn event(frame: &Frame) -> Bytes {
    let id = frame.position.map(|position| format!("id: {}\n", position.0)).unwrap_or_default();
    // JSON as it is written here has no line breaks.
    [id.as_bytes(), b"data: ", &frame.text, b"\n\n"].concat().into()
}

impl Events {
    async fn put(&self, part: Bytes) -> Result<(), Gone> {
        match tokio::time::timeout(self.send_timeout, self.sender.send(part)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone::Client),
            Err(_) => Err(Gone::Closing(Closing::Unresponsive)),
        }
    }
}

impl Sending for Events {
    async fn send(&mut self, frame: &Frame) -> Result<(), Gone> {
        self.put(event(frame)).await
    }
}

impl Wire for Events {
    const NAME: &'static str = "sse";

    async fn feed(&mut self, frame: &Frame) -> Result<(), Gone> {
        self.send(frame).await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }

    async fn listen(&mut self) -> Gone {
        self.sender.closed().await;
        Gone::Client
    }

    async fn beat(&mut self) -> Result<(), Gone> {
        self.put(Bytes::from_static(b":\n\n")).await
    }

    async fn close(mut self, closing: Closing) {
        let data = Closed { code: closing.code(), reason: closing.reason() };
        if let Some(frame) = Frame::new("closed", None, None, self.clock.now(), data) {
            self.send_timeout = FAREWELL;
            let _ = self.send(&frame).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use colloquy_types::Position;

    use super::*;

    #[test]
    fn only_who_names_events_gets_them() {
        let asks = |value: &'static str| are_asked_for(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))]));
        assert!(asks("text/event-stream") && asks("application/json, Text/Event-Stream;q=0.9"));
        assert!(!asks("*/*") && !asks("application/json"));
    }

    #[test]
    fn an_event_has_an_id_where_its_frame_has_a_position() {
        let frame = |position| Frame { position, conversation_id: None, text: Bytes::from_static(b"{}") };
        assert_eq!(&event(&frame(Some(Position(7))))[..], b"id: 7\ndata: {}\n\n");
        assert_eq!(&event(&frame(None))[..], b"data: {}\n\n");
    }
}
