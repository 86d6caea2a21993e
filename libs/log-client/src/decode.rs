//! A batch, from the wire to what a reader applies.

use bytes::Bytes;
use colloquy_events::convert::{BadField, timestamp_from_pb};
use colloquy_events::{Event, Record};
use colloquy_proto::log::v1 as pb;
use colloquy_service::metrics;
use colloquy_types::Position;
use prost::Message;

use crate::UnknownEvent;

/// A batch as it came, decoded.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) batch_id: u64,
    pub(crate) items: Vec<Item>,
    pub(crate) events: usize,
    /// Once all of it is applied, the view is complete up to here.
    pub(crate) through: Position,
}

/// One record, or an event that was taken out of one.
#[derive(Debug)]
pub(crate) enum Item {
    /// To be applied.
    Good(Record),
    /// To be set aside, with the reason; it has the events that could be read.
    Bad(Record, String),
    /// To be kept as it is: it says what this release does not know.
    Unknown(UnknownEvent),
}

/// A `colloquy.log.v1.Record` whose events are still as they came, so that nothing in them gets lost.
#[derive(Clone, PartialEq, prost::Message)]
struct RawRecord {
    #[prost(string, tag = "1")]
    record_id: String,
    #[prost(string, tag = "2")]
    organization_id: String,
    #[prost(string, tag = "3")]
    source_id: String,
    #[prost(message, optional, tag = "4")]
    received_at: Option<prost_types::Timestamp>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    events: Vec<Bytes>,
    #[prost(string, tag = "7")]
    traceparent: String,
    #[prost(uint64, tag = "8")]
    sequence: u64,
}

/// Decodes a batch for the reader `name`. A reader that `keeps_unknown` events is given those of a vocabulary it does not know,
/// too; another one skips unknown kinds, and sets records with unknown words aside.
pub(crate) fn decode(name: &'static str, keeps_unknown: bool, batch: pb::ConsumeResponse) -> Batch {
    let mut decoded = Batch { batch_id: batch.batch_id, items: Vec::new(), events: 0, through: Position::START };
    for bytes in batch.records {
        match RawRecord::decode(bytes) {
            Ok(record) => {
                decoded.through = Position::end_of(record.sequence);
                decode_record(name, keeps_unknown, record, &mut decoded);
            }
            Err(error) => {
                metrics::reader_set_aside(name);
                tracing::error!("{name} cannot tell what the log hands out: {error}");
            }
        }
    }
    decoded
}

fn decode_record(name: &'static str, keeps_unknown: bool, mut message: RawRecord, decoded: &mut Batch) {
    let (sequence, events) = (message.sequence, std::mem::take(&mut message.events));
    let record = match head(message) {
        Ok(record) => record,
        Err(error) => {
            // Without an organization there is nowhere to set it aside. The log checks this much of everything it takes.
            metrics::reader_set_aside(name);
            tracing::error!(log.sequence = sequence, "{name} cannot tell whose record {sequence} is: {}", error.field);
            return;
        }
    };
    let mut known = Vec::with_capacity(events.len());
    let (mut unknown, mut bad) = (Vec::new(), Vec::new());
    for (index, bytes) in events.into_iter().enumerate() {
        match read(bytes.clone()) {
            Ok(Read::Event(event)) => known.push(*event),
            // Empty places of erased events are nobody's loss and not worth a word.
            Ok(Read::Erased) => {}
            Ok(Read::UnknownKind(head)) => unknown.push((index, head, bytes)),
            Ok(Read::UnknownWord(head, _)) if keeps_unknown => unknown.push((index, head, bytes)),
            Ok(Read::UnknownWord(_, error)) | Err(error) => bad.push(format!("events[{index}].{error}")),
        }
    }
    if !unknown.is_empty() {
        metrics::reader_unknown(name, unknown.len());
        tracing::warn!(
            log.sequence = sequence,
            events = unknown.len(),
            "record {sequence} has {} events that say what this release of {name} does not know",
            unknown.len()
        );
    }
    if keeps_unknown {
        decoded.items.extend(unknown.into_iter().map(|(index, head, event)| {
            Item::Unknown(UnknownEvent {
                organization_id: record.organization_id.clone(),
                conversation_id: head.conversation_id,
                event_id: head.event_id,
                position: Position::new(sequence, u16::try_from(index).unwrap_or(u16::MAX)),
                received_at: record.received_at,
                event: event.into(),
            })
        }));
    }
    decoded.events += known.len();
    let record = Record { events: known, ..record };
    decoded.items.push(match bad.is_empty() {
        true => Item::Good(record),
        false => Item::Bad(record, format!("cannot be read: {}", bad.join("; "))),
    });
}

/// What became of the bytes of an event.
pub(crate) enum Read {
    /// It is known.
    Event(Box<Event>),
    /// It was erased.
    Erased,
    /// A newer release says something of a kind that this one does not know,
    UnknownKind(Head),
    /// or of a known kind, but with a word it does not know.
    UnknownWord(Head, BadField),
}

/// Which event it is, whatever it says.
pub(crate) struct Head {
    pub(crate) event_id: colloquy_types::EventId,
    pub(crate) conversation_id: colloquy_types::ConversationId,
}

/// Reads an event as far as this release knows it.
///
/// # Errors
/// When it does not say which event it is.
pub(crate) fn read(bytes: impl prost::bytes::Buf) -> Result<Read, BadField> {
    let damaged = |message: String| BadField { field: "event".to_owned(), message };
    let message = pb::Event::decode(bytes).map_err(|error| damaged(error.to_string()))?;
    if message.event_id.is_empty() {
        return Ok(Read::Erased);
    }
    let id = |field: &str, text: &str| {
        uuid::Uuid::try_parse(text).map_err(|_| BadField { field: field.to_owned(), message: "must be a UUID".to_owned() })
    };
    let head = Head {
        event_id: id("event_id", &message.event_id)?.into(),
        conversation_id: id("conversation_id", &message.conversation_id)?.into(),
    };
    if message.data.is_none() {
        return Ok(Read::UnknownKind(head));
    }
    Ok(match Event::try_from(message) {
        Ok(event) => Read::Event(Box::new(event)),
        Err(error) => Read::UnknownWord(head, error),
    })
}

/// Reads everything but the events.
fn head(message: RawRecord) -> Result<Record, BadField> {
    let received_at = message.received_at.map(|at| timestamp_from_pb("received_at", at)).transpose()?;
    let record = Record::try_from(pb::Record {
        record_id: message.record_id,
        organization_id: message.organization_id,
        source_id: message.source_id,
        received_at: None,
        events: Vec::new(),
        raw_body: Bytes::new(),
        traceparent: message.traceparent,
        sequence: message.sequence,
    });
    let record = record.map_err(|mut bad| bad.remove(0))?;
    Ok(Record { received_at: received_at.unwrap_or_default(), ..record })
}
