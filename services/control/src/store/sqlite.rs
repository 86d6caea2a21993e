//! The store on SQLite.

use std::sync::LazyLock;

use async_trait::async_trait;
use colloquy_events::CommandKind;
use colloquy_storage::{Sqlite, StoreError};
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, SourceId, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::engine::{command_columns, conversation_columns, implement, lease_columns, merge_signs};
use super::{ControlStore, Decide, Given, Key, READER, SetAside, corrupt, rounds, to_bigint};
use crate::command::{Command, Parts, State};
use crate::conversation::{Conversation, Sign};
use crate::lease::Lease;
use crate::scene::{Change, Find, Hold, Note, Scene};

pub(super) struct SqliteStore {
    readers: SqlitePool,
    writer: SqlitePool,
}

impl SqliteStore {
    pub(super) fn new(database: &Sqlite) -> Self {
        Self { readers: database.readers().clone(), writer: database.writer().clone() }
    }
}

// A transaction that writes is the only one there is, so nothing has to be locked.
implement!(
    SqliteStore,
    row: SqliteRow,
    connection: SqliteConnection,
    begin: "begin immediate",
    lock: "",
    skip: "",
    elements: "json_each($3)",
    apply: merge,
);

/// Rows are written this many a statement, then half as many, and so on: few statements, all of them prepared once.
const LARGEST_CHUNK: usize = 64;

/// `MERGES[n]` merges 2ⁿ rows.
static MERGES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let chunks = 0..=LARGEST_CHUNK.trailing_zeros();
    chunks.map(|power| merging(1 << power)).collect()
});

fn merging(rows: usize) -> String {
    format!(
        "insert into conversations as c (organization_id, conversation_id, provider, external_id, source_id, agent_id, channel, \
         control_url, ended, inferred_end, alive, numbered, updated_at) values {}{}",
        vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"; rows].join(", "),
        merge_signs!()
    )
}

async fn merge(connection: &mut SqliteConnection, signs: &[&Sign]) -> Result<(), StoreError> {
    let mut rest = signs;
    while !rest.is_empty() {
        let power = rest.len().min(LARGEST_CHUNK).ilog2();
        let (chunk, later) = rest.split_at(1 << power);
        let mut query = sqlx::query(MERGES[power as usize].as_str());
        for sign in chunk {
            let said = &sign.conversation;
            query = query
                .bind(said.organization_id.as_str())
                .bind(said.conversation_id.0)
                .bind(said.provider.as_str())
                .bind(said.external_id.as_str())
                .bind(said.source_id.map(|source| source.0))
                .bind(said.agent_id.as_deref())
                .bind(said.channel.as_deref())
                .bind(said.control_url.as_deref().filter(|_| !said.ended))
                .bind(said.ended)
                .bind(to_bigint(sign.inferred_end.0))
                .bind(to_bigint(sign.alive.0))
                .bind(sign.at.as_millis());
        }
        query.execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use colloquy_storage::Durability;

    use super::*;
    use crate::store::conformance::{Harness, control_store_suite};

    struct OnSqlite {
        store: SqliteStore,
        _folder: tempfile::TempDir,
    }

    #[async_trait]
    impl Harness for OnSqlite {
        async fn start() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control.sqlite");
            let database = Sqlite::open(&path, Durability::Full, crate::store::migrations().sqlite()).await.unwrap();
            Some(Self { store: SqliteStore::new(&database), _folder: folder })
        }

        fn store(&self) -> &dyn ControlStore {
            &self.store
        }

        async fn reasons_set_aside(&self) -> Vec<String> {
            let query = sqlx::query_scalar("select reason from set_aside order by record_id");
            query.fetch_all(&self.store.readers).await.unwrap()
        }
    }

    control_store_suite!(OnSqlite);
}
