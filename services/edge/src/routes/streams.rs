//! Live streams.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::Value;
use utoipa::ToSchema;

use crate::Edge;
use crate::live::{self, Of};
use crate::path::Id;
use crate::problem::Refusal;
use crate::shape::time::Time;

/// One message of a stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what streams send")]
pub(super) struct StreamFrame {
    /// Where it stands in the log; ascends, and survives restarts. `null` for `metrics` and `closed`.
    position: Option<u64>,
    /// `snapshot`, the kind of an event (`turn.added`, …), `metrics`, `lagged` or `closed`.
    r#type: String,
    /// UUID; `null` where it is about the organization.
    conversation_id: Option<String>,
    /// When it happened.
    at: Time,
    /// Of a `snapshot`: `{conversation, turns, metrics}` or `{conversations, has_more}`. Of an event: what it says. Of `metrics`: the
    /// figures so far. Of `lagged`: `{missed_from, frames}`. Of `closed`: `{code, reason}`.
    #[schema(value_type = Object)]
    data: Value,
}

/// Follow a conversation
///
/// A WebSocket, or Server-Sent Events with `Accept: text/event-stream` (then `id` is the position, so a browser goes on by itself).
/// First a `snapshot` frame: the record, the turns and the figures up to its `position`. Then every event of the conversation in the
/// order of the log, each once: `turn.added`, `turn.updated`, `transcript.updated`, `conversation.ended`, `speech.updated`,
/// `control.applied`, `alert.opened`, …; and `metrics` whenever the figures changed, at most twice a second. The stream stays open after the
/// conversation's end, for what comes later.
///
/// `after` goes on after a position, on any server, without gap or repeat; there is no snapshot then. A client that is too slow gets a
/// `lagged` frame, with the position up to which it has everything, and a new snapshot.
///
/// Turns: keep them by `turn_id`. One with `final: true` is added, or put over what is known of it, and takes away any partial turn of its role;
/// one with `final: false` takes the place of any partial turn of its role. `transcript.updated` and `transcript.completed` replace all turns.
///
/// A browser, which can set no headers on a WebSocket, names the key as a protocol: `new WebSocket(url, ["colloquy.v1", "api-key." + key])`.
/// Close codes: 1008 too many messages, 1009 too large a message, 1012 the server stops (come again with `after`), 1013 try again later (with
/// `after`), 4401 the API key was revoked or its rights changed, 4404 the conversation was erased, 4408 nothing is read or no ping
/// answered. Over Server-Sent Events a `closed` frame says so. One key may have 1,000 streams open at one server: more are a 429.
///
/// Needs the scope `conversations:read`; without `transcripts:read` no frame holds words.
#[utoipa::path(get, path = "/conversations/{id}/stream", tag = "Live", operation_id = "stream_conversation",
    params(
        ("id" = String, Path, description = "The canonical id, or `provider:external_id`."),
        ("after" = Option<u64>, Query, minimum = 0, description = "Go on after this position; `Last-Event-ID` says the same, and \
            counts more."),
        ("last-event-id" = Option<u64>, Header, description = "The position of the last event that was received."),
        ("accept" = Option<String>, Header, description = "`text/event-stream` for Server-Sent Events."),
    ),
    responses(
        (status = 101, description = "A WebSocket: every message is a frame."),
        (status = 200, description = "Server-Sent Events: the data of each is a frame.", body = StreamFrame,
            content_type = "text/event-stream"),
        (status = 426, description = "The request asks for neither.")))]
pub(super) async fn conversation(State(edge): State<Arc<Edge>>, Id(id): Id, request: Request) -> Result<Response, Refusal> {
    Box::pin(live::open(&edge.live, Of::Conversation(id), request)).await
}

/// Follow an organization
///
/// The same as the stream of one conversation, of all conversations of the organization. The `snapshot` has the first 100 that are running:
/// `{conversations, has_more}`. The key is named, the stream resumed and closed as there.
///
/// Needs the scope `conversations:read`; without `transcripts:read` no frame holds words.
#[utoipa::path(get, path = "/stream", tag = "Live", operation_id = "stream_organization",
    params(
        ("after" = Option<u64>, Query, minimum = 0, description = "Go on after this position; `Last-Event-ID` says the same, and \
            counts more."),
        ("kinds" = Option<Vec<String>>, Query, description = "Only frames of these kinds, with commas between them or given several \
            times: kinds of events, and `metrics`."),
        ("agent_id" = Option<String>, Query, description = "Only conversations of this agent; alerts about a window of time are about none."),
        ("client_id" = Option<String>, Query, description = "Only conversations of this customer; alerts about a window of time are about none."),
        ("last-event-id" = Option<u64>, Header, description = "The position of the last event that was received."),
        ("accept" = Option<String>, Header, description = "`text/event-stream` for Server-Sent Events."),
    ),
    responses(
        (status = 101, description = "A WebSocket: every message is a frame."),
        (status = 200, description = "Server-Sent Events: the data of each is a frame.", body = StreamFrame,
            content_type = "text/event-stream"),
        (status = 426, description = "The request asks for neither.")))]
pub(super) async fn organization(State(edge): State<Arc<Edge>>, request: Request) -> Result<Response, Refusal> {
    Box::pin(live::open(&edge.live, Of::Organization, request)).await
}
