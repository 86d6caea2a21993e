//! Where leases, commands and what is known of running conversations are kept.
//!
//! The statements of both engines are the same and stand in `engine`; `sqlite` and `postgres` have what differs.

#[cfg(test)]
mod conformance;
mod engine;
mod postgres;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_storage::{Database, Migrations, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};
use uuid::Uuid;

use crate::command::Command;
use crate::conversation::{Conversation, Sign};
use crate::lease::Lease;
use crate::scene::{Change, Find, Note, Scene};

/// The name of this service's reader: its durable consumer, and its position.
pub const READER: &str = "control";

/// Returns the migrations of both engines.
pub fn migrations() -> Migrations {
    Migrations::new(sqlx::migrate!("migrations/sqlite"), sqlx::migrate!("migrations/postgres"))
}

/// Returns the store in `database`.
pub fn open(database: &Database) -> Arc<dyn ControlStore> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(sqlite::SqliteStore::new(sqlite)),
        Database::Postgres(pool) => Arc::new(postgres::PostgresStore::new(pool)),
    }
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

/// One conversation of one organization.
pub type Key = (OrganizationId, ConversationId);

/// What is decided about a scene; `None` changes nothing.
pub type Decide<'a> = &'a mut (dyn FnMut(&Scene) -> Option<Change> + Send);

/// A command, and the conversation it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// The command.
    pub command: Command,
    /// The conversation.
    pub conversation: Conversation,
}

/// Keeps leases, commands and what is known of running conversations.
#[async_trait]
pub trait ControlStore: Send + Sync + 'static {
    /// Returns the position up to which everything was applied.
    async fn position(&self) -> Result<Position, StoreError>;

    /// Adds what a batch says of conversations, and notes that everything up to `through` was applied; all of it or nothing.
    /// `signs` come in the order of their keys, one a conversation and source. Who can deliver through another source than the one a
    /// conversation came through first cannot say where it is steered: that would hand them what people say in it.
    async fn apply(&self, signs: &[Sign], through: Position) -> Result<(), StoreError>;

    /// Notes a record that could not be applied; once.
    async fn set_aside(&self, record: &SetAside) -> Result<(), StoreError>;

    /// Returns a conversation, if it is known.
    async fn conversation(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
    ) -> Result<Option<Conversation>, StoreError>;

    /// Notes a conversation that the log has not told of yet; one that is known stays as it is.
    async fn learn(&self, conversation: &Conversation, now: Timestamp) -> Result<(), StoreError>;

    /// Shows a conversation, locked, to `decide`, and writes the change; one at a time does so. Returns whether it is known.
    async fn change(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
        find: Find<'_>,
        decide: Decide<'_>,
    ) -> Result<bool, StoreError>;

    /// Returns who holds a conversation, perhaps only until a moment ago.
    async fn lease(&self, organization_id: &OrganizationId, conversation_id: ConversationId)
    -> Result<Option<Lease>, StoreError>;

    /// Returns a command and its conversation.
    async fn command(&self, organization_id: &OrganizationId, command_id: Uuid) -> Result<Option<Given>, StoreError>;

    /// Returns the latest commands to a conversation, newest first.
    async fn commands(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
        limit: u32,
    ) -> Result<Vec<Command>, StoreError>;

    /// Hands out commands for vendors that nobody has, until `until`: of each conversation only the first that is to be carried
    /// out, and only once the log has it; none of the organizations in `but`.
    async fn claim(&self, now: Timestamp, until: Timestamp, but: &[OrganizationId], limit: u32)
    -> Result<Vec<Given>, StoreError>;

    /// Notes that a claimed command is being carried out now. `false` when somebody else has it, or it has ended.
    async fn start(&self, command: &Command) -> Result<bool, StoreError>;

    /// Gives a claimed command back, to be handed out again.
    async fn unclaim(&self, command: &Command) -> Result<(), StoreError>;

    /// Returns the commands for an organization's own agents that the log has and nobody has answered, in their order: those to
    /// conversations of one agent, or all.
    async fn for_agents(
        &self,
        organization_id: &OrganizationId,
        agent_id: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Given>, StoreError>;

    /// Notes that a command was handed to an own agent.
    async fn handed_out(&self, organization_id: &OrganizationId, command_id: Uuid) -> Result<(), StoreError>;

    /// Returns commands for own agents that ought to end: given before `before`, or to a conversation that is over.
    async fn unanswered(&self, before: Timestamp, limit: u32) -> Result<Vec<Given>, StoreError>;

    /// Returns conversations whose lease ought to end: it ran out by `now`, or the conversation is over.
    async fn to_free(&self, now: Timestamp, limit: u32) -> Result<Vec<Key>, StoreError>;

    /// Returns the conversation and the events of it that the log does not have yet, in their order.
    async fn notes(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
        limit: u32,
    ) -> Result<Option<(Conversation, Vec<Note>)>, StoreError>;

    /// Notes which events the log has, and where.
    async fn announced(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
        notes: &[(Note, Position)],
    ) -> Result<(), StoreError>;

    /// Returns conversations with events from before `before` that the log does not have.
    async fn unannounced(&self, before: Timestamp, limit: u32) -> Result<Vec<Key>, StoreError>;

    /// Forgets conversations that ended and did not change since `before`, with their commands; those with something left to
    /// do stay. Returns how many.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// Parts `signs`, which are in the order of their keys, so that no conversation comes twice in a part: one statement changes a row
/// once. Of each conversation, earlier signs come in earlier parts.
fn rounds(signs: &[Sign]) -> Vec<Vec<&Sign>> {
    let mut rounds: Vec<Vec<&Sign>> = Vec::new();
    let is_same = |one: &Conversation, next: &Conversation| {
        one.conversation_id == next.conversation_id && one.organization_id == next.organization_id
    };
    for of_one in signs.chunk_by(|one, next| is_same(&one.conversation, &next.conversation)) {
        for (round, sign) in of_one.iter().enumerate() {
            if rounds.len() == round {
                rounds.push(Vec::with_capacity(if round == 0 { signs.len() } else { 1 }));
            }
            rounds[round].push(sign);
        }
    }
    rounds
}

/// Positions and numbers fit: sequences have 48 bits.
fn to_bigint(position: u64) -> i64 {
    position as i64
}

/// What is wrong with a stored row.
fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}
