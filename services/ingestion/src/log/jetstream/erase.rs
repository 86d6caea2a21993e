//! Removing a conversation from the stream.
//!
//! A message cannot be changed. One that carries other conversations too is published again without the erased one, and removed:
//! what remains of it then stands further back in the log, and readers that have it already take it for a repeat.

use std::collections::HashSet;

use colloquy_types::{Clock, ConversationId, EventId, OrganizationId, Timestamp};

use super::frame::Frame;
use super::link::{Epoch, Kind, Link};
use super::raw::RawRecord;
use super::{load, upkeep, writer};
use crate::log::LogError;

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
    let last = link.extent(&epoch).await?.last;
    let found = upkeep::complete(link, &epoch, last, clock.now()).await?;
    let found = found.get(&(organization.clone(), conversation)).copied().unwrap_or_default();
    Ok(found + sweep_out(link, &epoch, organization.clone(), conversation, clock.now()).await?)
}

/// Removes every record, or what it has of the conversation, that the index knows of; returns how many events that were.
///
/// # Errors
/// When the servers or the database do not answer.
pub(super) async fn sweep_out(
    link: &Link,
    epoch: &Epoch,
    organization: OrganizationId,
    conversation: ConversationId,
    now: Timestamp,
) -> Result<u64, LogError> {
    let mut removed = HashSet::new();
    // Records that are published again may carry what was erased meanwhile.
    let mut left = vec![conversation];
    while let Some(erased) = left.pop() {
        let mut parts = Vec::new();
        for sequence in link.index().places(&organization, erased, epoch.offset).await? {
            let Some(in_stream) = epoch.in_stream(sequence) else { continue };
            if let Some(message) = link.get(in_stream).await? {
                if epoch.kind(&message.subject) == Kind::Part {
                    // Its record is read from it first.
                    parts.push(in_stream);
                    continue;
                }
                let frame = load::frame(link, message.payload).await?;
                let (gone, again) = keep_others(link, epoch, frame, &organization, sequence, now).await?;
                removed.extend(gone.into_iter().filter(|(id, _)| *id == conversation).map(|(_, event)| event));
                left.extend(again);
                link.delete(in_stream).await?;
            }
            link.index().forget_records(sequence - 1, sequence).await?;
        }
        for part in parts {
            link.delete(part).await?;
            let sequence = epoch.sequence(part);
            link.index().forget_records(sequence - 1, sequence).await?;
        }
    }
    Ok(removed.len() as u64)
}

type Gone = Vec<(ConversationId, EventId)>;

/// Publishes a record again without what is erased, when anything is left of it; returns what is left out, and what was erased of it
/// in this very moment.
async fn keep_others(
    link: &Link,
    epoch: &Epoch,
    frame: Option<Frame>,
    organization: &OrganizationId,
    sequence: u64,
    now: Timestamp,
) -> Result<(Gone, Vec<ConversationId>), LogError> {
    let Some(frame) = frame else { return Ok((Vec::new(), Vec::new())) };
    let raw = RawRecord::of(&frame.into_record(sequence)?)?;
    let keys = raw.keys()?;
    let conversations = || keys.iter().map(|key| (organization.clone(), key.conversation_id)).collect::<HashSet<_>>();
    let erased = async || -> Result<HashSet<ConversationId>, LogError> {
        Ok(link.index().erased_among(conversations()).await?.into_iter().map(|(_, id)| id).collect())
    };
    let before = erased().await?;
    let gone = keys.iter().filter(|key| before.contains(&key.conversation_id));
    let gone = gone.map(|key| (key.conversation_id, key.event_id)).collect();
    let Some(rest) = raw.keeping(organization, &keys, |key| !before.contains(&key.conversation_id)) else {
        return Ok((gone, Vec::new()));
    };
    // `now` only tells that this is another message.
    let variant = format!("~{sequence}~{}", now.as_millis());
    let published = writer::publish(link, epoch, &rest, &variant).await?;
    link.index().insert(&writer::rows(epoch, &rest, &published)).await?;
    Ok((gone, erased().await?.difference(&before).copied().collect()))
}
