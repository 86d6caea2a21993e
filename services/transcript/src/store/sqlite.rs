//! The store on SQLite.

use std::sync::LazyLock;

use async_trait::async_trait;
use colloquy_storage::{Sqlite, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position};
use futures::TryStreamExt;
use sqlx::Row as _;

use super::{Conversation, Gathering, READER, SetAside, TranscriptStore, many, to_bigint};
use crate::kept::{Kept, Row};

/// Rows are written this many a statement, then half as many, and so on: few statements, all of them prepared once.
const LARGEST_CHUNK: usize = 256;

/// `UPSERTS[n]` writes 2ⁿ rows.
static UPSERTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let chunks = 0..=LARGEST_CHUNK.trailing_zeros();
    chunks.map(|power| upsert(1 << power)).collect()
});

fn upsert(rows: usize) -> String {
    format!(
        "insert into transcript_events (organization_id, conversation_id, lane, rank, data) \
         values {} \
         on conflict (organization_id, conversation_id, lane) \
         do update set rank = excluded.rank, data = excluded.data \
         where (excluded.rank, excluded.data) > (transcript_events.rank, transcript_events.data)",
        vec!["(?, ?, ?, ?, ?)"; rows].join(", ")
    )
}

pub(super) struct SqliteStore {
    database: Sqlite,
}

impl SqliteStore {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }
}

#[async_trait]
impl TranscriptStore for SqliteStore {
    async fn position(&self) -> Result<Position, StoreError> {
        let row = sqlx::query("select position from reader_positions where reader = ?")
            .bind(READER)
            .fetch_optional(self.database.readers())
            .await?;
        let position: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
        Ok(Position(position as u64))
    }

    async fn apply(&self, rows: &[Row], through: Position) -> Result<(), StoreError> {
        let mut transaction = self.database.writer().begin_with("begin immediate").await?;
        let mut rest = rows;
        while !rest.is_empty() {
            let power = rest.len().min(LARGEST_CHUNK).ilog2();
            let (chunk, later) = rest.split_at(1 << power);
            let mut query = sqlx::query(UPSERTS[power as usize].as_str());
            for row in chunk {
                query = query
                    .bind(row.organization_id.as_str())
                    .bind(row.conversation_id.0)
                    .bind(row.kept.lane)
                    .bind(row.kept.rank.as_slice())
                    .bind(row.kept.data.as_slice());
            }
            query.execute(&mut *transaction).await?;
            rest = later;
        }
        sqlx::query(
            "insert into reader_positions (reader, position) values (?, ?) \
             on conflict (reader) do update set position = max(position, excluded.position)",
        )
        .bind(READER)
        .bind(to_bigint(through.0))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn conversation(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
    ) -> Result<Conversation, StoreError> {
        let mut rows = sqlx::query(
            "select lane, rank, data \
             from transcript_events \
             where organization_id = ? and conversation_id = ?",
        )
        .bind(organization_id.as_str())
        .bind(conversation_id.0)
        .fetch(self.database.readers());
        let mut gathering = Gathering::default();
        while let Some(row) = rows.try_next().await? {
            let kept = Kept { lane: row.try_get(0)?, rank: row.try_get(1)?, data: row.try_get(2)? };
            if !gathering.add(kept) {
                break;
            }
        }
        Ok(gathering.finish())
    }

    async fn conversations(
        &self,
        organization_id: &OrganizationId,
        conversation_ids: &[ConversationId],
        bytes: usize,
    ) -> Result<Vec<(ConversationId, Option<Vec<Kept>>)>, StoreError> {
        let mut connection = self.database.readers().acquire().await?;
        many::fitting::<sqlx::Sqlite>(&mut connection, organization_id, conversation_ids, bytes).await
    }

    async fn set_aside(&self, record: &SetAside) -> Result<(), StoreError> {
        sqlx::query(
            "insert into set_aside (organization_id, record_id, sequence, reason, set_aside_at) values (?, ?, ?, ?, ?) \
             on conflict (organization_id, record_id) do nothing",
        )
        .bind(record.organization_id.as_str())
        .bind(record.record_id.0)
        .bind(to_bigint(record.sequence))
        .bind(&record.reason)
        .bind(record.at.as_millis())
        .execute(self.database.writer())
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use colloquy_storage::Durability;

    use super::*;
    use crate::store::conformance::{Harness, transcript_store_suite};

    struct OnSqlite {
        store: SqliteStore,
        _folder: tempfile::TempDir,
    }

    #[async_trait]
    impl Harness for OnSqlite {
        async fn start() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("transcript.sqlite");
            let database = Sqlite::open(&path, Durability::Lazy, crate::store::migrations().sqlite()).await.unwrap();
            Some(Self { store: SqliteStore::new(database), _folder: folder })
        }

        fn store(&self) -> &dyn TranscriptStore {
            &self.store
        }

        async fn reasons_set_aside(&self) -> Vec<String> {
            let query = sqlx::query_scalar("select reason from set_aside order by record_id");
            query.fetch_all(self.store.database.readers()).await.unwrap()
        }
    }

    transcript_store_suite!(OnSqlite);

    #[tokio::test]
    async fn reading_a_conversation_is_one_range_of_the_key() {
        let harness = OnSqlite::start().await.unwrap();
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(
            "explain query plan \
             select lane, rank, data from transcript_events where organization_id = 'a' and conversation_id = x'00'",
        )
        .fetch_all(harness.store.database.readers())
        .await
        .unwrap();
        assert_eq!(plan.len(), 1);
        assert!(plan[0].3.starts_with("SEARCH transcript_events USING PRIMARY KEY"), "{}", plan[0].3);
    }
}
