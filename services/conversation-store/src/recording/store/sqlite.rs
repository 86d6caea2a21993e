//! Recordings in SQLite.

use async_trait::async_trait;
use colloquy_events::Event;
use colloquy_storage::{Sqlite, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};

use super::{CONVERSATION, EVENTS, Fetch, HOLD, KEPT, Kept, RELEASE, RecordingStore, events, fetch, kept, named};
use crate::turn_events::Named;

const ANY_DUE: &str =
    "select exists (select 1 from recordings where state = 'remote' and url is not null and next_attempt_at <= $1)";

const CLAIM: &str = "update recordings set attempts = attempts + 1, next_attempt_at = $2 \
    where (organization_id, conversation_id, channel) in ( \
        select organization_id, conversation_id, channel from recordings \
        where state = 'remote' and url is not null and next_attempt_at <= $1 order by next_attempt_at limit $3) \
    returning organization_id, conversation_id, channel, url, attempts, content_type, duration_ms";

pub(super) struct SqliteRecordings(pub(super) Sqlite);

#[async_trait]
impl RecordingStore for SqliteRecordings {
    async fn conversation(&self, organization: &OrganizationId, id: ConversationId) -> Result<Option<Named>, StoreError> {
        let query = sqlx::query_as(CONVERSATION).bind(organization.as_str()).bind(id.0);
        query.fetch_optional(self.0.readers()).await?.map(|row| named(id, row)).transpose()
    }

    async fn kept(&self, organization: &OrganizationId, id: ConversationId) -> Result<Vec<Kept>, StoreError> {
        let rows = sqlx::query_as(KEPT).bind(organization.as_str()).bind(id.0).fetch_all(self.0.readers()).await?;
        rows.into_iter().map(kept).collect()
    }

    async fn events(&self, organization: &OrganizationId, conversation: &Named) -> Result<Vec<Event>, StoreError> {
        let query = sqlx::query_as(EVENTS).bind(organization.as_str()).bind(conversation.conversation_id.0);
        events(conversation, query.fetch_all(self.0.readers()).await?)
    }

    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Fetch>, StoreError> {
        // There is one writer, and it has better things to do than to find that there is nothing to do.
        let any_due: bool = sqlx::query_scalar(ANY_DUE).bind(now.as_millis()).fetch_one(self.0.readers()).await?;
        if !any_due {
            return Ok(Vec::new());
        }
        let query = sqlx::query_as(CLAIM).bind(now.as_millis()).bind(until.as_millis()).bind(i64::from(limit));
        query.fetch_all(self.0.writer()).await?.into_iter().map(fetch).collect()
    }

    async fn hold(&self, claimed: &Fetch, until: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query(HOLD).bind(claimed.organization_id.as_str()).bind(claimed.conversation_id.0);
        let query = query.bind(claimed.channel.as_str()).bind(&claimed.url).bind(i64::from(claimed.attempt));
        Ok(query.bind(until.as_millis()).execute(self.0.writer()).await?.rows_affected() == 1)
    }

    async fn release(&self, claimed: &Fetch, due: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query(RELEASE).bind(claimed.organization_id.as_str()).bind(claimed.conversation_id.0);
        let query = query.bind(claimed.channel.as_str()).bind(&claimed.url).bind(i64::from(claimed.attempt));
        query.bind(due.as_millis()).execute(self.0.writer()).await?;
        Ok(())
    }
}
