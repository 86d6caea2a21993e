//! Where organizations and keys are kept.

mod postgres;
mod queries;
mod sqlite;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_storage::{Database, DatabaseUrl, Durability, Migrations, StoreError};
use colloquy_types::{KeyId, OrganizationId, Timestamp};

use crate::{ApiKey, NewApiKey};

/// The organization's keys, as far as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// Newest first.
    pub keys: Vec<ApiKey>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// The store of organizations and keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Makes an organization; one that exists stays as it is.
    async fn create_organization(&self, id: &OrganizationId, now: Timestamp) -> Result<(), StoreError>;
    /// Returns when an organization was made.
    async fn organization_created_at(&self, id: &OrganizationId) -> Result<Option<Timestamp>, StoreError>;
    /// Keeps a key of an existing organization.
    async fn insert_key(&self, key: NewApiKey) -> Result<ApiKey, StoreError>;
    /// Finds a key by its hash, whatever its state.
    async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError>;
    /// Lists an organization's keys that are older than `before`.
    async fn list_keys(&self, id: &OrganizationId, before: Option<KeyId>, limit: u32) -> Result<KeyPage, StoreError>;
    /// Ends a key; a key that has ended keeps its first end.
    async fn revoke_key(&self, id: &OrganizationId, key: KeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError>;
    /// Returns whether there is any key at all.
    async fn any_key(&self) -> Result<bool, StoreError>;
}

/// Opens the store and brings it up to date.
///
/// # Errors
/// When the database cannot be opened or migrated.
pub async fn open(url: &DatabaseUrl) -> anyhow::Result<Arc<dyn Keys>> {
    Ok(open_with_database(url).await?.1)
}

/// Does the same, and returns the database too.
pub(crate) async fn open_with_database(url: &DatabaseUrl) -> anyhow::Result<(Database, Arc<dyn Keys>)> {
    let migrations = Migrations::new(sqlx::migrate!("migrations/sqlite"), sqlx::migrate!("migrations/postgres"));
    let database = Database::open(url, "access", Durability::Full, &migrations).await?;
    let keys: Arc<dyn Keys> = match &database {
        Database::Sqlite(sqlite) => Arc::new(sqlite::SqliteKeys(sqlite.clone())),
        Database::Postgres(pool) => Arc::new(postgres::PostgresKeys(pool.clone())),
    };
    Ok((database, keys))
}

/// Every column of a key, in the order both engines read them.
const KEY_COLUMNS: &str = "organization_id, key_id, name, prefix, scopes, created_at, expires_at, revoked_at";

type KeyRow = (String, uuid::Uuid, String, String, String, i64, Option<i64>, Option<i64>);

fn key_from_row(row: KeyRow) -> Result<ApiKey, StoreError> {
    let (organization_id, key_id, name, prefix, scopes, created_at, expires_at, revoked_at) = row;
    let time = |millis: i64| Timestamp::from_millis(millis).map_err(|error| corrupt("time", error));
    Ok(ApiKey {
        key_id: KeyId(key_id),
        organization_id: organization_id.parse().map_err(|error| corrupt("organization_id", error))?,
        name,
        prefix,
        scopes: scopes.parse().map_err(|error| corrupt("scopes", error))?,
        created_at: time(created_at)?,
        expires_at: expires_at.map(time).transpose()?,
        revoked_at: revoked_at.map(time).transpose()?,
    })
}

fn corrupt(column: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("api_keys.{column}: {error}"))
}

fn page_from_rows(mut rows: Vec<KeyRow>, limit: u32) -> Result<KeyPage, StoreError> {
    let has_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    Ok(KeyPage { keys: rows.into_iter().map(key_from_row).collect::<Result<_, _>>()?, has_more })
}
