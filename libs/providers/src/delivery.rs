//! One delivery while its events are being written down.

use std::collections::HashSet;

use aws_lc_rs::digest;
use colloquy_events::{Data, Event, Update};
use colloquy_types::{ConversationId, EventId, Position, Provider, Timestamp, TurnId};
use serde::Serialize;
use serde_json::Value;

use crate::mapping::{Context, MapError, Mapped};
use crate::value::{MAX_SHORT, text};

/// A delivery about one conversation: gives its events their ids, times and places.
pub(crate) struct Delivery {
    conversation_id: ConversationId,
    provider: Provider,
    external_id: String,
    received_at: Timestamp,
    key: Vec<String>,
    events: Vec<Event>,
    taken: HashSet<EventId>,
}

impl Delivery {
    /// Begins a delivery. `key` is what tells it from other deliveries about the conversation (6.1), never bytes of the body:
    /// signed links change on every retry.
    pub(crate) fn new(context: &Context<'_>, provider: Provider, external_id: String, key: &[&str]) -> Self {
        Self {
            conversation_id: ConversationId::derive(context.organization_id, provider, &external_id),
            provider,
            external_id,
            received_at: context.received_at,
            key: key.iter().map(|&part| part.to_owned()).collect(),
            events: Vec::new(),
            taken: HashSet::new(),
        }
    }

    /// Adds to the key what was only known after reading the transcript.
    pub(crate) fn extend_key(&mut self, part: String) {
        self.key.push(part);
    }

    /// Writes down the one event of its kind in this delivery.
    pub(crate) fn push(&mut self, occurred_at: Option<Timestamp>, data: Data) {
        self.push_named(&[], occurred_at, data);
    }

    /// Writes down one of several events of a kind, told apart by `name`; should a provider use a name twice, the later events
    /// are numbered.
    pub(crate) fn push_named(&mut self, name: &[&str], occurred_at: Option<Timestamp>, data: Data) {
        let mut identity: Vec<&str> =
            self.key.iter().map(String::as_str).chain([data.kind()]).chain(name.iter().copied()).collect();
        let mut event_id = EventId::derive(self.conversation_id, &identity);
        let place = format!("#{}", self.events.len());
        if self.taken.contains(&event_id) {
            identity.push(&place);
            event_id = EventId::derive(self.conversation_id, &identity);
        }
        self.write(event_id, occurred_at, data);
    }

    /// Writes down what every delivery of a running conversation repeats. The event is named by what it says, so a thousand
    /// repeats are one event, and one that says something else is another.
    pub(crate) fn push_facts(&mut self, occurred_at: Option<Timestamp>, update: Update) {
        let said = fingerprint(&(occurred_at, &update));
        let event_id = EventId::derive(self.conversation_id, &["facts", &said]);
        self.write(event_id, occurred_at, Data::Updated(update));
    }

    /// Writes down what happened once and is told in every delivery from then on, such as a rating. The event is named by what it
    /// says and not by the delivery, so it is one however often it is told, and stands as it was told first.
    pub(crate) fn push_once(&mut self, occurred_at: Option<Timestamp>, data: Data) {
        let said = fingerprint(&data);
        let event_id = EventId::derive(self.conversation_id, &[data.kind(), &said]);
        self.write(event_id, occurred_at, data);
    }

    /// Returns the ids of the conversation's turns, by what names them at the provider.
    pub(crate) fn turn_ids(&self) -> TurnIds {
        TurnIds { conversation_id: self.conversation_id, taken: HashSet::new() }
    }

    /// Ends the delivery.
    pub(crate) fn finish(self) -> Result<Mapped, MapError> {
        if self.events.len() > Position::MAX_EVENTS_PER_RECORD {
            return Err(MapError::TooManyEvents(self.events.len()));
        }
        Ok(Mapped { events: self.events })
    }

    fn write(&mut self, event_id: EventId, occurred_at: Option<Timestamp>, data: Data) {
        self.taken.insert(event_id);
        self.events.push(Event {
            event_id,
            conversation_id: self.conversation_id,
            provider: self.provider,
            external_id: self.external_id.clone(),
            occurred_at: occurred_at.unwrap_or(self.received_at),
            ordinal: u32::try_from(self.events.len()).unwrap_or(u32::MAX),
            data,
        });
    }
}

/// Gives turns their ids, each once.
pub(crate) struct TurnIds {
    conversation_id: ConversationId,
    taken: HashSet<TurnId>,
}

impl TurnIds {
    /// Returns the id of the turn called `identity`; should a provider use a name twice, the later turns are numbered.
    pub(crate) fn of(&mut self, identity: &str) -> TurnId {
        let id = TurnId::derive(self.conversation_id, identity);
        if self.taken.insert(id) {
            return id;
        }
        let mut number = self.taken.len();
        loop {
            let id = TurnId::derive(self.conversation_id, &format!("{identity}#{number}"));
            if self.taken.insert(id) {
                return id;
            }
            number += 1;
        }
    }
}

/// Reads the provider's id of the conversation, without which a delivery means nothing.
pub(crate) fn external_id(path: &str, value: &Value) -> Result<String, MapError> {
    let Some(id) = text(value) else { return Err(MapError::field(path, "is required")) };
    if id.len() > MAX_SHORT {
        return Err(MapError::field(path, "must not be longer than 256 bytes"));
    }
    Ok(id)
}

/// Returns a short name for what `said` says.
pub(crate) fn fingerprint(said: &impl Serialize) -> String {
    // Maps with string keys and plain values always serialise.
    let written = serde_json::to_vec(said).unwrap_or_default();
    hex::encode(&digest::digest(&digest::SHA256, &written).as_ref()[..16])
}
