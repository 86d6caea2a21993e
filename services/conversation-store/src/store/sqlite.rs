//! The store in a SQLite file: one writer, several readers.

use colloquy_storage::{Sqlite, StoreError};
use sqlx::Row;

use super::SqlStore;
use super::history::Walks;

/// Returns the store in the file.
pub(super) async fn store(sqlite: &Sqlite) -> Result<SqlStore<sqlx::Sqlite>, StoreError> {
    let row = sqlx::query("select version from view_state where id = 1").fetch_one(sqlite.writer()).await?;
    Ok(SqlStore {
        writer: sqlite.writer().clone(),
        readers: sqlite.readers().clone(),
        walks: Walks::in_this_process(row.try_get(0)?),
    })
}
