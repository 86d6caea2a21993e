//! Conversations that wait to be asked about: who takes what, and what became of it.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Rows, Value};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use uuid::Uuid;

use super::runs::insert;
#[cfg(test)]
use super::time_of;
use super::{SqlStore, key, organization_of, version_of};
use crate::analyzer::run::Run;

/// Who is asked about first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// It ended just now.
    Live,
    /// It is part of a back-fill.
    Backfill,
}

impl Priority {
    const fn number(self) -> i64 {
        match self {
            Self::Live => 0,
            Self::Backfill => 1,
        }
    }
}

/// How conversations are queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queued {
    /// How soon.
    pub priority: Priority,
    /// Not before.
    pub due_at: Timestamp,
    /// Which version is asked; the newest when `None`.
    pub version: Option<u32>,
    /// As part of which back-fill.
    pub backfill_id: Option<Uuid>,
}

/// A conversation that a worker has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Of which analyzer.
    pub analyzer_id: Uuid,
    /// Which.
    pub conversation_id: ConversationId,
    /// Which version; the newest when `None`.
    pub version: Option<u32>,
    /// What was asked in vain.
    pub attempts: u32,
    /// What was heard when it was taken.
    changes: i64,
    /// How often it was taken.
    claims: i64,
}

/// What becomes of a conversation that a worker had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// It was asked about, or need not be.
    Succeeded,
    /// It was given up.
    Failed,
    /// It is asked about again.
    Again {
        /// Not before.
        due_at: Timestamp,
        /// What was asked in vain by now.
        attempts: u32,
    },
}

/// Keeps what waits.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Queues conversations, each for an analyzer. What waits already is not asked about twice: it goes on at the higher
    /// priority and of the higher version. What somebody has at this moment is asked about once more.
    async fn enqueue(
        &self,
        organization: &OrganizationId,
        conversations: &[(Uuid, ConversationId)],
        queued: Queued,
    ) -> Result<(), StoreError>;

    /// Takes what is due, until `until`, by priority, the longest due first. No two callers get the same.
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Claimed>, StoreError>;

    /// Writes down what became of one that was taken, together with its run. `false`, and nothing is written, when somebody else
    /// has taken it since, or it is gone.
    async fn finish(&self, claimed: &Claimed, run: Option<&Run>, done: Done) -> Result<bool, StoreError>;

    /// Lets whatever of the organization is due wait.
    async fn postpone(&self, organization: &OrganizationId, now: Timestamp, until: Timestamp) -> Result<u64, StoreError>;

    /// Returns when the next is due.
    #[cfg(test)]
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;
}

/// What is being worked on keeps its lease, which nobody but its holder ends early.
const ENQUEUE: &str = "with {k} insert into analyzer_queue ( \
         organization_id, analyzer_id, conversation_id, priority, due_at, attempts, changes, claims, version, backfill_id) \
     select $1, k.analyzer_id, k.conversation_id, $2, $3, 0, 0, 0, $4, $5 from k where true \
     on conflict (organization_id, analyzer_id, conversation_id) do update set \
         priority = case when excluded.priority < analyzer_queue.priority \
             then excluded.priority else analyzer_queue.priority end, \
         changes = analyzer_queue.changes + 1, \
         version = case when analyzer_queue.version is null or excluded.version is null then null \
             when excluded.version > analyzer_queue.version then excluded.version else analyzer_queue.version end, \
         backfill_id = coalesce(excluded.backfill_id, analyzer_queue.backfill_id)";

/// What a statement about one that was taken is told first: which it is, and who has it.
fn held(claimed: &Claimed) -> [Value<'_>; 4] {
    let [organization, analyzer] = key(&claimed.organization_id, claimed.analyzer_id);
    [organization, analyzer, Value::Id(claimed.conversation_id.0), Value::Int(claimed.claims)]
}

const IS_HELD: &str = "organization_id = $1 and analyzer_id = $2 and conversation_id = $3 and claims = $4";

/// Ends the work on one; `None` when it is not the caller's any more. Returns whether a back-fill is told, and which.
async fn leave<E: Engine>(
    connection: &mut E::Connection,
    claimed: &Claimed,
    done: Done,
) -> Result<Option<Option<Uuid>>, StoreError> {
    let [organization, analyzer, conversation, claims] = held(claimed);
    let sql = format!("select changes, backfill_id from analyzer_queue where {IS_HELD} {}", E::FOR_UPDATE);
    let rows = E::query(connection, &sql, &[organization, analyzer, conversation, claims], None).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut columns = Columns::<E>::of(row);
    let (changes, backfill) = (columns.int()?, columns.opt_id()?);
    if let Done::Again { due_at, attempts } = done {
        let sql = format!("update analyzer_queue set due_at = $5, attempts = $6 where {IS_HELD}");
        let values = [organization, analyzer, conversation, claims, Value::Int(due_at.as_millis()), Value::Int(attempts.into())];
        E::execute(connection, &sql, &values, None).await?;
        return Ok(Some(None));
    }
    if changes == claimed.changes {
        let sql = format!("delete from analyzer_queue where {IS_HELD}");
        E::execute(connection, &sql, &[organization, analyzer, conversation, claims], None).await?;
    } else {
        // Something was heard meanwhile: it is due at once.
        let sql = format!("update analyzer_queue set due_at = 0, attempts = 0, backfill_id = null where {IS_HELD}");
        E::execute(connection, &sql, &[organization, analyzer, conversation, claims], None).await?;
    }
    Ok(Some(backfill))
}

#[async_trait]
impl<E: Engine> Queue for SqlStore<E> {
    async fn enqueue(
        &self,
        organization: &OrganizationId,
        conversations: &[(Uuid, ConversationId)],
        queued: Queued,
    ) -> Result<(), StoreError> {
        if conversations.is_empty() {
            return Ok(());
        }
        let rows = Rows::new(conversations.len())
            .id("analyzer_id", conversations.iter().map(|(analyzer, _)| *analyzer))
            .id("conversation_id", conversations.iter().map(|(_, conversation)| conversation.0));
        let values = [
            Value::Text(organization.as_str()),
            Value::Int(queued.priority.number()),
            Value::Int(queued.due_at.as_millis()),
            Value::OptInt(queued.version.map(i64::from)),
            Value::OptId(queued.backfill_id),
        ];
        let mut tx = E::begin(&self.writer).await?;
        E::execute(&mut tx, ENQUEUE, &values, Some(&rows)).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Claimed>, StoreError> {
        // One priority after the other, so that what waits for another day is not walked through.
        let sql = format!(
            "with due as materialized ( \
                 select organization_id, analyzer_id, conversation_id from analyzer_queue \
                 where priority = $4 and due_at <= $1 order by due_at limit $3 {}) \
             update analyzer_queue set due_at = $2, claims = analyzer_queue.claims + 1 from due \
             where analyzer_queue.organization_id = due.organization_id and analyzer_queue.analyzer_id = due.analyzer_id \
                 and analyzer_queue.conversation_id = due.conversation_id \
             returning analyzer_queue.organization_id, analyzer_queue.analyzer_id, analyzer_queue.conversation_id, \
                 analyzer_queue.version, analyzer_queue.attempts, analyzer_queue.changes, analyzer_queue.claims",
            E::SKIP_LOCKED
        );
        let mut connection = self.writer.acquire().await?;
        let mut claimed: Vec<Claimed> = Vec::new();
        for priority in [Priority::Live, Priority::Backfill] {
            let room = i64::from(limit).saturating_sub(i64::try_from(claimed.len()).unwrap_or(i64::MAX));
            let values = [
                Value::Int(now.as_millis()),
                Value::Int(until.as_millis()),
                Value::Int(room.max(0)),
                Value::Int(priority.number()),
            ];
            for row in &E::query(&mut connection, &sql, &values, None).await? {
                let mut columns = Columns::<E>::of(row);
                claimed.push(Claimed {
                    organization_id: organization_of(&columns.text()?)?,
                    analyzer_id: columns.id()?,
                    conversation_id: ConversationId(columns.id()?),
                    version: columns.opt_int()?.map(version_of),
                    attempts: version_of(columns.int()?),
                    changes: columns.int()?,
                    claims: columns.int()?,
                });
            }
        }
        Ok(claimed)
    }

    async fn finish(&self, claimed: &Claimed, run: Option<&Run>, done: Done) -> Result<bool, StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        let Some(backfill) = leave::<E>(&mut tx, claimed, done).await? else { return Ok(false) };
        if let Some(run) = run {
            insert::<E>(&mut tx, run).await?;
        }
        if let Some(backfill) = backfill {
            let sql = "update analyzer_backfills set done = done + 1, failed = failed + $3 \
                 where organization_id = $1 and backfill_id = $2";
            let [organization, id] = key(&claimed.organization_id, backfill);
            E::execute(&mut tx, sql, &[organization, id, Value::Int((done == Done::Failed).into())], None).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn postpone(&self, organization: &OrganizationId, now: Timestamp, until: Timestamp) -> Result<u64, StoreError> {
        let sql = "update analyzer_queue set due_at = $3 where organization_id = $1 and due_at <= $2";
        let values = [Value::Text(organization.as_str()), Value::Int(now.as_millis()), Value::Int(until.as_millis())];
        let mut connection = self.writer.acquire().await?;
        Ok(E::execute(&mut connection, sql, &values, None).await?)
    }

    #[cfg(test)]
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, "select min(due_at) from analyzer_queue", &[], None).await?;
        Ok(rows.first().map_or(Ok(None), |row| Columns::<E>::of(row).opt_int())?.map(time_of))
    }
}
