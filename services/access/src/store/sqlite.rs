//! Organizations and keys in SQLite.

use colloquy_storage::{Sqlite, StoreError};
use colloquy_types::{KeyId, OrganizationId, Timestamp};
use sqlx::AssertSqlSafe;
use sqlx::SqlitePool;

use super::queries::keys_over;
use super::{KEY_COLUMNS, KeyPage, KeyRow, Keys, key_from_row, page_from_rows};
use crate::{ApiKey, NewApiKey};

pub(super) struct SqliteKeys(pub(super) Sqlite);

impl SqliteKeys {
    fn reader(&self) -> &SqlitePool {
        self.0.readers()
    }

    fn writer(&self) -> &SqlitePool {
        self.0.writer()
    }
}

keys_over!(SqliteKeys);
