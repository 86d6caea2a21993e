//! Where figures are kept, and what is still to be analysed.

#[cfg(test)]
mod conformance;
mod engine;
pub(crate) mod features;
mod organizations;
pub(crate) mod packed;
mod queue;
pub mod rollups;
mod sql;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use colloquy_storage::{Database, Migrations, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};
use uuid::Uuid;

use crate::analysis::Analysis;
use crate::features::Features;
use crate::input::Judgement;
use crate::organization::{AnalysisSettings, SettingsChange};

/// Returns the migrations of both engines.
pub fn migrations() -> Migrations {
    Migrations::new(sqlx::migrate!("migrations/sqlite"), sqlx::migrate!("migrations/postgres"))
}

/// Returns the store in `database`.
pub fn open(database: &Database) -> Arc<dyn Store> {
    match database {
        Database::Sqlite(sqlite) => {
            Arc::new(sql::SqlStore { writer: sqlite.writer().clone(), readers: sqlite.readers().clone() })
        }
        Database::Postgres(pool) => Arc::new(sql::SqlStore { writer: pool.clone(), readers: pool.clone() }),
    }
}

/// The name of this service's reader: its durable consumer, and its position.
pub const READER: &str = "analytics";

/// A conversation that could not be analysed this often is tried on, but nobody waits for it any more.
pub const GIVEN_UP_AFTER: u32 = 5;

/// A conversation of an organization.
pub type Key = (OrganizationId, ConversationId);

/// What one batch of the log comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// What changed; each conversation once, in the order of their keys.
    pub marks: Vec<Mark>,
    /// Organizations that were perhaps not seen before.
    pub organizations: Vec<OrganizationId>,
    /// When the last of what is read without a gap was received.
    pub received_at: Option<Timestamp>,
}

/// Something new was heard of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Which one.
    pub conversation_id: ConversationId,
    /// Where what is new begins,
    pub first_position: Position,
    /// and where it ends.
    pub position: Position,
    /// When the first of it was received.
    pub received_at: Timestamp,
    /// When the last of it was received.
    pub heard_at: Timestamp,
    /// When it is to be analysed.
    pub due_at: Timestamp,
    /// Whether it cannot wait any longer than that.
    pub is_urgent: bool,
}

/// A conversation that a worker holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Which one.
    pub conversation_id: ConversationId,
    /// Up to where it has to be read.
    pub position: Position,
    /// When the last of what was heard of it was received; `None` when nothing new was, and something else changed.
    pub heard_at: Option<Timestamp>,
    /// How often it could not be analysed.
    pub failures: u32,
    /// What names the claim.
    pub claim: Uuid,
}

impl Claimed {
    /// Returns what names the conversation.
    pub fn key(&self) -> Key {
        (self.organization_id.clone(), self.conversation_id)
    }
}

/// What a conversation came to.
#[derive(Debug, Clone, Copy)]
pub enum Written<'a> {
    /// It was analysed.
    Analysed {
        /// Its row.
        features: &'a Features,
        /// The whole.
        analysis: &'a Analysis,
        /// What each authority says by the record.
        judgements: &'a BTreeMap<String, Judgement>,
    },
    /// It does not exist any more: nothing of it is kept.
    Gone,
}

/// The figures of a conversation.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// Its row.
    pub features: Features,
    /// The whole.
    pub analysis: Analysis,
    /// What each authority says by the record.
    pub judgements: BTreeMap<String, Judgement>,
}

/// What was known of a conversation before it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Before {
    /// Whether those who listen were told that it is over.
    pub announced: bool,
    /// When the last of what was heard of it by then was received.
    pub heard_at: Timestamp,
    /// How many judgements of our own were told.
    pub revision: u64,
    /// What the last one comes to, as a SHA-256.
    pub told: Option<Vec<u8>>,
}

impl Default for Before {
    fn default() -> Self {
        Self { announced: false, heard_at: Timestamp::MIN, revision: 0, told: None }
    }
}

/// A judgement of our own that was told to the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its number.
    pub revision: u64,
    /// What it comes to, as a SHA-256.
    pub sha256: Vec<u8>,
}

/// What a worker made of a conversation it held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finish {
    /// It is analysed, and those who listen were told.
    Done {
        /// Whether it is over.
        settled: bool,
        /// While it goes on, it is not analysed again before this.
        not_before: Timestamp,
        /// What was told to the log.
        told: Option<Told>,
    },
    /// It does not exist any more.
    Gone,
    /// It cannot be analysed, and is to be tried again.
    Failed {
        /// When.
        due_at: Timestamp,
    },
    /// It can be analysed later, through no fault of its own.
    Later {
        /// When.
        due_at: Timestamp,
    },
    /// It was not tried: somebody else may.
    Released,
}

/// How much waits to be analysed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// How many conversations.
    pub waiting: u64,
    /// Since when the longest due one has been due, if any is.
    pub oldest_due_at: Option<Timestamp>,
    /// How many hours that are over changed since they were summed up.
    pub hours: u64,
}

/// Keeps figures, and what is still to be analysed.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // From the log

    /// Returns up to where the log was read without a gap.
    async fn position(&self) -> Result<Position, StoreError>;

    /// Keeps what a batch comes to, and notes that everything up to `through` was read; all of it or nothing.
    async fn apply(&self, batch: &Batch, through: Position, now: Timestamp) -> Result<(), StoreError>;

    /// Notes a record that could not be applied; once.
    async fn set_aside(
        &self,
        organization: &OrganizationId,
        record: RecordId,
        sequence: u64,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    // The queue

    /// Has conversations analysed again although nothing new was heard of them: something else changed that their figures show.
    async fn mark(&self, conversations: &[Key], now: Timestamp) -> Result<(), StoreError>;

    /// Claims conversations that are due at `now`, at most `limit`, the longest due first, until `claimed_until`. One whose claim
    /// has run out is due again. No two callers get the same one.
    async fn claim(&self, now: Timestamp, claimed_until: Timestamp, limit: u32) -> Result<Vec<Claimed>, StoreError>;

    /// Holds on to what is claimed.
    async fn renew(&self, claimed: &[Claimed], claimed_until: Timestamp) -> Result<(), StoreError>;

    /// Writes what conversations came to; all of it or nothing. Each is still claimed afterwards. `None` for one whose claim ran out
    /// while another took it: nothing is written of that one.
    async fn write(&self, written: &[(&Claimed, Written<'_>)]) -> Result<Vec<Option<Before>>, StoreError>;

    /// Gives conversations back: out of the queue, unless something new was heard of them since they were claimed.
    async fn finish(&self, finished: &[(Claimed, Finish)], now: Timestamp) -> Result<(), StoreError>;

    /// Returns whether something of the organization, or of one of its conversations, up to `position` is not in the figures yet.
    /// What could not be analysed again and again does not count ([`GIVEN_UP_AFTER`]).
    async fn is_waiting(
        &self,
        organization: &OrganizationId,
        conversation: Option<ConversationId>,
        position: Position,
    ) -> Result<bool, StoreError>;

    /// Makes that due now.
    async fn hurry(
        &self,
        organization: &OrganizationId,
        conversation: Option<ConversationId>,
        position: Position,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Returns when the oldest of what is not in the organization's figures yet was received, if there is any (what could not be
    /// analysed again and again does not count), and up to when received records were read.
    async fn received_through(&self, organization: &OrganizationId) -> Result<(Option<Timestamp>, Timestamp), StoreError>;

    /// Returns how much waits at `now`.
    async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError>;

    // Figures

    /// Returns the figures of one conversation.
    async fn figures(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<Option<Figures>, StoreError>;

    // Organizations

    /// Returns how each of these organizations wants its conversations analysed.
    async fn settings(&self, organizations: &[OrganizationId]) -> Result<HashMap<OrganizationId, AnalysisSettings>, StoreError>;

    /// Changes how an organization wants its conversations analysed; returns all of it.
    async fn change_settings(
        &self,
        organization: &OrganizationId,
        change: SettingsChange,
        now: Timestamp,
    ) -> Result<AnalysisSettings, StoreError>;
}

/// Returns the hour a conversation counts in, since the epoch.
pub(crate) const fn hour_of(created_at: Timestamp) -> i64 {
    created_at.as_millis().div_euclid(3_600_000)
}

/// How often hours changed, by organization and hour: in one order everywhere, so that no two transactions wait for each other.
type Hours = BTreeMap<(String, i64), i64>;
