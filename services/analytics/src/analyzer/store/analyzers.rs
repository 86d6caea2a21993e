//! Analyzers and their versions.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::OrganizationId;
use uuid::Uuid;

use super::{Place, SqlStore, key, organization_of, time_of, version_of};
use crate::analyzer::definition::{Analyzer, Definition};

/// Keeps analyzers.
#[async_trait]
pub trait Analyzers: Send + Sync + 'static {
    /// Keeps a new analyzer with its first version. `false` when the organization has `limit` already.
    async fn create_analyzer(&self, analyzer: &Analyzer, limit: u32) -> Result<bool, StoreError>;

    /// Returns an analyzer as it is now.
    async fn analyzer(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Analyzer>, StoreError>;

    /// Returns what a version asks, also of an analyzer that was removed.
    async fn definition(&self, organization: &OrganizationId, id: Uuid, version: u32) -> Result<Option<Definition>, StoreError>;

    /// Returns a page of an organization's analyzers, newest first.
    async fn page_of_analyzers(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Analyzer>, StoreError>;

    /// Returns the organization's analyzers that are enabled.
    async fn enabled_analyzers(&self, organization: &OrganizationId) -> Result<Vec<Analyzer>, StoreError>;

    /// Replaces an analyzer, if its revision is still one less than the new one's, and keeps its version if it is new. `false`
    /// when it was changed meanwhile, or is gone.
    async fn replace_analyzer(&self, analyzer: &Analyzer) -> Result<bool, StoreError>;

    /// Removes an analyzer and what waits for it; versions and runs stay. `false` when there is none.
    async fn delete_analyzer(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError>;
}

const COLUMNS: &str = "a.organization_id, a.analyzer_id, a.name, a.agent_ids, a.enabled, a.version, a.created_at, a.updated_at, \
     a.revision, v.definition";

const FROM: &str = "from analyzers a join analyzer_versions v \
     on v.organization_id = a.organization_id and v.analyzer_id = a.analyzer_id and v.version = a.version";

fn read<E: Engine>(row: &E::Row) -> Result<Analyzer, StoreError> {
    let mut columns = Columns::<E>::of(row);
    let json = |text: &str| serde_json::from_str(text).map_err(|_| StoreError::Corrupt("an analyzer".to_owned()));
    Ok(Analyzer {
        organization_id: organization_of(&columns.text()?)?,
        analyzer_id: columns.id()?,
        name: columns.text()?,
        agent_ids: json(&columns.text()?)?,
        enabled: columns.bool()?,
        version: version_of(columns.int()?),
        created_at: time_of(columns.int()?),
        updated_at: time_of(columns.int()?),
        revision: version_of(columns.int()?),
        definition: read_definition(&columns.text()?)?,
    })
}

fn read_definition(text: &str) -> Result<Definition, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("what an analyzer asks".to_owned()))
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("an analyzer that cannot be written".to_owned()))
}

async fn keep_version<E: Engine>(connection: &mut E::Connection, analyzer: &Analyzer) -> Result<(), StoreError> {
    let definition = json(&analyzer.definition)?;
    let [organization, id] = key(&analyzer.organization_id, analyzer.analyzer_id);
    let values = [
        organization,
        id,
        Value::Int(analyzer.version.into()),
        Value::Text(&definition),
        Value::Int(analyzer.updated_at.as_millis()),
    ];
    let sql = "insert into analyzer_versions (organization_id, analyzer_id, version, definition, created_at) \
         values ($1, $2, $3, $4, $5) on conflict do nothing";
    E::execute(connection, sql, &values, None).await?;
    Ok(())
}

#[async_trait]
impl<E: Engine> Analyzers for SqlStore<E> {
    async fn create_analyzer(&self, analyzer: &Analyzer, limit: u32) -> Result<bool, StoreError> {
        let agents = json(&analyzer.agent_ids)?;
        let [organization, id] = key(&analyzer.organization_id, analyzer.analyzer_id);
        let values = [
            organization,
            id,
            Value::Text(&analyzer.name),
            Value::Text(&agents),
            Value::Bool(analyzer.enabled),
            Value::Int(analyzer.version.into()),
            Value::Int(analyzer.created_at.as_millis()),
            Value::Int(analyzer.updated_at.as_millis()),
            Value::Int(analyzer.revision.into()),
            Value::Int(limit.into()),
        ];
        let sql = "insert into analyzers ( \
                 organization_id, analyzer_id, name, agent_ids, enabled, version, created_at, updated_at, revision) \
             select $1, $2, $3, $4, $5, $6, $7, $8, $9 \
             where (select count(*) from analyzers where organization_id = $1) < $10";
        let mut tx = E::begin(&self.writer).await?;
        if E::execute(&mut tx, sql, &values, None).await? == 0 {
            return Ok(false);
        }
        keep_version::<E>(&mut tx, analyzer).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn analyzer(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Analyzer>, StoreError> {
        let sql = format!("select {COLUMNS} {FROM} where a.organization_id = $1 and a.analyzer_id = $2");
        let mut connection = self.readers.acquire().await?;
        E::query(&mut connection, &sql, &key(organization, id), None).await?.first().map(read::<E>).transpose()
    }

    async fn definition(&self, organization: &OrganizationId, id: Uuid, version: u32) -> Result<Option<Definition>, StoreError> {
        let sql = "select definition from analyzer_versions where organization_id = $1 and analyzer_id = $2 and version = $3";
        let [organization, id] = key(organization, id);
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, sql, &[organization, id, Value::Int(version.into())], None).await?;
        rows.first().map(|row| read_definition(&Columns::<E>::of(row).text()?)).transpose()
    }

    async fn page_of_analyzers(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Analyzer>, StoreError> {
        let mut values = vec![Value::Text(organization.as_str()), Value::Int(limit.into())];
        let mut place = "";
        if let Some(after) = after {
            place = "and (a.created_at, a.analyzer_id) < ($3, $4)";
            values.extend([Value::Int(after.at.as_millis()), Value::Id(after.id)]);
        }
        let sql = format!(
            "select {COLUMNS} {FROM} where a.organization_id = $1 {place} order by a.created_at desc, a.analyzer_id desc limit $2"
        );
        let mut connection = self.readers.acquire().await?;
        E::query(&mut connection, &sql, &values, None).await?.iter().map(read::<E>).collect()
    }

    async fn enabled_analyzers(&self, organization: &OrganizationId) -> Result<Vec<Analyzer>, StoreError> {
        let sql =
            format!("select {COLUMNS} {FROM} where a.organization_id = $1 and a.enabled order by a.created_at, a.analyzer_id");
        let mut connection = self.readers.acquire().await?;
        E::query(&mut connection, &sql, &[Value::Text(organization.as_str())], None).await?.iter().map(read::<E>).collect()
    }

    async fn replace_analyzer(&self, analyzer: &Analyzer) -> Result<bool, StoreError> {
        let agents = json(&analyzer.agent_ids)?;
        let [organization, id] = key(&analyzer.organization_id, analyzer.analyzer_id);
        let values = [
            organization,
            id,
            Value::Text(&analyzer.name),
            Value::Text(&agents),
            Value::Bool(analyzer.enabled),
            Value::Int(analyzer.version.into()),
            Value::Int(analyzer.updated_at.as_millis()),
            Value::Int(analyzer.revision.into()),
        ];
        let sql = "update analyzers set name = $3, agent_ids = $4, enabled = $5, version = $6, updated_at = $7, revision = $8 \
             where organization_id = $1 and analyzer_id = $2 and revision = $8 - 1";
        let mut tx = E::begin(&self.writer).await?;
        if E::execute(&mut tx, sql, &values, None).await? == 0 {
            return Ok(false);
        }
        keep_version::<E>(&mut tx, analyzer).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn delete_analyzer(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError> {
        let key = key(organization, id);
        let mut tx = E::begin(&self.writer).await?;
        let sql = "delete from analyzers where organization_id = $1 and analyzer_id = $2";
        if E::execute(&mut tx, sql, &key, None).await? == 0 {
            return Ok(false);
        }
        let sql = "delete from analyzer_queue where organization_id = $1 and analyzer_id = $2";
        E::execute(&mut tx, sql, &key, None).await?;
        let sql = "update analyzer_backfills set place = null where organization_id = $1 and analyzer_id = $2";
        E::execute(&mut tx, sql, &key, None).await?;
        tx.commit().await?;
        Ok(true)
    }
}
