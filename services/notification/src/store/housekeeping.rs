//! Removing what is old.

use std::collections::{HashMap, HashSet};

use colloquy_storage::StoreError;
use colloquy_types::Timestamp;
use uuid::Uuid;

use super::engine::{Columns, Engine, Rows, Value};
use super::sql::SqlStore;
use crate::delivery::Delivery;

/// A message that a delivery still needs is looked at again after this long.
const LOOK_AGAIN_MS: i64 = 24 * 60 * 60 * 1_000;
/// How many messages are looked at together: each may have a delivery to every endpoint of its organization.
const MESSAGES_AT_ONCE: u64 = 200;

pub(super) const OLD_DELIVERIES: &str = "delete from ended where (organization_id, endpoint_id, delivery_id) in ( \
     select organization_id, endpoint_id, delivery_id from ended where ended_at < $1 order by ended_at limit $2)";
pub(super) const OLD_CONVERSATIONS: &str = "delete from conversations where (organization_id, conversation_id) in ( \
     select organization_id, conversation_id from conversations where heard_at < $1 order by heard_at limit $2)";
pub(super) const OLD_MESSAGES: &str = "select organization_id, conversation_id, message_id from messages \
     where kept_at < $1 order by kept_at limit $2";

fn all_of_endpoint(table: &'static str) -> String {
    format!(
        "delete from {table} where (organization_id, endpoint_id, delivery_id) in ( \
         select organization_id, endpoint_id, delivery_id from {table} where organization_id = $1 and endpoint_id = $2 limit $3)"
    )
}

type MessageKey = (String, Uuid, Uuid);

fn rows_of<'a>(keys: impl ExactSizeIterator<Item = &'a MessageKey> + Clone) -> Rows<'a> {
    Rows::new(keys.len())
        .text("organization_id", keys.clone().map(|(organization, ..)| organization.as_str()))
        .id("conversation_id", keys.clone().map(|(_, conversation, _)| *conversation))
        .id("message_id", keys.map(|(.., message)| *message))
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn remove_old(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let limit = u64::from(limit);
        let mut gone = self.remove_of_gone_endpoints(limit).await?;
        for sql in [OLD_DELIVERIES, OLD_CONVERSATIONS] {
            let values = [Value::Int(before.as_millis()), Value::Int((limit - gone.min(limit)) as i64)];
            let mut tx = E::begin_beside(&self.writer).await?;
            gone += E::execute(&mut tx, sql, &values, None).await?;
            tx.commit().await?;
        }
        while gone < limit {
            let count = (limit - gone).min(MESSAGES_AT_ONCE);
            let (looked_at, removed) = self.remove_messages(before, count).await?;
            gone += removed;
            if looked_at < count {
                break;
            }
        }
        Ok(gone)
    }

    async fn remove_of_gone_endpoints(&self, limit: u64) -> Result<u64, StoreError> {
        let mut tx = E::begin_beside(&self.writer).await?;
        let endpoints = E::query(&mut tx, "select organization_id, endpoint_id from gone_endpoints limit 100", &[], None).await?;
        let mut gone = 0;
        for row in &endpoints {
            let mut columns = Columns::<E>::of(row);
            let organization = columns.text()?;
            let key = [Value::Text(&organization), Value::Id(columns.id()?)];
            for table in ["pending", "ended"] {
                let values = [key[0], key[1], Value::Int((limit - gone) as i64)];
                gone += E::execute(&mut tx, &all_of_endpoint(table), &values, None).await?;
            }
            if gone >= limit {
                break;
            }
            let sql = "delete from gone_endpoints where organization_id = $1 and endpoint_id = $2";
            E::execute(&mut tx, sql, &key, None).await?;
        }
        tx.commit().await?;
        Ok(gone)
    }

    /// Removes those of the oldest messages that no delivery needs; returns how many it looked at, and how many it removed.
    async fn remove_messages(&self, before: Timestamp, count: u64) -> Result<(u64, u64), StoreError> {
        let mut tx = E::begin_beside(&self.writer).await?;
        let values = [Value::Int(before.as_millis()), Value::Int(count as i64)];
        let mut old: Vec<MessageKey> = Vec::new();
        for row in &E::query(&mut tx, OLD_MESSAGES, &values, None).await? {
            let mut columns = Columns::<E>::of(row);
            old.push((columns.text()?, columns.id()?, columns.id()?));
        }
        if old.is_empty() {
            return Ok((0, 0));
        }
        old.sort_unstable();
        let needed = needed::<E>(&mut tx, &old).await?;
        let unneeded: Vec<MessageKey> =
            old.iter().enumerate().filter(|(number, _)| !needed.contains(number)).map(|(_, key)| key.clone()).collect();
        // Whoever adds a message again moves its time; then it stays.
        let remove = "with {k} delete from messages \
             where (organization_id, conversation_id, message_id) in \
                 (select k.organization_id, k.conversation_id, k.message_id from k) and kept_at < $1";
        let removed = E::execute(&mut tx, remove, &values[..1], Some(&rows_of(unneeded.iter()))).await?;
        let kept: Vec<MessageKey> =
            old.iter().enumerate().filter(|(number, _)| needed.contains(number)).map(|(_, key)| key.clone()).collect();
        let again = "with {k} update messages set kept_at = cast($1 as bigint) \
             from k \
             where messages.organization_id = k.organization_id and messages.conversation_id = k.conversation_id \
                 and messages.message_id = k.message_id";
        let look_again = [Value::Int(before.as_millis().saturating_add(LOOK_AGAIN_MS))];
        E::execute(&mut tx, again, &look_again, Some(&rows_of(kept.iter()))).await?;
        tx.commit().await?;
        Ok((old.len() as u64, removed))
    }
}

/// Returns which of the messages have a delivery: the ids of those they could have follow from the endpoints there are.
async fn needed<E: Engine>(connection: &mut E::Connection, messages: &[MessageKey]) -> Result<HashSet<usize>, StoreError> {
    let mut endpoints: HashMap<String, Vec<Uuid>> = HashMap::new();
    for row in &E::query(connection, "select organization_id, endpoint_id from endpoints", &[], None).await? {
        let mut columns = Columns::<E>::of(row);
        endpoints.entry(columns.text()?).or_default().push(columns.id()?);
    }
    let mut possible = Vec::new();
    for (number, (organization, _, message)) in messages.iter().enumerate() {
        for endpoint in endpoints.get(organization).into_iter().flatten() {
            possible.push((number, organization.as_str(), *endpoint, Delivery::id_of(*endpoint, *message)));
        }
    }
    // Both tables in one statement: a delivery that moves from one to the other is always in one of them.
    let sql = "with {k} \
         select k.number from k \
         where exists (select 1 from pending d where d.organization_id = k.organization_id \
                 and d.endpoint_id = k.endpoint_id and d.delivery_id = k.delivery_id) \
             or exists (select 1 from ended d where d.organization_id = k.organization_id \
                 and d.endpoint_id = k.endpoint_id and d.delivery_id = k.delivery_id)";
    let rows = Rows::new(possible.len())
        .int("number", possible.iter().map(|(number, ..)| *number as i64))
        .text("organization_id", possible.iter().map(|(_, organization, ..)| *organization))
        .id("endpoint_id", possible.iter().map(|(_, _, endpoint, _)| *endpoint))
        .id("delivery_id", possible.iter().map(|(.., delivery)| *delivery));
    let mut needed = HashSet::new();
    for row in &E::query(connection, sql, &[], Some(&rows)).await? {
        needed.insert(usize::try_from(Columns::<E>::of(row).int()?).unwrap_or(usize::MAX));
    }
    Ok(needed)
}
