//! Removing a conversation from the stream.
//!
//! A message cannot be changed. One that carries other conversations too is published again without the erased one, and removed:
//! what remains of it then stands further back in the log, and readers that have it already take it for a repeat.

use bytes::Bytes;
use colloquy_events::Record;
use colloquy_types::{Clock, ConversationId, EventId, OrganizationId, Timestamp};

use super::frame::Frame;
use super::link::{Epoch, Kind, Link};
use super::{load, upkeep, writer};
use crate::log::prepare::{Encoding, prepare};
use crate::log::{LogError, NewRecord};

/// Erases a conversation; returns how many events were removed.
///
/// # Errors
/// When the servers or the database do not answer. Erasing again goes on where it stopped.
pub(super) async fn erase(
    link: &Link,
    clock: &dyn Clock,
    organization: &OrganizationId,
    conversation: ConversationId,
) -> Result<u64, LogError> {
    let epoch = link.epoch().await?;
    link.index().note_erasure(organization, conversation, clock.now()).await?;
    // From here on no replica publishes events of it, but for those that are on their way and find the note afterwards.
    upkeep::complete(link, &epoch, link.extent().await?.last).await?;
    sweep_out(link, &epoch, organization, conversation, clock.now()).await
}

/// Removes every record, or what it has of the conversation, that the index knows of.
///
/// # Errors
/// When the servers or the database do not answer.
pub(super) async fn sweep_out(
    link: &Link,
    epoch: &Epoch,
    organization: &OrganizationId,
    conversation: ConversationId,
    now: Timestamp,
) -> Result<u64, LogError> {
    let mut removed = std::collections::HashSet::new();
    let mut parts = Vec::new();
    for sequence in link.index().places(organization, conversation, epoch.offset).await? {
        let Some(in_stream) = epoch.in_stream(sequence) else { continue };
        let Some(message) = link.get(in_stream).await? else { continue };
        if epoch.kind(&message.subject) == Kind::Part {
            // Its record is read from it first.
            parts.push(in_stream);
            continue;
        }
        if let Some(frame) = load::whole(link, Frame::read(message.payload)?).await? {
            removed.extend(keep_others(link, epoch, frame, sequence, conversation, now).await?);
        }
        link.delete(in_stream).await?;
    }
    for part in parts {
        link.delete(part).await?;
    }
    link.index().forget(organization, conversation).await?;
    Ok(removed.len() as u64)
}

/// Publishes a record again without a conversation, when it has others; returns the events that are left out.
async fn keep_others(
    link: &Link,
    epoch: &Epoch,
    frame: Frame,
    sequence: u64,
    conversation: ConversationId,
    now: Timestamp,
) -> Result<Vec<EventId>, LogError> {
    let record = frame.into_record(sequence)?;
    let readable = record.to_record();
    let damaged = |_| LogError::Store(colloquy_storage::StoreError::Corrupt(format!("record {sequence}")));
    let mut record: Record = readable.map_err(damaged)?;
    let (erased, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut record.events).into_iter().partition(|event| event.conversation_id == conversation);
    if !kept.is_empty() {
        record.events = kept;
        // When it was received is part of the record and stays; `now` only tells that this is another message.
        let variant = format!("~{sequence}~{}", now.as_millis());
        for rest in prepare(vec![NewRecord { record, raw_body: Bytes::new() }], Encoding::Message).await? {
            let published = writer::publish(link, epoch, &rest, &variant).await?;
            link.index().insert(&writer::rows(epoch, &rest, &published)).await?;
        }
    }
    Ok(erased.into_iter().map(|event| event.event_id).collect())
}
