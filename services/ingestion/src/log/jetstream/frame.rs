//! What one message of the stream holds.
//!
//! A record's message is kept as readers get it, compressed, so that kinds of events which this release does not know come through
//! whole. A record too large for one message of the server is cut into parts, published before it; the record's own message then
//! says where they are.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId};
use prost::Message;

use crate::log::LogRecord;
use crate::log::compression::decompress;
use crate::log::prepare::Prepared;

/// A record in the stream. Fields may be added, never changed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    #[prost(string, tag = "1")]
    pub(super) organization_id: String,
    #[prost(uint32, tag = "2")]
    pub(super) event_count: u32,
    /// The record's message without its sequence, compressed.
    #[prost(bytes = "bytes", tag = "3")]
    message: Bytes,
    /// The raw body, compressed; empty when there is none.
    #[prost(bytes = "bytes", tag = "4")]
    raw_body: Bytes,
    /// The numbers in the stream of the parts that, one after the other, are the encoded frame; it then has nothing else itself.
    #[prost(uint64, repeated, tag = "5")]
    pub(super) parts: Vec<u64>,
}

/// A piece of a record.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Part {
    #[prost(string, tag = "1")]
    pub(super) organization_id: String,
    /// The conversations it may carry something of, sixteen bytes each: an erasure has to find it even if its record was never
    /// written.
    #[prost(bytes = "vec", repeated, tag = "2")]
    conversations: Vec<Vec<u8>>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) piece: Bytes,
}

impl Frame {
    pub(super) fn of(record: &Prepared) -> Self {
        Self {
            organization_id: record.organization_id.to_string(),
            event_count: record.events.len() as u32,
            message: record.body.clone().into(),
            raw_body: record.raw_body.clone().into(),
            parts: Vec::new(),
        }
    }

    pub(super) fn encode_to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Returns the frame that stands in the stream for one that was cut into parts.
    pub(super) fn head(&self, parts: Vec<u64>) -> Self {
        let (organization_id, event_count) = (self.organization_id.clone(), self.event_count);
        Self { organization_id, event_count, message: Bytes::new(), raw_body: Bytes::new(), parts }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the bytes are damaged.
    pub(super) fn read(payload: Bytes) -> Result<Self, StoreError> {
        Self::decode(payload).map_err(damaged)
    }

    /// Returns the record as readers get it.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn into_record(self, sequence: u64) -> Result<LogRecord, StoreError> {
        let organization_id = self.organization()?;
        let message = BytesMut::from(decompress(&self.message)?.as_slice());
        Ok(LogRecord::number(organization_id, self.event_count, message, sequence))
    }

    /// Returns whose it is.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn organization(&self) -> Result<OrganizationId, StoreError> {
        self.organization_id.parse().map_err(damaged)
    }

    /// Returns the raw body, when there is one.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn raw_body(&self) -> Result<Option<Bytes>, StoreError> {
        if self.raw_body.is_empty() { Ok(None) } else { decompress(&self.raw_body).map(|body| Some(body.into())) }
    }
}

impl Part {
    /// Cuts an encoded frame into parts of at most `size` bytes each.
    pub(super) fn cut(record: &Prepared, frame: &Bytes, size: usize) -> Vec<Self> {
        let conversations: BTreeSet<_> = record.events.iter().map(|event| event.conversation_id.0).collect();
        let conversations: Vec<Vec<u8>> = conversations.into_iter().map(|id| id.as_bytes().to_vec()).collect();
        let part = |start: usize| Self {
            organization_id: record.organization_id.to_string(),
            conversations: conversations.clone(),
            piece: frame.slice(start..frame.len().min(start + size)),
        };
        (0..frame.len()).step_by(size.max(1)).map(part).collect()
    }

    /// Reads a part.
    ///
    /// # Errors
    /// When the bytes are damaged.
    pub(super) fn read(payload: Bytes) -> Result<Self, StoreError> {
        Self::decode(payload).map_err(damaged)
    }

    /// Returns whose it is, and the conversations it may carry something of.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn conversations(&self) -> Result<(OrganizationId, Vec<ConversationId>), StoreError> {
        let organization = self.organization_id.parse().map_err(damaged)?;
        let id = |bytes: &Vec<u8>| uuid::Uuid::from_slice(bytes).map(ConversationId).map_err(damaged);
        Ok((organization, self.conversations.iter().map(id).collect::<Result<_, _>>()?))
    }
}

fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("a message of the log: {error}"))
}
