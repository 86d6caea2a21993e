//! What the service keeps, as verbs of its domain.

mod agents;
mod apply;
mod columns;
mod conditions;
#[cfg(test)]
pub(crate) mod conformance;
mod engine;
mod history;
mod list;
#[cfg(test)]
mod listed;
mod outdated;
mod postgres;
#[cfg(test)]
mod replicas;
mod sql;
mod sqlite;
mod touched;
#[cfg(test)]
mod unknown;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use colloquy_events::{Event, Record};
use colloquy_storage::{Database, DatabaseUrl, Durability, Migrations, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position, Provider, Timestamp};

use crate::list::{Cursor, Query};

pub(crate) use outdated::Outdated;
use sql::SqlStore;

/// For how long a list can be walked: what its conversations were before they changed is remembered as long.
pub(crate) const WALK_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The conversations of every organization.
#[async_trait]
pub(crate) trait ConversationStore: Send + Sync {
    /// Adds what `records` say and notes that everything up to `through` has been read, in one transaction.
    async fn apply(&self, records: &[Record], through: Position, now: Timestamp) -> Result<(), StoreError>;

    /// Returns the position up to which everything has been read.
    async fn position(&self) -> Result<Position, StoreError>;

    /// Returns the record of a conversation.
    async fn get(&self, organization: &OrganizationId, id: ConversationId) -> Result<Option<Kept>, StoreError>;

    /// Returns the records of conversations, in no order; none of those that do not exist.
    async fn get_all(&self, organization: &OrganizationId, ids: &[ConversationId]) -> Result<Vec<Kept>, StoreError>;

    /// Returns the events of a conversation, in no order; none when it does not exist.
    async fn events(&self, organization: &OrganizationId, id: ConversationId) -> Result<Vec<Received>, StoreError>;

    /// Returns a page of a list.
    async fn page(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError>;

    /// Returns which conversations a page of a list holds: a page without its records.
    async fn candidates(&self, query: &Query, now: Timestamp) -> Result<Candidates, StoreError>;

    /// Returns the records of conversations, in this order; none of those that are gone.
    async fn records(&self, organization: &OrganizationId, places: &[Cursor]) -> Result<Vec<Kept>, StoreError>;

    /// Returns the agents of an organization behind `after`, ordered by id and provider.
    async fn agents(
        &self,
        organization: &OrganizationId,
        after: Option<(String, String)>,
        limit: usize,
    ) -> Result<Vec<AgentSeen>, StoreError>;

    /// Returns the agents called `agent_id`, with their versions; there is one unless several providers use the id.
    async fn agent(&self, organization: &OrganizationId, agent_id: &str) -> Result<Vec<AgentSeen>, StoreError>;

    /// Returns conversations that are live but of which nothing was heard since `silent_since`, or `messages_silent_since` where
    /// they run in messages; the longest silent first.
    async fn stuck(
        &self,
        silent_since: Timestamp,
        messages_silent_since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Stuck>, StoreError>;

    /// Forgets what lists were before `before`.
    async fn forget_lists(&self, before: Timestamp) -> Result<(), StoreError>;

    /// Folds up to `limit` conversations behind `after` again that a release wrote which did not know all that lists are filtered by,
    /// the last heard of first; returns where to go on, if there may be more.
    async fn renew(&self, after: Option<&Outdated>, limit: usize, now: Timestamp) -> Result<Option<Outdated>, StoreError>;

    /// Keeps a record that could not be folded, and why.
    async fn set_aside(&self, record: &SetAside) -> Result<(), StoreError>;
}

/// The record of a conversation as it is kept; [`crate::convert::record`] reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its id.
    pub(crate) id: ConversationId,
    /// The record.
    pub(crate) bytes: Vec<u8>,
}

/// An event and when Colloquy heard of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    /// The event; one about turns is without its words.
    pub(crate) event: Event,
    /// When Colloquy heard of it.
    pub(crate) received_at: Timestamp,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    /// The conversations, as they are now.
    pub(crate) conversations: Vec<Kept>,
    /// Where the next page begins, when there is one.
    pub(crate) next: Option<Cursor>,
    /// How many match in all, when asked for.
    pub(crate) total: Option<i64>,
}

/// Conversations of a list, by what is after them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidates {
    /// The place of each, in order.
    pub(crate) places: Vec<Cursor>,
    /// Whether there are more behind them.
    pub(crate) has_more: bool,
}

/// An agent that was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AgentSeen {
    pub(crate) agent_id: String,
    pub(crate) provider: String,
    pub(crate) name: Option<String>,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) conversation_count: u64,
    /// Newest first; only of a single agent.
    pub(crate) versions: Vec<AgentVersionSeen>,
}

/// A version of an agent that was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AgentVersionSeen {
    pub(crate) agent_version_id: String,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    /// A JSON object; empty when the provider never sent it.
    pub(crate) snapshot_json: String,
}

/// A conversation that never ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stuck {
    pub(crate) organization_id: OrganizationId,
    pub(crate) conversation_id: ConversationId,
    pub(crate) provider: Provider,
    pub(crate) external_id: String,
    pub(crate) last_received_at: Timestamp,
}

/// A record that could not be folded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SetAside {
    pub(crate) record: Record,
    pub(crate) reason: String,
    pub(crate) at: Timestamp,
}

fn migrations() -> Migrations {
    Migrations::new(sqlx::migrate!("migrations/sqlite"), sqlx::migrate!("migrations/postgres"))
}

/// Opens the database and brings it up to date. A view may sync late: the log replays what is lost.
pub(crate) async fn open_database(url: &DatabaseUrl) -> anyhow::Result<Database> {
    Database::open(url, "conversation-store", Durability::Lazy, &migrations()).await
}

/// Returns the store over an open database.
pub(crate) async fn over(database: &Database) -> Result<Arc<dyn ConversationStore>, StoreError> {
    Ok(match database {
        Database::Sqlite(sqlite) => Arc::new(sqlite::store(sqlite).await?),
        Database::Postgres(pool) => Arc::new(postgres::store(pool)),
    })
}
