//! Conversations with a run that is not yet in their figures. A run and the wish to tell it are kept together, so that a crash
//! between loses nothing.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};

use super::{SqlStore, key, organization_of};
use crate::analyzer::run::Run;

/// A conversation that is to be analysed again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRun {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Which.
    pub conversation_id: ConversationId,
    /// How many runs were heard of when it was taken.
    runs: i64,
}

/// Keeps what is to be told.
#[async_trait]
pub trait News: Send + Sync + 'static {
    /// Takes conversations that are due, until `until`, the longest due first.
    async fn claim_news(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<NewRun>, StoreError>;

    /// Notes that the runs of one are told, unless there is another by now.
    async fn told(&self, news: &NewRun) -> Result<(), StoreError>;
}

/// Notes that a run is to be told.
pub(super) async fn note<E: Engine>(connection: &mut E::Connection, run: &Run) -> Result<(), StoreError> {
    let sql = "insert into analyzer_news (organization_id, conversation_id, due_at, runs) values ($1, $2, $3, 1) \
         on conflict (organization_id, conversation_id) do update set due_at = excluded.due_at, runs = analyzer_news.runs + 1";
    let [organization, conversation] = key(&run.organization_id, run.conversation_id.0);
    E::execute(connection, sql, &[organization, conversation, Value::Int(run.at.as_millis())], None).await?;
    Ok(())
}

#[async_trait]
impl<E: Engine> News for SqlStore<E> {
    async fn claim_news(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<NewRun>, StoreError> {
        let sql = format!(
            "with due as materialized ( \
                 select organization_id, conversation_id from analyzer_news where due_at <= $1 order by due_at limit $3 {}) \
             update analyzer_news set due_at = $2 from due \
             where analyzer_news.organization_id = due.organization_id and analyzer_news.conversation_id = due.conversation_id \
             returning analyzer_news.organization_id, analyzer_news.conversation_id, analyzer_news.runs",
            E::SKIP_LOCKED
        );
        let values = [Value::Int(now.as_millis()), Value::Int(until.as_millis()), Value::Int(limit.into())];
        let mut connection = self.writer.acquire().await?;
        let mut news = Vec::new();
        for row in &E::query(&mut connection, &sql, &values, None).await? {
            let mut columns = Columns::<E>::of(row);
            news.push(NewRun {
                organization_id: organization_of(&columns.text()?)?,
                conversation_id: ConversationId(columns.id()?),
                runs: columns.int()?,
            });
        }
        Ok(news)
    }

    async fn told(&self, news: &NewRun) -> Result<(), StoreError> {
        let [organization, conversation] = key(&news.organization_id, news.conversation_id.0);
        let sql = "delete from analyzer_news where organization_id = $1 and conversation_id = $2 and runs = $3";
        let mut connection = self.writer.acquire().await?;
        E::execute(&mut connection, sql, &[organization, conversation, Value::Int(news.runs)], None).await?;
        Ok(())
    }
}
