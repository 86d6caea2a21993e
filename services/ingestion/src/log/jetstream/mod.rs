//! The JetStream engine: records in a replicated stream, consumers on the servers, and an index in ingestion's own database. Any
//! number of replicas of ingestion work on it at once.
//!
//! - `link`: the connection, and the stream with its epochs.
//! - `frame`, `load`, `raw`: a record as a message, and back.
//! - `writer`: publishing, with repeats left out.
//! - `index`, `upkeep`: which events are where, and keeping that true.
//! - `consumer`: durable consumers. `reader`, `feed`: reading by position, and following.
//! - `erase`: removing a conversation.

mod consumer;
mod erase;
mod feed;
mod frame;
mod index;
mod link;
mod load;
mod raw;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_service::Task;
use colloquy_storage::Database;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position};
use tokio_util::sync::CancellationToken;

use self::feed::Feed;
use self::frame::Frame;
use self::index::Index;
use self::link::{Kind, Link};
use super::prepare::{Encoding, prepare};
use super::queue::Queue;
use super::{Appended, Consumer, ConsumerStart, ConsumerState, EventLog, LogError, LogSettings, NewRecord, Page, ReadRequest};

pub use settings::JetStreamSettings;

/// How long the servers may take to be there at the start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the log on JetStream, making the stream if it is missing; `database` keeps the index. The returned tasks must run for
/// anything to be written.
///
/// # Errors
/// When the settings cannot be used, or no server answers within a minute.
pub(super) async fn open(
    jetstream: JetStreamSettings,
    settings: LogSettings,
    database: &Database,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<(Arc<dyn EventLog>, Vec<Task>)> {
    let link = Link::open(jetstream, Index::of(database), PATIENCE).await?;
    let (queue, waiting) = Queue::new(settings);
    let writing = writer::run(Arc::clone(&link), Arc::clone(&clock), waiting, stop.clone());
    let feed = Feed::new(settings.recent_bytes);
    let keeping = upkeep::run(Arc::clone(&link), Arc::clone(&feed), Arc::clone(&clock), stop.clone());
    let tasks = vec![Task::new("event log writer", writing), Task::new("event log index", keeping)];
    Ok((Arc::new(JetStreamLog { link, queue, clock, stop, feed }), tasks))
}

struct JetStreamLog {
    link: Arc<Link>,
    queue: Queue,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    feed: Arc<Feed>,
}

#[async_trait]
impl EventLog for JetStreamLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        let records = prepare(records, Encoding::Message).await?;
        self.queue.append(records).await
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Page, LogError> {
        reader::read(&self.link, &self.feed, request).await
    }

    async fn consumer(&self, start: ConsumerStart) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(consumer::join(Arc::clone(&self.link), start).await?))
    }

    async fn consumers(&self, organization: Option<&OrganizationId>) -> Result<Vec<ConsumerState>, LogError> {
        consumer::states(&self.link, organization, None).await
    }

    async fn consumer_state(&self, organization: Option<&OrganizationId>, name: &str) -> Result<Option<ConsumerState>, LogError> {
        Ok(consumer::states(&self.link, organization, Some(name)).await?.pop())
    }

    async fn erase(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<u64, LogError> {
        let erased = erase::erase(&self.link, &*self.clock, organization, conversation).await;
        // Also after a failure, which may have removed something all the same.
        self.feed.clear();
        erased
    }

    async fn raw_body(&self, organization: &OrganizationId, sequence: u64) -> Result<Option<Bytes>, LogError> {
        let epoch = self.link.epoch().await?;
        let Some(in_stream) = epoch.in_stream(sequence) else { return Ok(None) };
        let Some(message) = self.link.get(in_stream).await? else { return Ok(None) };
        if epoch.kind(&message.subject) != Kind::Record {
            return Ok(None);
        }
        let frame = Frame::read(message.payload)?;
        if frame.organization_id != organization.as_str() {
            return Ok(None);
        }
        load::raw_body(&self.link, frame).await
    }

    async fn end(&self) -> Result<Position, LogError> {
        let epoch = self.link.epoch().await?;
        Ok(epoch.end_of(self.link.extent(&epoch).await?.last))
    }

    async fn wait_beyond(&self, position: Position) {
        self.feed.wait_beyond(&self.link, position, &self.stop).await;
    }
}
