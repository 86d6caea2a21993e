//! Replays in the store.

use bytes::Bytes;
use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

use super::Replay;
use super::engine::{Columns, Engine, Value};
use super::sql::{SqlStore, organization_of};

impl<E: Engine> SqlStore<E> {
    pub(super) async fn insert_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        let values = [
            Value::Text(replay.organization_id.as_str()),
            Value::Id(replay.replay_id),
            Value::Id(replay.endpoint_id),
            Value::Bytes(&replay.request),
            Value::Text(&replay.page_token),
        ];
        // Of an endpoint that is removed at this moment, none is left behind.
        let sql = "insert into replays (organization_id, replay_id, endpoint_id, request, page_token, due_at) \
             select $1, $2, endpoint_id, $4, $5, 0 from endpoints where organization_id = $1 and endpoint_id = $3";
        let mut tx = E::begin_beside(&self.writer).await?;
        E::execute(&mut tx, sql, &values, None).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn claim_a_replay(&self, now: Timestamp, claimed_until: Timestamp) -> Result<Option<Replay>, StoreError> {
        let sql = format!(
            "with due as materialized ( \
                 select organization_id, replay_id from replays where due_at <= $1 order by due_at limit 1 {}) \
             update replays set due_at = $2 \
             from due \
             where replays.organization_id = due.organization_id and replays.replay_id = due.replay_id \
             returning replays.organization_id, replays.replay_id, replays.endpoint_id, replays.request, replays.page_token",
            E::SKIP_LOCKED
        );
        let mut connection = self.writer.acquire().await?;
        let values = [Value::Int(now.as_millis()), Value::Int(claimed_until.as_millis())];
        let rows = E::query(&mut connection, &sql, &values, None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut columns = Columns::<E>::of(row);
        Ok(Some(Replay {
            organization_id: organization_of(&columns.text()?)?,
            replay_id: columns.id()?,
            endpoint_id: columns.id()?,
            request: Bytes::from(columns.bytes()?),
            page_token: columns.text()?,
        }))
    }

    pub(super) async fn write_progress_of_replay(
        &self,
        organization: &OrganizationId,
        replay: Uuid,
        page_token: Option<&str>,
        claimed_until: Timestamp,
    ) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        let mut values = vec![Value::Text(organization.as_str()), Value::Id(replay)];
        let sql = match page_token {
            Some(page_token) => {
                values.extend([Value::Text(page_token), Value::Int(claimed_until.as_millis())]);
                "update replays set page_token = $3, due_at = $4 where organization_id = $1 and replay_id = $2"
            }
            None => "delete from replays where organization_id = $1 and replay_id = $2",
        };
        E::execute(&mut connection, sql, &values, None).await?;
        Ok(())
    }
}
