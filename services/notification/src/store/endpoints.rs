//! Endpoints in the store.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::Place;
use super::engine::{Columns, Engine, Value};
use super::lanes::{Lane, settle};
use super::sql::{SqlStore, key, organization_of, time_of};
use crate::delivery::Status;
use crate::endpoint::{DisabledReason, Endpoint, Filter, Kind, PreviousSecret, SealedSecrets};

const COLUMNS: &str = "organization_id, endpoint_id, kind, url, description, event_types, agent_id, client_id, channel, ordered, \
     enabled, rate_limit, sealed_headers, header_names, secret, previous_secret, previous_secret_expires_at, older_secrets, \
     failing_since, disabled_reason, created_at, updated_at, revision";

fn word<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Result<T, StoreError> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| StoreError::Corrupt("a word of an endpoint".to_owned()))
}

fn list(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("a list of an endpoint".to_owned()))
}

/// Writes the previous secrets but the newest, which has columns of its own: there releases look for it that keep no more than one.
fn older_secrets(secrets: &SealedSecrets) -> Option<String> {
    let older = secrets.previous.get(1..).filter(|older| !older.is_empty())?;
    let older: Vec<(String, i64)> =
        older.iter().map(|secret| (STANDARD.encode(&secret.sealed), secret.expires_at.as_millis())).collect();
    Some(json!(older).to_string())
}

fn previous_secrets(
    newest: Option<Vec<u8>>,
    expires_at: Option<i64>,
    older: Option<String>,
) -> Result<Vec<PreviousSecret>, StoreError> {
    let corrupt = || StoreError::Corrupt("the secrets of an endpoint".to_owned());
    let older: Vec<(String, i64)> = older.map_or(Ok(Vec::new()), |older| serde_json::from_str(&older)).map_err(|_| corrupt())?;
    let newest = newest.zip(expires_at).map(|(sealed, at)| PreviousSecret { sealed, expires_at: time_of(at) });
    let mut previous: Vec<PreviousSecret> = newest.into_iter().collect();
    for (sealed, at) in older {
        let sealed = STANDARD.decode(sealed).map_err(|_| corrupt())?;
        previous.push(PreviousSecret { sealed, expires_at: time_of(at) });
    }
    Ok(previous)
}

fn read<E: Engine>(row: &E::Row) -> Result<Endpoint, StoreError> {
    let mut columns = Columns::<E>::of(row);
    Ok(Endpoint {
        organization_id: organization_of(&columns.text()?)?,
        endpoint_id: columns.id()?,
        kind: word(&Kind::ALL, Kind::as_str, &columns.text()?)?,
        url: columns.text()?,
        description: columns.text()?,
        event_types: list(&columns.text()?)?,
        filter: Filter { agent_id: columns.opt_text()?, client_id: columns.opt_text()?, channel: columns.opt_text()? },
        ordered: columns.bool()?,
        enabled: columns.bool()?,
        rate_limit: columns.opt_int()?.and_then(|limit| u32::try_from(limit).ok()).and_then(NonZeroU32::new),
        sealed_headers: columns.opt_bytes()?,
        header_names: list(&columns.text()?)?,
        secrets: SealedSecrets {
            current: columns.bytes()?,
            previous: previous_secrets(columns.opt_bytes()?, columns.opt_int()?, columns.opt_text()?)?,
        },
        failing_since: columns.opt_int()?.map(time_of),
        disabled_reason: (columns.opt_text()?)
            .map(|text| word(&[DisabledReason::Gone, DisabledReason::Failing], DisabledReason::as_str, &text))
            .transpose()?,
        created_at: time_of(columns.int()?),
        updated_at: time_of(columns.int()?),
        revision: columns.int()?,
    })
}

/// The lists of an endpoint, as they are kept.
struct Lists {
    event_types: String,
    header_names: String,
    older_secrets: Option<String>,
}

impl Lists {
    fn of(endpoint: &Endpoint) -> Self {
        let json = |list: &[String]| serde_json::Value::from(list).to_string();
        Self {
            event_types: json(&endpoint.event_types),
            header_names: json(&endpoint.header_names),
            older_secrets: older_secrets(&endpoint.secrets),
        }
    }
}

fn values<'a>(endpoint: &'a Endpoint, lists: &'a Lists) -> Vec<Value<'a>> {
    let time = |time: Option<Timestamp>| Value::OptInt(time.map(Timestamp::as_millis));
    let previous = endpoint.secrets.previous.first();
    vec![
        Value::Text(endpoint.organization_id.as_str()),
        Value::Id(endpoint.endpoint_id),
        Value::Text(endpoint.kind.as_str()),
        Value::Text(&endpoint.url),
        Value::Text(&endpoint.description),
        Value::Text(&lists.event_types),
        Value::OptText(endpoint.filter.agent_id.as_deref()),
        Value::OptText(endpoint.filter.client_id.as_deref()),
        Value::OptText(endpoint.filter.channel.as_deref()),
        Value::Bool(endpoint.ordered),
        Value::Bool(endpoint.enabled),
        Value::OptInt(endpoint.rate_limit.map(|limit| limit.get().into())),
        Value::OptBytes(endpoint.sealed_headers.as_deref()),
        Value::Text(&lists.header_names),
        Value::Bytes(&endpoint.secrets.current),
        Value::OptBytes(previous.map(|previous| previous.sealed.as_slice())),
        time(previous.map(|previous| previous.expires_at)),
        Value::OptText(lists.older_secrets.as_deref()),
        time(endpoint.failing_since),
        Value::OptText(endpoint.disabled_reason.map(DisabledReason::as_str)),
        Value::Int(endpoint.created_at.as_millis()),
        Value::Int(endpoint.updated_at.as_millis()),
        Value::Int(endpoint.revision),
    ]
}

/// Notes that an endpoint changed. The last thing a transaction does: others wait for the row.
pub(super) async fn note_change<E: Engine>(connection: &mut E::Connection) -> Result<(), StoreError> {
    E::execute(connection, "update endpoints_version set version = version + 1 where id = 1", &[], None).await?;
    Ok(())
}

/// Ends everything that is pending for an endpoint.
async fn fail_pending<E: Engine>(connection: &mut E::Connection, key: &[Value<'_>; 2], at: Timestamp) -> Result<(), StoreError> {
    let failed = "insert into ended (organization_id, endpoint_id, delivery_id, message_id, conversation_id, position, event_type, \
             status, schedule_attempts, attempt_count, created_at, ended_at, attempts) \
         select organization_id, endpoint_id, delivery_id, message_id, conversation_id, position, event_type, \
             $3, schedule_attempts, attempt_count, created_at, cast($4 as bigint), attempts \
         from pending \
         where organization_id = $1 and endpoint_id = $2 \
         on conflict do nothing";
    let values = [key[0], key[1], Value::Text(Status::Failed.as_str()), Value::Int(at.as_millis())];
    E::execute(connection, failed, &values, None).await?;
    E::execute(connection, "delete from pending where organization_id = $1 and endpoint_id = $2", key, None).await?;
    Ok(())
}

/// Makes an endpoint's pending deliveries wait for each other, or no longer.
async fn change_order<E: Engine>(
    connection: &mut E::Connection,
    endpoint: &Endpoint,
    key: &[Value<'_>; 2],
) -> Result<(), StoreError> {
    if !endpoint.ordered {
        let sql = "update pending set ordered = false, beyond = false, due_at = coalesce(due_at, next_attempt_at) \
             where organization_id = $1 and endpoint_id = $2";
        E::execute(connection, sql, key, None).await?;
        return Ok(());
    }
    // What somebody holds is due when the claim runs out; its lane waits for it.
    let sql = format!(
        "update pending set ordered = true, due_at = case when due_at = next_attempt_at then null else due_at end \
         where organization_id = $1 and endpoint_id = $2 and conversation_id <> {} \
         returning conversation_id",
        E::NIL
    );
    let rows = E::query(connection, &sql, key, None).await?;
    let mut lanes = Vec::with_capacity(rows.len());
    for row in &rows {
        lanes.push(Lane::new(&endpoint.organization_id, endpoint.endpoint_id, Columns::<E>::of(row).id()?));
    }
    settle::<E>(connection, lanes, None, None).await?;
    Ok(())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn insert_endpoint(&self, endpoint: &Endpoint, limit: u32) -> Result<bool, StoreError> {
        let mut tx = E::begin_alone(&self.writer).await?;
        let organization = [Value::Text(endpoint.organization_id.as_str())];
        let counted = E::query(&mut tx, "select count(*) from endpoints where organization_id = $1", &organization, None).await?;
        let count = counted.first().map_or(Ok(0), |row| Columns::<E>::of(row).int())?;
        if count >= limit.into() {
            return Ok(false);
        }
        let places: Vec<String> = (1..=COLUMNS.split(',').count()).map(|place| format!("${place}")).collect();
        let sql = format!("insert into endpoints ({COLUMNS}) values ({})", places.join(", "));
        E::execute(&mut tx, &sql, &values(endpoint, &Lists::of(endpoint)), None).await?;
        note_change::<E>(&mut tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn read_endpoint(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Endpoint>, StoreError> {
        let sql = format!("select {COLUMNS} from endpoints where organization_id = $1 and endpoint_id = $2");
        let mut connection = self.readers.acquire().await?;
        E::query(&mut connection, &sql, &key(organization, id), None).await?.first().map(read::<E>).transpose()
    }

    pub(super) async fn read_page_of_endpoints(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Endpoint>, StoreError> {
        let mut values = vec![Value::Text(organization.as_str()), Value::Int(limit.into())];
        let mut place = "";
        if let Some(after) = after {
            place = "and (created_at, endpoint_id) < ($3, $4)";
            values.extend([Value::Int(after.created_at.as_millis()), Value::Id(after.id)]);
        }
        let sql = format!(
            "select {COLUMNS} from endpoints where organization_id = $1 {place} order by created_at desc, endpoint_id desc limit $2"
        );
        let mut connection = self.readers.acquire().await?;
        E::query(&mut connection, &sql, &values, None).await?.iter().map(read::<E>).collect()
    }

    pub(super) async fn read_enabled_endpoints(&self) -> Result<(i64, Vec<Endpoint>), StoreError> {
        let mut tx = E::begin_reading(&self.readers).await?;
        let version = read_version::<E>(&mut tx).await?;
        let rows = E::query(&mut tx, &format!("select {COLUMNS} from endpoints where enabled"), &[], None).await?;
        tx.commit().await?;
        Ok((version, rows.iter().map(read::<E>).collect::<Result<_, _>>()?))
    }

    pub(super) async fn read_endpoints_version(&self) -> Result<i64, StoreError> {
        let mut connection = self.readers.acquire().await?;
        read_version::<E>(&mut connection).await
    }

    pub(super) async fn update_endpoint(&self, endpoint: &Endpoint) -> Result<bool, StoreError> {
        let key = key(&endpoint.organization_id, endpoint.endpoint_id);
        let mut tx = E::begin_alone(&self.writer).await?;
        let before = "select enabled, ordered from endpoints where organization_id = $1 and endpoint_id = $2";
        let rows = E::query(&mut tx, before, &key, None).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let mut columns = Columns::<E>::of(row);
        let (was_enabled, was_ordered) = (columns.bool()?, columns.bool()?);
        // Since when it fails is what the workers note; a person only ends it, by enabling the endpoint again.
        let sets: Vec<String> = (COLUMNS.split(", ").map(str::trim).enumerate())
            .filter(|(place, name)| *place > 1 && *name != "failing_since")
            .map(|(place, name)| format!("{name} = ${}", place + 1))
            .collect();
        let sql = format!(
            "update endpoints set {}, failing_since = case when enabled then failing_since else $19 end \
             where organization_id = $1 and endpoint_id = $2 and revision = $23 - 1",
            sets.join(", ")
        );
        if E::execute(&mut tx, &sql, &values(endpoint, &Lists::of(endpoint)), None).await? == 0 {
            return Ok(false);
        }
        if was_enabled && !endpoint.enabled {
            fail_pending::<E>(&mut tx, &key, endpoint.updated_at).await?;
        } else if was_ordered != endpoint.ordered {
            change_order::<E>(&mut tx, endpoint, &key).await?;
        }
        note_change::<E>(&mut tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Its deliveries may be many: from now on nobody sees or claims them, and they are removed little by little.
    pub(super) async fn remove_endpoint(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError> {
        let key = key(organization, id);
        let mut tx = E::begin_alone(&self.writer).await?;
        let sql = "delete from endpoints where organization_id = $1 and endpoint_id = $2";
        if E::execute(&mut tx, sql, &key, None).await? == 0 {
            return Ok(false);
        }
        let sql = "insert into gone_endpoints (organization_id, endpoint_id) values ($1, $2) on conflict do nothing";
        E::execute(&mut tx, sql, &key, None).await?;
        E::execute(&mut tx, "delete from replays where organization_id = $1 and endpoint_id = $2", &key, None).await?;
        note_change::<E>(&mut tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn disable(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        reason: DisabledReason,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let key = key(organization, id);
        let mut tx = E::begin_alone(&self.writer).await?;
        let sql = "update endpoints set enabled = false, disabled_reason = $3 \
             where organization_id = $1 and endpoint_id = $2 and enabled";
        if E::execute(&mut tx, sql, &[key[0], key[1], Value::Text(reason.as_str())], None).await? == 0 {
            return Ok(false);
        }
        fail_pending::<E>(&mut tx, &key, at).await?;
        note_change::<E>(&mut tx).await?;
        tx.commit().await?;
        Ok(true)
    }
}

async fn read_version<E: Engine>(connection: &mut E::Connection) -> Result<i64, StoreError> {
    let rows = E::query(connection, "select version from endpoints_version where id = 1", &[], None).await?;
    Ok(rows.first().map_or(Ok(0), |row| Columns::<E>::of(row).int())?)
}
