//! The store on SQLite.

use colloquy_storage::Sqlite;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteRow;

/// Sources and quarantine in one SQLite file.
pub(super) struct SqliteStore(pub(super) Sqlite);

impl SqliteStore {
    fn readers(&self) -> &SqlitePool {
        self.0.readers()
    }

    fn writer(&self) -> &SqlitePool {
        self.0.writer()
    }
}

super::queries::implement_store!(SqliteStore, SqliteRow);
