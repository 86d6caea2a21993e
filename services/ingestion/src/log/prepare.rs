//! What can be done to a record before its turn to be written comes: everything that takes time and needs no order. The writer is
//! one task, so what it does not do, all cores do.

use std::collections::HashSet;

use bytes::BytesMut;
use colloquy_proto::log::v1 as pb;
use colloquy_service::transport::MAX_MESSAGE_BYTES;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, EventId, OrganizationId, Position};
use prost::Message;

use super::codec;
use crate::log::{LogError, LogRecord, NewRecord, record};

/// The greatest encoded record: what fits into a message to a reader with room to spare.
const MAX_RECORD_BYTES: usize = MAX_MESSAGE_BYTES - (1 << 20);
/// From here on, bodies are compressed on a thread that may block.
const BLOCKING_FROM: usize = 256 << 10;

/// A record, encoded for the file and for readers.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) organization_id: OrganizationId,
    /// What its events are and where they belong, in their order.
    pub(super) events: Vec<EventKey>,
    /// For readers, without the sequence.
    pub(super) message: BytesMut,
    /// For the file.
    pub(super) body: Vec<u8>,
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
pub(super) async fn prepare(records: Vec<NewRecord>) -> Result<Vec<Prepared>, LogError> {
    let mut prepared = Vec::with_capacity(records.len());
    for (index, new) in records.into_iter().enumerate() {
        let limit = Position::MAX_EVENTS_PER_RECORD;
        if new.record.events.len() > limit {
            return Err(LogError::TooManyEvents { index, count: new.record.events.len(), limit });
        }
        let record = if new.raw_body.len() < BLOCKING_FROM && new.record.events.len() < 2_000 {
            Prepared::new(new)
        } else {
            tokio::task::spawn_blocking(move || Prepared::new(new)).await.map_err(|_| LogError::Closed)?
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
    fn new(new: NewRecord) -> Self {
        let NewRecord { mut record, raw_body } = new;
        record.sequence = 0;
        let organization_id = record.organization_id.clone();
        let key = |event: &colloquy_events::Event| EventKey { conversation_id: event.conversation_id, event_id: event.event_id };
        let events = record.events.iter().map(key).collect();
        let message = pb::Record::from(record);
        Self {
            organization_id,
            events,
            message: record::encode_message(&message),
            body: codec::encode(message),
            raw_body: if raw_body.is_empty() { Vec::new() } else { codec::compress(&raw_body) },
        }
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
        Ok(Self {
            organization_id: self.organization_id.clone(),
            events: keys,
            message: record::encode_message(&message),
            body: codec::encode(message),
            raw_body: if whole { self.raw_body.clone() } else { Vec::new() },
        })
    }

    /// Completes the record once its place is known.
    pub(super) fn take_log_record(&mut self, sequence: u64) -> LogRecord {
        let message = std::mem::take(&mut self.message);
        LogRecord::number(self.organization_id.clone(), self.events.len() as u32, message, sequence)
    }
}
