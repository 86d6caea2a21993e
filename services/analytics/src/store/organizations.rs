//! Organizations in the store.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Timestamp};

use super::engine::{Columns, Engine, Rows, Value};
use super::sql::{SqlStore, organization_of};
use crate::organization::{AnalysisSettings, SettingsChange};

fn read_settings(text: Option<&str>) -> Result<AnalysisSettings, StoreError> {
    let Some(text) = text else { return Ok(AnalysisSettings::default()) };
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("the settings of an organization".to_owned()))
}

/// Notes organizations, if they are new. In the order of their names.
pub(super) async fn see<E: Engine>(
    connection: &mut E::Connection,
    organizations: &[OrganizationId],
    now: Timestamp,
) -> Result<(), StoreError> {
    if organizations.is_empty() {
        return Ok(());
    }
    let mut names: Vec<&str> = organizations.iter().map(OrganizationId::as_str).collect();
    names.sort_unstable();
    let sql = "with {k} insert into organizations (organization_id, seen_at) \
         select k.organization_id, cast($1 as bigint) from k where true on conflict do nothing";
    let rows = Rows::new(names.len()).text("organization_id", names.iter().copied());
    E::execute(connection, sql, &[Value::Int(now.as_millis())], Some(&rows)).await?;
    Ok(())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_settings(
        &self,
        organizations: &[OrganizationId],
    ) -> Result<HashMap<OrganizationId, AnalysisSettings>, StoreError> {
        let mut settings: HashMap<OrganizationId, AnalysisSettings> =
            organizations.iter().map(|organization| (organization.clone(), AnalysisSettings::default())).collect();
        let rows = Rows::new(organizations.len()).text("organization_id", organizations.iter().map(OrganizationId::as_str));
        let sql = "with {k} select organization_id, settings from organizations \
             where settings is not null and organization_id in (select k.organization_id from k)";
        let mut connection = self.readers.acquire().await?;
        for row in &E::query(&mut connection, sql, &[], Some(&rows)).await? {
            let mut columns = Columns::<E>::of(row);
            let organization = organization_of(&columns.text()?)?;
            settings.insert(organization, read_settings(columns.opt_text()?.as_deref())?);
        }
        Ok(settings)
    }

    pub(super) async fn write_settings(
        &self,
        organization: &OrganizationId,
        change: SettingsChange,
        now: Timestamp,
    ) -> Result<AnalysisSettings, StoreError> {
        let mut transaction = E::begin(&self.writer).await?;
        see::<E>(&mut transaction, std::slice::from_ref(organization), now).await?;
        let name = Value::Text(organization.as_str());
        let sql = format!("select settings from organizations where organization_id = $1 {}", E::FOR_UPDATE);
        let rows = E::query(&mut transaction, &sql, &[name], None).await?;
        let kept = rows.first().map(|row| Columns::<E>::of(row).opt_text()).transpose()?.flatten();
        let settings = change.applied_to(read_settings(kept.as_deref())?);
        let text =
            serde_json::to_string(&settings).map_err(|_| StoreError::Corrupt("the settings of an organization".to_owned()))?;
        let sql = "update organizations set settings = $2 where organization_id = $1";
        E::execute(&mut transaction, sql, &[name, Value::Text(&text)], None).await?;
        transaction.commit().await?;
        Ok(settings)
    }
}
