//! Deliveries as people see them.
//!
//! A list is joined from streams that are each one range of an index: what is pending or ended in one way, of one event type.
//! So a page reads no delivery that it does not show, whatever the filter.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId};
use uuid::Uuid;

use super::engine::{Columns, Engine, Rows, Value};
use super::sql::{SqlStore, count_of, key, organization_of, position_of, time_of};
use super::{DeliveryFilter, Place, attempts};
use crate::delivery::{Delivery, Status};

/// Returns the event types of an endpoint's deliveries in `table` (with a status, where `key` has one), a step of the index each.
pub(super) async fn event_types<E: Engine>(
    connection: &mut E::Connection,
    table: &'static str,
    key: &[Value<'_>],
) -> Result<Vec<String>, StoreError> {
    let sql = event_types_sql(table, key.len() > 2);
    let mut types = Vec::new();
    for row in &E::query(connection, &sql, key, None).await? {
        types.push(Columns::<E>::of(row).text()?);
    }
    Ok(types)
}

/// True of every delivery. On PostgreSQL the indexes of lists are only for queries that say it: without statistics, which nobody has
/// of a queue that was empty a moment ago, it would take one of them to find a delivery by its key, and read all of an endpoint's
/// entries for each.
pub(super) const OF_A_TYPE: &str = "and event_type > ''";

pub(super) fn event_types_sql(table: &'static str, has_status: bool) -> String {
    let status = if has_status { "and status = $3" } else { "" };
    let first =
        format!("select min(event_type) from {table} where organization_id = $1 and endpoint_id = $2 {status} {OF_A_TYPE}");
    format!(
        "with recursive types (event_type) as ( \
             select ({first}) \
             union all \
             select ({first} and event_type > types.event_type) from types where types.event_type is not null) \
         select event_type from types where event_type is not null"
    )
}

/// The newest of one stream, after a place or from the beginning.
pub(super) fn stream_sql(table: &'static str, has_status: bool, has_place: bool) -> String {
    let mut next = 4;
    let mut condition = |text: &str, count: usize| {
        let places: Vec<String> = (next..next + count).map(|place| format!("${place}")).collect();
        next += count;
        text.replace('?', &places.join(", "))
    };
    let status = if has_status { condition("and status = ?", 1) } else { String::new() };
    let place = if has_place { condition("and (created_at, delivery_id) < (?)", 2) } else { String::new() };
    let limit = condition("limit ?", 1);
    format!(
        "select created_at, delivery_id from {table} \
         where organization_id = $1 and endpoint_id = $2 and event_type = $3 {OF_A_TYPE} {status} {place} \
         order by created_at desc, delivery_id desc {limit}"
    )
}

const COLUMNS: &str = "d.organization_id, d.endpoint_id, d.delivery_id, d.message_id, d.conversation_id, d.position, d.event_type, \
     d.schedule_attempts, d.attempt_count, d.created_at, d.attempts";

fn deliveries_sql(table: &'static str, rest: &str) -> String {
    format!(
        "with {{k}} select {COLUMNS}, {rest} from k cross join {table} d \
         where d.organization_id = $1 and d.endpoint_id = $2 and d.delivery_id = k.delivery_id"
    )
}

fn read<E: Engine>(row: &E::Row) -> Result<Delivery, StoreError> {
    let mut columns = Columns::<E>::of(row);
    let mut delivery = Delivery {
        organization_id: organization_of(&columns.text()?)?,
        endpoint_id: columns.id()?,
        delivery_id: columns.id()?,
        message_id: columns.id()?,
        conversation_id: ConversationId(columns.id()?),
        position: position_of(columns.int()?),
        event_type: columns.text()?,
        status: Status::Pending,
        schedule_attempts: count_of(columns.int()?),
        attempt_count: count_of(columns.int()?),
        created_at: time_of(columns.int()?),
        attempts: attempts::decode(&columns.text()?),
        next_attempt_at: None,
    };
    delivery.next_attempt_at = columns.opt_int()?.map(time_of);
    let status = columns.text()?;
    delivery.status = (Status::ALL.into_iter().find(|known| known.as_str() == status))
        .ok_or_else(|| StoreError::Corrupt("a delivery's status".to_owned()))?;
    Ok(delivery)
}

/// Reads an endpoint's deliveries by their ids, in no order.
async fn by_ids<E: Engine>(
    connection: &mut E::Connection,
    key: &[Value<'_>; 2],
    ids: &[Uuid],
) -> Result<Vec<Delivery>, StoreError> {
    let keys = Rows::new(ids.len()).id("delivery_id", ids.iter().copied());
    let pending = E::query(connection, &deliveries_sql("pending", "d.next_attempt_at, 'pending'"), key, Some(&keys)).await?;
    let ended = E::query(connection, &deliveries_sql("ended", "cast(null as bigint), d.status"), key, Some(&keys)).await?;
    pending.iter().chain(&ended).map(read::<E>).collect()
}

async fn exists<E: Engine>(connection: &mut E::Connection, key: &[Value<'_>; 2]) -> Result<bool, StoreError> {
    let sql = "select 1 from endpoints where organization_id = $1 and endpoint_id = $2";
    Ok(!E::query(connection, sql, key, None).await?.is_empty())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_delivery(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        delivery: Uuid,
    ) -> Result<Option<Delivery>, StoreError> {
        let key = key(organization, endpoint);
        let mut tx = E::begin_reading(&self.readers).await?;
        if !exists::<E>(&mut tx, &key).await? {
            return Ok(None);
        }
        let found = by_ids::<E>(&mut tx, &key, &[delivery]).await?;
        tx.commit().await?;
        Ok(found.into_iter().next())
    }

    pub(super) async fn read_page_of_deliveries(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        filter: &DeliveryFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let key = key(organization, endpoint);
        let mut tx = E::begin_reading(&self.readers).await?;
        if !exists::<E>(&mut tx, &key).await? {
            return Ok(Vec::new());
        }
        let mut page = match filter.conversation_id {
            Some(conversation) => {
                let mut told = told_of::<E>(&mut tx, &key, endpoint, conversation).await?;
                told.retain(|delivery| {
                    filter.status.is_none_or(|status| delivery.status == status)
                        && filter.event_type.as_ref().is_none_or(|event_type| delivery.event_type == *event_type)
                        && after.is_none_or(|after| (delivery.created_at, delivery.delivery_id) < (after.created_at, after.id))
                });
                told
            }
            None => {
                let ids = newest::<E>(&mut tx, &key, filter, after, limit).await?;
                by_ids::<E>(&mut tx, &key, &ids).await?
            }
        };
        tx.commit().await?;
        page.sort_by_key(|delivery| std::cmp::Reverse((delivery.created_at, delivery.delivery_id)));
        page.truncate(limit as usize);
        Ok(page)
    }
}

/// Returns everything an endpoint is told of one conversation: the ids follow from its messages.
async fn told_of<E: Engine>(
    connection: &mut E::Connection,
    key: &[Value<'_>; 2],
    endpoint: Uuid,
    conversation: ConversationId,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = "select message_id from messages where organization_id = $1 and conversation_id = $2";
    let mut ids = Vec::new();
    for row in &E::query(connection, sql, &[key[0], Value::Id(conversation.0)], None).await? {
        ids.push(Delivery::id_of(endpoint, Columns::<E>::of(row).id()?));
    }
    by_ids::<E>(connection, key, &ids).await
}

/// Returns the ids of the newest of all streams that the filter lets through.
async fn newest<E: Engine>(
    connection: &mut E::Connection,
    key: &[Value<'_>; 2],
    filter: &DeliveryFilter,
    after: Option<Place>,
    limit: u32,
) -> Result<Vec<Uuid>, StoreError> {
    let mut places: HashMap<Uuid, i64> = HashMap::new();
    for status in Status::ALL.into_iter().filter(|status| filter.status.is_none_or(|wanted| wanted == *status)) {
        let (table, status) = match status {
            Status::Pending => ("pending", None),
            ended => ("ended", Some(Value::Text(ended.as_str()))),
        };
        let types = match &filter.event_type {
            Some(event_type) => vec![event_type.clone()],
            None => event_types::<E>(connection, table, &key.iter().copied().chain(status).collect::<Vec<_>>()).await?,
        };
        for event_type in &types {
            let mut values = vec![key[0], key[1], Value::Text(event_type)];
            values.extend(status);
            if let Some(after) = after {
                values.extend([Value::Int(after.created_at.as_millis()), Value::Id(after.id)]);
            }
            values.push(Value::Int(limit.into()));
            let sql = stream_sql(table, status.is_some(), after.is_some());
            for row in &E::query(connection, &sql, &values, None).await? {
                let mut columns = Columns::<E>::of(row);
                let created_at = columns.int()?;
                places.insert(columns.id()?, created_at);
            }
        }
    }
    let mut places: Vec<(i64, Uuid)> = places.into_iter().map(|(id, created_at)| (created_at, id)).collect();
    places.sort_unstable_by(|a, b| b.cmp(a));
    places.truncate(limit as usize);
    Ok(places.into_iter().map(|(_, id)| id).collect())
}
