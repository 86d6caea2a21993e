//! Organizations and keys in PostgreSQL.

use colloquy_storage::{PgPool, StoreError};
use colloquy_types::{KeyId, OrganizationId, Timestamp};
use sqlx::AssertSqlSafe;

use super::queries::keys_over;
use super::{KEY_COLUMNS, KeyPage, KeyRow, Keys, key_from_row, page_from_rows};
use crate::{ApiKey, NewApiKey};

pub(super) struct PostgresKeys(pub(super) PgPool);

impl PostgresKeys {
    fn reader(&self) -> &PgPool {
        &self.0
    }

    fn writer(&self) -> &PgPool {
        &self.0
    }
}

keys_over!(PostgresKeys);
