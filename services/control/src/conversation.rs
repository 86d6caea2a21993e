//! The conversations that can be steered, and what the log says of them.

use std::collections::BTreeMap;

use colloquy_events::{Data, Event, Record};
use colloquy_types::{ConversationId, OrganizationId, Position, Provider, SourceId, Timestamp};
use uuid::Uuid;

/// A conversation, as far as it takes to steer it.
#[derive(Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// What it is known by.
    pub conversation_id: ConversationId,
    /// Who it runs on.
    pub provider: Provider,
    /// The provider's own id.
    pub external_id: String,
    /// The source it came through first, whose credentials call the provider: what another one says of it does not change that.
    pub source_id: Option<SourceId>,
    /// Which agent leads it.
    pub agent_id: Option<String>,
    /// How it is carried.
    pub channel: Option<String>,
    /// Where the provider takes commands to it. Who knows it can steer the conversation.
    pub control_url: Option<String>,
    /// Whether it is over.
    pub ended: bool,
}

impl std::fmt::Debug for Conversation {
    /// Shows nothing that could steer it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} conversation {} (ended: {})", self.provider, self.conversation_id, self.ended)
    }
}

/// What a batch of the log says of one conversation, through one source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sign {
    /// The conversation, with what the batch says of it; what it does not say is `None`.
    pub conversation: Conversation,
    /// Where its end was inferred last; [`Position::START`] when it was not.
    pub inferred_end: Position,
    /// Where it last showed that it runs; [`Position::START`] when it did not.
    pub alive: Position,
    /// When that was received.
    pub at: Timestamp,
}

/// Returns what `records` say of the conversations in them, in the order of their keys; of one conversation in the order in which
/// its sources were first heard. They are kept apart, since who can deliver through one source must not speak for another's.
pub fn signs(records: &[Record]) -> Vec<Sign> {
    let mut signs: BTreeMap<(&OrganizationId, Uuid), Vec<Sign>> = BTreeMap::new();
    for record in records {
        for (index, event) in record.events.iter().enumerate() {
            let Some(meaning) = Meaning::of(&event.data) else { continue };
            let heard = signs.entry((&record.organization_id, event.conversation_id.0)).or_default();
            let place = heard.iter().position(|sign| sign.conversation.source_id == record.source_id).unwrap_or_else(|| {
                heard.push(nothing_yet(record, event));
                heard.len() - 1
            });
            heard[place].add(meaning, record, record.position_of(index), event);
        }
    }
    signs.into_values().flatten().collect()
}

/// What an event means for steering.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Runs,
    EndInferred,
    Ended,
}

impl Meaning {
    fn of(data: &Data) -> Option<Self> {
        match data {
            Data::Ended(ended) if ended.inferred => Some(Self::EndInferred),
            Data::Ended(_) => Some(Self::Ended),
            Data::Started(_)
            | Data::Updated(_)
            | Data::TurnAdded(_)
            | Data::TranscriptUpdated { .. }
            | Data::SessionStarted(_)
            | Data::SpeechUpdated(_)
            | Data::TransferUpdated(_)
            | Data::ControlOffered(_) => Some(Self::Runs),
            // Comes also long after the end, from providers and from people.
            _ => None,
        }
    }
}

fn nothing_yet(record: &Record, event: &Event) -> Sign {
    Sign {
        conversation: Conversation {
            organization_id: record.organization_id.clone(),
            conversation_id: event.conversation_id,
            provider: event.provider,
            external_id: event.external_id.clone(),
            source_id: record.source_id,
            agent_id: None,
            channel: None,
            control_url: None,
            ended: false,
        },
        inferred_end: Position::START,
        alive: Position::START,
        at: Timestamp::MIN,
    }
}

impl Sign {
    /// Returns whether all it says is that the conversation runs, and through which source it came.
    pub fn only_says_it_runs(&self) -> bool {
        let Conversation { agent_id, channel, control_url, ended, .. } = &self.conversation;
        let says_more = agent_id.is_some() || channel.is_some() || control_url.is_some();
        !says_more && !ended && self.inferred_end == Position::START
    }

    fn add(&mut self, meaning: Meaning, record: &Record, position: Position, event: &Event) {
        self.at = self.at.max(record.received_at);
        match meaning {
            Meaning::Runs => self.alive = self.alive.max(position),
            Meaning::EndInferred => self.inferred_end = self.inferred_end.max(position),
            Meaning::Ended => self.conversation.ended = true,
        }
        let known = &mut self.conversation;
        if let Some(facts) = event.data.facts() {
            replace(&mut known.agent_id, facts.agent_id.as_ref());
            replace(&mut known.channel, facts.channel.as_ref());
        }
        match &event.data {
            Data::SessionStarted(session) => replace(&mut known.agent_id, session.agent_id.as_ref()),
            Data::ControlOffered(offer) => known.control_url = Some(offer.url.clone()),
            _ => {}
        }
    }
}

fn replace(known: &mut Option<String>, said: Option<&String>) {
    if let Some(said) = said {
        known.replace(said.clone());
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{ControlOffer, EndStatus, Ended, Facts, Feedback, Turn};
    use colloquy_types::{EventId, RecordId, TurnId};

    use super::*;

    fn record(sequence: u64, data: Vec<Data>) -> Record {
        let organization_id: OrganizationId = "acme".parse().unwrap();
        let conversation_id = ConversationId(Uuid::from_u128(1));
        let event = |data| Event {
            event_id: EventId::generate(),
            conversation_id,
            provider: Provider::Vapi,
            external_id: "call_1".to_owned(),
            occurred_at: Timestamp::default(),
            ordinal: 0,
            data,
        };
        Record {
            record_id: RecordId::generate(),
            organization_id,
            source_id: Some(SourceId(Uuid::from_u128(7))),
            received_at: Timestamp::default(),
            events: data.into_iter().map(event).collect(),
            traceparent: String::new(),
            sequence,
        }
    }

    #[test]
    fn what_is_said_of_a_conversation_is_gathered() {
        let started = Facts { agent_id: Some("a".to_owned()), channel: Some("phone".to_owned()), ..Facts::default() };
        let offer = ControlOffer { url: "https://vapi.example/control".to_owned() };
        let turn = Turn::new(TurnId::generate(), colloquy_events::Role::User);
        let records = [
            record(3, vec![Data::Started(started), Data::ControlOffered(offer)]),
            record(4, vec![Data::TurnAdded(turn), Data::Ended(Ended { inferred: true, ..Ended::new(EndStatus::Failed) })]),
            record(5, vec![Data::FeedbackGiven(Feedback::default())]),
        ];
        let [sign] = signs(&records).try_into().unwrap();
        assert_eq!((sign.alive, sign.inferred_end), (Position::new(4, 0), Position::new(4, 1)));
        assert_eq!(sign.conversation.agent_id.as_deref(), Some("a"));
        assert_eq!(sign.conversation.channel.as_deref(), Some("phone"));
        assert!(sign.conversation.control_url.is_some() && sign.conversation.source_id.is_some() && !sign.conversation.ended);
    }

    #[test]
    fn what_different_sources_say_is_kept_apart() {
        let offer = |url: &str| vec![Data::ControlOffered(ControlOffer { url: url.to_owned() })];
        let of = |sequence, source: Option<u128>, data| Record {
            source_id: source.map(|source| SourceId(Uuid::from_u128(source))),
            ..record(sequence, data)
        };
        let records = [
            of(3, Some(9), offer("https://vapi.example/9")),
            of(4, Some(2), offer("https://elsewhere.example/2")),
            of(5, None, vec![Data::Ended(Ended::new(EndStatus::Completed))]),
            of(6, Some(9), offer("https://vapi.example/9b")),
        ];
        let said: Vec<_> = signs(&records)
            .into_iter()
            .map(|sign| (sign.conversation.source_id.map(|id| id.0.as_u128()), sign.conversation.control_url, sign.alive))
            .collect();
        let expected = [
            (Some(9), Some("https://vapi.example/9b".to_owned()), Position::new(6, 0)),
            (Some(2), Some("https://elsewhere.example/2".to_owned()), Position::new(4, 0)),
            (None, None, Position::START),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_people_think_of_a_conversation_does_not_make_it_run() {
        assert_eq!(signs(&[record(1, vec![Data::FeedbackGiven(Feedback::default())])]), []);
    }
}
