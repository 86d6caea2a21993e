//! A conversation's history.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{Data, order};
use colloquy_proto::conversation::v1 as pb;
use serde_json::Value;

use crate::store::Received;

/// Returns the events of a conversation's course, oldest first; what was said is not among them. Without `with_summaries` what
/// tells of it is left out too: summaries, and what somebody had the agent told. Where a recording lies is nobody's business:
/// whoever may hear it asks for it.
pub(crate) fn history_to_pb(mut events: Vec<Received>, with_summaries: bool) -> Vec<pb::ConversationEvent> {
    events.retain(|received| !received.event.data.is_about_turns());
    events.sort_unstable_by_key(|received| (received.event.occurred_at, order::rank(&received.event)));
    events.into_iter().map(|received| entry(received, with_summaries)).collect()
}

fn entry(received: Received, with_summaries: bool) -> pb::ConversationEvent {
    let Received { mut event, received_at } = received;
    match &mut event.data {
        Data::Analyzed(analysis) if !with_summaries => analysis.summary = None,
        Data::ControlAccepted(command) if !with_summaries => command.text = None,
        Data::RecordingAvailable(recording) => {
            recording.url = None;
            recording.object_key = None;
        }
        _ => {}
    }
    // What an event says is an object under `data`, beside the name of its kind.
    let data = match serde_json::to_value(&event.data) {
        Ok(Value::Object(mut tagged)) => tagged.remove("data").unwrap_or_default(),
        _ => Value::Null,
    };
    pb::ConversationEvent {
        event_id: event.event_id.to_string(),
        r#type: event.data.kind().to_owned(),
        occurred_at: Some(timestamp_to_pb(event.occurred_at)),
        received_at: Some(timestamp_to_pb(received_at)),
        data_json: data.to_string(),
    }
}
