//! A batch, from the wire to what a reader applies.

use colloquy_events::convert::{BadField, timestamp_from_pb};
use colloquy_events::{Event, Record};
use colloquy_proto::log::v1 as pb;
use colloquy_types::Position;

use crate::metrics;

/// A batch as it came, decoded.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) batch_id: u64,
    pub(crate) items: Vec<Item>,
    pub(crate) events: usize,
    /// Once all of it is applied, the view is complete up to here.
    pub(crate) through: Position,
}

/// One record.
#[derive(Debug)]
pub(crate) enum Item {
    /// To be applied.
    Good(Record),
    /// To be set aside, with the reason; it has the events that could be read.
    Bad(Record, String),
}

impl Item {
    pub(crate) const fn record(&self) -> &Record {
        match self {
            Self::Good(record) | Self::Bad(record, _) => record,
        }
    }
}

/// Decodes a batch for the reader `name`.
pub(crate) fn decode(name: &'static str, batch: pb::ConsumeResponse) -> Batch {
    let last = batch.records.last().map_or(0, |record| record.sequence);
    let items: Vec<Item> = batch.records.into_iter().filter_map(|record| decode_record(name, record)).collect();
    let events = items.iter().map(|item| item.record().events.len()).sum();
    Batch { batch_id: batch.batch_id, items, events, through: Position::end_of(last) }
}

fn decode_record(name: &'static str, mut message: pb::Record) -> Option<Item> {
    // Empty places of erased events come first: they are nobody's loss and not worth a word.
    message.events.retain(|event| !event.event_id.is_empty());
    let all = message.events.len();
    message.events.retain(|event| event.data.is_some());
    let unknown = all - message.events.len();
    if unknown > 0 {
        metrics::skipped(name, unknown);
        tracing::warn!(
            log.sequence = message.sequence,
            events = unknown,
            "{name} skips {unknown} events of record {} that this release does not know",
            message.sequence
        );
    }
    let mut events = Vec::with_capacity(message.events.len());
    let mut bad = Vec::new();
    for (index, event) in std::mem::take(&mut message.events).into_iter().enumerate() {
        match Event::try_from(event) {
            Ok(event) => events.push(event),
            Err(error) => bad.push(format!("events[{index}].{error}")),
        }
    }
    let sequence = message.sequence;
    match head(message) {
        Ok(record) if bad.is_empty() => Some(Item::Good(Record { events, ..record })),
        Ok(record) => Some(Item::Bad(Record { events, ..record }, format!("cannot be read: {}", bad.join("; ")))),
        Err(error) => {
            // Without an organization there is nowhere to set it aside. The log checks this much of everything it takes.
            metrics::set_aside(name);
            tracing::error!(log.sequence = sequence, "{name} cannot tell whose record {sequence} is: {}", error.field);
            None
        }
    }
}

/// Reads everything but the events.
fn head(message: pb::Record) -> Result<Record, BadField> {
    let received_at = message.received_at.map(|at| timestamp_from_pb("received_at", at)).transpose()?;
    let record = Record::try_from(pb::Record { received_at: None, ..message });
    let record = record.map_err(|mut bad| bad.remove(0))?;
    Ok(Record { received_at: received_at.unwrap_or_default(), ..record })
}
