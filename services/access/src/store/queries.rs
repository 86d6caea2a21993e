//! The statements, which are the same on both engines: only the pools differ.

/// Implements [`super::Keys`] for a store that has a `reader` and a `writer` pool.
macro_rules! keys_over {
    ($store:ident) => {
        #[async_trait::async_trait]
        impl Keys for $store {
            async fn create_organization(&self, id: &OrganizationId, now: Timestamp) -> Result<(), StoreError> {
                sqlx::query("insert into organizations (organization_id, created_at) values ($1, $2) on conflict do nothing")
                    .bind(id.as_str())
                    .bind(now.as_millis())
                    .execute(self.writer())
                    .await?;
                Ok(())
            }

            async fn organization_created_at(&self, id: &OrganizationId) -> Result<Option<Timestamp>, StoreError> {
                let found: Option<i64> = sqlx::query_scalar("select created_at from organizations where organization_id = $1")
                    .bind(id.as_str())
                    .fetch_optional(self.reader())
                    .await?;
                Ok(found.and_then(|millis| Timestamp::from_millis(millis).ok()))
            }

            async fn insert_key(&self, key: NewApiKey) -> Result<ApiKey, StoreError> {
                sqlx::query(
                    "insert into api_keys (organization_id, key_id, name, prefix, hash, scopes, created_at, expires_at)
                     values ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(key.organization_id.as_str())
                .bind(key.key_id.0)
                .bind(&key.name)
                .bind(key.secret.prefix())
                .bind(key.secret.hash().to_vec())
                .bind(key.scopes.to_string())
                .bind(key.created_at.as_millis())
                .bind(key.expires_at.map(Timestamp::as_millis))
                .execute(self.writer())
                .await?;
                Ok(key.into())
            }

            async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
                // Text made of constants.
                let sql = AssertSqlSafe(format!("select {KEY_COLUMNS} from api_keys where hash = $1"));
                let row: Option<KeyRow> = sqlx::query_as(sql).bind(hash.as_slice()).fetch_optional(self.reader()).await?;
                row.map(key_from_row).transpose()
            }

            async fn list_keys(&self, id: &OrganizationId, before: Option<KeyId>, limit: u32) -> Result<KeyPage, StoreError> {
                // Text made of constants. Key ids sort by the time they were made.
                let sql = AssertSqlSafe(format!(
                    "select {KEY_COLUMNS} from api_keys
                     where organization_id = $1 and ($2 is null or key_id < $2)
                     order by key_id desc
                     limit $3"
                ));
                let rows: Vec<KeyRow> = sqlx::query_as(sql)
                    .bind(id.as_str())
                    .bind(before.map(|key| key.0))
                    .bind(i64::from(limit) + 1)
                    .fetch_all(self.reader())
                    .await?;
                page_from_rows(rows, limit)
            }

            async fn revoke_key(&self, id: &OrganizationId, key: KeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
                // Text made of constants.
                let sql = AssertSqlSafe(format!(
                    "update api_keys set revoked_at = coalesce(revoked_at, $3)
                     where organization_id = $1 and key_id = $2
                     returning {KEY_COLUMNS}"
                ));
                let row: Option<KeyRow> =
                    sqlx::query_as(sql).bind(id.as_str()).bind(key.0).bind(now.as_millis()).fetch_optional(self.writer()).await?;
                row.map(key_from_row).transpose()
            }

            async fn any_key(&self) -> Result<bool, StoreError> {
                let found: Option<i32> =
                    sqlx::query_scalar("select 1 from api_keys limit 1").fetch_optional(self.reader()).await?;
                Ok(found.is_some())
            }
        }
    };
}

pub(super) use keys_over;
