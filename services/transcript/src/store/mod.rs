//! Where the events that transcripts are made of are kept.

#[cfg(test)]
mod conformance;
pub(crate) mod many;
mod postgres;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_storage::{Database, Migrations, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};

use crate::kept::{Kept, Row};
use crate::payload;

/// The name of this service's reader: its durable consumer, and its position.
pub const READER: &str = "transcript";
/// A transcript is answered in one message, so one that unpacks to more than this cannot be answered; the half leaves room for
/// the wire's longer form.
pub const MAX_UNPACKED_BYTES: usize = colloquy_service::transport::MAX_MESSAGE_BYTES / 2;

/// Returns the migrations of both engines.
pub fn migrations() -> Migrations {
    Migrations::new(sqlx::migrate!("migrations/sqlite"), sqlx::migrate!("migrations/postgres"))
}

/// Returns the store in `database`.
pub fn open(database: &Database) -> Arc<dyn TranscriptStore> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(sqlite::SqliteStore::new(sqlite.clone())),
        Database::Postgres(pool) => Arc::new(postgres::PostgresStore::new(pool.clone())),
    }
}

/// What a transcript is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conversation {
    /// Nothing was ever heard of it.
    Unknown,
    /// What was kept of it.
    Known(Vec<Kept>),
    /// More than [`MAX_UNPACKED_BYTES`].
    TooLong,
}

/// A record that could not be applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetAside {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The record; the log still holds it.
    pub record_id: RecordId,
    /// Its number in the log.
    pub sequence: u64,
    /// Why; without anything of its content.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Keeps the events that transcripts are made of.
#[async_trait]
pub trait TranscriptStore: Send + Sync + 'static {
    /// Returns the position up to which everything was applied.
    async fn position(&self) -> Result<Position, StoreError>;

    /// Keeps `rows`, of each lane the one of the greatest rank and data, and notes that everything up to `through` was applied; all of it
    /// or nothing. No two rows may have one lane of one conversation.
    async fn apply(&self, rows: &[Row], through: Position) -> Result<(), StoreError>;

    /// Returns what was kept of a conversation.
    async fn conversation(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
    ) -> Result<Conversation, StoreError>;

    /// Returns what was kept of conversations, in the order they are asked for, as far as there is room for `bytes` of it unpacked: whole conversations,
    /// and the others not at all. `None` for those that were left out; of which nothing was heard, they are missing.
    async fn conversations(
        &self,
        organization_id: &OrganizationId,
        conversation_ids: &[ConversationId],
        bytes: usize,
    ) -> Result<Vec<(ConversationId, Option<Vec<Kept>>)>, StoreError>;

    /// Notes a record that could not be applied; once.
    async fn set_aside(&self, record: &SetAside) -> Result<(), StoreError>;
}

/// Gathers what is kept of one conversation, and stops when it is too much.
#[derive(Default)]
struct Gathering {
    kept: Vec<Kept>,
    unpacked_bytes: usize,
}

impl Gathering {
    /// Adds one; `false` when it is now too much.
    fn add(&mut self, kept: Kept) -> bool {
        self.unpacked_bytes += payload::plain_len(&kept.data);
        self.kept.push(kept);
        self.unpacked_bytes <= MAX_UNPACKED_BYTES
    }

    fn finish(self) -> Conversation {
        if self.unpacked_bytes > MAX_UNPACKED_BYTES {
            Conversation::TooLong
        } else if self.kept.is_empty() {
            Conversation::Unknown
        } else {
            Conversation::Known(self.kept)
        }
    }
}

/// Positions fit: sequences have 48 bits.
fn to_bigint(position: u64) -> i64 {
    position as i64
}
