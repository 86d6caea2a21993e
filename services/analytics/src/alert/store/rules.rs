//! Rules in the store.

use colloquy_proto::analytics::v1 as pb;
use colloquy_service::FieldErrors;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{OrganizationId, Timestamp};
use prost::Message;
use uuid::Uuid;

use super::alerts::resolve;
use super::sql::{SqlStore, corrupt, key, opt_time, organization_of, places, time_of};
use super::states::{begin_state, change_state, end_state, open_alert, read_standing};
use super::{Place, Rule, Shown, merge};
use crate::alert::convert::{self, Identity};
use crate::alert::rule::Builtin;

const COLUMNS: &str = "organization_id, rule_id, definition, scope, enabled, live_after_ms, renotify_after_ms, muted_until, builtin, \
     created_at, updated_at, revision, watches_from";
/// What is read of a rule: the definition says the rest.
const READ: &str = "r.organization_id, r.rule_id, r.definition, r.builtin, r.created_at, r.updated_at, r.revision, \
     r.watches_from";
/// Where it stands.
const STANDING: &str = "s.state, s.since, s.last_value";

fn read<E: Engine>(columns: &mut Columns<'_, E>) -> Result<Rule, StoreError> {
    let organization_id = organization_of(&columns.text()?)?;
    let rule_id = columns.id()?;
    let definition = columns.bytes()?;
    let builtin = columns.opt_text()?.and_then(|name| Builtin::named(&name));
    let (created_at, updated_at) = (time_of(columns.int()?), time_of(columns.int()?));
    let (revision, watches_from) = (columns.int()?, time_of(columns.int()?));
    let identity = Identity { organization_id, rule_id, builtin, watches_from, created_at, updated_at, revision };
    let definition = pb::AlertRule::decode(definition.as_slice()).map_err(|_| corrupt("a rule"))?;
    let mut errors = FieldErrors::new();
    convert::rule(definition, identity, "rule", &mut errors).ok_or_else(|| corrupt("a rule that this release does not know"))
}

fn shown<E: Engine>(row: &E::Row) -> Result<Shown, StoreError> {
    let mut columns = Columns::<E>::of(row);
    let rule = read::<E>(&mut columns)?;
    Ok((rule, read_standing(&mut columns)?))
}

/// Leaves out, and says so, what cannot be read: a rule of a newer release does not end the others.
fn readable(rule: Result<Rule, StoreError>) -> Option<Result<Rule, StoreError>> {
    if let Err(StoreError::Corrupt(what)) = &rule {
        tracing::error!("an alert rule is left out: {what}");
        return None;
    }
    Some(rule)
}

fn values<'a>(rule: &'a Rule, definition: &'a [u8]) -> Vec<Value<'a>> {
    vec![
        Value::Text(rule.organization_id.as_str()),
        Value::Id(rule.rule_id),
        Value::Bytes(definition),
        Value::Text(rule.scope().as_str()),
        Value::Bool(rule.enabled),
        Value::OptInt(rule.live_after_ms()),
        Value::OptInt(rule.renotify_after_ms),
        opt_time(rule.muted_until),
        Value::OptText(rule.builtin.map(Builtin::as_str)),
        Value::Int(rule.created_at.as_millis()),
        Value::Int(rule.updated_at.as_millis()),
        Value::Int(rule.revision),
        Value::Int(rule.watches_from.as_millis()),
    ]
}

async fn insert<E: Engine>(connection: &mut E::Connection, rule: &Rule) -> Result<(), StoreError> {
    let sql = format!("insert into alert_rules ({COLUMNS}) values ({})", places(13));
    let definition = convert::definition(rule).encode_to_vec();
    E::execute(connection, &sql, &values(rule, &definition), None).await?;
    if rule.metric.is_some() {
        begin_state::<E>(connection, rule).await?;
    }
    Ok(())
}

/// Notes that a rule changes. The first thing a transaction does: others of the organization wait for the row.
async fn note_change<E: Engine>(connection: &mut E::Connection, organization: &OrganizationId) -> Result<(), StoreError> {
    let sql = "update alert_organizations set version = version + 1 where organization_id = $1";
    E::execute(connection, sql, &[Value::Text(organization.as_str())], None).await?;
    Ok(())
}

/// Returns what people chose of a rule, as it is kept; nothing when it is gone.
async fn stored_definition<E: Engine>(connection: &mut E::Connection, rule: &Rule) -> Result<Vec<u8>, StoreError> {
    let sql = format!("select definition from alert_rules where organization_id = $1 and rule_id = $2 {}", E::FOR_UPDATE);
    let rows = E::query(connection, &sql, &key(&rule.organization_id, rule.rule_id), None).await?;
    Ok(rows.first().map(|row| Columns::<E>::of(row).bytes()).transpose()?.unwrap_or_default())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_version(&self, organization: &OrganizationId) -> Result<Option<i64>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let sql = "select version from alert_organizations where organization_id = $1";
        let rows = E::query(&mut connection, sql, &[Value::Text(organization.as_str())], None).await?;
        Ok(rows.first().map(|row| Columns::<E>::of(row).int()).transpose()?)
    }

    pub(super) async fn read_rules(&self, organization: &OrganizationId) -> Result<(i64, Vec<Rule>), StoreError> {
        let mut tx = E::begin_reading(&self.readers).await?;
        let organization = [Value::Text(organization.as_str())];
        let sql = "select version from alert_organizations where organization_id = $1";
        let version = E::query(&mut tx, sql, &organization, None).await?;
        let version = version.first().map_or(Ok(0), |row| Columns::<E>::of(row).int())?;
        let sql = format!("select {READ} from alert_rules r where r.organization_id = $1 order by r.created_at, r.rule_id");
        let rows = E::query(&mut tx, &sql, &organization, None).await?;
        tx.commit().await?;
        let rules = rows.iter().filter_map(|row| readable(read::<E>(&mut Columns::of(row))));
        Ok((version, rules.collect::<Result<_, _>>()?))
    }

    pub(super) async fn read_or_begin(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        let sql = "insert into alert_beginning (id, began_at) values (1, $1) on conflict do nothing";
        E::execute(&mut tx, sql, &[Value::Int(now.as_millis())], None).await?;
        let rows = E::query(&mut tx, "select began_at from alert_beginning where id = 1", &[], None).await?;
        tx.commit().await?;
        let began_at = rows.first().map(|row| Columns::<E>::of(row).int()).transpose()?;
        Ok(began_at.map_or(now, time_of))
    }

    pub(super) async fn insert_first_rules(&self, organization: &OrganizationId, first: &[Rule]) -> Result<(), StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        let sql = "insert into alert_organizations (organization_id, version) values ($1, 1) on conflict do nothing";
        if E::execute(&mut tx, sql, &[Value::Text(organization.as_str())], None).await? == 0 {
            return Ok(());
        }
        for rule in first {
            insert::<E>(&mut tx, rule).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn insert_rule(&self, rule: &Rule, limit: u32) -> Result<bool, StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        note_change::<E>(&mut tx, &rule.organization_id).await?;
        let sql = "select count(*) from alert_rules where organization_id = $1";
        let counted = E::query(&mut tx, sql, &[Value::Text(rule.organization_id.as_str())], None).await?;
        if counted.first().map_or(Ok(0), |row| Columns::<E>::of(row).int())? >= limit.into() {
            return Ok(false);
        }
        insert::<E>(&mut tx, rule).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn read_rule(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Shown>, StoreError> {
        let sql = format!(
            "select {READ}, {STANDING} from alert_rules r \
             left join alert_states s on s.organization_id = r.organization_id and s.rule_id = r.rule_id \
             where r.organization_id = $1 and r.rule_id = $2"
        );
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &key(organization, id), None).await?;
        rows.first().map(shown::<E>).transpose()
    }

    pub(super) async fn read_page_of_rules(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Shown>, StoreError> {
        let mut values = vec![Value::Text(organization.as_str()), Value::Int(limit.into())];
        let mut place = "";
        if let Some(after) = after {
            place = "and (r.created_at, r.rule_id) < ($3, $4)";
            values.extend([Value::Int(after.at.as_millis()), Value::Id(after.id)]);
        }
        let sql = format!(
            "select {READ}, {STANDING} from alert_rules r \
             left join alert_states s on s.organization_id = r.organization_id and s.rule_id = r.rule_id \
             where r.organization_id = $1 {place} order by r.created_at desc, r.rule_id desc limit $2"
        );
        let mut connection = self.readers.acquire().await?;
        E::query(&mut connection, &sql, &values, None).await?.iter().map(shown::<E>).collect()
    }

    pub(super) async fn update_rule(&self, before: &Rule, rule: &Rule) -> Result<bool, StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        note_change::<E>(&mut tx, &rule.organization_id).await?;
        let sets: Vec<String> = (COLUMNS.split(", ").enumerate())
            .filter(|(place, _)| *place > 1)
            .map(|(place, name)| format!("{name} = ${}", place + 1))
            .collect();
        let sql = format!(
            "update alert_rules set {} where organization_id = $1 and rule_id = $2 and revision = $12 - 1",
            sets.join(", ")
        );
        let definition = merge::changed(
            &stored_definition::<E>(&mut tx, rule).await?,
            &convert::definition(before).encode_to_vec(),
            &convert::definition(rule).encode_to_vec(),
        );
        if E::execute(&mut tx, &sql, &values(rule, &definition), None).await? == 0 {
            return Ok(false);
        }
        match (&before.metric, &rule.metric) {
            (None, None) => {}
            (None, Some(_)) => begin_state::<E>(&mut tx, rule).await?,
            // Nobody would find its window well any more.
            (Some(_), None) => {
                if let Some(alert) = open_alert::<E>(&mut tx, &rule.organization_id, rule.rule_id).await? {
                    resolve::<E>(&mut tx, &rule.organization_id, alert, rule.updated_at).await?;
                }
                end_state::<E>(&mut tx, &rule.organization_id, rule.rule_id).await?;
            }
            (Some(_), Some(_)) if before.enabled != rule.enabled || !before.watches_as(rule) => {
                change_state::<E>(&mut tx, rule).await?;
            }
            (Some(_), Some(_)) => {}
        }
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn remove_rule(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError> {
        let key = key(organization, id);
        let mut tx = E::begin(&self.writer).await?;
        note_change::<E>(&mut tx, organization).await?;
        let sql = "delete from alert_rules where organization_id = $1 and rule_id = $2";
        if E::execute(&mut tx, sql, &key, None).await? == 0 {
            return Ok(false);
        }
        end_state::<E>(&mut tx, organization, id).await?;
        tx.commit().await?;
        Ok(true)
    }
}
