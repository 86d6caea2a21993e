//! Recordings in PostgreSQL.

use async_trait::async_trait;
use colloquy_events::Event;
use colloquy_storage::{PgPool, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};

use super::{CONVERSATION, EVENTS, Fetch, HOLD, KEPT, Kept, RELEASE, RecordingStore, events, fetch, kept, named};
use crate::turn_events::Named;

const CLAIM: &str = "with due as ( \
        select organization_id, conversation_id, channel from recordings \
        where state = 'remote' and url is not null and next_attempt_at <= $1 order by next_attempt_at limit $3 for update skip locked) \
    update recordings as claimed set attempts = claimed.attempts + 1, next_attempt_at = $2 from due \
    where claimed.organization_id = due.organization_id and claimed.conversation_id = due.conversation_id \
        and claimed.channel = due.channel \
    returning claimed.organization_id, claimed.conversation_id, claimed.channel, claimed.url, claimed.attempts, \
        claimed.content_type, claimed.duration_ms";

pub(super) struct PostgresRecordings(pub(super) PgPool);

#[async_trait]
impl RecordingStore for PostgresRecordings {
    async fn conversation(&self, organization: &OrganizationId, id: ConversationId) -> Result<Option<Named>, StoreError> {
        let query = sqlx::query_as(CONVERSATION).bind(organization.as_str()).bind(id.0);
        query.fetch_optional(&self.0).await?.map(|row| named(id, row)).transpose()
    }

    async fn kept(&self, organization: &OrganizationId, id: ConversationId) -> Result<Vec<Kept>, StoreError> {
        let rows = sqlx::query_as(KEPT).bind(organization.as_str()).bind(id.0).fetch_all(&self.0).await?;
        rows.into_iter().map(kept).collect()
    }

    async fn events(&self, organization: &OrganizationId, conversation: &Named) -> Result<Vec<Event>, StoreError> {
        let query = sqlx::query_as(EVENTS).bind(organization.as_str()).bind(conversation.conversation_id.0);
        events(conversation, query.fetch_all(&self.0).await?)
    }

    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Fetch>, StoreError> {
        let query = sqlx::query_as(CLAIM).bind(now.as_millis()).bind(until.as_millis()).bind(i64::from(limit));
        query.fetch_all(&self.0).await?.into_iter().map(fetch).collect()
    }

    async fn hold(&self, claimed: &Fetch, until: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query(HOLD).bind(claimed.organization_id.as_str()).bind(claimed.conversation_id.0);
        let query = query.bind(claimed.channel.as_str()).bind(&claimed.url).bind(i64::from(claimed.attempt));
        Ok(query.bind(until.as_millis()).execute(&self.0).await?.rows_affected() == 1)
    }

    async fn release(&self, claimed: &Fetch, due: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query(RELEASE).bind(claimed.organization_id.as_str()).bind(claimed.conversation_id.0);
        let query = query.bind(claimed.channel.as_str()).bind(&claimed.url).bind(i64::from(claimed.attempt));
        query.bind(due.as_millis()).execute(&self.0).await?;
        Ok(())
    }
}
