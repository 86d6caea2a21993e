//! The queries, written once: both engines take the same SQL for everything kept here. A macro rather than generics, since
//! sqlx's bounds for "any database that binds a UUID" are longer than the queries.

use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) const SOURCE_COLUMNS: &str = "organization_id, source_id, provider, name, client_id, verification, secret, \
     previous_secret, previous_secret_expires_at, control_api_key, control_base_url, created_at, updated_at, revision";

pub(super) const QUARANTINE_COLUMNS: &str = "organization_id, quarantine_id, source_id, provider, received_at, reason, \
     size_bytes, attempts, resolved_at, position, recording";

pub(super) fn corrupt(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

pub(super) fn organization(text: String) -> Result<OrganizationId, StoreError> {
    OrganizationId::try_from(text).map_err(corrupt)
}

pub(super) fn timestamp(millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millis(millis).map_err(corrupt)
}

pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(corrupt)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    // Plain structs of text and numbers always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(corrupt)
}

/// Implements [`super::Store`] for a type with `readers()` and `writer()`.
macro_rules! implement_store {
    ($store:ty, $row:ty) => {
        use async_trait::async_trait;
        use colloquy_storage::StoreError;
        use colloquy_types::{OrganizationId, QuarantineId, SourceId};
        use sqlx::{AssertSqlSafe, Row, query};
        use uuid::Uuid;

        use super::queries::{
            QUARANTINE_COLUMNS, SOURCE_COLUMNS, corrupt, from_json, organization, signed, timestamp, to_json, unsigned,
        };
        use super::{Place, QuarantineFilter, Quarantining, Store};
        use crate::quarantine::{Bounds, Quarantined, QuarantinedBody};
        use crate::source::{SealedAccess, SealedSecrets, Source};

        fn read_source(row: &$row) -> Result<Source, StoreError> {
            let expires_at: Option<i64> = row.try_get("previous_secret_expires_at")?;
            Ok(Source {
                organization_id: organization(row.try_get("organization_id")?)?,
                source_id: SourceId(row.try_get("source_id")?),
                provider: row.try_get::<String, _>("provider")?.parse().map_err(corrupt)?,
                name: row.try_get("name")?,
                client_id: row.try_get("client_id")?,
                verification: from_json(&row.try_get::<String, _>("verification")?)?,
                secrets: SealedSecrets {
                    current: row.try_get("secret")?,
                    previous: row.try_get("previous_secret")?,
                    previous_expires_at: expires_at.map(timestamp).transpose()?,
                },
                control: SealedAccess {
                    api_key: row.try_get("control_api_key")?,
                    base_url: row.try_get("control_base_url")?,
                },
                created_at: timestamp(row.try_get("created_at")?)?,
                updated_at: timestamp(row.try_get("updated_at")?)?,
                revision: row.try_get("revision")?,
            })
        }

        fn read_quarantined(row: &$row) -> Result<Quarantined, StoreError> {
            let resolved_at: Option<i64> = row.try_get("resolved_at")?;
            let position: Option<i64> = row.try_get("position")?;
            let recording: Option<String> = row.try_get("recording")?;
            let attempts: i64 = row.try_get("attempts")?;
            Ok(Quarantined {
                organization_id: organization(row.try_get("organization_id")?)?,
                quarantine_id: QuarantineId(row.try_get("quarantine_id")?),
                source_id: SourceId(row.try_get("source_id")?),
                provider: row.try_get::<String, _>("provider")?.parse().map_err(corrupt)?,
                received_at: timestamp(row.try_get("received_at")?)?,
                reason: row.try_get("reason")?,
                size_bytes: unsigned(row.try_get("size_bytes")?)?,
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                resolved_at: resolved_at.map(timestamp).transpose()?,
                position: position.map(unsigned).transpose()?,
                recording: recording.as_deref().map(from_json).transpose()?,
            })
        }

        #[async_trait]
        impl Store for $store {
            async fn create_source(&self, source: &Source) -> Result<(), StoreError> {
                query(
                    "insert into sources (organization_id, source_id, provider, name, client_id, verification, secret,
                         previous_secret, previous_secret_expires_at, control_api_key, control_base_url, created_at, updated_at,
                         revision)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                )
                .bind(source.organization_id.as_str())
                .bind(source.source_id.0)
                .bind(source.provider.as_str())
                .bind(&source.name)
                .bind(&source.client_id)
                .bind(to_json(&source.verification))
                .bind(&source.secrets.current)
                .bind(&source.secrets.previous)
                .bind(source.secrets.previous_expires_at.map(|at| at.as_millis()))
                .bind(&source.control.api_key)
                .bind(&source.control.base_url)
                .bind(source.created_at.as_millis())
                .bind(source.updated_at.as_millis())
                .bind(source.revision)
                .execute(self.writer())
                .await?;
                Ok(())
            }

            async fn source(&self, organization: &OrganizationId, id: SourceId) -> Result<Option<Source>, StoreError> {
                // Assembled from constants only, here and below.
                let sql = format!("select {SOURCE_COLUMNS} from sources where organization_id = $1 and source_id = $2");
                let row = query(AssertSqlSafe(sql)).bind(organization.as_str()).bind(id.0).fetch_optional(self.readers()).await?;
                row.as_ref().map(read_source).transpose()
            }

            async fn source_by_id(&self, id: SourceId) -> Result<Option<Source>, StoreError> {
                let sql = format!("select {SOURCE_COLUMNS} from sources where source_id = $1");
                let row = query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(self.readers()).await?;
                row.as_ref().map(read_source).transpose()
            }

            async fn page_of_sources(
                &self,
                organization: &OrganizationId,
                after: Option<Place<SourceId>>,
                limit: u32,
            ) -> Result<Vec<Source>, StoreError> {
                let (at, id) = after.map_or((i64::MAX, Uuid::max()), |place| (place.at.as_millis(), place.id.0));
                let sql = format!(
                    "select {SOURCE_COLUMNS}
                     from sources
                     where organization_id = $1 and (created_at, source_id) < ($2, $3)
                     order by created_at desc, source_id desc
                     limit $4"
                );
                let page = query(AssertSqlSafe(sql)).bind(organization.as_str()).bind(at).bind(id).bind(i64::from(limit));
                page.fetch_all(self.readers()).await?.iter().map(read_source).collect()
            }

            async fn replace_source(&self, source: &Source) -> Result<bool, StoreError> {
                let replaced = query(
                    "update sources
                     set name = $3, client_id = $4, verification = $5, secret = $6, previous_secret = $7,
                         previous_secret_expires_at = $8, control_api_key = $9, control_base_url = $10, updated_at = $11,
                         revision = $12
                     where organization_id = $1 and source_id = $2 and revision = $12 - 1",
                )
                .bind(source.organization_id.as_str())
                .bind(source.source_id.0)
                .bind(&source.name)
                .bind(&source.client_id)
                .bind(to_json(&source.verification))
                .bind(&source.secrets.current)
                .bind(&source.secrets.previous)
                .bind(source.secrets.previous_expires_at.map(|at| at.as_millis()))
                .bind(&source.control.api_key)
                .bind(&source.control.base_url)
                .bind(source.updated_at.as_millis())
                .bind(source.revision)
                .execute(self.writer())
                .await?;
                Ok(replaced.rows_affected() == 1)
            }

            async fn delete_source(&self, organization: &OrganizationId, id: SourceId) -> Result<bool, StoreError> {
                let deleted = query("delete from sources where organization_id = $1 and source_id = $2")
                    .bind(organization.as_str())
                    .bind(id.0)
                    .execute(self.writer())
                    .await?;
                Ok(deleted.rows_affected() == 1)
            }

            async fn quarantine(
                &self,
                delivery: &Quarantined,
                body: &QuarantinedBody,
                bounds: Bounds,
            ) -> Result<Quarantining, StoreError> {
                // On PostgreSQL two at once may each take the last place. The bound protects the disk; it need not be exact.
                let mut transaction = self.writer().begin().await?;
                let used = query(
                    "select count(*) as entries, cast(coalesce(sum(stored_bytes), 0) as bigint) as stored_bytes,
                         count(resolved_at) as resolved
                     from quarantine
                     where organization_id = $1 and source_id = $2 and quarantine_id <> $3",
                )
                .bind(delivery.organization_id.as_str())
                .bind(delivery.source_id.0)
                .bind(delivery.quarantine_id.0)
                .fetch_one(&mut *transaction)
                .await?;
                let entries: i64 = used.try_get("entries")?;
                let stored_bytes = unsigned(used.try_get("stored_bytes")?)?;
                let surplus = (entries + 1).saturating_sub(signed(bounds.max_entries));
                if surplus > used.try_get::<i64, _>("resolved")? || stored_bytes + body.sealed.len() as u64 > bounds.max_bytes {
                    return Ok(Quarantining::Full);
                }
                if surplus > 0 {
                    query(
                        "delete from quarantine
                         where organization_id = $1 and quarantine_id in (
                             select quarantine_id
                             from quarantine
                             where organization_id = $1 and source_id = $2 and quarantine_id <> $3 and resolved_at is not null
                             order by resolved_at, received_at
                             limit $4)",
                    )
                    .bind(delivery.organization_id.as_str())
                    .bind(delivery.source_id.0)
                    .bind(delivery.quarantine_id.0)
                    .bind(surplus)
                    .execute(&mut *transaction)
                    .await?;
                }
                query(
                    "insert into quarantine (organization_id, quarantine_id, source_id, provider, received_at, reason, size_bytes,
                         attempts, resolved_at, position, recording, body, stored_bytes)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, null, null, $9, $10, $11)
                     on conflict (organization_id, quarantine_id) do update
                     set attempts = quarantine.attempts + 1, reason = excluded.reason, resolved_at = null, position = null,
                         recording = excluded.recording, body = excluded.body, stored_bytes = excluded.stored_bytes",
                )
                .bind(delivery.organization_id.as_str())
                .bind(delivery.quarantine_id.0)
                .bind(delivery.source_id.0)
                .bind(delivery.provider.as_str())
                .bind(delivery.received_at.as_millis())
                .bind(&delivery.reason)
                .bind(signed(delivery.size_bytes))
                .bind(i64::from(delivery.attempts))
                .bind(delivery.recording.as_ref().map(to_json))
                .bind(&body.sealed)
                .bind(signed(body.sealed.len() as u64))
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                Ok(Quarantining::Kept)
            }

            async fn quarantined(
                &self,
                organization: &OrganizationId,
                id: QuarantineId,
            ) -> Result<Option<(Quarantined, QuarantinedBody)>, StoreError> {
                let sql =
                    format!("select {QUARANTINE_COLUMNS}, body from quarantine where organization_id = $1 and quarantine_id = $2");
                let row = query(AssertSqlSafe(sql)).bind(organization.as_str()).bind(id.0).fetch_optional(self.readers()).await?;
                row.map(|row| Ok((read_quarantined(&row)?, QuarantinedBody { sealed: row.try_get("body")? }))).transpose()
            }

            async fn page_of_quarantine(
                &self,
                organization: &OrganizationId,
                filter: QuarantineFilter,
                after: Option<Place<QuarantineId>>,
                limit: u32,
            ) -> Result<Vec<Quarantined>, StoreError> {
                let (at, id) = after.map_or((i64::MAX, Uuid::max()), |place| (place.at.as_millis(), place.id.0));
                let of_source = if filter.source_id.is_some() { "and source_id = $5" } else { "" };
                let waiting = if filter.include_resolved { "" } else { "and resolved_at is null" };
                let sql = format!(
                    "select {QUARANTINE_COLUMNS}
                     from quarantine
                     where organization_id = $1 and (received_at, quarantine_id) < ($2, $3) {of_source} {waiting}
                     order by received_at desc, quarantine_id desc
                     limit $4"
                );
                let mut page = query(AssertSqlSafe(sql)).bind(organization.as_str()).bind(at).bind(id).bind(i64::from(limit));
                if let Some(source_id) = filter.source_id {
                    page = page.bind(source_id.0);
                }
                page.fetch_all(self.readers()).await?.iter().map(read_quarantined).collect()
            }

            async fn note_attempt(&self, delivery: &Quarantined) -> Result<(), StoreError> {
                let keeps_body = i64::from(delivery.resolved_at.is_none());
                query(
                    "update quarantine
                     set reason = $3, attempts = $4, resolved_at = $5, position = $6,
                         body = case when $7 = 1 then body else $8 end,
                         stored_bytes = case when $7 = 1 then stored_bytes else 0 end
                     where organization_id = $1 and quarantine_id = $2",
                )
                .bind(delivery.organization_id.as_str())
                .bind(delivery.quarantine_id.0)
                .bind(&delivery.reason)
                .bind(i64::from(delivery.attempts))
                .bind(delivery.resolved_at.map(|at| at.as_millis()))
                .bind(delivery.position.map(signed))
                .bind(keeps_body)
                .bind(Vec::<u8>::new())
                .execute(self.writer())
                .await?;
                Ok(())
            }

            async fn quarantine_size(&self) -> Result<(u64, u64), StoreError> {
                let size = "select count(*) as deliveries, cast(coalesce(sum(size_bytes), 0) as bigint) as bytes
                            from quarantine where resolved_at is null";
                let size = query(size).fetch_one(self.readers()).await?;
                Ok((unsigned(size.try_get("deliveries")?)?, unsigned(size.try_get("bytes")?)?))
            }
        }
    };
}
pub(super) use implement_store;
