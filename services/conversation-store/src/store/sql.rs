//! The store over either engine.

use async_trait::async_trait;
use colloquy_events::Record;
use colloquy_proto::log::v1 as log;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position, Provider, Timestamp};
use prost::Message;
use sqlx::{Pool, QueryBuilder};
use uuid::Uuid;

use super::engine::{Columns, Engine, Value, statement};
use super::history::Walks;
use super::{AgentSeen, Candidates, ConversationStore, Kept, Outdated, Page, Received, SetAside, Stuck};
use crate::compression;
use crate::list::{Cursor, Query};
use crate::stored_event;
use crate::turn_events::{Named, TurnEvents};

/// The store in a database.
pub(crate) struct SqlStore<E: Engine> {
    pub(super) writer: Pool<E>,
    pub(super) readers: Pool<E>,
    pub(super) walks: Walks,
}

fn by_id<E: Engine>(select: &str, organization: &OrganizationId, id: ConversationId) -> QueryBuilder<E> {
    let mut builder = QueryBuilder::new(select);
    builder.push(" where organization_id = ");
    E::bind(&mut builder, Value::Text(organization.as_str()));
    builder.push(" and conversation_id = ");
    E::bind(&mut builder, Value::Id(id.0));
    builder
}

pub(super) fn provider(text: &str) -> Result<Provider, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("a provider".to_owned()))
}

#[async_trait]
impl<E: Engine> ConversationStore for SqlStore<E> {
    async fn apply(&self, records: &[Record], through: Position, now: Timestamp) -> Result<(), StoreError> {
        self.apply_batch(records, through, now).await
    }

    async fn position(&self) -> Result<Position, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let rows = E::fetch(&mut connection, QueryBuilder::new("select position from view_state where id = 1")).await?;
        let position = Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?).int()?;
        Ok(Position(position.unsigned_abs()))
    }

    async fn get(&self, organization: &OrganizationId, id: ConversationId) -> Result<Option<Kept>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let rows = E::fetch(&mut connection, by_id("select record from conversations", organization, id)).await?;
        match rows.first() {
            Some(row) => Ok(Some(Kept { id, bytes: Columns::<E>::of(row).bytes()? })),
            None => Ok(None),
        }
    }

    async fn get_all(&self, organization: &OrganizationId, ids: &[ConversationId]) -> Result<Vec<Kept>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let mut builder = QueryBuilder::<E>::new("select conversation_id, record from conversations where organization_id = ");
        E::bind(&mut builder, Value::Text(organization.as_str()));
        builder.push(" and ");
        E::push_one_of(&mut builder, "conversation_id", &ids);
        let mut connection = self.readers.acquire().await?;
        let rows = E::fetch(&mut connection, builder).await?;
        let kept = |row| {
            let mut columns = Columns::<E>::of(row);
            Ok(Kept { id: ConversationId(columns.id()?), bytes: columns.bytes()? })
        };
        rows.iter().map(kept).collect()
    }

    async fn events(&self, organization: &OrganizationId, id: ConversationId) -> Result<Vec<Received>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let select = "select provider, external_id, turns from conversations";
        let rows = E::fetch(&mut connection, by_id(select, organization, id)).await?;
        let Some(row) = rows.first() else { return Ok(Vec::new()) };
        let mut columns = Columns::<E>::of(row);
        let provider = provider(&columns.text()?)?;
        let external_id = String::from_utf8_lossy(&columns.bytes()?).into_owned();
        let named = Named { conversation_id: id, provider, external_id };
        let turns = TurnEvents::decode(&columns.bytes()?, &named)?;
        let mut events: Vec<Received> = turns.into_events().map(|(event, received_at)| Received { event, received_at }).collect();
        let select = "select event_id, received_at, event from events";
        for row in E::fetch(&mut connection, by_id(select, organization, id)).await? {
            let mut columns = Columns::<E>::of(&row);
            let event_id = columns.id()?;
            let received_at = Timestamp::from_millis(columns.int()?).unwrap_or_default();
            let event = stored_event::decode(&columns.bytes()?, event_id, &named)?;
            events.extend(event.map(|event| Received { event, received_at }));
        }
        Ok(events)
    }

    async fn page(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        self.read_page(query, now).await
    }

    async fn candidates(&self, query: &Query, now: Timestamp) -> Result<Candidates, StoreError> {
        self.read_candidates(query, now).await
    }

    async fn records(&self, organization: &OrganizationId, places: &[Cursor]) -> Result<Vec<Kept>, StoreError> {
        self.read_records(organization, places).await
    }

    async fn agents(
        &self,
        organization: &OrganizationId,
        after: Option<(String, String)>,
        limit: usize,
    ) -> Result<Vec<AgentSeen>, StoreError> {
        self.read_agents(organization, None, after, limit).await
    }

    async fn agent(&self, organization: &OrganizationId, agent_id: &str) -> Result<Vec<AgentSeen>, StoreError> {
        let mut agents = self.read_agents(organization, Some(agent_id), None, Provider::ALL.len()).await?;
        for agent in &mut agents {
            agent.versions = self.read_versions(organization, agent).await?;
        }
        Ok(agents)
    }

    async fn stuck(
        &self,
        silent_since: Timestamp,
        messages_silent_since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Stuck>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let mut stuck = Vec::new();
        for (live, silent_since) in [(1, silent_since), (2, messages_silent_since)] {
            let mut builder = QueryBuilder::<E>::new(
                "select organization_id, conversation_id, provider, external_id, last_received_at from conversations
                 where live > 0 and live = ",
            );
            E::bind(&mut builder, Value::Int(live));
            builder.push(" and last_received_at < ");
            E::bind(&mut builder, Value::Int(silent_since.as_millis()));
            builder.push(" order by last_received_at limit ");
            E::bind(&mut builder, Value::Int(limit as i64));
            for row in E::fetch(&mut connection, builder).await? {
                let mut columns = Columns::<E>::of(&row);
                stuck.push(Stuck {
                    organization_id: columns.text()?.parse().map_err(|_| StoreError::Corrupt("an organization".to_owned()))?,
                    conversation_id: ConversationId(columns.id()?),
                    provider: provider(&columns.text()?)?,
                    external_id: String::from_utf8_lossy(&columns.bytes()?).into_owned(),
                    last_received_at: Timestamp::from_millis(columns.int()?).unwrap_or_default(),
                });
            }
        }
        Ok(stuck)
    }

    async fn forget_lists(&self, before: Timestamp) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        let mut builder = QueryBuilder::<E>::new("delete from conversation_list_history where changed_at < ");
        E::bind(&mut builder, Value::Int(before.as_millis()));
        E::execute(&mut connection, builder).await?;
        Ok(())
    }

    async fn renew(&self, after: Option<&Outdated>, limit: usize, now: Timestamp) -> Result<Option<Outdated>, StoreError> {
        self.renew_batch(after, limit, now).await
    }

    async fn set_aside(&self, record: &SetAside) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        let bytes = compression::pack(log::Record::from(record.record.clone()).encode_to_vec());
        let reason = record.reason.replace('\0', " ");
        let row = vec![
            Value::Text(record.record.organization_id.as_str()),
            Value::Id(record.record.record_id.0),
            Value::Int(i64::try_from(record.record.sequence).unwrap_or(i64::MAX)),
            Value::Int(record.at.as_millis()),
            Value::Text(&reason),
            Value::Bytes(&bytes),
        ];
        let head = "insert into set_aside (organization_id, record_id, sequence, set_aside_at, reason, record) values ";
        E::execute(&mut connection, statement(head, &[row], " on conflict do nothing")).await?;
        Ok(())
    }
}
