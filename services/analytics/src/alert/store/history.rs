//! The rows of conversations, as rules read them from the store.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Rows, Value as Bound};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use serde_json::Value;

use super::sql::{SqlStore, organization_of, time_of};
use super::{Crossing, Place};
use crate::features::Features;
use crate::store::features::{COLUMNS, read};

/// Rows are read this many at a time, with their words and values.
const TOGETHER: usize = 500;
/// A look goes back by this much more than since the last one: a row may be written a little later than it says.
const OVERLAP_MS: i64 = 60_000;

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_crossing(&self, since: Timestamp, now: Timestamp) -> Result<Vec<Crossing>, StoreError> {
        let sql = "select distinct f.organization_id, f.conversation_id, a.heard_at from alert_rules r \
             join features f on f.organization_id = r.organization_id and not f.settled \
                 and f.created_at <= $1 - r.live_after_ms \
                 and (r.updated_at >= $2 or r.muted_until >= $2 or f.created_at > $2 - r.live_after_ms) \
             join analyses a on a.organization_id = f.organization_id and a.conversation_id = f.conversation_id \
                 and a.heard_at >= r.watches_from \
             where r.live_after_ms is not null and r.enabled and (r.muted_until is null or r.muted_until <= $1)";
        let since = since.saturating_add_millis(-OVERLAP_MS);
        let mut connection = self.readers.acquire().await?;
        let values = [Bound::Int(now.as_millis()), Bound::Int(since.as_millis())];
        let rows = E::query(&mut connection, sql, &values, None).await?;
        let key = |row| {
            let mut columns = Columns::<E>::of(row);
            let organization_id = organization_of(&columns.text()?)?;
            Ok(Crossing { organization_id, conversation_id: ConversationId(columns.id()?), heard_at: time_of(columns.int()?) })
        };
        rows.iter().map(key).collect()
    }

    pub(super) async fn read_rows(
        &self,
        organization: &OrganizationId,
        conversations: &[ConversationId],
    ) -> Result<Vec<Features>, StoreError> {
        let names: Vec<String> = COLUMNS.split(", ").map(|name| format!("f.{}", name.trim())).collect();
        let sql = format!(
            "with {{k}} select {} from k \
             join features f on f.organization_id = $1 and f.conversation_id = k.conversation_id",
            names.join(", ")
        );
        let mut found = Vec::with_capacity(conversations.len());
        for some in conversations.chunks(TOGETHER) {
            let keys = Rows::new(some.len()).id("conversation_id", some.iter().map(|id| id.0));
            let mut tx = E::begin_reading(&self.readers).await?;
            let rows = E::query(&mut tx, &sql, &[Bound::Text(organization.as_str())], Some(&keys)).await?;
            let mut all = rows.iter().map(|row| read(&mut Columns::<E>::of(row))).collect::<Result<Vec<_>, _>>()?;
            complete::<E>(&mut tx, organization, &mut all).await?;
            tx.commit().await?;
            found.extend(all);
        }
        Ok(found)
    }

    pub(super) async fn read_history(
        &self,
        organization: &OrganizationId,
        from: Timestamp,
        to: Timestamp,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Features>, StoreError> {
        let mut values = vec![
            Bound::Text(organization.as_str()),
            Bound::Int(from.as_millis()),
            Bound::Int(to.as_millis()),
            Bound::Int(limit.into()),
        ];
        let mut place = "";
        if let Some(after) = after {
            place = "and (created_at, conversation_id) > ($5, $6)";
            values.extend([Bound::Int(after.at.as_millis()), Bound::Id(after.id)]);
        }
        let sql = format!(
            "select {COLUMNS} from features where organization_id = $1 and created_at >= $2 and created_at < $3 {place} \
             order by created_at, conversation_id limit $4"
        );
        let mut tx = E::begin_reading(&self.readers).await?;
        let rows = E::query(&mut tx, &sql, &values, None).await?;
        let mut all = rows.iter().map(|row| read(&mut Columns::<E>::of(row))).collect::<Result<Vec<_>, _>>()?;
        complete::<E>(&mut tx, organization, &mut all).await?;
        tx.commit().await?;
        Ok(all)
    }
}

/// Adds words and values.
async fn complete<E: Engine>(
    connection: &mut E::Connection,
    organization: &OrganizationId,
    all: &mut [Features],
) -> Result<(), StoreError> {
    let organization = [Bound::Text(organization.as_str())];
    let ids: Vec<ConversationId> = all.iter().map(|row| row.conversation_id).collect();
    let keys = Rows::new(ids.len()).id("conversation_id", ids.iter().map(|id| id.0));
    let places: HashMap<ConversationId, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();

    let sql = "with {k} select w.conversation_id, w.kind, w.word from k \
         join feature_words w on w.organization_id = $1 and w.conversation_id = k.conversation_id";
    for row in &E::query(connection, sql, &organization, Some(&keys)).await? {
        let mut columns = Columns::<E>::of(row);
        let (id, kind, word) = (ConversationId(columns.id()?), columns.text()?, columns.text()?);
        let Some(row) = places.get(&id).and_then(|place| all.get_mut(*place)) else { continue };
        match kind.as_str() {
            "topic" => row.topics.push(word),
            "tag" => row.tags.push(word),
            "keyword" => row.keywords.push(word),
            "error" => row.error_codes.push(word),
            _ => {}
        }
    }
    for row in all.iter_mut() {
        for words in [&mut row.topics, &mut row.tags, &mut row.keywords, &mut row.error_codes] {
            words.sort_unstable();
        }
    }

    let sql = "with {k} select v.conversation_id, v.name, v.text_value, v.number_value from k \
         join feature_values v on v.organization_id = $1 and v.conversation_id = k.conversation_id";
    for row in &E::query(connection, sql, &organization, Some(&keys)).await? {
        let mut columns = Columns::<E>::of(row);
        let (id, name) = (ConversationId(columns.id()?), columns.text()?);
        let (text, number) = (columns.opt_text()?, columns.opt_real()?);
        let value = text.map(Value::String).or_else(|| number.map(Value::from));
        if let (Some(place), Some(value)) = (places.get(&id), value) {
            all[*place].custom.insert(name, value);
        }
    }
    Ok(())
}
