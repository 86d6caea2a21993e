//! The store on PostgreSQL.

use async_trait::async_trait;
use colloquy_events::CommandKind;
use colloquy_storage::{PgPool, StoreError};
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, SourceId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::engine::{command_columns, conversation_columns, implement, lease_columns, merge_signs};
use super::{ControlStore, Decide, Given, Key, READER, SetAside, corrupt, rounds, to_bigint};
use crate::command::{Command, Parts, State};
use crate::conversation::{Conversation, Sign};
use crate::lease::Lease;
use crate::scene::{Change, Find, Hold, Note, Scene};

pub(super) struct PostgresStore {
    readers: PgPool,
    writer: PgPool,
}

impl PostgresStore {
    pub(super) fn new(pool: &PgPool) -> Self {
        Self { readers: pool.clone(), writer: pool.clone() }
    }
}

implement!(
    PostgresStore,
    row: PgRow,
    connection: PgConnection,
    begin: "begin",
    lock: " for update",
    skip: " for update of m skip locked",
    elements: "jsonb_array_elements_text(cast($3 as jsonb))",
    apply: merge,
);

async fn merge(connection: &mut PgConnection, signs: &[&Sign]) -> Result<(), StoreError> {
    let said: Vec<&Conversation> = signs.iter().map(|sign| &sign.conversation).collect();
    // Rows come in the key's order, so two writers lock them in one order and cannot wait for each other.
    sqlx::query(concat!(
        "insert into conversations as c (organization_id, conversation_id, provider, external_id, source_id, agent_id, channel, \
         control_url, ended, inferred_end, alive, numbered, updated_at) \
         select organization_id, conversation_id, provider, external_id, source_id, agent_id, channel, control_url, ended, \
         inferred_end, alive, 0, updated_at \
         from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], \
         $9::boolean[], $10::bigint[], $11::bigint[], $12::bigint[]) as said (organization_id, conversation_id, provider, \
         external_id, source_id, agent_id, channel, control_url, ended, inferred_end, alive, updated_at)",
        merge_signs!()
    ))
    .bind(said.iter().map(|said| said.organization_id.as_str()).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.conversation_id.0).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.provider.as_str()).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.external_id.as_str()).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.source_id.map(|source| source.0)).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.agent_id.as_deref()).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.channel.as_deref()).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.control_url.as_deref().filter(|_| !said.ended)).collect::<Vec<_>>())
    .bind(said.iter().map(|said| said.ended).collect::<Vec<_>>())
    .bind(signs.iter().map(|sign| to_bigint(sign.inferred_end.0)).collect::<Vec<_>>())
    .bind(signs.iter().map(|sign| to_bigint(sign.alive.0)).collect::<Vec<_>>())
    .bind(signs.iter().map(|sign| sign.at.as_millis()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use colloquy_storage::{Database, DatabaseUrl, Durability};

    use super::*;
    use crate::store::conformance::{Harness, control_store_suite};

    struct OnPostgres(PostgresStore);

    #[async_trait]
    impl Harness for OnPostgres {
        async fn start() -> Option<Self> {
            let url = DatabaseUrl::Postgres(colloquy_testkit::postgres::database_url().await?);
            let database = Database::open(&url, "control", Durability::Full, &crate::store::migrations()).await.unwrap();
            let Database::Postgres(pool) = database else { panic!("not PostgreSQL") };
            Some(Self(PostgresStore::new(&pool)))
        }

        fn store(&self) -> &dyn ControlStore {
            &self.0
        }

        async fn reasons_set_aside(&self) -> Vec<String> {
            let query = sqlx::query_scalar("select reason from set_aside order by record_id");
            query.fetch_all(&self.0.readers).await.unwrap()
        }
    }

    control_store_suite!(OnPostgres);
}
