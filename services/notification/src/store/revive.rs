//! Deliveries that ended and are due again, and that wait and are due at once.

use std::collections::BTreeSet;

use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Timestamp};
use uuid::Uuid;

use super::attempts;
use super::engine::{Columns, Engine, Rows, Value};
use super::lanes::{Lane, ordered_sql, settle};
use super::listing::event_types;
use super::sql::{SqlStore, key};
use crate::delivery::Status;

/// How many are held in memory at a time: an endpoint can have missed any number.
const AT_ONCE: u64 = 1_000;

/// What is due again.
#[derive(Default)]
pub(super) struct Revived {
    pub(super) count: u64,
    pub(super) lanes: Vec<Lane>,
}

/// How the copy of an ended delivery begins in `pending`, from `d`, for the endpoint `e`, due at `$1`.
fn copy_sql<E: Engine>() -> String {
    let ordered = ordered_sql::<E>("d");
    format!(
        "insert into pending (organization_id, endpoint_id, delivery_id, message_id, conversation_id, position, event_type, \
         schedule_attempts, attempt_count, next_attempt_at, due_at, ordered, beyond, created_at, attempts) \
     select d.organization_id, d.endpoint_id, d.delivery_id, d.message_id, d.conversation_id, d.position, d.event_type, \
         0, d.attempt_count, cast($1 as bigint), case when {ordered} then null else cast($1 as bigint) end, {ordered}, false, \
         d.created_at, d.attempts"
    )
}

const RETURNING: &str = "on conflict do nothing \
     returning organization_id, endpoint_id, conversation_id, delivery_id, ordered, attempt_count";

/// Makes due again what has ended of the deliveries in `keys`, to endpoints that are enabled. Their lanes are still to be settled.
pub(super) async fn those<E: Engine>(
    connection: &mut E::Connection,
    keys: &Rows<'_>,
    now: Timestamp,
) -> Result<Revived, StoreError> {
    let copy = copy_sql::<E>();
    let sql = format!(
        "with {{k}} {copy} \
         from k cross join ended d cross join endpoints e \
         where d.organization_id = k.organization_id and d.endpoint_id = k.endpoint_id and d.delivery_id = k.delivery_id \
             and e.organization_id = k.organization_id and e.endpoint_id = k.endpoint_id and e.enabled \
         {RETURNING}"
    );
    let copied = E::query(connection, &sql, &[Value::Int(now.as_millis())], Some(keys)).await?;
    finish_copy::<E>(connection, &copied).await
}

/// Removes what was copied from where it was, and old attempts from the copy.
async fn finish_copy<E: Engine>(connection: &mut E::Connection, copied: &[E::Row]) -> Result<Revived, StoreError> {
    let mut revived = Revived { count: copied.len() as u64, lanes: Vec::new() };
    let (mut keys, mut long) = (Vec::with_capacity(copied.len()), Vec::new());
    for row in copied {
        let mut columns = Columns::<E>::of(row);
        let lane = Lane::read(&mut columns)?;
        let key = (lane.organization.clone(), lane.endpoint, columns.id()?);
        if columns.bool()? {
            revived.lanes.push(lane);
        }
        if columns.int()? > attempts::KEPT as i64 {
            long.push(key.clone());
        }
        keys.push(key);
    }
    keys.sort_unstable();
    let gone = "with {k} delete from ended where (organization_id, endpoint_id, delivery_id) in \
         (select k.organization_id, k.endpoint_id, k.delivery_id from k)";
    E::execute(connection, gone, &[], Some(&rows_of(&keys))).await?;
    forget_old_attempts::<E>(connection, &long).await?;
    Ok(revived)
}

/// Makes due at `$1` what waits for its next attempt, of what `condition` says of `p`; the endpoint is `$2` and `$3`. Whatever is
/// claimed is due later than its next attempt, and what somebody is writing at this moment is passed over. What waits for an
/// earlier one of its lane goes on waiting.
pub(super) fn hurry_sql<E: Engine>(condition: &str) -> String {
    format!(
        "with due as materialized ( \
             select p.delivery_id from pending p \
             where p.organization_id = $2 and p.endpoint_id = $3 and {condition} \
                 and p.next_attempt_at > $1 and coalesce(p.due_at, p.next_attempt_at) = p.next_attempt_at \
                 and exists (select 1 from endpoints e where e.organization_id = $2 and e.endpoint_id = $3 and e.enabled) {}) \
         update pending set \
             next_attempt_at = cast($1 as bigint), \
             due_at = case when pending.due_at is null then null else cast($1 as bigint) end \
         from due \
         where pending.organization_id = $2 and pending.endpoint_id = $3 and pending.delivery_id = due.delivery_id",
        E::SKIP_LOCKED
    )
}

const ONE: &str = "p.delivery_id = $4";
pub(super) const MISSED: &str =
    "p.event_type = $4 and p.event_type > '' and p.created_at >= $5 and p.created_at < $6 and p.attempt_count > 0";

type Key = (String, Uuid, Uuid);

fn rows_of(keys: &[Key]) -> Rows<'_> {
    Rows::new(keys.len())
        .text("organization_id", keys.iter().map(|(organization, ..)| organization.as_str()))
        .id("endpoint_id", keys.iter().map(|(_, endpoint, _)| *endpoint))
        .id("delivery_id", keys.iter().map(|(.., delivery)| *delivery))
}

/// Attempts are only ever appended; who tries a delivery again and again must not make them grow without end.
async fn forget_old_attempts<E: Engine>(connection: &mut E::Connection, keys: &[Key]) -> Result<(), StoreError> {
    let read = "with {k} select p.organization_id, p.endpoint_id, p.delivery_id, p.attempts from k cross join pending p \
         where p.organization_id = k.organization_id and p.endpoint_id = k.endpoint_id and p.delivery_id = k.delivery_id";
    let mut shortened = Vec::new();
    for row in &E::query(connection, read, &[], Some(&rows_of(keys))).await? {
        let mut columns = Columns::<E>::of(row);
        shortened.push(((columns.text()?, columns.id()?, columns.id()?), columns.text()?));
    }
    let write = "with {k} update pending set attempts = k.attempts from k \
         where pending.organization_id = k.organization_id and pending.endpoint_id = k.endpoint_id \
             and pending.delivery_id = k.delivery_id";
    let keys: Vec<Key> = shortened.iter().map(|(key, _)| key.clone()).collect();
    let rows = rows_of(&keys).text("attempts", shortened.iter().map(|(_, text)| attempts::newest(text)));
    E::execute(connection, write, &[], Some(&rows)).await?;
    Ok(())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn revive_one(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        delivery: Uuid,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = E::begin_beside(&self.writer).await?;
        let keys = Rows::new(1)
            .text("organization_id", std::iter::once(organization.as_str()))
            .id("endpoint_id", std::iter::once(endpoint))
            .id("delivery_id", std::iter::once(delivery));
        let revived = those::<E>(&mut tx, &keys, now).await?;
        let found = if revived.count > 0 {
            settle::<E>(&mut tx, revived.lanes, None, None).await?;
            true
        } else {
            let [organization, endpoint] = key(organization, endpoint);
            let values = [Value::Int(now.as_millis()), organization, endpoint, Value::Id(delivery)];
            E::execute(&mut tx, &hurry_sql::<E>(ONE), &values, None).await?;
            let is_pending = "select 1 from pending p cross join endpoints e \
                 where p.organization_id = $1 and p.endpoint_id = $2 and p.delivery_id = $3 \
                     and e.organization_id = $1 and e.endpoint_id = $2 and e.enabled";
            !E::query(&mut tx, is_pending, &values[1..], None).await?.is_empty()
        };
        tx.commit().await?;
        Ok(found)
    }

    pub(super) async fn revive_missed(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let copy = copy_sql::<E>();
        let sql = format!(
            "{copy} \
             from ended d cross join endpoints e \
             where d.organization_id = $2 and d.endpoint_id = $3 and d.status = $4 and d.event_type = $5 and d.event_type > '' \
                 and d.created_at >= $6 and d.created_at < $7 \
                 and e.organization_id = $2 and e.endpoint_id = $3 and e.enabled \
             order by d.created_at \
             limit $8 \
             {RETURNING}"
        );
        let [organization, endpoint] = key(organization, endpoint);
        let mut tx = E::begin_beside(&self.writer).await?;
        let (mut count, mut lanes) = (0, BTreeSet::new());
        for event_type in event_types::<E>(&mut tx, "pending", &[organization, endpoint]).await? {
            let values = [
                Value::Int(now.as_millis()),
                organization,
                endpoint,
                Value::Text(&event_type),
                Value::Int(since.as_millis()),
                Value::Int(until.as_millis()),
            ];
            count += E::execute(&mut tx, &hurry_sql::<E>(MISSED), &values, None).await?;
        }
        for status in [Status::Failed, Status::Exhausted] {
            let status = Value::Text(status.as_str());
            for event_type in event_types::<E>(&mut tx, "ended", &[organization, endpoint, status]).await? {
                let values = [
                    Value::Int(now.as_millis()),
                    organization,
                    endpoint,
                    status,
                    Value::Text(&event_type),
                    Value::Int(since.as_millis()),
                    Value::Int(until.as_millis()),
                    Value::Int(AT_ONCE as i64),
                ];
                loop {
                    let copied = E::query(&mut tx, &sql, &values, None).await?;
                    let revived = finish_copy::<E>(&mut tx, &copied).await?;
                    count += revived.count;
                    lanes.extend(revived.lanes);
                    if revived.count < AT_ONCE {
                        break;
                    }
                }
            }
        }
        settle::<E>(&mut tx, lanes.into_iter().collect(), None, None).await?;
        tx.commit().await?;
        Ok(count)
    }
}
