//! What can be done to a record before its turn to be written comes: everything that takes time and needs no order. The writer is
//! one task, so what it does not do, all cores do.

use std::collections::HashSet;

use bytes::BytesMut;
use colloquy_proto::log::v1 as pb;
use colloquy_service::transport::MAX_MESSAGE_BYTES;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, EventId, OrganizationId, Position};
use prost::Message;

use super::compression::{compress, compress_large};
use super::{LogError, LogRecord, NewRecord, embedded, record};

/// The greatest encoded record: what fits into a message to a reader with room to spare.
const MAX_RECORD_BYTES: usize = MAX_MESSAGE_BYTES - (1 << 20);
/// From here on, bodies are compressed on a thread that may block.
const BLOCKING_FROM: usize = 256 << 10;

/// How an engine keeps a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As small as can be, by a schema of its own; decoded by whoever reads it.
    File,
    /// The very message that readers get, compressed: kinds of events that this release does not know come through.
    Message,
}

impl Encoding {
    fn encode(self, message: pb::Record, encoded: &[u8]) -> Vec<u8> {
        match self {
            Self::File => embedded::encode(message),
            Self::Message => self.body_of(encoded),
        }
    }

    /// Encodes a message that need not be decoded for it.
    fn body_of(self, encoded: &[u8]) -> Vec<u8> {
        debug_assert_eq!(self, Self::Message, "a file has a schema of its own");
        compress_large(encoded)
    }
}

/// A record, encoded for the engine and for readers.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) organization_id: OrganizationId,
    /// What its events are and where they belong, in their order.
    pub(super) events: Vec<EventKey>,
    /// For readers, without the sequence.
    pub(super) message: BytesMut,
    /// For the engine.
    pub(super) body: Vec<u8>,
    encoding: Encoding,
    /// The raw body, compressed; empty when there is none.
    pub(super) raw_body: Vec<u8>,
}

/// What makes an event one of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EventKey {
    pub(super) conversation_id: ConversationId,
    pub(super) event_id: EventId,
}

/// Prepares the records of one append.
///
/// # Errors
/// When one of them is too large.
pub(super) async fn prepare(records: Vec<NewRecord>, encoding: Encoding) -> Result<Vec<Prepared>, LogError> {
    let mut prepared = Vec::with_capacity(records.len());
    for (index, new) in records.into_iter().enumerate() {
        let limit = Position::MAX_EVENTS_PER_RECORD;
        if new.record.events.len() > limit {
            return Err(LogError::TooManyEvents { index, count: new.record.events.len(), limit });
        }
        let record = if new.raw_body.len() < BLOCKING_FROM && new.record.events.len() < 2_000 {
            Prepared::new(new, encoding)
        } else {
            tokio::task::spawn_blocking(move || Prepared::new(new, encoding)).await.map_err(|_| LogError::Closed)?
        };
        let bytes = record.message.len();
        if bytes > MAX_RECORD_BYTES {
            return Err(LogError::RecordTooLarge { index, bytes, limit: MAX_RECORD_BYTES });
        }
        prepared.push(record);
    }
    Ok(prepared)
}

impl Prepared {
    fn new(new: NewRecord, encoding: Encoding) -> Self {
        let NewRecord { mut record, raw_body } = new;
        record.sequence = 0;
        let organization_id = record.organization_id.clone();
        let key = |event: &colloquy_events::Event| EventKey { conversation_id: event.conversation_id, event_id: event.event_id };
        let events = record.events.iter().map(key).collect();
        let message = pb::Record::from(record);
        let encoded = record::encode_message(&message);
        Self {
            organization_id,
            events,
            body: encoding.encode(message, &encoded),
            encoding,
            message: encoded,
            raw_body: if raw_body.is_empty() { Vec::new() } else { compress(&raw_body) },
        }
    }

    /// Returns a record that is in the log already, without its raw body, to be written once more.
    pub(super) fn again(organization_id: OrganizationId, events: Vec<EventKey>, message: BytesMut, encoding: Encoding) -> Self {
        Self { organization_id, events, body: encoding.body_of(&message), encoding, message, raw_body: Vec::new() }
    }

    /// Returns what it occupies in the queue.
    pub(super) fn bytes(&self) -> usize {
        self.message.len() + self.body.len() + self.raw_body.len() + self.events.len() * size_of::<EventKey>()
    }

    /// Returns the record with only the `kept` events, given by their indices in order. The raw body goes too when it carries a
    /// conversation that the record then no longer has: an erasure would not find it.
    ///
    /// # Errors
    /// When the message cannot be decoded, which is a fault of ours.
    pub(super) fn reduced_to(&self, kept: &[usize]) -> Result<Self, StoreError> {
        let damaged = |error: prost::DecodeError| StoreError::Corrupt(error.to_string());
        let mut message = pb::Record::decode(&*self.message).map_err(damaged)?;
        let mut events: Vec<Option<pb::Event>> = std::mem::take(&mut message.events).into_iter().map(Some).collect();
        message.events = kept.iter().filter_map(|&index| events.get_mut(index)?.take()).collect();
        let keys: Vec<EventKey> = kept.iter().filter_map(|&index| self.events.get(index).copied()).collect();
        let conversations: HashSet<ConversationId> = keys.iter().map(|key| key.conversation_id).collect();
        let whole = self.events.iter().all(|key| conversations.contains(&key.conversation_id));
        let encoded = record::encode_message(&message);
        Ok(Self {
            organization_id: self.organization_id.clone(),
            events: keys,
            body: self.encoding.encode(message, &encoded),
            encoding: self.encoding,
            message: encoded,
            raw_body: if whole { self.raw_body.clone() } else { Vec::new() },
        })
    }

    /// Completes the record once its place is known.
    pub(super) fn take_log_record(&mut self, sequence: u64) -> LogRecord {
        let message = std::mem::take(&mut self.message);
        LogRecord::number(self.organization_id.clone(), self.events.len() as u32, message, sequence)
    }
}
