//! The store in a PostgreSQL schema, written and read by any number of processes.

use sqlx::{PgPool, Postgres};

use super::SqlStore;
use super::history::Walks;

/// Returns the store in the schema.
pub(super) fn store(pool: &PgPool) -> SqlStore<Postgres> {
    SqlStore { writer: pool.clone(), readers: pool.clone(), walks: Walks::in_the_database() }
}
