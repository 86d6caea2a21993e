//! What is kept of many conversations, read at once: the same on both engines.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Rows};
use colloquy_types::{ConversationId, OrganizationId};
use uuid::Uuid;

use crate::kept::Kept;
use crate::payload;

/// Of many conversations, no more than this is read at once, unless one alone is more.
pub(crate) const PART_BYTES: usize = 4 << 20;

/// A conversation, as a key.
pub(crate) type Key = (OrganizationId, Uuid);

/// Returns keys as rows.
pub(crate) fn key_rows(keys: &[Key]) -> Rows<'_> {
    Rows::new(keys.len())
        .text("organization_id", keys.iter().map(|(organization_id, _)| organization_id.as_str()))
        .id("conversation_id", keys.iter().map(|(_, conversation_id)| *conversation_id))
}

/// Reads an organization's id from a column.
pub(crate) fn organization_of(text: &str) -> Result<OrganizationId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an organization".to_owned()))
}

/// Returns how many bytes are kept of conversations, in no order; of which nothing was heard, they are missing.
pub(crate) async fn sizes<E: Engine>(connection: &mut E::Connection, keys: &[Key]) -> Result<Vec<(Key, usize)>, StoreError> {
    let sql = "with {k} select e.organization_id, e.conversation_id, sum(length(e.data)) \
               from k cross join transcript_events e \
               where e.organization_id = k.organization_id and e.conversation_id = k.conversation_id \
               group by e.organization_id, e.conversation_id";
    let read = |row: &E::Row| {
        let mut columns = Columns::<E>::of(row);
        let key = (organization_of(&columns.text()?)?, columns.id()?);
        Ok((key, usize::try_from(columns.int()?).unwrap_or(usize::MAX)))
    };
    E::query(connection, sql, &[], Some(&key_rows(keys))).await?.iter().map(read).collect()
}

/// Returns what is kept of conversations, however much it is.
pub(crate) async fn kept<E: Engine>(connection: &mut E::Connection, keys: &[Key]) -> Result<HashMap<Key, Vec<Kept>>, StoreError> {
    let sql = "with {k} select e.organization_id, e.conversation_id, e.lane, e.rank, e.data \
               from k cross join transcript_events e \
               where e.organization_id = k.organization_id and e.conversation_id = k.conversation_id";
    let mut found: HashMap<Key, Vec<Kept>> = HashMap::new();
    for row in E::query(connection, sql, &[], Some(&key_rows(keys))).await? {
        let mut columns = Columns::<E>::of(&row);
        let key = (organization_of(&columns.text()?)?, columns.id()?);
        let kept = Kept { lane: columns.id()?, rank: columns.bytes()?, data: columns.bytes()? };
        found.entry(key).or_default().push(kept);
    }
    Ok(found)
}

/// Returns what is kept of conversations, in the order they are asked for, as far as there is room for `bytes` of it unpacked: see
/// [`super::TranscriptStore::conversations`].
pub(super) async fn fitting<E: Engine>(
    connection: &mut E::Connection,
    organization_id: &OrganizationId,
    conversation_ids: &[ConversationId],
    bytes: usize,
) -> Result<Vec<(ConversationId, Option<Vec<Kept>>)>, StoreError> {
    let keys: Vec<Key> = conversation_ids.iter().map(|id| (organization_id.clone(), id.0)).collect();
    let mut sizes: HashMap<Key, usize> = sizes::<E>(connection, &keys).await?.into_iter().collect();
    // Before anything is read. Unpacked it may still be too much.
    let mut room = bytes;
    let mut found = Vec::with_capacity(sizes.len());
    let mut read = Vec::with_capacity(sizes.len());
    for key in keys {
        let Some(size) = sizes.remove(&key) else { continue };
        found.push((ConversationId(key.1), None));
        if let Some(left) = room.checked_sub(size) {
            room = left;
            read.push(key);
        }
    }
    let mut kept: HashMap<Uuid, Vec<Kept>> =
        kept::<E>(connection, &read).await?.into_iter().map(|((_, id), kept)| (id, kept)).collect();
    let mut room = bytes;
    for (id, slot) in &mut found {
        let Some(kept) = kept.remove(&id.0) else { continue };
        let unpacked = kept.iter().map(|kept| payload::plain_len(&kept.data)).sum();
        if let Some(left) = room.checked_sub(unpacked) {
            room = left;
            *slot = Some(kept);
        }
    }
    Ok(found)
}
