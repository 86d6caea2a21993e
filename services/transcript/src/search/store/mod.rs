//! Where the index is kept: the same statements and the same answers on both engines, but for how each keeps words.
//!
//! Both are given tokens ([`super::tokens`]) and never text, so that neither's own idea of a word matters. Before each token stands the
//! organization's number (`7xhello`): the postings of a word are those of one organization, and a search reads nothing of anybody else's,
//! whatever their number and sizes. SQLite keeps them in FTS5, PostgreSQL as `tsvector` under GIN.

#[cfg(test)]
mod conformance;
mod find;
mod index;
mod postgres;
mod sqlite;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use colloquy_events::Role;
use colloquy_storage::engine::{Columns, Engine, Outcome, Rows, Value};
use colloquy_storage::{Database, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position, TurnId};
use serde::{Deserialize, Serialize};
use sqlx::Pool;
use uuid::Uuid;

use super::entry::Entry;
use super::query::{Query, Term};
use crate::store::many::Key;

/// The name of the reader that keeps the index: its durable consumer, and its position.
pub const READER: &str = "transcript-search";
/// Ordered by relevance are this many turns at most: the newest of those that fit.
pub const MAX_RANKED: i64 = 10_000;

/// So many turns that fit are looked at for each conversation that may be returned.
pub const TURNS_EACH: u32 = 4;

/// Returns the index in `database`.
pub fn open(database: &Database) -> Arc<dyn SearchStore> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(Index::new(sqlite.writer().clone(), sqlite.readers().clone())),
        Database::Postgres(pool) => Arc::new(Index::new(pool.clone(), pool.clone())),
    }
}

/// A conversation of which something was told that may change what can be found in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Who leads it, if that was told.
    pub agent: Option<Agent>,
}

/// Who leads a conversation, as an event told it; of two, the greater is right.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Agent {
    /// The rank of the event, as bytes that compare as the ranks do.
    pub rank: Vec<u8>,
    /// The agent.
    pub id: String,
}

/// What indexing came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Turns whose words were not indexed yet, or others, or at another time.
    pub changed: usize,
    /// Turns that have another place, role or agent than before.
    pub moved: usize,
    /// Turns that are no more.
    pub removed: usize,
}

/// The order of what is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Order {
    /// The newest first.
    Newest,
    /// The shortest first, that is the ones of which the words asked for are the greatest part; of equals, the newest.
    Relevance,
}

/// The turns to find.
#[derive(Clone, Debug)]
pub struct Find<'a> {
    /// Whose.
    pub organization_id: &'a OrganizationId,
    /// What was said.
    pub query: &'a Query,
    /// By whom; at least one.
    pub roles: &'a [Role],
    /// Only in conversations this agent leads.
    pub agent_id: Option<&'a str>,
    /// Only in this conversation.
    pub conversation_id: Option<ConversationId>,
    /// Only at or after this; milliseconds.
    pub from: Option<i64>,
    /// Only before this; milliseconds.
    pub before: Option<i64>,
    /// In which order.
    pub order: Order,
    /// Only those after this one.
    pub after: Option<Place>,
    /// At most this many.
    pub limit: u32,
}

/// A turn's place in either order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// How many words it has.
    pub length: i64,
    /// When it was said.
    pub at: i64,
    /// Where.
    pub conversation_id: Uuid,
    /// Its number there.
    pub number: i64,
}

/// A turn that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where.
    pub conversation_id: ConversationId,
    /// The turn.
    pub turn_id: TurnId,
    /// Its number in the conversation.
    pub number: u32,
    /// Who it is by.
    pub role: Role,
    /// Who leads the conversation.
    pub agent_id: Option<String>,
    /// When it was said, in milliseconds.
    pub at: i64,
    /// How many words it has.
    pub length: u32,
}

impl Found {
    /// Returns its place.
    pub fn place(&self) -> Place {
        Place { length: self.length.into(), at: self.at, conversation_id: self.conversation_id.0, number: self.number.into() }
    }
}

/// Where something was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matching {
    /// The conversations.
    pub conversations: Vec<ConversationId>,
    /// Whether there may be more.
    pub truncated: bool,
}

/// Keeps the index.
#[async_trait]
pub trait SearchStore: Send + Sync + 'static {
    /// Returns the position up to which everything is indexed.
    async fn position(&self) -> Result<Position, StoreError>;

    /// Indexes the turns of conversations as the transcripts' store has them by now, writing what is not so yet, and notes that
    /// everything up to `through` is indexed; all of it or nothing. No conversation may be there twice.
    async fn index(&self, touched: &[Touched], through: Position) -> Result<Written, StoreError>;

    /// Returns the turns that fit, in order.
    async fn find(&self, find: &Find<'_>) -> Result<Vec<Found>, StoreError>;

    /// Returns the conversations with a turn that fits, spoken by anybody: of `among`, or, when that is empty, up to `limit`. Of all are
    /// looked at [`TURNS_EACH`] turns for each of the limit at most: who asks wants few, and words that are said everywhere would take
    /// long.
    async fn matching(
        &self,
        organization_id: &OrganizationId,
        query: &Query,
        among: &[ConversationId],
        limit: u32,
    ) -> Result<Matching, StoreError>;
}

/// A turn that is indexed.
struct Indexed {
    key: Key,
    turn_id: Uuid,
    number: i64,
    role: i64,
    agent_id: Option<String>,
    at: i64,
    hash: i64,
    /// Its id in the index, where it has one.
    id: i64,
}

impl Indexed {
    /// Returns whether the words of `entry` are indexed, at its time.
    const fn says(&self, entry: &Entry) -> bool {
        self.at == entry.at && self.hash == entry.hash
    }

    /// Returns whether it stands where `entry` does, and is by the same.
    fn stands_as(&self, entry: &Entry) -> bool {
        self.number == i64::from(entry.number) && self.role == role_number(entry.role) && self.agent_id == entry.agent_id
    }
}

/// A turn to be indexed.
struct Change {
    key: Key,
    organization: i64,
    entry: Entry,
}

/// An engine that keeps words.
trait Words: Engine {
    /// Whether several processes may write at once.
    const MANY_WRITERS: bool;
    /// The column of `t` that is a turn's id in the index.
    const ID: &'static str;

    /// Removes turns.
    fn remove(connection: &mut Self::Connection, turns: &[Indexed]) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Writes turns; those that were indexed before were not removed on [`Words::MANY_WRITERS`], and were elsewhere.
    fn write(connection: &mut Self::Connection, changes: &[Change]) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Ends the writing of a batch.
    fn settle(pool: &Pool<Self>) -> impl Future<Output = Outcome<()>> + Send;
    /// Returns the turns that fit.
    fn find(
        connection: &mut Self::Connection,
        find: &Find<'_>,
        organization: i64,
    ) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send;
    /// Returns which of `among` have a turn that fits.
    fn matching_among(
        connection: &mut Self::Connection,
        organization_id: &OrganizationId,
        query: &str,
        among: &[ConversationId],
    ) -> impl Future<Output = Outcome<Vec<Uuid>>> + Send;
    /// The statement for the conversations of `limit` ($3) spoken turns that fit, one after the other.
    fn matching_sql() -> String;
    /// Returns a query as the engine takes it.
    fn query_text(query: &Query, organization: i64) -> String;
}

/// The index in a database.
struct Index<E: Words> {
    writer: Pool<E>,
    readers: Pool<E>,
    /// The organizations' numbers, as far as they were asked for.
    numbers: Mutex<HashMap<OrganizationId, i64>>,
    /// Whoever indexes where there is one writer.
    indexing: tokio::sync::Mutex<()>,
}

impl<E: Words> Index<E> {
    fn new(writer: Pool<E>, readers: Pool<E>) -> Self {
        Self { writer, readers, numbers: Mutex::default(), indexing: tokio::sync::Mutex::default() }
    }

    fn known_number(&self, organization_id: &OrganizationId) -> Option<i64> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).get(organization_id).copied()
    }

    fn learn_number(&self, organization_id: OrganizationId, number: i64) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(organization_id, number);
    }

    /// Returns the number of an organization; `None` when nothing of it was ever indexed.
    async fn number(&self, organization_id: &OrganizationId) -> Result<Option<i64>, StoreError> {
        if let Some(number) = self.known_number(organization_id) {
            return Ok(Some(number));
        }
        let mut connection = self.readers.acquire().await?;
        let sql = "select number from search_organizations where organization_id = $1";
        let rows = E::query(&mut connection, sql, &[Value::Text(organization_id.as_str())], None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let number = Columns::<E>::of(row).int()?;
        self.learn_number(organization_id.clone(), number);
        Ok(Some(number))
    }

    /// Gives organizations that have no number one.
    async fn assign_numbers(&self, touched: &[Touched]) -> Result<(), StoreError> {
        let mut unknown: Vec<&OrganizationId> = touched.iter().map(|touched| &touched.organization_id).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|organization_id| self.known_number(organization_id).is_none());
        if unknown.is_empty() {
            return Ok(());
        }
        let rows = Rows::new(unknown.len()).text("organization_id", unknown.iter().map(|id| id.as_str()));
        let mut transaction = E::begin(&self.writer).await?;
        let sql = "with {k} insert into search_organizations (organization_id) select organization_id from k where true \
                   on conflict (organization_id) do nothing";
        E::execute(&mut transaction, sql, &[], Some(&rows)).await?;
        transaction.commit().await?;
        for organization_id in unknown {
            self.number(organization_id).await?;
        }
        Ok(())
    }
}

/// Returns a token as it is indexed. The number ends before the first letter, so no two organizations have a token in common.
fn scoped(organization: i64, token: &str) -> String {
    format!("{organization}x{token}")
}

/// Writes the terms of a query, each by `write`, joined by `and`.
fn join(terms: &[Term], between: &str, write: impl Fn(&Term) -> String) -> String {
    terms.iter().map(write).collect::<Vec<_>>().join(between)
}

/// Positions fit: sequences have 48 bits.
fn to_bigint(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

const fn role_number(role: Role) -> i64 {
    match role {
        Role::Agent => 1,
        Role::User => 2,
        Role::HumanAgent => 3,
        Role::Tool => 4,
        Role::System => 5,
    }
}

fn role_of(number: i64) -> Result<Role, StoreError> {
    Ok(match number {
        1 => Role::Agent,
        2 => Role::User,
        3 => Role::HumanAgent,
        4 => Role::Tool,
        5 => Role::System,
        _ => return Err(StoreError::Corrupt("a role".to_owned())),
    })
}
