//! The embedded engine: one SQLite file, one task that writes it, and the newest records in memory.

mod codec;
mod consumers;
mod erase;
mod group;
mod reader;
mod ring;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_service::Task;
use colloquy_storage::{Durability, Sqlite, StoreError};
use colloquy_types::{Clock, ConversationId, OrganizationId, Position};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::consumers::Consumers;
use self::group::Numbers;
use self::ring::Ring;
use self::writer::Writer;
use super::compression::decompress;
use super::prepare::{Encoding, prepare};
use super::queue::Queue;
use super::{
    Appended, Consumer, ConsumerStart, ConsumerState, EventLog, LogError, LogSettings, NewRecord, Page, ReadRequest, RecordsOf,
};

pub(super) use self::codec::encode;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/log");
/// The file's name in its folder.
const FILE_NAME: &str = "log.sqlite";

/// Opens the log in `folder`, making it if it is missing. The returned tasks must run for anything to be written.
///
/// # Errors
/// When the file cannot be opened or brought up to date.
pub async fn open(
    folder: &Path,
    settings: LogSettings,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<(Arc<dyn EventLog>, Vec<Task>)> {
    let sqlite = Sqlite::open(&folder.join(FILE_NAME), Durability::Full, &MIGRATIONS).await?;
    sqlite.measure("ingestion", "log writer", "log readers");
    let numbers = Numbers::load(&mut *sqlite.writer().acquire().await?).await?;
    let shared = Arc::new(Shared {
        sqlite,
        recent: Ring::new(settings.recent_bytes),
        end: watch::Sender::new(Position::end_of(numbers.sequence)),
    });
    let consumers = Arc::new(Consumers::default());
    restore_consumers(&shared.sqlite, &consumers).await?;
    let (queue, waiting) = Queue::new(settings);
    let writer = Writer::new(Arc::clone(&shared), Arc::clone(&consumers), numbers, clock);
    let task = Task::new("event log writer", writer.run(waiting, stop));
    Ok((Arc::new(EmbeddedLog { shared, consumers, queue }), vec![task]))
}

/// Brings the log in `folder` up to date.
///
/// # Errors
/// When the file cannot be opened or migrated.
pub(super) async fn migrate(folder: &Path) -> anyhow::Result<()> {
    Sqlite::open(&folder.join(FILE_NAME), Durability::Full, &MIGRATIONS).await?.close().await;
    Ok(())
}

async fn restore_consumers(sqlite: &Sqlite, consumers: &Consumers) -> anyhow::Result<()> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("select organization_id, name, acknowledged from consumers").fetch_all(sqlite.readers()).await?;
    for (organization, name, acknowledged) in rows {
        let organization = if organization.is_empty() { None } else { Some(organization.parse()?) };
        consumers.restore((organization, name), Position(acknowledged as u64));
    }
    Ok(())
}

struct EmbeddedLog {
    shared: Arc<Shared>,
    consumers: Arc<Consumers>,
    queue: Queue,
}

/// What the writer and the readers share.
struct Shared {
    sqlite: Sqlite,
    recent: Ring,
    end: watch::Sender<Position>,
}

impl Shared {
    fn end(&self) -> Position {
        *self.end.borrow()
    }

    async fn wait_beyond(&self, position: Position) {
        let mut end = self.end.subscribe();
        // The sender is this very structure, so the channel never closes under us.
        let _ = end.wait_for(|end| *end > position).await;
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        let records = prepare(records, Encoding::File).await?;
        self.queue.append(records).await
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Page, LogError> {
        self.shared.read(request).await
    }

    async fn records_of(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        after: Position,
    ) -> Result<Option<RecordsOf>, LogError> {
        self.shared.records_of(organization, conversation, after).await.map(Some)
    }

    async fn consumer(&self, start: ConsumerStart) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(self.consumers.join(Arc::clone(&self.shared), start)?))
    }

    async fn consumers(&self, organization: Option<&OrganizationId>) -> Result<Vec<ConsumerState>, LogError> {
        self.consumers.states(&self.shared, organization, None).await
    }

    async fn consumer_state(&self, organization: Option<&OrganizationId>, name: &str) -> Result<Option<ConsumerState>, LogError> {
        Ok(self.consumers.states(&self.shared, organization, Some(name)).await?.pop())
    }

    async fn erase(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<u64, LogError> {
        self.queue.erase(organization.clone(), conversation).await
    }

    async fn raw_body(&self, organization: &OrganizationId, sequence: u64) -> Result<Option<Bytes>, LogError> {
        let Ok(sequence) = i64::try_from(sequence) else { return Ok(None) };
        let compressed: Option<Option<Vec<u8>>> =
            sqlx::query_scalar("select raw_body from records where sequence = $1 and organization_id = $2")
                .bind(sequence)
                .bind(organization.as_str())
                .fetch_optional(self.shared.sqlite.readers())
                .await?;
        let Some(compressed) = compressed.flatten() else { return Ok(None) };
        let raw_body = tokio::task::spawn_blocking(move || decompress(&compressed));
        let raw_body = raw_body.await.map_err(|_| StoreError::Corrupt("a raw body".to_owned()))??;
        Ok(Some(raw_body.into()))
    }

    async fn end(&self) -> Result<Position, LogError> {
        Ok(self.shared.end())
    }

    async fn wait_beyond(&self, position: Position) {
        self.shared.wait_beyond(position).await;
    }
}
