//! Keeping the index true to the stream: completing it with what a crash between publishing and noting left out, and forgetting
//! what the stream's limits have dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Timestamp};
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::frame::Part;
use super::index::Row;
use super::link::{Epoch, Kind, Link};
use super::raw::RawRecord;
use super::writer::PART_EVENT;
use super::{erase, load};
use crate::log::LogError;
use crate::log::prepare::EventKey;

/// How often it is looked after. What was published in the last round is left to its writer.
const EVERY: Duration = Duration::from_secs(15);
/// How many numbers are looked at in one go.
const STEP: u64 = 20_000;
/// How many messages are fetched at once.
const AT_ONCE: usize = 32;

pub(super) async fn run(link: Arc<Link>, feed: Arc<Feed>, clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut round = Round::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = round.run(&link, &feed, &*clock).await {
            tracing::debug!("the log's index is looked after later: {error}");
        }
    }
}

/// What the last round saw.
#[derive(Default)]
struct Round {
    /// The epoch, and where its stream ended.
    end: (u64, u64),
    erasures: (i64, i64),
}

impl Round {
    async fn run(&mut self, link: &Link, feed: &Feed, clock: &dyn Clock) -> Result<(), LogError> {
        // Another replica erases from the stream, and this one has the newest records in memory too.
        let erasures = link.index().erasures().await?;
        if std::mem::replace(&mut self.erasures, erasures) != erasures {
            feed.clear();
        }
        let epoch = link.epoch().await?;
        let extent = link.extent(&epoch).await?;
        let (of, seen) = std::mem::replace(&mut self.end, (epoch.number, extent.last));
        if of == epoch.number {
            complete(link, &epoch, seen.min(extent.last), clock.now()).await?;
        }
        let (lowest, _) = link.index().extent().await?;
        let dropped = epoch.sequence(extent.first.saturating_sub(1));
        if lowest > 0 && lowest <= dropped {
            link.index().forget_records(0, dropped).await?;
        }
        Ok(())
    }
}

/// How many events were removed of which conversation.
pub(super) type Removed = HashMap<(OrganizationId, ConversationId), u64>;

/// Completes the index up to a number in the stream, and removes what it finds of conversations that are erased; returns what that
/// was.
///
/// # Errors
/// When the servers or the database do not answer.
pub(super) async fn complete(link: &Link, epoch: &Epoch, through: u64, now: Timestamp) -> Result<Removed, LogError> {
    let mut removed = Removed::new();
    let row = link.index().epoch(epoch.number, epoch.offset).await?;
    let through = epoch.sequence(through);
    let mut after = row.indexed_through.max(epoch.sequence(link.extent(epoch).await?.first.saturating_sub(1)));
    while after < through {
        let until = through.min(after + STEP);
        let present: HashSet<u64> = link.index().present(after, until).await?.into_iter().collect();
        let missing: Vec<u64> = (after + 1..=until).filter(|sequence| !present.contains(sequence)).collect();
        let mut conversations = HashSet::new();
        for some in missing.chunks(AT_ONCE) {
            let messages = some.iter().filter_map(|sequence| epoch.in_stream(*sequence)).map(|number| link.get(number));
            for message in try_join_all(messages).await?.into_iter().flatten() {
                let rows = rows_of(link, epoch, message).await?;
                conversations.extend(rows.iter().map(|row| (row.organization.clone(), row.conversation)));
                link.index().insert(&rows).await?;
            }
        }
        // Before it is noted that this much is done: what fails here is done again.
        for (organization, conversation) in link.index().erased_among(conversations).await? {
            let events = erase::sweep_out(link, epoch, organization.clone(), conversation, now).await?;
            *removed.entry((organization, conversation)).or_default() += events;
        }
        link.index().note_indexed(epoch.number, until).await?;
        after = until;
    }
    Ok(removed)
}

/// Returns what the index should have of a message; of one that cannot be read, nothing: it would be in the way for ever.
async fn rows_of(link: &Link, epoch: &Epoch, message: StreamMessage) -> Result<Vec<Row>, LogError> {
    let sequence = epoch.sequence(message.sequence);
    match read_rows(link, epoch, message).await {
        Err(LogError::Store(StoreError::Corrupt(damage))) => {
            tracing::error!(log.sequence = sequence, "record {sequence} cannot be read and is not in the index: {damage}");
            Ok(Vec::new())
        }
        rows => rows,
    }
}

async fn read_rows(link: &Link, epoch: &Epoch, message: StreamMessage) -> Result<Vec<Row>, LogError> {
    let sequence = epoch.sequence(message.sequence);
    match epoch.kind(&message.subject) {
        Kind::Placeholder => Ok(Vec::new()),
        Kind::Part => {
            let (organization, conversations) = Part::read(message.payload)?.conversations()?;
            let row = |conversation| Row { organization: organization.clone(), conversation, event: PART_EVENT, sequence };
            Ok(conversations.into_iter().map(row).collect())
        }
        Kind::Record => {
            let Some(frame) = load::frame(link, message.payload).await? else { return Ok(Vec::new()) };
            let organization = frame.organization()?;
            let row = |key: EventKey| Row {
                organization: organization.clone(),
                conversation: key.conversation_id,
                event: key.event_id,
                sequence,
            };
            Ok(RawRecord::of(&frame.into_record(sequence)?)?.keys()?.into_iter().map(row).collect())
        }
    }
}
