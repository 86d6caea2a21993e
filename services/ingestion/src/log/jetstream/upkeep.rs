//! Keeping the index true to the stream: completing it with what a crash between publishing and noting left out, and forgetting
//! what the stream's limits have dropped.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

use super::frame::{Frame, Part};
use super::index::Row;
use super::link::{Epoch, Kind, Link};
use super::writer::PART_EVENT;
use super::{erase, load};
use crate::log::LogError;

/// How often it is looked after. What was published in the last round is left to its writer.
const EVERY: Duration = Duration::from_secs(15);
/// How many numbers are looked at in one go.
const STEP: u64 = 20_000;

pub(super) async fn run(link: Arc<Link>, clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut seen_before = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        match once(&link, &*clock, seen_before).await {
            Ok(last) => seen_before = last,
            Err(error) => tracing::debug!("the log's index is looked after later: {error}"),
        }
    }
}

/// One round; returns where the stream ends now.
async fn once(link: &Link, clock: &dyn Clock, seen_before: u64) -> Result<u64, LogError> {
    let epoch = link.epoch().await?;
    let extent = link.extent().await?;
    let added = complete(link, &epoch, seen_before.min(extent.last)).await?;
    // What was missing may belong to a conversation that was erased meanwhile.
    for (organization, conversation) in link.index().erased_among(added.into_iter().collect()).await? {
        erase::sweep_out(link, &epoch, &organization, conversation, clock.now()).await?;
    }
    let (lowest, _) = link.index().extent().await?;
    let dropped = epoch.sequence(extent.first.saturating_sub(1));
    if lowest > 0 && lowest <= dropped {
        link.index().forget_records(0, dropped).await?;
    }
    Ok(extent.last)
}

type Conversation = (colloquy_types::OrganizationId, colloquy_types::ConversationId);

/// Completes the index up to a number in the stream; returns the conversations it did not have everything of.
///
/// # Errors
/// When the servers or the database do not answer.
pub(super) async fn complete(link: &Link, epoch: &Epoch, through: u64) -> Result<Vec<Conversation>, LogError> {
    let row = link.index().epoch(epoch.number, epoch.offset).await?;
    let through = epoch.sequence(through);
    let mut after = row.indexed_through.max(epoch.sequence(link.extent().await?.first.saturating_sub(1)));
    let mut added = Vec::new();
    while after < through {
        let until = through.min(after + STEP);
        let present = link.index().present(after, until).await?;
        let mut present = present.into_iter().peekable();
        for sequence in after + 1..=until {
            if present.next_if_eq(&sequence).is_some() {
                continue;
            }
            let Some(in_stream) = epoch.in_stream(sequence) else { continue };
            if let Some(message) = link.get(in_stream).await? {
                let rows = rows_of(link, epoch, message).await?;
                added.extend(rows.iter().map(|row| (row.organization.clone(), row.conversation)));
                link.index().insert(&rows).await?;
            }
        }
        link.index().note_indexed(epoch.number, until).await?;
        after = until;
    }
    Ok(added)
}

/// Returns what the index should have of a message.
async fn rows_of(link: &Link, epoch: &Epoch, message: StreamMessage) -> Result<Vec<Row>, LogError> {
    let sequence = epoch.sequence(message.sequence);
    match epoch.kind(&message.subject) {
        Kind::Placeholder => Ok(Vec::new()),
        Kind::Part => {
            let (organization, conversations) = Part::read(message.payload)?.conversations()?;
            let row = |conversation| Row { organization: organization.clone(), conversation, event: PART_EVENT, sequence };
            Ok(conversations.into_iter().map(row).collect())
        }
        Kind::Record => {
            let Some(frame) = load::whole(link, Frame::read(message.payload)?).await? else { return Ok(Vec::new()) };
            let organization = frame.organization()?;
            let message = frame.into_record(sequence)?.to_message();
            let message = message.map_err(|error| colloquy_storage::StoreError::Corrupt(error.to_string()))?;
            let row = |event: &colloquy_proto::log::v1::Event| {
                let (conversation, event) = (event.conversation_id.parse().ok()?, event.event_id.parse().ok()?);
                Some(Row { organization: organization.clone(), conversation, event, sequence })
            };
            Ok(message.events.iter().filter_map(row).collect())
        }
    }
}
