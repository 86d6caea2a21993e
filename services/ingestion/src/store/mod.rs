//! What ingestion keeps besides the log: sources and the quarantine.

#[cfg(test)]
mod conformance;
mod postgres;
mod queries;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_storage::{Database, Durability, Migrations, StoreError};
use colloquy_types::{OrganizationId, QuarantineId, SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::quarantine::{Bounds, Quarantined, QuarantinedBody};
use crate::source::Source;

/// The place of an entry in a list that has the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place<Id> {
    /// When it was made.
    pub(crate) at: Timestamp,
    /// What it is.
    pub(crate) id: Id,
}

/// Which quarantined deliveries a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct QuarantineFilter {
    /// Only of this source.
    pub(crate) source_id: Option<SourceId>,
    /// Also those a retry has mapped.
    pub(crate) include_resolved: bool,
}

/// Whether a delivery found a place in the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quarantining {
    /// It is there; perhaps it was already, and its attempts were counted up.
    Kept,
    /// The source has as much waiting as it may.
    Full,
}

/// Keeps sources and the quarantine. A write is durable when it answers.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Adds a source.
    async fn create_source(&self, source: &Source) -> Result<(), StoreError>;
    /// Returns a source of `organization`.
    async fn source(&self, organization: &OrganizationId, id: SourceId) -> Result<Option<Source>, StoreError>;
    /// Returns a source of any organization: a webhook's URL names no other.
    async fn source_by_id(&self, id: SourceId) -> Result<Option<Source>, StoreError>;
    /// Returns at most `limit` sources after `after`, newest first.
    async fn page_of_sources(
        &self,
        organization: &OrganizationId,
        after: Option<Place<SourceId>>,
        limit: u32,
    ) -> Result<Vec<Source>, StoreError>;
    /// Replaces a source when it still has the revision before `source.revision`, and returns whether it had.
    async fn replace_source(&self, source: &Source) -> Result<bool, StoreError>;
    /// Removes a source and returns whether there was one.
    async fn delete_source(&self, organization: &OrganizationId, id: SourceId) -> Result<bool, StoreError>;

    /// Puts a delivery into quarantine. One that is there already gets one attempt more and the new reason, and waits again in
    /// case it was resolved. Resolved entries of the source give way, oldest first, when there are too many.
    async fn quarantine(
        &self,
        delivery: &Quarantined,
        body: &QuarantinedBody,
        bounds: Bounds,
    ) -> Result<Quarantining, StoreError>;
    /// Returns a quarantined delivery.
    async fn quarantined(
        &self,
        organization: &OrganizationId,
        id: QuarantineId,
    ) -> Result<Option<(Quarantined, QuarantinedBody)>, StoreError>;
    /// Returns at most `limit` quarantined deliveries after `after`, newest first.
    async fn page_of_quarantine(
        &self,
        organization: &OrganizationId,
        filter: QuarantineFilter,
        after: Option<Place<QuarantineId>>,
        limit: u32,
    ) -> Result<Vec<Quarantined>, StoreError>;
    /// Notes what became of another attempt: `delivery` as it is now. A resolved delivery's body goes, since the log has it.
    async fn note_attempt(&self, delivery: &Quarantined) -> Result<(), StoreError>;
    /// Returns how many deliveries wait for a retry, of every organization, and their bytes.
    async fn quarantine_size(&self) -> Result<(u64, u64), StoreError>;
}

/// Opens the store and brings it up to date.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<(Database, Arc<dyn Store>)> {
    let migrations = Migrations::new(sqlx::migrate!("migrations/sqlite"), sqlx::migrate!("migrations/postgres"));
    let database = Database::open(&settings.database, "ingestion", Durability::Full, &migrations).await?;
    let store: Arc<dyn Store> = match &database {
        Database::Sqlite(sqlite) => Arc::new(sqlite::SqliteStore(sqlite.clone())),
        Database::Postgres(pool) => Arc::new(postgres::PostgresStore(pool.clone())),
    };
    Ok((database, store))
}
