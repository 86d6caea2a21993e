//! The store over either engine.

use std::collections::HashMap;

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};
use sqlx::Pool;

use super::engine::{Engine, Value};
use super::{Backlog, Batch, Before, Claimed, Figures, Finish, Key, Store, Written};
use crate::organization::{AnalysisSettings, SettingsChange};

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

#[async_trait]
impl<E: Engine> Store for SqlStore<E> {
    async fn position(&self) -> Result<Position, StoreError> {
        self.read_position().await
    }

    async fn apply(&self, batch: &Batch, through: Position, now: Timestamp) -> Result<(), StoreError> {
        self.apply_batch(batch, through, now).await
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
        E::execute(&mut *self.writer.acquire().await?, sql, &values, None).await?;
        Ok(())
    }

    async fn mark(&self, conversations: &[Key], now: Timestamp) -> Result<(), StoreError> {
        self.mark_again(conversations, now).await
    }

    async fn claim(&self, now: Timestamp, claimed_until: Timestamp, limit: u32) -> Result<Vec<Claimed>, StoreError> {
        self.claim_due(now, claimed_until, limit).await
    }

    async fn renew(&self, claimed: &[Claimed], claimed_until: Timestamp) -> Result<(), StoreError> {
        self.renew_claims(claimed, claimed_until).await
    }

    async fn write(&self, written: &[(&Claimed, Written<'_>)]) -> Result<Vec<Option<Before>>, StoreError> {
        self.write_all(written).await
    }

    async fn finish(&self, finished: &[(Claimed, Finish)], now: Timestamp) -> Result<(), StoreError> {
        self.give_back_finished(finished, now).await
    }

    async fn is_waiting(
        &self,
        organization: &OrganizationId,
        conversation: Option<ConversationId>,
        position: Position,
    ) -> Result<bool, StoreError> {
        self.read_whether_waiting(organization, conversation, position).await
    }

    async fn hurry(
        &self,
        organization: &OrganizationId,
        conversation: Option<ConversationId>,
        position: Position,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.make_due(organization, conversation, position, now).await
    }

    async fn received_through(&self, organization: &OrganizationId) -> Result<(Option<Timestamp>, Timestamp), StoreError> {
        self.read_received_through(organization).await
    }

    async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
        self.read_backlog(now).await
    }

    async fn figures(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<Option<Figures>, StoreError> {
        self.read_figures(organization, conversation).await
    }

    async fn settings(&self, organizations: &[OrganizationId]) -> Result<HashMap<OrganizationId, AnalysisSettings>, StoreError> {
        self.read_settings(organizations).await
    }

    async fn change_settings(
        &self,
        organization: &OrganizationId,
        change: SettingsChange,
        now: Timestamp,
    ) -> Result<AnalysisSettings, StoreError> {
        self.write_settings(organization, change, now).await
    }
}
