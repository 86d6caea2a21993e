//! Agents. How many conversations they led is counted; when they were seen and what they are called is read from those
//! conversations, whose indexes know the first and the last at once.

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use sqlx::QueryBuilder;

use super::engine::{Columns, Engine, Value};
use super::sql::SqlStore;
use super::{AgentSeen, AgentVersionSeen};
use crate::convert::record;
use crate::fold::fold;
use crate::stored_event;
use crate::turn_events::Named;

/// How many of an agent's last conversations are asked what they know of it.
const LAST_CONVERSATIONS: i64 = 5;

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_agents(
        &self,
        organization: &OrganizationId,
        agent_id: Option<&str>,
        after: Option<(String, String)>,
        limit: usize,
    ) -> Result<Vec<AgentSeen>, StoreError> {
        let mut builder = QueryBuilder::<E>::new(
            "select a.agent_id, a.provider, a.conversation_count,
                 (select c.created_at from conversations c
                  where c.organization_id = a.organization_id and c.agent_id = a.agent_id and c.provider = a.provider
                  order by c.created_at limit 1),
                 (select c.created_at from conversations c
                  where c.organization_id = a.organization_id and c.agent_id = a.agent_id and c.provider = a.provider
                  order by c.created_at desc limit 1)
             from agents a
             where a.conversation_count > 0 and a.organization_id = ",
        );
        E::bind(&mut builder, Value::Text(organization.as_str()));
        if let Some(agent_id) = agent_id {
            builder.push(" and a.agent_id = ");
            E::bind(&mut builder, Value::Text(agent_id));
        }
        if let Some((agent_id, provider)) = &after {
            builder.push(" and a.agent_id >= ");
            E::bind(&mut builder, Value::Text(agent_id));
            builder.push(" and (a.agent_id > ");
            E::bind(&mut builder, Value::Text(agent_id));
            builder.push(" or a.provider > ");
            E::bind(&mut builder, Value::Text(provider));
            builder.push(")");
        }
        builder.push(" order by a.agent_id, a.provider limit ");
        E::bind(&mut builder, Value::Int(limit as i64));
        let mut connection = self.readers.acquire().await?;
        let mut agents = Vec::new();
        for row in E::fetch(&mut connection, builder).await? {
            let mut columns = Columns::<E>::of(&row);
            let (agent_id, provider, count) = (columns.text()?, columns.text()?, columns.int()?);
            let (first, last) = (columns.opt_int()?, columns.opt_int()?);
            agents.push(AgentSeen {
                name: self.agent_name(&mut connection, organization, &agent_id, &provider).await?,
                agent_id,
                provider,
                first_seen_at: instant(first),
                last_seen_at: instant(last),
                conversation_count: count.unsigned_abs(),
                versions: Vec::new(),
            });
        }
        Ok(agents)
    }

    /// Returns the agent's name in the last of its conversations that has one, of the few last ones.
    async fn agent_name(
        &self,
        connection: &mut E::Connection,
        organization: &OrganizationId,
        agent_id: &str,
        provider: &str,
    ) -> Result<Option<String>, StoreError> {
        let mut builder =
            QueryBuilder::<E>::new("select c.conversation_id, c.record from conversations c where c.organization_id = ");
        E::bind(&mut builder, Value::Text(organization.as_str()));
        builder.push(" and c.agent_id = ");
        E::bind(&mut builder, Value::Text(agent_id));
        builder.push(" and c.provider = ");
        E::bind(&mut builder, Value::Text(provider));
        builder.push(" order by c.created_at desc, c.conversation_id limit ");
        E::bind(&mut builder, Value::Int(LAST_CONVERSATIONS));
        for row in E::fetch(connection, builder).await? {
            let mut columns = Columns::<E>::of(&row);
            let (id, bytes) = (ConversationId(columns.id()?), columns.bytes()?);
            let record = record::decode(&bytes, organization, id)?;
            if record.agent_name.is_some() {
                return Ok(record.agent_name);
            }
        }
        Ok(None)
    }

    pub(super) async fn read_versions(
        &self,
        organization: &OrganizationId,
        agent: &AgentSeen,
    ) -> Result<Vec<AgentVersionSeen>, StoreError> {
        let mut builder = QueryBuilder::<E>::new(
            "select v.agent_version_id,
                 (select min(c.created_at) from conversations c
                  where c.organization_id = v.organization_id and c.agent_id = v.agent_id
                      and c.agent_version_id = v.agent_version_id),
                 (select max(c.created_at) from conversations c
                  where c.organization_id = v.organization_id and c.agent_id = v.agent_id
                      and c.agent_version_id = v.agent_version_id)
             from agent_versions v
             where v.conversation_count > 0 and v.organization_id = ",
        );
        E::bind(&mut builder, Value::Text(organization.as_str()));
        builder.push(" and v.agent_id = ");
        E::bind(&mut builder, Value::Text(&agent.agent_id));
        builder.push(" and v.provider = ");
        E::bind(&mut builder, Value::Text(&agent.provider));
        let mut connection = self.readers.acquire().await?;
        let mut versions = Vec::new();
        for row in E::fetch(&mut connection, builder).await? {
            let mut columns = Columns::<E>::of(&row);
            let agent_version_id = columns.text()?;
            versions.push(AgentVersionSeen {
                snapshot_json: self.version_snapshot(&mut connection, organization, agent, &agent_version_id).await?,
                agent_version_id,
                first_seen_at: instant(columns.opt_int()?),
                last_seen_at: instant(columns.opt_int()?),
            });
        }
        versions.sort_by(|a, b| (b.first_seen_at, &b.agent_version_id).cmp(&(a.first_seen_at, &a.agent_version_id)));
        Ok(versions)
    }

    /// Returns the version's settings as the last of its conversations that brought them did, of the few last ones; empty when
    /// none did.
    async fn version_snapshot(
        &self,
        connection: &mut E::Connection,
        organization: &OrganizationId,
        agent: &AgentSeen,
        agent_version_id: &str,
    ) -> Result<String, StoreError> {
        let mut builder =
            QueryBuilder::<E>::new("select c.conversation_id, c.external_id from conversations c where c.organization_id = ");
        E::bind(&mut builder, Value::Text(organization.as_str()));
        builder.push(" and c.agent_id = ");
        E::bind(&mut builder, Value::Text(&agent.agent_id));
        builder.push(" and c.agent_version_id = ");
        E::bind(&mut builder, Value::Text(agent_version_id));
        builder.push(" and c.provider = ");
        E::bind(&mut builder, Value::Text(&agent.provider));
        builder.push(" order by c.created_at desc, c.conversation_id limit ");
        E::bind(&mut builder, Value::Int(LAST_CONVERSATIONS));
        let provider = agent.provider.parse().map_err(|_| StoreError::Corrupt("a provider".to_owned()))?;
        for row in E::fetch(connection, builder).await? {
            let mut columns = Columns::<E>::of(&row);
            let conversation_id = ConversationId(columns.id()?);
            let external_id = String::from_utf8_lossy(&columns.bytes()?).into_owned();
            let named = Named { conversation_id, provider, external_id };
            let mut builder = QueryBuilder::<E>::new("select event_id, event from events where organization_id = ");
            E::bind(&mut builder, Value::Text(organization.as_str()));
            builder.push(" and conversation_id = ");
            E::bind(&mut builder, Value::Id(conversation_id.0));
            let mut events = Vec::new();
            for row in E::fetch(connection, builder).await? {
                let mut columns = Columns::<E>::of(&row);
                let event_id = columns.id()?;
                events.extend(stored_event::decode(&columns.bytes()?, event_id, &named)?);
            }
            if let Some(snapshot) = fold(&events).and_then(|conversation| conversation.agent.version) {
                return Ok(serde_json::to_string(&snapshot).unwrap_or_default());
            }
        }
        Ok(String::new())
    }
}

fn instant(millis: Option<i64>) -> Timestamp {
    millis.and_then(|millis| Timestamp::from_millis(millis).ok()).unwrap_or_default()
}
