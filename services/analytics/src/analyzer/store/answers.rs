//! Answers that were had before.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{OrganizationId, Timestamp};

use super::{SqlStore, pack, unpack};

/// Keeps answers by what was asked.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Returns the answer to a question.
    async fn answer(&self, organization: &OrganizationId, question: &[u8; 32]) -> Result<Option<String>, StoreError>;

    /// Keeps an answer in place of an earlier one.
    async fn keep_answer(
        &self,
        organization: &OrganizationId,
        question: &[u8; 32],
        answer: &str,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Forgets answers of before, and budgets with their reservations of days before that day, at most `limit` of each. Returns how
    /// many rows went.
    async fn prune(&self, before: Timestamp, day: i64, limit: u32) -> Result<u64, StoreError>;
}

#[async_trait]
impl<E: Engine> Answers for SqlStore<E> {
    async fn answer(&self, organization: &OrganizationId, question: &[u8; 32]) -> Result<Option<String>, StoreError> {
        let sql = "select answer from analyzer_answers where organization_id = $1 and question = $2";
        let mut connection = self.readers.acquire().await?;
        let values = [Value::Text(organization.as_str()), Value::Bytes(question)];
        let rows = E::query(&mut connection, sql, &values, None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let text = unpack(&Columns::<E>::of(row).bytes()?, "a model's answer")?;
        Ok(Some(String::from_utf8(text).map_err(|_| StoreError::Corrupt("a model's answer".to_owned()))?))
    }

    async fn keep_answer(
        &self,
        organization: &OrganizationId,
        question: &[u8; 32],
        answer: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let packed = pack(answer.as_bytes())?;
        let sql = "insert into analyzer_answers (organization_id, question, answer, answered_at) values ($1, $2, $3, $4) \
             on conflict (organization_id, question) do update set answer = excluded.answer, answered_at = excluded.answered_at";
        let values =
            [Value::Text(organization.as_str()), Value::Bytes(question), Value::Bytes(&packed), Value::Int(at.as_millis())];
        let mut connection = self.writer.acquire().await?;
        E::execute(&mut connection, sql, &values, None).await?;
        Ok(())
    }

    async fn prune(&self, before: Timestamp, day: i64, limit: u32) -> Result<u64, StoreError> {
        let answers = "delete from analyzer_answers where (organization_id, question) in ( \
             select organization_id, question from analyzer_answers where answered_at < $1 order by answered_at limit $2)";
        let budgets = "delete from analyzer_budgets where (organization_id, day) in ( \
             select organization_id, day from analyzer_budgets where day < $1 limit $2)";
        let reservations = "delete from analyzer_reservations where (organization_id, day, reservation_id) in ( \
             select organization_id, day, reservation_id from analyzer_reservations where day < $1 limit $2)";
        let mut connection = self.writer.acquire().await?;
        let limit = Value::Int(limit.into());
        let mut gone = E::execute(&mut connection, answers, &[Value::Int(before.as_millis()), limit], None).await?;
        for sql in [budgets, reservations] {
            gone += E::execute(&mut connection, sql, &[Value::Int(day), limit], None).await?;
        }
        Ok(gone)
    }
}
