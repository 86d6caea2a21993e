//! How a record stands in the file: as small as can be without a schema of its own.
//!
//! Ids are sixteen bytes, times are distances from the time of receipt, and what an event shares with the one before it is left
//! out. What is larger than a few hundred bytes is compressed as well. Measured over native batches, this is a third of the
//! message that readers get.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::log::v1 as pb;
use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Provider, Timestamp};
use prost::Message;
use uuid::Uuid;

use crate::log::compression::{compress, decompress};

/// The first byte of a body: what follows is a [`StoredRecord`], as it is.
const PLAIN: u8 = 0;
/// The first byte of a body: what follows is its length and a compressed [`StoredRecord`].
const COMPRESSED: u8 = 1;
/// Below this, compression gains nothing.
const COMPRESS_FROM: usize = 384;

#[derive(Clone, PartialEq, Message)]
struct StoredRecord {
    #[prost(bytes = "vec", tag = "1")]
    record_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    source_id: Vec<u8>,
    #[prost(sint64, tag = "3")]
    received_at: i64,
    #[prost(bytes = "vec", tag = "4")]
    trace: Vec<u8>,
    /// A trace parent that is not of the usual form.
    #[prost(string, tag = "5")]
    trace_text: String,
    #[prost(message, repeated, tag = "6")]
    events: Vec<StoredEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    /// Empty for an erased event.
    #[prost(bytes = "vec", tag = "1")]
    event_id: Vec<u8>,
    /// Empty when it is that of the event before.
    #[prost(bytes = "vec", tag = "2")]
    conversation_id: Vec<u8>,
    #[prost(uint32, tag = "3")]
    provider: u32,
    /// Absent when it is the conversation's id.
    #[prost(string, optional, tag = "4")]
    external_id: Option<String>,
    /// From the time of receipt.
    #[prost(sint64, tag = "5")]
    occurred_after: i64,
    #[prost(uint32, tag = "6")]
    ordinal: u32,
    #[prost(oneof = "pb::event::Data", tags = "10, 11, 12, 13, 14, 20, 21, 22, 23, 30, 31, 32, 40, 41, 50, 51")]
    data: Option<pb::event::Data>,
}

/// Numbers of providers in files; never change one.
const fn provider_number(provider: Provider) -> u32 {
    match provider {
        Provider::ElevenLabs => 1,
        Provider::Retell => 2,
        Provider::Vapi => 3,
        Provider::AgentSession => 4,
        Provider::Native => 5,
    }
}

fn provider_name(number: u32) -> Result<&'static str, StoreError> {
    let found = Provider::ALL.into_iter().find(|provider| provider_number(*provider) == number);
    found.map(Provider::as_str).ok_or_else(|| StoreError::Corrupt(format!("provider {number}")))
}

fn id_bytes(text: &str) -> Vec<u8> {
    Uuid::try_parse(text).map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

fn id_text(bytes: &[u8]) -> Result<String, StoreError> {
    Uuid::from_slice(bytes).map(|id| id.to_string()).map_err(|_| StoreError::Corrupt("an id".to_owned()))
}

/// Packs `00-{32 hex}-{16 hex}-{2 hex}`.
fn pack_trace(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.strip_prefix("00-")?.split('-').collect();
    let packed = hex::decode(digits).ok().filter(|packed| packed.len() == 25)?;
    (unpack_trace(&packed) == text).then_some(packed)
}

fn unpack_trace(packed: &[u8]) -> String {
    let (trace, rest) = packed.split_at(packed.len().min(16));
    let (parent, flags) = rest.split_at(rest.len().min(8));
    format!("00-{}-{}-{}", hex::encode(trace), hex::encode(parent), hex::encode(flags))
}

fn millis(at: &Option<prost_types::Timestamp>) -> i64 {
    at.as_ref().map_or(0, |at| at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos / 1_000_000)))
}

fn timestamp(millis: i64) -> Option<prost_types::Timestamp> {
    Timestamp::from_millis(millis).ok().map(timestamp_to_pb)
}

/// Encodes a record, as its message, for the file. Sequence, organization and raw body stand in columns of their own.
pub(in crate::log) fn encode(message: pb::Record) -> Vec<u8> {
    let received_at = millis(&message.received_at);
    let trace = pack_trace(&message.traceparent);
    let trace_text = if trace.is_none() { message.traceparent } else { String::new() };
    let mut conversation_before = String::new();
    let events = message.events.into_iter().map(|event| {
        if event.event_id.is_empty() {
            return StoredEvent::default();
        }
        let same_conversation = event.conversation_id == conversation_before;
        let stored = StoredEvent {
            event_id: id_bytes(&event.event_id),
            conversation_id: if same_conversation { Vec::new() } else { id_bytes(&event.conversation_id) },
            provider: event.provider.parse().map(provider_number).unwrap_or_default(),
            external_id: (event.external_id != event.conversation_id).then_some(event.external_id),
            occurred_after: millis(&event.occurred_at).saturating_sub(received_at),
            ordinal: event.ordinal,
            data: event.data,
        };
        conversation_before = event.conversation_id;
        stored
    });
    let stored = StoredRecord {
        record_id: id_bytes(&message.record_id),
        source_id: id_bytes(&message.source_id),
        received_at,
        trace: trace.unwrap_or_default(),
        trace_text,
        events: events.collect(),
    };
    let mut body = Vec::with_capacity(stored.encoded_len() + 1);
    body.push(PLAIN);
    stored.encode(&mut body).expect("a growing buffer has room");
    if body.len() >= COMPRESS_FROM {
        let compressed = compress(&body[1..]);
        if compressed.len() + 1 < body.len() {
            body.clear();
            body.push(COMPRESSED);
            body.extend_from_slice(&compressed);
        }
    }
    body
}

/// Decodes a body; the message has no sequence yet. An emptied record has no events.
///
/// # Errors
/// When the body is damaged.
pub(super) fn decode(organization_id: &OrganizationId, body: &[u8]) -> Result<pb::Record, StoreError> {
    let damaged = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("a record: {error}"));
    let stored = match body.split_first() {
        None => StoredRecord::default(),
        Some((&PLAIN, stored)) => StoredRecord::decode(stored).map_err(|error| damaged(&error))?,
        Some((&COMPRESSED, compressed)) => {
            StoredRecord::decode(decompress(compressed)?.as_slice()).map_err(|error| damaged(&error))?
        }
        Some((format, _)) => return Err(damaged(&format!("format {format}"))),
    };
    let mut conversation_id = String::new();
    let mut events = Vec::with_capacity(stored.events.len());
    for event in stored.events {
        if event.event_id.is_empty() {
            events.push(pb::Event::default());
            continue;
        }
        if !event.conversation_id.is_empty() {
            conversation_id = id_text(&event.conversation_id)?;
        }
        events.push(pb::Event {
            event_id: id_text(&event.event_id)?,
            conversation_id: conversation_id.clone(),
            provider: provider_name(event.provider)?.to_owned(),
            external_id: event.external_id.unwrap_or_else(|| conversation_id.clone()),
            occurred_at: timestamp(stored.received_at.saturating_add(event.occurred_after)),
            ordinal: event.ordinal,
            data: event.data,
        });
    }
    let optional_id = |bytes: &[u8]| if bytes.is_empty() { Ok(String::new()) } else { id_text(bytes) };
    Ok(pb::Record {
        record_id: optional_id(&stored.record_id)?,
        organization_id: organization_id.as_str().to_owned(),
        source_id: optional_id(&stored.source_id)?,
        received_at: timestamp(stored.received_at),
        events,
        raw_body: Default::default(),
        traceparent: if stored.trace.is_empty() { stored.trace_text } else { unpack_trace(&stored.trace) },
        sequence: 0,
    })
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Cost, Data, EndStatus, Ended, Event, Facts, Record, Role, Turn};
    use colloquy_types::{ConversationId, EventId, RecordId, SourceId, TurnId};

    use super::*;

    fn event(conversation_id: ConversationId, external_id: &str, data: Data) -> Event {
        Event {
            event_id: EventId::generate(),
            conversation_id,
            provider: Provider::Retell,
            external_id: external_id.to_owned(),
            occurred_at: Timestamp::from_millis(-5).unwrap(),
            ordinal: 2,
            data,
        }
    }

    fn record(traceparent: &str, turns: usize) -> pb::Record {
        let (one, two) = (ConversationId::generate(), ConversationId::generate());
        let mut events = vec![
            event(one, "", Data::Started(Facts { tags: vec!["a".to_owned()], ..Facts::default() })),
            event(
                one,
                &one.to_string(),
                Data::Ended(Ended { cost: Cost::from_provider(1.5, "EUR"), ..Ended::new(EndStatus::Failed) }),
            ),
        ];
        events.extend((0..turns).map(|_| {
            let turn = Turn { text: Some("Grüß Gott 🙂".to_owned()), ..Turn::new(TurnId::generate(), Role::Agent) };
            event(two, "call_1", Data::TurnAdded(turn))
        }));
        pb::Record::from(Record {
            record_id: RecordId::generate(),
            organization_id: "default".parse().unwrap(),
            source_id: (turns > 0).then(SourceId::generate),
            received_at: Timestamp::from_millis(1_772_463_600_123).unwrap(),
            events,
            traceparent: traceparent.to_owned(),
            sequence: 0,
        })
    }

    #[test]
    fn what_is_stored_reads_the_same() {
        let usual = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let odd = [
            "",
            "00-zz",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ];
        for (traceparent, turns) in odd.into_iter().chain([usual]).flat_map(|trace| [(trace, 0), (trace, 40)]) {
            let message = record(traceparent, turns);
            let body = encode(message.clone());
            assert_eq!(decode(&"default".parse().unwrap(), &body).unwrap(), message);
            assert!(body.len() < message.encoded_len());
        }
    }

    #[test]
    fn an_erased_event_leaves_an_empty_place() {
        let mut message = record("", 3);
        message.events[2] = pb::Event::default();
        assert_eq!(decode(&"default".parse().unwrap(), &encode(message.clone())).unwrap(), message);
    }

    #[test]
    fn damaged_bodies_are_errors() {
        let organization = "default".parse().unwrap();
        assert!(decode(&organization, &[]).unwrap().events.is_empty());
        for body in
            [&[9][..], &[PLAIN, 255], &[COMPRESSED, 1], &[COMPRESSED, 255, 255, 255, 255, 1], &[COMPRESSED, 9, 0, 0, 0, 1, 2]]
        {
            assert!(decode(&organization, body).is_err(), "{body:?}");
        }
    }
}
