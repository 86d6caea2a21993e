//! A record's message, taken apart as far as the log has to: events stay the bytes they are, so that kinds this release does not
//! know are neither lost nor in the way.

use bytes::{Bytes, BytesMut};
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, EventId, OrganizationId};
use prost::Message;

use crate::log::LogRecord;
use crate::log::prepare::{Encoding, EventKey, Prepared};

/// `colloquy.log.v1.Record`, the same on the wire.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RawRecord {
    #[prost(string, tag = "1")]
    record_id: String,
    #[prost(string, tag = "2")]
    organization_id: String,
    #[prost(string, tag = "3")]
    source_id: String,
    #[prost(bytes = "bytes", tag = "4")]
    received_at: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    events: Vec<Bytes>,
    #[prost(string, tag = "7")]
    traceparent: String,
}

/// The fields of `colloquy.log.v1.Event` that say which one it is.
#[derive(Clone, PartialEq, Message)]
struct RawEvent {
    #[prost(string, tag = "1")]
    event_id: String,
    #[prost(string, tag = "2")]
    conversation_id: String,
}

fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("a record of the log: {error}"))
}

impl RawRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn of(record: &LogRecord) -> Result<Self, StoreError> {
        Self::decode(record.message.clone()).map_err(damaged)
    }

    /// Returns what its events are, in their order.
    ///
    /// # Errors
    /// When one is damaged.
    pub(super) fn keys(&self) -> Result<Vec<EventKey>, StoreError> {
        let key = |event: &Bytes| {
            let event = RawEvent::decode(event.clone()).map_err(damaged)?;
            let conversation_id: ConversationId = event.conversation_id.parse().map_err(damaged)?;
            let event_id: EventId = event.event_id.parse().map_err(damaged)?;
            Ok(EventKey { conversation_id, event_id })
        };
        self.events.iter().map(key).collect()
    }

    /// Returns the record with only those events of `keys` that `keep` says, to be written again without its raw body; `None` when
    /// none is left.
    pub(super) fn keeping(
        mut self,
        organization: &OrganizationId,
        keys: &[EventKey],
        keep: impl Fn(&EventKey) -> bool,
    ) -> Option<Prepared> {
        let events = std::mem::take(&mut self.events).into_iter().zip(keys).filter(|(_, key)| keep(key));
        let (events, keys): (Vec<Bytes>, Vec<EventKey>) = events.map(|(event, key)| (event, *key)).unzip();
        self.events = events;
        let message = BytesMut::from(self.encode_to_vec().as_slice());
        (!keys.is_empty()).then(|| Prepared::again(organization.clone(), keys, message, Encoding::Message))
    }
}
