//! Where rules over a window stand, in the store.

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

use super::alerts::{insert_alert, resolve};
use super::sql::{SqlStore, corrupt, key, opt_time, organization_of, time_of};
use super::{Due, Look, Rule, Standing, State};

fn state_of(name: &str) -> Result<State, StoreError> {
    State::named(name).ok_or_else(|| corrupt("a state"))
}

/// Reads where a rule stands, if it is one that stands somewhere.
pub(super) fn read_standing<E: Engine>(columns: &mut Columns<'_, E>) -> Result<Option<Standing>, StoreError> {
    let Some(state) = columns.opt_text()? else { return Ok(None) };
    let since = time_of(columns.int()?);
    Ok(Some(Standing { state: state_of(&state)?, since, last_value: columns.opt_real()? }))
}

/// Where a rule stands that begins to look, or ceases to; when it looked last, and when it looks next.
fn first_look(rule: &Rule) -> (State, Timestamp, Option<Timestamp>) {
    let now = rule.updated_at;
    let Some(metric) = rule.metric.as_ref() else { return (State::Unknown, now, None) };
    let last = metric.tick_before(now);
    if rule.enabled {
        (State::Unknown, last, Some(last.saturating_add_millis(metric.step_ms())))
    } else {
        (State::Paused, last, None)
    }
}

/// Begins to keep where a new rule stands.
pub(super) async fn begin_state<E: Engine>(connection: &mut E::Connection, rule: &Rule) -> Result<(), StoreError> {
    let (state, last, next) = first_look(rule);
    let sql = "insert into alert_states \
             (organization_id, rule_id, state, since, is_bad, owed, evaluated_until, due_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)";
    let [organization, id] = key(&rule.organization_id, rule.rule_id);
    let values = [
        organization,
        id,
        Value::Text(state.as_str()),
        Value::Int(rule.updated_at.as_millis()),
        Value::Bool(false),
        Value::Bool(false),
        Value::Int(last.as_millis()),
        opt_time(next),
    ];
    E::execute(connection, sql, &values, None).await?;
    Ok(())
}

/// Returns the alert that a rule over a window has raised and that has not recovered.
pub(super) async fn open_alert<E: Engine>(
    connection: &mut E::Connection,
    organization: &OrganizationId,
    id: Uuid,
) -> Result<Option<Uuid>, StoreError> {
    let sql = format!("select alert_id from alert_states where organization_id = $1 and rule_id = $2 {}", E::FOR_UPDATE);
    let rows = E::query(connection, &sql, &key(organization, id), None).await?;
    Ok(rows.first().map(|row| Columns::<E>::of(row).opt_id()).transpose()?.flatten())
}

/// Ceases to keep where a rule stands.
pub(super) async fn end_state<E: Engine>(
    connection: &mut E::Connection,
    organization: &OrganizationId,
    id: Uuid,
) -> Result<(), StoreError> {
    let sql = "delete from alert_states where organization_id = $1 and rule_id = $2";
    E::execute(connection, sql, &key(organization, id), None).await?;
    Ok(())
}

/// Begins anew. An alert that is open stays open, and is resolved by the first look that finds all well.
pub(super) async fn change_state<E: Engine>(connection: &mut E::Connection, rule: &Rule) -> Result<(), StoreError> {
    let (state, last, next) = first_look(rule);
    let sql = "update alert_states \
         set state = $3, since = $4, last_value = null, is_bad = $5, owed = $5, evaluated_until = $6, due_at = $7 \
         where organization_id = $1 and rule_id = $2";
    let [organization, id] = key(&rule.organization_id, rule.rule_id);
    let values = [
        organization,
        id,
        Value::Text(state.as_str()),
        Value::Int(rule.updated_at.as_millis()),
        Value::Bool(false),
        Value::Int(last.as_millis()),
        opt_time(next),
    ];
    E::execute(connection, sql, &values, None).await?;
    Ok(())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, StoreError> {
        let sql = "select organization_id, rule_id, due_at, evaluated_until, state, since, last_value, is_bad, alert_id, owed \
             from alert_states where due_at is not null and due_at <= $1 order by due_at limit $2";
        let mut connection = self.readers.acquire().await?;
        let values = [Value::Int(now.as_millis()), Value::Int(limit.into())];
        let rows = E::query(&mut connection, sql, &values, None).await?;
        let read = |row| {
            let mut columns = Columns::<E>::of(row);
            Ok(Due {
                organization_id: organization_of(&columns.text()?)?,
                rule_id: columns.id()?,
                due_at: time_of(columns.int()?),
                evaluated_until: time_of(columns.int()?),
                standing: read_standing(&mut columns)?.ok_or_else(|| corrupt("a state"))?,
                is_bad: columns.bool()?,
                alert_id: columns.opt_id()?,
                owed: columns.bool()?,
            })
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn claim_due(&self, due: &Due, until: Timestamp) -> Result<bool, StoreError> {
        let sql = "update alert_states set due_at = $4 where organization_id = $1 and rule_id = $2 and due_at = $3";
        let [organization, id] = key(&due.organization_id, due.rule_id);
        let values = [organization, id, Value::Int(due.due_at.as_millis()), Value::Int(until.as_millis())];
        let mut connection = self.writer.acquire().await?;
        Ok(E::execute(&mut connection, sql, &values, None).await? > 0)
    }

    pub(super) async fn write_look(&self, look: &Look) -> Result<bool, StoreError> {
        let due = &look.due;
        let since = if look.state == due.standing.state { due.standing.since } else { look.at };
        let alert_id = match (&look.opened, look.resolves) {
            (Some(opened), _) => Some(opened.alert_id),
            (None, true) => None,
            (None, false) => due.alert_id,
        };
        let sql = "update alert_states \
             set state = $3, since = $4, last_value = $5, is_bad = $6, owed = $7, alert_id = $8, evaluated_until = $9, due_at = $10 \
             where organization_id = $1 and rule_id = $2 and evaluated_until = $11 and due_at is not null and exists ( \
                 select 1 from alert_rules r \
                 where r.organization_id = $1 and r.rule_id = $2 and r.revision = $12 and r.enabled)";
        let [organization, id] = key(&due.organization_id, due.rule_id);
        let values = [
            organization,
            id,
            Value::Text(look.state.as_str()),
            Value::Int(since.as_millis()),
            Value::OptReal(look.value.filter(|value| value.is_finite())),
            Value::Bool(look.is_bad),
            Value::Bool(look.owed),
            Value::OptId(alert_id),
            Value::Int(look.until.as_millis()),
            Value::Int(look.next_at.as_millis()),
            Value::Int(due.evaluated_until.as_millis()),
            Value::Int(look.revision),
        ];
        let mut tx = E::begin(&self.writer).await?;
        if E::execute(&mut tx, sql, &values, None).await? == 0 {
            return Ok(false);
        }
        if let Some(alert_id) = due.alert_id.filter(|_| look.resolves) {
            resolve::<E>(&mut tx, &due.organization_id, alert_id, look.at).await?;
        }
        if let Some(alert) = &look.opened {
            insert_alert::<E>(&mut tx, alert).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
