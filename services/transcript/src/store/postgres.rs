//! The store on PostgreSQL.

use async_trait::async_trait;
use colloquy_storage::{PgPool, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position};
use futures::TryStreamExt;
use sqlx::Row as _;
use uuid::Uuid;

use super::{Conversation, Gathering, READER, SetAside, TranscriptStore, many, to_bigint};
use crate::kept::{Kept, Row};

pub(super) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl TranscriptStore for PostgresStore {
    async fn position(&self) -> Result<Position, StoreError> {
        let row = sqlx::query("select position from reader_positions where reader = $1")
            .bind(READER)
            .fetch_optional(&self.pool)
            .await?;
        let position: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
        Ok(Position(position as u64))
    }

    async fn apply(&self, rows: &[Row], through: Position) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        if !rows.is_empty() {
            let organizations: Vec<&str> = rows.iter().map(|row| row.organization_id.as_str()).collect();
            let conversations: Vec<Uuid> = rows.iter().map(|row| row.conversation_id.0).collect();
            let lanes: Vec<Uuid> = rows.iter().map(|row| row.kept.lane).collect();
            let ranks: Vec<&[u8]> = rows.iter().map(|row| row.kept.rank.as_slice()).collect();
            let data: Vec<&[u8]> = rows.iter().map(|row| row.kept.data.as_slice()).collect();
            // Rows come in the key's order, so two writers lock them in one order and cannot wait for each other.
            sqlx::query(
                "insert into transcript_events (organization_id, conversation_id, lane, rank, data) \
                 select * from unnest($1::text[], $2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[]) \
                 on conflict (organization_id, conversation_id, lane) \
                 do update set rank = excluded.rank, data = excluded.data \
                 where (excluded.rank, excluded.data) > (transcript_events.rank, transcript_events.data)",
            )
            .bind(organizations)
            .bind(conversations)
            .bind(lanes)
            .bind(ranks)
            .bind(data)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "insert into reader_positions (reader, position) values ($1, $2) \
             on conflict (reader) do update set position = greatest(reader_positions.position, excluded.position)",
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
             where organization_id = $1 and conversation_id = $2",
        )
        .bind(organization_id.as_str())
        .bind(conversation_id.0)
        .fetch(&self.pool);
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
        let mut connection = self.pool.acquire().await?;
        many::fitting::<sqlx::Postgres>(&mut connection, organization_id, conversation_ids, bytes).await
    }

    async fn set_aside(&self, record: &SetAside) -> Result<(), StoreError> {
        sqlx::query(
            "insert into set_aside (organization_id, record_id, sequence, reason, set_aside_at) values ($1, $2, $3, $4, $5) \
             on conflict (organization_id, record_id) do nothing",
        )
        .bind(record.organization_id.as_str())
        .bind(record.record_id.0)
        .bind(to_bigint(record.sequence))
        .bind(&record.reason)
        .bind(record.at.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use colloquy_storage::{Database, DatabaseUrl, Durability};

    use super::*;
    use crate::store::conformance::{Harness, transcript_store_suite};

    struct OnPostgres(PostgresStore);

    #[async_trait]
    impl Harness for OnPostgres {
        async fn start() -> Option<Self> {
            let url = DatabaseUrl::Postgres(colloquy_testkit::postgres::database_url().await?);
            let database = Database::open(&url, "transcript", Durability::Lazy, &crate::store::migrations()).await.unwrap();
            let Database::Postgres(pool) = database else { panic!("not PostgreSQL") };
            Some(Self(PostgresStore::new(pool)))
        }

        fn store(&self) -> &dyn TranscriptStore {
            &self.0
        }

        async fn reasons_set_aside(&self) -> Vec<String> {
            let query = sqlx::query_scalar("select reason from set_aside order by record_id");
            query.fetch_all(&self.0.pool).await.unwrap()
        }
    }

    transcript_store_suite!(OnPostgres);
}
