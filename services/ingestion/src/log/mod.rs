//! The event log: where what happened is written down, in order, durably, and handed to readers.
//!
//! [`EventLog`] is what the rest of the service sees; [`open`] gives the engine behind it, embedded or JetStream. [`grpc`] serves it to the
//! other services, and [`tail`] follows it.

mod compression;
#[cfg(test)]
mod conformance;
mod convert;
mod embedded;
mod error;
pub mod grpc;
mod jetstream;
pub(crate) mod observe;
mod prepare;
mod queue;
mod record;
mod settings;
mod tail;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_service::Task;
use colloquy_storage::Database;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position, Timestamp};
use tokio_util::sync::CancellationToken;

pub use embedded::open as open_embedded;
pub use error::LogError;
pub use jetstream::JetStreamSettings;
pub use record::{LogRecord, NewRecord};
pub use settings::{LogEngine, LogSettings};
pub use tail::{TailRequest, Tailed, TailedEvent, tail};

/// The greatest number of records one append may carry.
pub const MAX_RECORDS_PER_APPEND: usize = 1_000;

/// Opens the log, making it if it is missing. The returned tasks must run for anything to be written. `database` is ingestion's own.
///
/// # Errors
/// When it cannot be opened or brought up to date.
pub async fn open(
    engine: &LogEngine,
    settings: LogSettings,
    database: &Database,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<(Arc<dyn EventLog>, Vec<Task>)> {
    match engine {
        LogEngine::Embedded { folder } => embedded::open(folder, settings, clock, stop).await,
        LogEngine::JetStream(jetstream) => jetstream::open(jetstream.clone(), settings, database, clock, stop).await,
    }
}

/// Brings the log's storage up to date.
///
/// # Errors
/// When it cannot be opened or migrated.
pub async fn migrate(engine: &LogEngine) -> anyhow::Result<()> {
    match engine {
        LogEngine::Embedded { folder } => embedded::migrate(folder).await,
        // The stream is made by whoever opens it, and its index is in ingestion's database.
        LogEngine::JetStream(_) => Ok(()),
    }
}

/// The log, whatever engine keeps it.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Writes records and returns once they are durable, all of them or none. Events that are already there, and events of
    /// erased conversations, are left out and counted; a record of which nothing is left is not written. A record without
    /// events says nothing and is not written either.
    ///
    /// # Errors
    /// [`LogError::QueueFull`] and transient [`LogError::Store`] errors: nothing is written, and the same append may be tried
    /// again. [`LogError::RecordTooLarge`] when no message could carry it to a reader.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Appended, LogError>;

    /// Returns the next records after a position, without waiting for any.
    ///
    /// # Errors
    /// When the engine cannot be read.
    async fn read(&self, request: ReadRequest<'_>) -> Result<Page, LogError>;

    /// Returns which records after a position hold events of a conversation, as far as an index knows; `None` when there is no
    /// index to ask, and the records themselves have to be read.
    ///
    /// # Errors
    /// When the engine cannot be read.
    async fn records_of(
        &self,
        _organization: &OrganizationId,
        _conversation: ConversationId,
        _after: Position,
    ) -> Result<Option<RecordsOf>, LogError> {
        Ok(None)
    }

    /// Joins the durable consumer of a name, or makes it.
    ///
    /// # Errors
    /// [`LogError::BeyondEnd`] when it wants to begin after a position that does not exist yet, [`LogError::TooManyConsumers`].
    async fn consumer(&self, start: ConsumerStart) -> Result<Box<dyn Consumer>, LogError>;

    /// Returns how far every consumer of `organization` (`None`: of the services) has come, by name.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    async fn consumers(&self, organization: Option<&OrganizationId>) -> Result<Vec<ConsumerState>, LogError>;

    /// Returns how far one consumer has come.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    async fn consumer_state(&self, organization: Option<&OrganizationId>, name: &str) -> Result<Option<ConsumerState>, LogError>;

    /// Removes every event of a conversation, and every raw body that carried one, from the engine's files and memory; later
    /// events of it are dropped. Returns how many events were removed; erasing again removes none.
    ///
    /// # Errors
    /// When the engine cannot be written.
    async fn erase(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<u64, LogError>;

    /// Returns the body of the delivery that became record `sequence`, when it was kept and is that organization's.
    ///
    /// # Errors
    /// When the engine cannot be read.
    async fn raw_body(&self, organization: &OrganizationId, sequence: u64) -> Result<Option<Bytes>, LogError>;

    /// Returns the position after which the next record will stand.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    async fn end(&self) -> Result<Position, LogError>;

    /// Waits until the log ends beyond `position`.
    async fn wait_beyond(&self, position: Position);
}

/// One stream of a durable consumer. Dropping it hands what it had not acknowledged to the other streams of its name.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for the next batch. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the engine cannot be read.
    async fn next(&mut self) -> Result<Batch, LogError>;

    /// Releases a batch; one that this stream does not hold is ignored.
    fn acknowledge(&mut self, batch_id: u64);
}

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// Once a reader has passed this position, it has seen everything that was appended, now or earlier.
    pub position: Position,
    /// How many events were new.
    pub accepted: u32,
    /// How many events were already there, or belong to an erased conversation.
    pub duplicates: u32,
    /// The same, record by record, in the order they were given.
    pub records: Vec<AppendedRecord>,
}

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppendedRecord {
    /// Once a reader has passed this position, it has seen all of the record's events.
    pub position: Position,
    /// How many of its events were new.
    pub accepted: u32,
    /// How many were already there, or belong to an erased conversation.
    pub duplicates: u32,
}

impl Appended {
    fn add(&mut self, record: AppendedRecord) {
        self.position = self.position.max(record.position);
        self.accepted += record.accepted;
        self.duplicates += record.duplicates;
        self.records.push(record);
    }
}

/// Which records to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest<'a> {
    /// Only records with an event after this position.
    pub after: Position,
    /// Only records that stand no later than this.
    pub through: Position,
    /// Only this organization's records.
    pub organization: Option<&'a OrganizationId>,
    /// At most this many events; a record is never divided, so one greater than this comes alone.
    pub max_events: u32,
}

/// Some records, in log order.
#[derive(Debug, Clone)]
pub struct Page {
    /// The records.
    pub records: Vec<LogRecord>,
    /// How far the log was read: pass it as the next `after`.
    pub through: Position,
}

/// Which records hold events of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsOf {
    /// Their numbers, ascending.
    pub sequences: Vec<u64>,
    /// Up to here there are no others.
    pub through: Position,
}

/// How a stream of a consumer begins.
#[derive(Debug, Clone)]
pub struct ConsumerStart {
    /// The durable name; streams of one name (and organization) share the work.
    pub name: String,
    /// Whose records it sees; `None` sees all.
    pub organization: Option<OrganizationId>,
    /// For a reader that keeps its own position, up to which its view is complete: begin after this one, whatever was
    /// acknowledged before. An engine may leave it out of account for a stream that is not the only one of its name.
    pub after: Option<Position>,
    /// At most this many events a batch.
    pub max_events: u32,
}

/// Records handed out together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What to acknowledge.
    pub batch_id: u64,
    /// In log order; none when it only tells a reader with its own position that it was given everything handed out before.
    pub records: Vec<LogRecord>,
    /// How many times it was handed out, from 1.
    pub delivery_count: u32,
    /// Between this position and the last record there is nothing for this consumer that is not in the batch.
    pub after: Position,
    /// Everything up to here has been acknowledged by the streams of this name.
    pub acknowledged: Position,
}

/// How far a consumer has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerState {
    /// Its durable name.
    pub name: String,
    /// Whose records it sees; `None` sees all.
    pub organization: Option<OrganizationId>,
    /// Everything up to here has been acknowledged.
    pub acknowledged: Position,
    /// Where the log ends.
    pub end: Position,
    /// How many records it has not acknowledged, whether they were handed out or not.
    pub lag_records: u64,
    /// How many of these are in the hands of a stream.
    pub handed_out: u64,
    /// How many of these had to be handed out more than once.
    pub redelivered: u64,
    /// When the oldest record that is not acknowledged was received.
    pub oldest_received_at: Option<Timestamp>,
}
