//! Which messages an event makes.

use colloquy_events::{Authority, Data, Event, LiveStatus, Record};
use colloquy_types::{ConversationId, OrganizationId, Position, Provider};
use uuid::Uuid;

use super::agent_session::Phase;
use super::event;
use crate::message::{self, Body, Message};

/// Returns every message the record's events make, in their order.
pub fn messages_of(record: &Record) -> Vec<Message> {
    wanted_messages_of(record, |_| true)
}

/// Returns the messages of a record of the types that are `wanted`, in the order of its events. What nobody listens to costs
/// nothing.
pub fn wanted_messages_of(record: &Record, wanted: impl Fn(&str) -> bool) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for (index, event) in record.events.iter().enumerate() {
        for message in messages_of_event(&record.organization_id, event, record.position_of(index), &wanted) {
            // Several events of one delivery can be the first sign of a conversation, or tell of its end.
            let is_snapshot = message.body == Body::Snapshot;
            if !(is_snapshot && messages.iter().any(|earlier| earlier.message_id == message.message_id)) {
                messages.push(message);
            }
        }
    }
    messages
}

/// Returns the messages one event makes, of the types that are `wanted`. A position before the first record of the log says that
/// nobody knows it: bodies have none, then.
pub fn messages_of_event(
    organization: &OrganizationId,
    event: &Event,
    position: Position,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Message> {
    let mut messages = Vec::new();
    let conversation_id =
        if event.is_about_no_conversation() { message::place_of(event.conversation_id.0) } else { event.conversation_id };
    let mut push = |message_id: Uuid, event_type: &str, body: Body| {
        messages.push(Message {
            organization_id: organization.clone(),
            message_id,
            event_type: event_type.to_owned(),
            conversation_id,
            position,
            at: event.occurred_at,
            body,
        });
    };
    let kind = event.data.kind();
    if event::is_told(&event.data) && wanted(kind) {
        let known_position = (position.sequence() > 0).then_some(position);
        if let Some(body) = event::body(event, known_position) {
            push(Uuid::new_v5(&event.event_id.0, kind.as_bytes()), kind, Body::Ready(body));
        }
    }
    let first_sign = shows_the_conversation(&event.data).then_some((Phase::Started, "started"));
    let sign = match &event.data {
        Data::Ended(ended) if ended.inferred => Some((Phase::Ended, "ended inferred")),
        Data::Ended(_) => Some((Phase::Ended, "ended")),
        _ => None,
    };
    for (phase, name) in first_sign.into_iter().chain(sign).filter(|(phase, _)| wanted(phase.event_type())) {
        push(session_message_id(event.conversation_id, name), phase.event_type(), Body::Snapshot);
    }
    let analyzed = Phase::Analyzed.event_type();
    if is_the_judgement(event) && wanted(analyzed) {
        push(Uuid::new_v5(&event.event_id.0, analyzed.as_bytes()), analyzed, Body::Snapshot);
    }
    messages
}

/// Returns whether an event is the judgement that whoever listens to sessions waits for. Our own comes first and is for those who have no
/// other: it is in the record of everybody, but a vendor's judgement would be taken for a second one.
fn is_the_judgement(event: &Event) -> bool {
    match &event.data {
        Data::Analyzed(analysis) => analysis.authority != Authority::Own || event.provider == Provider::Native,
        _ => false,
    }
}

/// Returns the id of what is told once in the course of a conversation: a repeat has the same.
fn session_message_id(conversation: ConversationId, name: &str) -> Uuid {
    Uuid::new_v5(&conversation.0, format!("conversation_agent_session {name}").as_bytes())
}

/// Returns whether an event may be the first sign of a conversation that runs, or ran. What is about turns is not asked: one of
/// these comes before it, or with the end, and there is too much of it.
const fn shows_the_conversation(data: &Data) -> bool {
    match data {
        Data::Updated(update) => matches!(update.status, Some(LiveStatus::InProgress)),
        Data::Started(_) | Data::Ended(_) | Data::Analyzed(_) | Data::SessionStarted(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{
        Alert, Analysis, ControlOffer, EndStatus, Ended, Facts, Recording, RecordingChannel, Role, Severity, Turn,
    };
    use colloquy_types::{EventId, RecordId, Timestamp, TurnId};
    use serde_json::{Value, json};

    use super::*;
    use crate::payload::catalogue::tests::assert_fits;
    use crate::payload::text_of;

    fn record(events: Vec<Data>) -> Record {
        let conversation_id = ConversationId(Uuid::from_u128(7));
        let event = |(index, data): (usize, Data)| Event {
            event_id: EventId::derive(conversation_id, &[&index.to_string()]),
            conversation_id,
            provider: Provider::Retell,
            external_id: "call_1".to_owned(),
            occurred_at: Timestamp::from_millis(1_772_463_600_000).unwrap(),
            ordinal: u32::try_from(index).unwrap(),
            data,
        };
        Record {
            record_id: RecordId(Uuid::from_u128(1)),
            organization_id: "acme".parse().unwrap(),
            source_id: None,
            received_at: Timestamp::default(),
            events: events.into_iter().enumerate().map(event).collect(),
            traceparent: String::new(),
            sequence: 3,
        }
    }

    fn types(messages: &[Message]) -> Vec<&str> {
        messages.iter().map(|message| message.event_type.as_str()).collect()
    }

    fn body(message: &Message) -> Value {
        let Body::Ready(body) = &message.body else { panic!("{} has no body", message.event_type) };
        serde_json::from_slice(body).unwrap()
    }

    fn a_whole_conversation() -> Vec<Data> {
        vec![
            Data::Started(Facts { agent_id: Some("a".to_owned()), ..Facts::default() }),
            Data::TurnAdded(Turn::new(TurnId(Uuid::nil()), Role::User)),
            Data::Ended(Ended::new(EndStatus::Completed)),
            Data::Ended(Ended { inferred: true, ..Ended::new(EndStatus::Failed) }),
            Data::Analyzed(Analysis::by(Authority::Provider)),
        ]
    }

    #[test]
    fn our_own_judgement_is_told_as_a_sessions_only_where_nobody_else_judges() {
        let analyzed = Phase::Analyzed.event_type();
        let told = |provider: Provider, authority: Authority| {
            let mut record = record(vec![Data::Analyzed(Analysis::by(authority))]);
            record.events[0].provider = provider;
            types(&messages_of(&record)).contains(&analyzed)
        };
        assert!(!told(Provider::Retell, Authority::Own));
        assert!(told(Provider::Native, Authority::Own));
        for authority in [Authority::Provider, Authority::OwnLeading, Authority::Human] {
            assert!(told(Provider::Retell, authority), "{authority:?}");
        }
    }

    #[test]
    fn events_make_their_messages_in_their_order() {
        let messages = messages_of(&record(a_whole_conversation()));
        let expected = [
            "conversation.started",
            "conversation_agent_session.started",
            "turn.added",
            "conversation.ended",
            "conversation_agent_session.ended",
            "conversation.ended",
            "conversation_agent_session.ended",
            "conversation.analyzed",
            "conversation_agent_session.analyzed",
        ];
        assert_eq!(types(&messages), expected);
        let mut ids: Vec<Uuid> = messages.iter().map(|message| message.message_id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), messages.len(), "every message has an id of its own");
        assert!(messages.windows(2).all(|pair| pair[0].position <= pair[1].position));
    }

    #[test]
    fn a_repeat_has_the_same_ids_wherever_it_stands_in_the_log() {
        let first = messages_of(&record(a_whole_conversation()));
        let again = messages_of(&Record { sequence: 99, ..record(a_whole_conversation()) });
        let ids = |messages: &[Message]| messages.iter().map(|message| message.message_id).collect::<Vec<_>>();
        assert_eq!(ids(&first), ids(&again));
    }

    #[test]
    fn an_end_without_a_beginning_is_a_first_sign_too() {
        let messages = messages_of(&record(vec![Data::Ended(Ended::new(EndStatus::Completed))]));
        let expected = ["conversation.ended", "conversation_agent_session.started", "conversation_agent_session.ended"];
        assert_eq!(types(&messages), expected);
    }

    #[test]
    fn a_body_is_flat_and_says_where_it_stands() {
        let messages = messages_of(&record(a_whole_conversation()));
        let expected = json!({
            "type": "conversation.started",
            "timestamp": "2026-03-02T15:00:00.000Z",
            "data": {
                "event_id": record(a_whole_conversation()).events[0].event_id,
                "position": 3 << 16,
                "conversation_id": "00000000-0000-0000-0000-000000000007",
                "external_id": "call_1",
                "provider": "retell",
                "agent_id": "a",
            },
        });
        assert_eq!(body(&messages[0]), expected);
    }

    #[test]
    fn what_only_services_may_know_is_told_to_nobody() {
        let offer = Data::ControlOffered(ControlOffer { url: "https://vendor.example/secret".to_owned() });
        let recording = Recording {
            url: Some("https://vendor.example/signed".to_owned()),
            object_key: None,
            sha256: None,
            size_bytes: None,
            content_type: Some("audio/mpeg".to_owned()),
            duration_ms: None,
            channel: RecordingChannel::Mixed,
        };
        assert_eq!(messages_of(&record(vec![offer, Data::RecordingAvailable(recording.clone())])), []);
        let stored = Recording { object_key: Some("acme/7/mixed".to_owned()), ..recording };
        let messages = messages_of(&record(vec![Data::RecordingAvailable(stored)]));
        let told = body(&messages[0]);
        assert_eq!(told["data"]["path"], "/v1/conversations/00000000-0000-0000-0000-000000000007/audio?channel=mixed");
        assert!(!told.to_string().contains("vendor.example") && !told.to_string().contains("acme/7"));
    }

    #[test]
    fn an_alert_about_a_window_of_time_shows_no_conversation() {
        let rule_id = Uuid::from_u128(9);
        let alert = Alert {
            alert_id: Uuid::from_u128(8),
            rule_id,
            rule_name: "Many fail".to_owned(),
            severity: Severity::Warning,
            evidence: None,
        };
        let data = [Data::AlertOpened(alert.clone()), Data::AlertAcknowledged(alert.clone()), Data::AlertResolved(alert)];
        let mut record = record(data.to_vec());
        for event in &mut record.events {
            event.provider = Provider::Native;
            event.external_id = Event::external_id_of_alert_rule(rule_id);
        }
        let messages = messages_of(&record);
        assert_eq!(types(&messages), ["alert.opened", "alert.acknowledged", "alert.resolved"]);
        let place = messages[0].conversation_id;
        for message in &messages {
            assert!(message.is_about_none() && message.conversation_id == place, "told in order");
            let body = body(message);
            assert_fits(&message.event_type, &body);
            for name in ["conversation_id", "external_id", "provider"] {
                assert_eq!(body["data"][name], Value::Null);
            }
            let text = text_of(&message.event_type, body.to_string().as_bytes()).body;
            assert!(!text.contains("Conversation") && !text.contains("External id") && !text.contains("Provider"), "{text}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_made() {
        let wanted = |event_type: &str| event_type == "turn.added";
        assert_eq!(types(&wanted_messages_of(&record(a_whole_conversation()), wanted)), ["turn.added"]);
    }
}
