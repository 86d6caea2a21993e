//! Back-fills: what was asked for, how far the list of conversations has come, and how many have been run.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

use super::{SqlStore, count_of, key, organization_of, time_of, to_int, version_of};

/// Many runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Backfill {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id.
    pub backfill_id: Uuid,
    /// Of which analyzer.
    pub analyzer_id: Uuid,
    /// Of which version.
    pub version: u32,
    /// Which conversations: a `ConversationFilter`, encoded.
    pub filter: Vec<u8>,
    /// How many conversations match.
    pub conversations: u64,
    /// How many of them had a run of this version already.
    pub already_done: u64,
    /// About how many tokens it takes.
    pub estimated_tokens: u64,
    /// About how many days it takes.
    pub estimated_days: f64,
    /// When it began.
    pub created_at: Timestamp,
    /// Where the list of conversations goes on; `None` when all of them are queued.
    pub place: Option<String>,
}

/// How far a back-fill is.
#[derive(Clone, PartialEq, Debug)]
pub struct BackfillState {
    /// The back-fill.
    pub backfill: Backfill,
    /// How many have been run.
    pub done: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Whether nothing of it is left.
    pub is_finished: bool,
}

/// Keeps back-fills.
#[async_trait]
pub trait Backfills: Send + Sync + 'static {
    /// Keeps a new back-fill. `false` when the organization has `limit` that are not through their lists yet.
    async fn create_backfill(&self, backfill: &Backfill, limit: u32) -> Result<bool, StoreError>;

    /// Returns a back-fill and how far it is.
    async fn backfill(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<BackfillState>, StoreError>;

    /// Takes a back-fill whose list somebody has to go on with, until `until`.
    async fn claim_backfill(&self, now: Timestamp, until: Timestamp) -> Result<Option<Backfill>, StoreError>;

    /// Notes how far a list has come, and holds it on; `None` when it is at its end.
    async fn advance_backfill(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        place: Option<&str>,
        until: Timestamp,
    ) -> Result<(), StoreError>;
}

const NAMES: [&str; 11] = [
    "organization_id",
    "backfill_id",
    "analyzer_id",
    "version",
    "filter",
    "conversations",
    "already_done",
    "estimated_tokens",
    "estimated_days",
    "created_at",
    "place",
];

fn names(table: &str) -> String {
    NAMES.map(|name| format!("{table}.{name}")).join(", ")
}

fn read<E: Engine>(columns: &mut Columns<'_, E>) -> Result<Backfill, StoreError> {
    Ok(Backfill {
        organization_id: organization_of(&columns.text()?)?,
        backfill_id: columns.id()?,
        analyzer_id: columns.id()?,
        version: version_of(columns.int()?),
        filter: columns.bytes()?,
        conversations: count_of(columns.int()?),
        already_done: count_of(columns.int()?),
        estimated_tokens: count_of(columns.int()?),
        estimated_days: columns.real()?,
        created_at: time_of(columns.int()?),
        place: columns.opt_text()?,
    })
}

#[async_trait]
impl<E: Engine> Backfills for SqlStore<E> {
    async fn create_backfill(&self, backfill: &Backfill, limit: u32) -> Result<bool, StoreError> {
        let [organization, id] = key(&backfill.organization_id, backfill.backfill_id);
        let values = [
            organization,
            id,
            Value::Id(backfill.analyzer_id),
            Value::Int(backfill.version.into()),
            Value::Bytes(&backfill.filter),
            Value::Int(to_int(backfill.conversations)),
            Value::Int(to_int(backfill.already_done)),
            Value::Int(to_int(backfill.estimated_tokens)),
            Value::Real(backfill.estimated_days),
            Value::Int(backfill.created_at.as_millis()),
            Value::OptText(backfill.place.as_deref()),
            Value::Int(limit.into()),
        ];
        let sql = format!(
            "insert into analyzer_backfills ({}, done, failed, due_at) \
             select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0 \
             where (select count(*) from analyzer_backfills where organization_id = $1 and place is not null) < $12",
            NAMES.join(", ")
        );
        let mut connection = self.writer.acquire().await?;
        Ok(E::execute(&mut connection, &sql, &values, None).await? > 0)
    }

    async fn backfill(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<BackfillState>, StoreError> {
        let sql = format!(
            "select {}, b.done, b.failed, exists ( \
                 select 1 from analyzer_queue q where q.organization_id = $1 and q.backfill_id = $2) \
             from analyzer_backfills b where b.organization_id = $1 and b.backfill_id = $2",
            names("b")
        );
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &key(organization, id), None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut columns = Columns::<E>::of(row);
        let backfill = read(&mut columns)?;
        let (done, failed, is_queued) = (count_of(columns.int()?), count_of(columns.int()?), columns.bool()?);
        let is_finished = backfill.place.is_none() && !is_queued;
        Ok(Some(BackfillState { backfill, done, failed, is_finished }))
    }

    async fn claim_backfill(&self, now: Timestamp, until: Timestamp) -> Result<Option<Backfill>, StoreError> {
        let sql = format!(
            "with due as materialized ( \
                 select organization_id, backfill_id from analyzer_backfills \
                 where place is not null and due_at <= $1 order by due_at limit 1 {}) \
             update analyzer_backfills set due_at = $2 from due \
             where analyzer_backfills.organization_id = due.organization_id and analyzer_backfills.backfill_id = due.backfill_id \
             returning {}",
            E::SKIP_LOCKED,
            names("analyzer_backfills")
        );
        let values = [Value::Int(now.as_millis()), Value::Int(until.as_millis())];
        let mut connection = self.writer.acquire().await?;
        let rows = E::query(&mut connection, &sql, &values, None).await?;
        rows.first().map(|row| read(&mut Columns::<E>::of(row))).transpose()
    }

    async fn advance_backfill(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        place: Option<&str>,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let [organization, id] = key(organization, id);
        let sql = "update analyzer_backfills set place = $3, due_at = $4 \
             where organization_id = $1 and backfill_id = $2 and place is not null";
        let values = [organization, id, Value::OptText(place), Value::Int(until.as_millis())];
        let mut connection = self.writer.acquire().await?;
        E::execute(&mut connection, sql, &values, None).await?;
        Ok(())
    }
}
