//! The body of a message that tells of one event: `{type, timestamp, data}`.

use bytes::Bytes;
use colloquy_events::{Data, Event, Recording, RecordingChannel, Turn};
use colloquy_types::{ConversationId, EventId, Position, Provider, Timestamp};
use serde::Serialize;

/// The body.
#[derive(Serialize)]
struct Body<'a, D> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    data: Flat<'a, D>,
}

/// Whose event it is, and beside it what the event says.
#[derive(Serialize)]
struct Flat<'a, D> {
    event_id: EventId,
    /// `None` in what is sent again and whose place nobody knows any more.
    position: Option<u64>,
    /// `None`, like the two after it, in what is about no conversation.
    conversation_id: Option<ConversationId>,
    external_id: Option<&'a str>,
    provider: Option<Provider>,
    #[serde(flatten)]
    data: D,
}

#[derive(Serialize)]
struct Turns<'a> {
    turns: &'a [Turn],
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
}

/// A recording that is stored. Where it lies is nobody's business: whoever may hear it asks for it.
#[derive(Serialize)]
struct Stored<'a> {
    channel: RecordingChannel,
    content_type: Option<&'a str>,
    duration_ms: Option<i64>,
    size_bytes: Option<u64>,
    sha256: Option<&'a str>,
    /// Where to fetch it, at this server, with an API key that may read audio.
    path: String,
}

impl<'a> Stored<'a> {
    fn of(recording: &'a Recording, conversation: ConversationId) -> Self {
        Self {
            channel: recording.channel,
            content_type: recording.content_type.as_deref(),
            duration_ms: recording.duration_ms,
            size_bytes: recording.size_bytes,
            sha256: recording.sha256.as_deref(),
            path: format!("/v1/conversations/{conversation}/audio?channel={}", recording.channel),
        }
    }
}

/// Returns whether an event is told of at all: not what only services may know, nor a recording that nobody can fetch yet.
pub(super) const fn is_told(data: &Data) -> bool {
    match data {
        Data::RecordingAvailable(recording) => recording.object_key.is_some(),
        data => data.is_public(),
    }
}

/// Returns the body that tells of `event`; `None` when it is not told of.
pub(super) fn body(event: &Event, position: Option<Position>) -> Option<Bytes> {
    if !is_told(&event.data) {
        return None;
    }
    match &event.data {
        Data::Started(data) => write(event, position, data),
        Data::Updated(data) => write(event, position, data),
        Data::Ended(data) => write(event, position, data),
        Data::Analyzed(data) => write(event, position, data),
        Data::Patched(data) => write(event, position, data),
        Data::TurnAdded(data) | Data::TurnUpdated(data) => write(event, position, data),
        Data::TranscriptUpdated { turns } => write(event, position, Turns { turns, revision: None }),
        Data::TranscriptCompleted { turns, revision } => write(event, position, Turns { turns, revision: Some(*revision) }),
        Data::SessionStarted(data) => write(event, position, data),
        Data::SessionEnded(data) => write(event, position, data),
        Data::TransferUpdated(data) => write(event, position, data),
        Data::RecordingAvailable(recording) => write(event, position, Stored::of(recording, event.conversation_id)),
        Data::RecordingFailed(data) => write(event, position, data),
        Data::FeedbackGiven(data) => write(event, position, data),
        Data::ErrorRaised(data) => write(event, position, data),
        Data::SpeechUpdated(data) => write(event, position, data),
        Data::ControlOffered(_) => None,
        Data::ControlAccepted(data) => write(event, position, data),
        Data::ControlApplied(data) => write(event, position, data),
        Data::ControlRejected(data) => write(event, position, data),
        Data::ControlLeaseChanged(data) => write(event, position, data),
        Data::AlertOpened(data) | Data::AlertAcknowledged(data) | Data::AlertResolved(data) => write(event, position, data),
    }
}

fn write(event: &Event, position: Option<Position>, data: impl Serialize) -> Option<Bytes> {
    let conversation = (!event.is_about_no_conversation()).then_some(event);
    let data = Flat {
        event_id: event.event_id,
        position: position.map(|position| position.0),
        conversation_id: conversation.map(|event| event.conversation_id),
        external_id: conversation.map(|event| event.external_id.as_str()),
        provider: conversation.map(|event| event.provider),
        data,
    };
    let body = Body { kind: event.data.kind(), timestamp: event.occurred_at, data };
    // Maps with string keys and plain values always serialise.
    serde_json::to_vec(&body).ok().map(Bytes::from)
}
