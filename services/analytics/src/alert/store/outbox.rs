//! Events that are still to be appended to the log, in the store.

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

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_outbox(&self, limit: u32) -> Result<Vec<(OrganizationId, Event)>, StoreError> {
        let sql = "select organization_id, event from alert_outbox order by written_at, ordinal limit $1";
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, sql, &[Value::Int(limit.into())], None).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::<E>::of(row);
            let organization = organization_of(&columns.text()?)?;
            let event = pb::Event::decode(columns.bytes()?.as_slice()).ok().and_then(|event| Event::try_from(event).ok());
            match event {
                Some(event) => events.push((organization, event)),
                None => return Err(StoreError::Corrupt("an event of an alert".to_owned())),
            }
        }
        Ok(events)
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
