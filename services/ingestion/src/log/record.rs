//! Records on their way into the log and out of it.

use bytes::{Bytes, BytesMut};
use colloquy_events::Record;
use colloquy_events::convert::BadField;
use colloquy_proto::log::v1 as pb;
use colloquy_types::{OrganizationId, Position};
use prost::Message;

/// One delivery, to be written.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The delivery; its sequence is ignored.
    pub record: Record,
    /// The body as it came, with known secrets removed; empty when the events say all of it and it need not be kept.
    pub raw_body: Bytes,
}

impl From<Record> for NewRecord {
    /// A record whose body need not be kept.
    fn from(record: Record) -> Self {
        Self { record, raw_body: Bytes::new() }
    }
}

/// One delivery, as the log hands it out: encoded once, however many readers there are.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Its number in the log.
    pub sequence: u64,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// How many events it has, or had before an erasure: an erased event leaves an empty place, so that later ones keep theirs.
    pub event_count: u32,
    /// An encoded `colloquy.log.v1.Record`, without its raw body.
    pub message: Bytes,
}

/// The number of the field `sequence` of `colloquy.log.v1.Record`.
const SEQUENCE_FIELD: u32 = 8;
/// What [`LogRecord::number`] appends at most: a tag and a varint.
pub(super) const SEQUENCE_BYTES: usize = 11;

impl LogRecord {
    /// Completes an encoded record, whose sequence is known last. A protobuf message may be extended by appending fields.
    pub(super) fn number(organization_id: OrganizationId, event_count: u32, mut message: BytesMut, sequence: u64) -> Self {
        prost::encoding::uint64::encode(SEQUENCE_FIELD, &sequence, &mut message);
        Self { sequence, organization_id, event_count, message: message.freeze() }
    }

    /// Returns the position of its last event.
    pub fn last_position(&self) -> Position {
        let last = self.event_count.saturating_sub(1);
        Position::new(self.sequence, u16::try_from(last).unwrap_or(u16::MAX))
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn to_message(&self) -> Result<pb::Record, prost::DecodeError> {
        pb::Record::decode(self.message.clone())
    }

    /// Decodes the record; places of erased events are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn to_record(&self) -> Result<Record, Vec<BadField>> {
        let mut message =
            self.to_message().map_err(|error| vec![BadField { field: "record".to_owned(), message: error.to_string() }])?;
        message.events.retain(|event| !event.event_id.is_empty());
        Record::try_from(message)
    }
}

/// Encodes a record's message with room for its sequence.
pub(super) fn encode_message(message: &pb::Record) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(message.encoded_len() + SEQUENCE_BYTES);
    message.encode(&mut buffer).expect("a growing buffer has room");
    buffer
}
