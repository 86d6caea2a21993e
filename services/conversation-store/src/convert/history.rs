//! A conversation's history.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{Data, order};
use colloquy_proto::conversation::v1 as pb;
use serde_json::Value;

use crate::store::Received;

/// Returns the events of a conversation's course, oldest first; what was said is not among them. Without `with_summaries` what
/// tells of it is left out too: summaries, and what somebody had the agent told. Where a recording lies is nobody's business:
/// whoever may hear it asks for it. What our own analysers say is no history `for_people`: it did not happen to the conversation, and how
/// often they said something in between depends on what came when.
pub(crate) fn history_to_pb(mut events: Vec<Received>, with_summaries: bool, for_people: bool) -> Vec<pb::ConversationEvent> {
    let is_left_out = |data: &Data| data.is_about_turns() || (for_people && is_our_own_judgement(data));
    events.retain(|received| !is_left_out(&received.event.data));
    events.sort_unstable_by_key(|received| (received.event.occurred_at, order::rank(&received.event)));
    events.into_iter().map(|received| entry(received, with_summaries)).collect()
}

fn is_our_own_judgement(data: &Data) -> bool {
    matches!(data, Data::Analyzed(analysis) if analysis.authority.is_own())
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

#[cfg(test)]
mod tests {
    use colloquy_events::{Analysis, Authority, Event};
    use colloquy_types::{ConversationId, EventId, Provider, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_our_own_analysers_say_is_no_history_for_people() {
        let judged = |(number, authority): (u128, Authority)| {
            let event = Event {
                event_id: EventId(Uuid::from_u128(number)),
                conversation_id: ConversationId(Uuid::nil()),
                provider: Provider::Retell,
                external_id: "c".to_owned(),
                occurred_at: Timestamp::default(),
                ordinal: 0,
                data: Data::Analyzed(Analysis::by(authority)),
            };
            Received { event, received_at: Timestamp::default() }
        };
        let authorities = [(1, Authority::Own), (2, Authority::Provider), (3, Authority::OwnLeading), (4, Authority::Human)];
        let events: Vec<Received> = authorities.map(judged).into();
        assert_eq!(history_to_pb(events.clone(), true, false).len(), 4);
        assert_eq!(history_to_pb(events, true, true).len(), 2);
    }
}
