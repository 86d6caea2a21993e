//! What is kept of conversations, many at once: to index them, and to show what was found in them.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_storage::engine::Columns;

use super::index::key_rows;
use super::{Key, Words, organization_of};
use crate::kept::Kept;

/// What is read at once is no more than this, as it is kept, unless one conversation alone is more.
const PART_BYTES: i64 = 4 << 20;

/// Divides conversations into parts of which what is kept can be held at once. Those nothing is kept of are left out.
pub(super) async fn parts_of<E: Words>(connection: &mut E::Connection, keys: &[Key]) -> Result<Vec<Vec<Key>>, StoreError> {
    let sql = "with {k} select e.organization_id, e.conversation_id, sum(length(e.data)) \
               from k join transcript_events e \
               on e.organization_id = k.organization_id and e.conversation_id = k.conversation_id \
               group by e.organization_id, e.conversation_id";
    let mut parts: Vec<Vec<Key>> = Vec::new();
    let mut room = 0;
    for row in E::query(connection, sql, &[], Some(&key_rows(keys))).await? {
        let mut columns = Columns::<E>::of(&row);
        let key = (organization_of(&columns.text()?)?, columns.id()?);
        let bytes = columns.int()?;
        match parts.last_mut() {
            Some(part) if bytes <= room => part.push(key),
            _ => {
                parts.push(vec![key]);
                room = PART_BYTES;
            }
        }
        room -= bytes;
    }
    Ok(parts)
}

/// Returns what is kept of conversations.
pub(super) async fn kept_of<E: Words>(
    connection: &mut E::Connection,
    keys: &[Key],
) -> Result<HashMap<Key, Vec<Kept>>, StoreError> {
    let sql = "with {k} select e.organization_id, e.conversation_id, e.lane, e.rank, e.data \
               from k join transcript_events e \
               on e.organization_id = k.organization_id and e.conversation_id = k.conversation_id";
    let mut found: HashMap<Key, Vec<Kept>> = HashMap::new();
    for row in E::query(connection, sql, &[], Some(&key_rows(keys))).await? {
        let mut columns = Columns::<E>::of(&row);
        let key = (organization_of(&columns.text()?)?, columns.id()?);
        let kept = Kept { lane: columns.id()?, rank: columns.bytes()?, data: columns.bytes()? };
        found.entry(key).or_default().push(kept);
    }
    Ok(found)
}
