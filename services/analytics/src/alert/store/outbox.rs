//! Events that are still to be appended to the log, in the store.

use std::sync::atomic::Ordering;

use colloquy_events::Event;
use colloquy_proto::log::v1 as pb;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Rows, Value};
use colloquy_types::{EventId, OrganizationId, Timestamp};
use prost::Message;

use super::sql::{SqlStore, organization_of};

/// Keeps an event that is to be told, in the transaction of what it tells of.
pub(super) async fn tell<E: Engine>(
    connection: &mut E::Connection,
    organization: &OrganizationId,
    event: Event,
    at: Timestamp,
) -> Result<(), StoreError> {
    let (event_id, ordinal) = (event.event_id, event.ordinal);
    let bytes = pb::Event::from(event).encode_to_vec();
    let sql = "insert into alert_outbox (organization_id, event_id, written_at, ordinal, event) values ($1, $2, $3, $4, $5) \
         on conflict do nothing";
    let values = [
        Value::Text(organization.as_str()),
        Value::Id(event_id.0),
        Value::Int(at.as_millis()),
        Value::Int(ordinal.into()),
        Value::Bytes(&bytes),
    ];
    E::execute(connection, sql, &values, None).await?;
    Ok(())
}

fn read<E: Engine>(row: &E::Row) -> Result<Option<(OrganizationId, Event)>, StoreError> {
    let mut columns = Columns::<E>::of(row);
    let organization = organization_of(&columns.text()?)?;
    let event = pb::Event::decode(columns.bytes()?.as_slice()).ok().and_then(|event| Event::try_from(event).ok());
    Ok(event.map(|event| (organization, event)))
}

impl<E: Engine> SqlStore<E> {
    /// Returns the first events that can be read. Those that a newer release wrote are left to it, and hold up no other.
    pub(super) async fn read_outbox(&self, limit: u32) -> Result<Vec<(OrganizationId, Event)>, StoreError> {
        let sql = "select organization_id, event from alert_outbox order by written_at, ordinal, organization_id, event_id \
             limit $1 offset $2";
        let mut connection = self.readers.acquire().await?;
        let mut unreadable = 0;
        loop {
            let values = [Value::Int(limit.into()), Value::Int(i64::try_from(unreadable).unwrap_or(i64::MAX))];
            let rows = E::query(&mut connection, sql, &values, None).await?;
            let events: Vec<_> = rows.iter().map(read::<E>).collect::<Result<_, _>>()?;
            let count = events.len();
            let readable: Vec<_> = events.into_iter().flatten().collect();
            unreadable += count - readable.len();
            if readable.is_empty() && count == limit as usize {
                continue;
            }
            if self.unreadable.swap(unreadable, Ordering::Relaxed) != unreadable && unreadable > 0 {
                tracing::error!(events = unreadable, "events of alerts are left out, which this release does not know");
            }
            return Ok(readable);
        }
    }

    pub(super) async fn remove_told(&self, events: &[(OrganizationId, EventId)]) -> Result<(), StoreError> {
        let rows = Rows::new(events.len())
            .text("organization_id", events.iter().map(|(organization, _)| organization.as_str()))
            .id("event_id", events.iter().map(|(_, event)| event.0));
        let sql =
            "with {k} delete from alert_outbox where (organization_id, event_id) in (select organization_id, event_id from k)";
        let mut tx = E::begin(&self.writer).await?;
        E::execute(&mut tx, sql, &[], Some(&rows)).await?;
        tx.commit().await?;
        Ok(())
    }
}
