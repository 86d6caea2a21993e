//! The store over either engine.

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};
use sqlx::Pool;
use uuid::Uuid;

use super::engine::{Engine, Value};
use super::{Batch, BeforeCommit, Claimed, DeliveryFilter, Finished, Known, Place, Replay, Store};
use crate::delivery::Delivery;
use crate::endpoint::{DisabledReason, Endpoint};
use crate::message::Message;

/// The store in a database.
pub(super) struct SqlStore<E: Engine> {
    pub(super) writer: Pool<E>,
    pub(super) readers: Pool<E>,
}

/// Positions fit: sequences have 48 bits.
pub(super) fn to_bigint(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

/// Reads a position.
pub(super) const fn position_of(number: i64) -> Position {
    Position(number.unsigned_abs())
}

/// Reads a time.
pub(super) fn time_of(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or_default()
}

/// Reads an organization.
pub(super) fn organization_of(text: &str) -> Result<OrganizationId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an organization".to_owned()))
}

/// Reads a count.
pub(super) fn count_of(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Begins the values of a statement about one endpoint.
pub(super) fn key<'a>(organization: &'a OrganizationId, endpoint: Uuid) -> [Value<'a>; 2] {
    [Value::Text(organization.as_str()), Value::Id(endpoint)]
}

#[async_trait]
impl<E: Engine> Store for SqlStore<E> {
    async fn create_endpoint(&self, endpoint: &Endpoint, limit: u32) -> Result<bool, StoreError> {
        self.insert_endpoint(endpoint, limit).await
    }

    async fn endpoint(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Endpoint>, StoreError> {
        self.read_endpoint(organization, id).await
    }

    async fn page_of_endpoints(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Endpoint>, StoreError> {
        self.read_page_of_endpoints(organization, after, limit).await
    }

    async fn enabled_endpoints(&self) -> Result<(i64, Vec<Endpoint>), StoreError> {
        self.read_enabled_endpoints().await
    }

    async fn endpoints_version(&self) -> Result<i64, StoreError> {
        self.read_endpoints_version().await
    }

    async fn replace_endpoint(&self, endpoint: &Endpoint) -> Result<bool, StoreError> {
        self.update_endpoint(endpoint).await
    }

    async fn delete_endpoint(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError> {
        self.remove_endpoint(organization, id).await
    }

    async fn disable_endpoint(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        reason: DisabledReason,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.disable(organization, id, reason, at).await
    }

    async fn position(&self) -> Result<Position, StoreError> {
        self.read_position().await
    }

    async fn known(
        &self,
        conversations: &[(OrganizationId, ConversationId)],
    ) -> Result<Vec<(OrganizationId, ConversationId, Known)>, StoreError> {
        self.read_known(conversations).await
    }

    async fn apply(
        &self,
        batch: &Batch,
        through: Position,
        claimed_until: Timestamp,
        before_commit: &BeforeCommit<'_>,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.apply_batch(batch, through, claimed_until, before_commit).await
    }

    async fn set_aside(
        &self,
        organization: &OrganizationId,
        record: RecordId,
        sequence: u64,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let values = [
            Value::Text(organization.as_str()),
            Value::Id(record.0),
            Value::Int(i64::try_from(sequence).unwrap_or(i64::MAX)),
            Value::Text(reason),
            Value::Int(at.as_millis()),
        ];
        let sql = "insert into set_aside (organization_id, record_id, sequence, reason, set_aside_at) values ($1, $2, $3, $4, $5) \
             on conflict do nothing";
        let mut connection = self.writer.acquire().await?;
        E::execute(&mut connection, sql, &values, None).await?;
        Ok(())
    }

    async fn claim(
        &self,
        endpoint: &Endpoint,
        now: Timestamp,
        claimed_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.claim_due(endpoint, now, claimed_until, limit).await
    }

    async fn endpoints_with_work(&self, now: Timestamp) -> Result<Vec<(OrganizationId, Uuid)>, StoreError> {
        self.read_endpoints_with_work(now).await
    }

    async fn finish(&self, finished: &[Finished]) -> Result<(), StoreError> {
        self.write_finished(finished).await
    }

    async fn keep_body(&self, message: &Message, body: &Bytes) -> Result<(), StoreError> {
        self.write_body(message, body).await
    }

    async fn delivery(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        delivery: Uuid,
    ) -> Result<Option<Delivery>, StoreError> {
        self.read_delivery(organization, endpoint, delivery).await
    }

    async fn page_of_deliveries(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        filter: &DeliveryFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.read_page_of_deliveries(organization, endpoint, filter, after, limit).await
    }

    async fn retry(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        delivery: Uuid,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.revive_one(organization, endpoint, delivery, now).await
    }

    async fn recover(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.revive_missed(organization, endpoint, since, until, now).await
    }

    async fn add(&self, messages: &[Message], deliveries: &[Delivery], now: Timestamp) -> Result<(), StoreError> {
        self.add_by_hand(messages, deliveries, now).await
    }

    async fn create_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        self.insert_replay(replay).await
    }

    async fn claim_replay(&self, now: Timestamp, claimed_until: Timestamp) -> Result<Option<Replay>, StoreError> {
        self.claim_a_replay(now, claimed_until).await
    }

    async fn advance_replay(
        &self,
        organization: &OrganizationId,
        replay: Uuid,
        page_token: Option<&str>,
        claimed_until: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_progress_of_replay(organization, replay, page_token, claimed_until).await
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.remove_old(before, limit).await
    }

    async fn backlog(&self, now: Timestamp) -> Result<(u64, Option<Timestamp>), StoreError> {
        self.read_backlog(now).await
    }
}
