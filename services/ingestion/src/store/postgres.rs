//! The store on PostgreSQL.

use sqlx::PgPool;
use sqlx::postgres::PgRow;

/// Sources and quarantine in one PostgreSQL schema.
pub(super) struct PostgresStore(pub(super) PgPool);

impl PostgresStore {
    const fn readers(&self) -> &PgPool {
        &self.0
    }

    const fn writer(&self) -> &PgPool {
        &self.0
    }
}

super::queries::implement_store!(PostgresStore, PgRow);
