//! What organizations may still use of the model today.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

use super::{SqlStore, count_of, to_int};

/// Tokens put aside for a question that is asked once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// Its id.
    pub id: Uuid,
    /// Of which day, since the epoch (UTC).
    pub day: i64,
    /// How many: as many as the question takes at most.
    pub tokens: u64,
    /// Whoever has not settled by then is gone, and what was put aside counts as used: it may have been.
    pub held_until: Timestamp,
}

/// Whether tokens could be put aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserved {
    /// They are.
    Yes,
    /// Questions that are being asked right now hold them; some may be left when those are answered.
    NotNow {
        /// How many nobody has used or holds.
        left: u64,
    },
    /// So many are not left of the day.
    NotToday {
        /// How many nobody has used.
        left: u64,
    },
}

/// Keeps budgets: tokens by organization and day since the epoch (UTC).
#[async_trait]
pub trait Budgets: Send + Sync + 'static {
    /// Puts tokens aside before a question is asked, if so many are left of `limit`: whatever replicas ask at once, together
    /// they stay within it.
    async fn reserve_tokens(
        &self,
        organization: &OrganizationId,
        reservation: &Reservation,
        now: Timestamp,
        limit: u64,
    ) -> Result<Reserved, StoreError>;

    /// Replaces what was put aside by what was used, also when its time was over.
    async fn settle_tokens(&self, organization: &OrganizationId, reservation: &Reservation, used: u64) -> Result<(), StoreError>;

    /// Returns how many tokens are used, and how many are put aside.
    async fn tokens_of_day(&self, organization: &OrganizationId, day: i64) -> Result<(u64, u64), StoreError>;
}

/// A day of an organization, which nobody else changes meanwhile.
struct Day<'a> {
    organization: &'a OrganizationId,
    day: i64,
    used: u64,
    reserved: u64,
}

impl<'a> Day<'a> {
    fn key(&self) -> [Value<'a>; 2] {
        [Value::Text(self.organization.as_str()), Value::Int(self.day)]
    }

    async fn lock<E: Engine>(
        connection: &mut E::Connection,
        organization: &'a OrganizationId,
        day: i64,
    ) -> Result<Self, StoreError> {
        let mut locked = Self { organization, day, used: 0, reserved: 0 };
        let insert = "insert into analyzer_budgets (organization_id, day, used, reserved) values ($1, $2, 0, 0) \
             on conflict (organization_id, day) do nothing";
        E::execute(connection, insert, &locked.key(), None).await?;
        let select =
            format!("select used, reserved from analyzer_budgets where organization_id = $1 and day = $2 {}", E::FOR_UPDATE);
        let rows = E::query(connection, &select, &locked.key(), None).await?;
        if let Some(row) = rows.first() {
            let mut columns = Columns::<E>::of(row);
            (locked.used, locked.reserved) = (count_of(columns.int()?), count_of(columns.int()?));
        }
        Ok(locked)
    }

    /// Counts as used what is put aside, and was not settled in its time.
    async fn use_overdue<E: Engine>(&mut self, connection: &mut E::Connection, now: Timestamp) -> Result<(), StoreError> {
        let sql =
            "delete from analyzer_reservations where organization_id = $1 and day = $2 and held_until <= $3 returning tokens";
        let [organization, day] = self.key();
        for row in &E::query(connection, sql, &[organization, day, Value::Int(now.as_millis())], None).await? {
            let tokens = count_of(Columns::<E>::of(row).int()?);
            self.used = self.used.saturating_add(tokens);
            self.reserved = self.reserved.saturating_sub(tokens);
        }
        Ok(())
    }

    async fn write<E: Engine>(&self, connection: &mut E::Connection) -> Result<(), StoreError> {
        let sql = "update analyzer_budgets set used = $3, reserved = $4 where organization_id = $1 and day = $2";
        let [organization, day] = self.key();
        let values = [organization, day, Value::Int(to_int(self.used)), Value::Int(to_int(self.reserved))];
        E::execute(connection, sql, &values, None).await?;
        Ok(())
    }
}

#[async_trait]
impl<E: Engine> Budgets for SqlStore<E> {
    async fn reserve_tokens(
        &self,
        organization: &OrganizationId,
        reservation: &Reservation,
        now: Timestamp,
        limit: u64,
    ) -> Result<Reserved, StoreError> {
        let &Reservation { id, day, tokens, held_until } = reservation;
        let mut tx = E::begin(&self.writer).await?;
        let mut locked = Day::lock::<E>(&mut tx, organization, day).await?;
        locked.use_overdue::<E>(&mut tx, now).await?;
        let unused = limit.saturating_sub(locked.used);
        let left = unused.saturating_sub(locked.reserved);
        let reserved = match tokens {
            _ if tokens > unused => Reserved::NotToday { left: unused },
            _ if tokens > left => Reserved::NotNow { left },
            _ => Reserved::Yes,
        };
        if reserved == Reserved::Yes {
            let sql = "insert into analyzer_reservations (organization_id, day, reservation_id, tokens, held_until) \
                 values ($1, $2, $3, $4, $5)";
            let [organization, day] = locked.key();
            let values = [organization, day, Value::Id(id), Value::Int(to_int(tokens)), Value::Int(held_until.as_millis())];
            E::execute(&mut tx, sql, &values, None).await?;
            locked.reserved = locked.reserved.saturating_add(tokens);
        }
        locked.write::<E>(&mut tx).await?;
        tx.commit().await?;
        Ok(reserved)
    }

    async fn settle_tokens(&self, organization: &OrganizationId, reservation: &Reservation, used: u64) -> Result<(), StoreError> {
        let &Reservation { id, day, tokens, .. } = reservation;
        let mut tx = E::begin(&self.writer).await?;
        let mut locked = Day::lock::<E>(&mut tx, organization, day).await?;
        let sql = "delete from analyzer_reservations where organization_id = $1 and day = $2 and reservation_id = $3";
        let [organization, of_day] = locked.key();
        let was_held = E::execute(&mut tx, sql, &[organization, of_day, Value::Id(id)], None).await? > 0;
        let holds = if was_held { &mut locked.reserved } else { &mut locked.used };
        *holds = holds.saturating_sub(tokens);
        locked.used = locked.used.saturating_add(used);
        locked.write::<E>(&mut tx).await?;
        tx.commit().await?;
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
