//! What organizations may still use of the model today.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::OrganizationId;

use super::{SqlStore, count_of, to_int};

/// Whether tokens could be put aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserved {
    /// They are.
    Yes,
    /// Questions that are being asked right now hold them; some may be left when those are answered.
    NotNow,
    /// They are used.
    NotToday,
}

/// Keeps budgets: tokens by organization and day since the epoch (UTC).
#[async_trait]
pub trait Budgets: Send + Sync + 'static {
    /// Puts tokens aside before a question is asked, if so many are left of `limit`: whatever replicas ask at once, together
    /// they stay within it.
    async fn reserve_tokens(
        &self,
        organization: &OrganizationId,
        day: i64,
        tokens: u64,
        limit: u64,
    ) -> Result<Reserved, StoreError>;

    /// Replaces what was put aside by what was used. Who crashes before leaves it put aside, for that day.
    async fn settle_tokens(&self, organization: &OrganizationId, day: i64, reserved: u64, used: u64) -> Result<(), StoreError>;

    /// Returns how many tokens are used, and how many are put aside.
    async fn tokens_of_day(&self, organization: &OrganizationId, day: i64) -> Result<(u64, u64), StoreError>;
}

#[async_trait]
impl<E: Engine> Budgets for SqlStore<E> {
    async fn reserve_tokens(
        &self,
        organization: &OrganizationId,
        day: i64,
        tokens: u64,
        limit: u64,
    ) -> Result<Reserved, StoreError> {
        let sql = "insert into analyzer_budgets (organization_id, day, used, reserved) select $1, $2, 0, $3 where $3 <= $4 \
             on conflict (organization_id, day) do update set reserved = analyzer_budgets.reserved + excluded.reserved \
             where analyzer_budgets.used + analyzer_budgets.reserved + excluded.reserved <= $4";
        let values = [Value::Text(organization.as_str()), Value::Int(day), Value::Int(to_int(tokens)), Value::Int(to_int(limit))];
        let mut connection = self.writer.acquire().await?;
        if E::execute(&mut connection, sql, &values, None).await? > 0 {
            return Ok(Reserved::Yes);
        }
        drop(connection);
        let (used, _) = self.tokens_of_day(organization, day).await?;
        Ok(if used.saturating_add(tokens) <= limit { Reserved::NotNow } else { Reserved::NotToday })
    }

    async fn settle_tokens(&self, organization: &OrganizationId, day: i64, reserved: u64, used: u64) -> Result<(), StoreError> {
        let sql = "update analyzer_budgets \
             set used = used + $3, reserved = case when reserved < $4 then 0 else reserved - $4 end \
             where organization_id = $1 and day = $2";
        let values =
            [Value::Text(organization.as_str()), Value::Int(day), Value::Int(to_int(used)), Value::Int(to_int(reserved))];
        let mut connection = self.writer.acquire().await?;
        E::execute(&mut connection, sql, &values, None).await?;
        Ok(())
    }

    async fn tokens_of_day(&self, organization: &OrganizationId, day: i64) -> Result<(u64, u64), StoreError> {
        let sql = "select used, reserved from analyzer_budgets where organization_id = $1 and day = $2";
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, sql, &[Value::Text(organization.as_str()), Value::Int(day)], None).await?;
        let Some(row) = rows.first() else { return Ok((0, 0)) };
        let mut columns = Columns::<E>::of(row);
        Ok((count_of(columns.int()?), count_of(columns.int()?)))
    }
}
