//! What one message of the stream holds.
//!
//! A record's message is kept as readers get it, compressed, so that kinds of events which this release does not know come through
//! whole. What is too large for one message of the server is cut into parts, published before it; the record's own message then
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
    /// The numbers in the stream of the parts that, one after the other, are the message; it is then not here.
    #[prost(uint64, repeated, tag = "5")]
    pub(super) message_parts: Vec<u64>,
    /// The same of the raw body. Readers do not need it, so it is fetched by whoever asks for it.
    #[prost(uint64, repeated, tag = "6")]
    pub(super) body_parts: Vec<u64>,
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
            message_parts: Vec::new(),
            body_parts: Vec::new(),
        }
    }

    /// Takes out what does not fit into one message of at most `limit` bytes: first the raw body, then the message too.
    pub(super) fn take_too_much(&mut self, limit: usize) -> (Bytes, Bytes) {
        let mut taken = (Bytes::new(), Bytes::new());
        if self.encoded_len() > limit {
            taken.1 = std::mem::take(&mut self.raw_body);
        }
        if self.encoded_len() > limit {
            taken.0 = std::mem::take(&mut self.message);
        }
        taken
    }

    /// Puts the message back that was in parts.
    pub(super) fn set_message(&mut self, message: Bytes) {
        self.message_parts.clear();
        self.message = message;
    }

    /// Puts the raw body back that was in parts.
    pub(super) fn set_raw_body(&mut self, raw_body: Bytes) {
        self.body_parts.clear();
        self.raw_body = raw_body;
    }

    pub(super) fn encode_to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
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
    /// Cuts bytes of a record into parts of at most `size` each.
    pub(super) fn cut(record: &Prepared, bytes: &Bytes, size: usize) -> Vec<Self> {
        let conversations: BTreeSet<_> = record.events.iter().map(|event| event.conversation_id.0).collect();
        let conversations: Vec<Vec<u8>> = conversations.into_iter().map(|id| id.as_bytes().to_vec()).collect();
        let part = |start: usize| Self {
            organization_id: record.organization_id.to_string(),
            conversations: conversations.clone(),
            piece: bytes.slice(start..bytes.len().min(start + size)),
        };
        (0..bytes.len()).step_by(size.max(1)).map(part).collect()
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
