//! Alerts in the store.

use colloquy_events::{JsonMap, Severity};
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Rows, Value};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use uuid::Uuid;

use super::outbox::tell;
use super::sql::{SqlStore, corrupt, key, opt_time, organization_of, places, time_of};
use super::{Alert, Handling, Place, Wanted};
use crate::alert::alert::{About, MOST_CONVERSATIONS};

const COLUMNS: &str = "organization_id, alert_id, rule_id, rule_name, severity, conversation_id, provider, external_id, state, \
     opened_at, evidence, conversation_count, conversation_ids, acknowledged_at, resolved_at, renotified_at, renotified, told_at";
const COUNT: usize = 18;

fn read<E: Engine>(row: &E::Row) -> Result<Alert, StoreError> {
    let mut columns = Columns::<E>::of(row);
    let organization_id = organization_of(&columns.text()?)?;
    let (alert_id, rule_id, rule_name) = (columns.id()?, columns.id()?, columns.text()?);
    let severity: Severity = columns.text()?.parse().map_err(|_| corrupt("a severity"))?;
    let (conversation, provider, external_id) = (columns.opt_id()?, columns.opt_text()?, columns.opt_text()?);
    let about = match (conversation, provider) {
        (Some(id), Some(provider)) => About::Conversation {
            id: ConversationId(id),
            provider: provider.parse().map_err(|_| corrupt("a provider"))?,
            external_id: external_id.unwrap_or_default(),
        },
        _ => About::Window,
    };
    Ok(Alert {
        organization_id,
        alert_id,
        rule_id,
        rule_name,
        severity,
        about,
        state: Handling::named(&columns.text()?).ok_or_else(|| corrupt("a state of an alert"))?,
        opened_at: time_of(columns.int()?),
        evidence: serde_json::from_str::<JsonMap>(&columns.text()?).map_err(|_| corrupt("evidence"))?,
        conversation_count: columns.int()?.unsigned_abs(),
        conversation_ids: ids_of(&columns.bytes()?),
        acknowledged_at: columns.opt_int()?.map(time_of),
        resolved_at: columns.opt_int()?.map(time_of),
        renotified_at: columns.opt_int()?.map(time_of),
        renotified: u32::try_from(columns.int()?).unwrap_or(u32::MAX),
    })
}

fn ids_of(bytes: &[u8]) -> Vec<ConversationId> {
    bytes.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).map(ConversationId).collect()
}

/// Keeps an alert with the event that tells of it. `false` when it is there already.
pub(super) async fn insert_alert<E: Engine>(connection: &mut E::Connection, alert: &Alert) -> Result<bool, StoreError> {
    let evidence = serde_json::Value::Object(alert.evidence.clone()).to_string();
    let ids: Vec<u8> = alert.conversation_ids.iter().take(MOST_CONVERSATIONS).flat_map(|id| id.as_bytes()).copied().collect();
    let (conversation, provider, external_id) = match &alert.about {
        About::Conversation { id, provider, external_id } => (Some(id.0), Some(provider.as_str()), Some(external_id.as_str())),
        About::Window => (None, None, None),
    };
    let values = [
        Value::Text(alert.organization_id.as_str()),
        Value::Id(alert.alert_id),
        Value::Id(alert.rule_id),
        Value::Text(&alert.rule_name),
        Value::Text(alert.severity.as_str()),
        Value::OptId(conversation),
        Value::OptText(provider),
        Value::OptText(external_id),
        Value::Text(alert.state.as_str()),
        Value::Int(alert.opened_at.as_millis()),
        Value::Text(&evidence),
        Value::Int(i64::try_from(alert.conversation_count).unwrap_or(i64::MAX)),
        Value::Bytes(&ids),
        opt_time(alert.acknowledged_at),
        opt_time(alert.resolved_at),
        opt_time(alert.renotified_at),
        Value::Int(alert.renotified.into()),
        Value::Int(alert.opened_at.as_millis()),
    ];
    let sql = format!("insert into alerts ({COLUMNS}) values ({}) on conflict do nothing", places(COUNT));
    if E::execute(connection, &sql, &values, None).await? == 0 {
        return Ok(false);
    }
    tell::<E>(connection, &alert.organization_id, alert.opened(), alert.opened_at).await?;
    Ok(true)
}

async fn lock<E: Engine>(
    connection: &mut E::Connection,
    organization: &OrganizationId,
    id: Uuid,
) -> Result<Option<Alert>, StoreError> {
    let sql = format!("select {COLUMNS} from alerts where organization_id = $1 and alert_id = $2 {}", E::FOR_UPDATE);
    let rows = E::query(connection, &sql, &key(organization, id), None).await?;
    rows.first().map(read::<E>).transpose()
}

/// Resolves an alert, unless it is resolved or gone; returns it as it is then.
pub(super) async fn resolve<E: Engine>(
    connection: &mut E::Connection,
    organization: &OrganizationId,
    id: Uuid,
    at: Timestamp,
) -> Result<Option<Alert>, StoreError> {
    let Some(mut alert) = lock::<E>(connection, organization, id).await? else { return Ok(None) };
    if alert.state == Handling::Resolved {
        return Ok(Some(alert));
    }
    let sql = "update alerts set state = $3, resolved_at = $4 where organization_id = $1 and alert_id = $2";
    let [organization_key, id] = key(organization, id);
    let values = [organization_key, id, Value::Text(Handling::Resolved.as_str()), Value::Int(at.as_millis())];
    E::execute(connection, sql, &values, None).await?;
    alert.state = Handling::Resolved;
    alert.resolved_at = Some(at);
    tell::<E>(connection, organization, alert.resolved(at), at).await?;
    Ok(Some(alert))
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_raised(&self, organization: &OrganizationId, alerts: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let rows = Rows::new(alerts.len()).id("alert_id", alerts.iter().copied());
        let sql =
            "with {k} select a.alert_id from k cross join alerts a where a.organization_id = $1 and a.alert_id = k.alert_id";
        let mut connection = self.readers.acquire().await?;
        let found = E::query(&mut connection, sql, &[Value::Text(organization.as_str())], Some(&rows)).await?;
        Ok(found.iter().map(|row| Columns::<E>::of(row).id()).collect::<Result<_, _>>()?)
    }

    pub(super) async fn insert_alerts(&self, alerts: &[Alert]) -> Result<Vec<Uuid>, StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        let mut new = Vec::new();
        for alert in alerts {
            if insert_alert::<E>(&mut tx, alert).await? {
                new.push(alert.alert_id);
            }
        }
        tx.commit().await?;
        Ok(new)
    }

    pub(super) async fn read_alert(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Alert>, StoreError> {
        let sql = format!("select {COLUMNS} from alerts where organization_id = $1 and alert_id = $2");
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &key(organization, id), None).await?;
        rows.first().map(read::<E>).transpose()
    }

    pub(super) async fn read_page_of_alerts(
        &self,
        organization: &OrganizationId,
        wanted: &Wanted,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Alert>, StoreError> {
        let mut values = vec![Value::Text(organization.as_str()), Value::Int(limit.into())];
        let mut conditions = String::new();
        let mut also = |name: &str, value| {
            values.push(value);
            conditions.push_str(&format!(" and {name} = ${}", values.len()));
        };
        if let Some(rule) = wanted.rule_id {
            also("rule_id", Value::Id(rule));
        }
        if let Some(state) = wanted.state {
            also("state", Value::Text(state.as_str()));
        }
        if let Some(conversation) = wanted.conversation_id {
            also("conversation_id", Value::Id(conversation.0));
        }
        if let Some(severity) = wanted.severity {
            also("severity", Value::Text(severity.as_str()));
        }
        if let Some(after) = after {
            values.extend([Value::Int(after.at.as_millis()), Value::Id(after.id)]);
            conditions.push_str(&format!(" and (opened_at, alert_id) < (${}, ${})", values.len() - 1, values.len()));
        }
        let sql = format!(
            "select {COLUMNS} from alerts where organization_id = $1{conditions} \
             order by opened_at desc, alert_id desc limit $2"
        );
        let mut connection = self.readers.acquire().await?;
        E::query(&mut connection, &sql, &values, None).await?.iter().map(read::<E>).collect()
    }

    pub(super) async fn write_handling(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        to: Handling,
        at: Timestamp,
    ) -> Result<Option<Alert>, StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        let alert = match to {
            Handling::Resolved => {
                let alert = resolve::<E>(&mut tx, organization, id, at).await?;
                // It stays quiet until the value was good again.
                let sql = "update alert_states set alert_id = null where organization_id = $1 and alert_id = $2";
                E::execute(&mut tx, sql, &key(organization, id), None).await?;
                alert
            }
            Handling::Open | Handling::Acknowledged => {
                let Some(mut alert) = lock::<E>(&mut tx, organization, id).await? else { return Ok(None) };
                if alert.state == Handling::Open && to == Handling::Acknowledged {
                    let sql = "update alerts set state = $3, acknowledged_at = $4 where organization_id = $1 and alert_id = $2";
                    let [organization_key, id] = key(organization, id);
                    let values = [organization_key, id, Value::Text(to.as_str()), Value::Int(at.as_millis())];
                    E::execute(&mut tx, sql, &values, None).await?;
                    alert.state = to;
                    alert.acknowledged_at = Some(at);
                    tell::<E>(&mut tx, organization, alert.acknowledged(at), at).await?;
                }
                Some(alert)
            }
        };
        tx.commit().await?;
        Ok(alert)
    }

    pub(super) async fn read_untold(&self, now: Timestamp, limit: u32) -> Result<Vec<Alert>, StoreError> {
        let columns = COLUMNS.split(", ").map(|name| format!("a.{name}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "select {columns} from alert_rules r \
             join alerts a on a.organization_id = r.organization_id and a.rule_id = r.rule_id and a.state = 'open' \
                 and a.told_at <= $1 - r.renotify_after_ms \
             where r.renotify_after_ms is not null and r.enabled and (r.muted_until is null or r.muted_until <= $1) \
             order by a.told_at limit $2"
        );
        let mut connection = self.readers.acquire().await?;
        let values = [Value::Int(now.as_millis()), Value::Int(limit.into())];
        E::query(&mut connection, &sql, &values, None).await?.iter().map(read::<E>).collect()
    }

    pub(super) async fn write_renotified(&self, alert: &Alert, at: Timestamp) -> Result<bool, StoreError> {
        let number = alert.renotified.saturating_add(1);
        let sql = "update alerts set renotified = $3, renotified_at = $4, told_at = $4 \
             where organization_id = $1 and alert_id = $2 and state = 'open' and renotified = $5";
        let [organization, id] = key(&alert.organization_id, alert.alert_id);
        let values =
            [organization, id, Value::Int(number.into()), Value::Int(at.as_millis()), Value::Int(alert.renotified.into())];
        let mut tx = E::begin(&self.writer).await?;
        if E::execute(&mut tx, sql, &values, None).await? == 0 {
            return Ok(false);
        }
        tell::<E>(&mut tx, &alert.organization_id, alert.renotified(number, at), at).await?;
        tx.commit().await?;
        Ok(true)
    }
}
