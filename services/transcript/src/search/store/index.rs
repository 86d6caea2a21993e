//! How conversations come into the index.
//!
//! A conversation's turns are taken from what the transcripts' store has by now, which is at least what the log had: a batch that is
//! older than that indexes the newer state, and the next finds nothing left to do. Where several processes index, each first takes hold
//! of its conversations' rows, so that whoever comes second reads what is newer, and never the first writes over it.

use std::collections::HashMap;

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Rows, Value};
use colloquy_types::{ConversationId, OrganizationId, Position, TurnId};
use uuid::Uuid;

use super::{
    Agent, Change, Find, Found, Index, Indexed, Matching, READER, SearchStore, TURNS_EACH, Touched, Words, Written, role_number,
    to_bigint,
};
use crate::payload;
use crate::search::entry::{Entry, entries};
use crate::store::MAX_UNPACKED_BYTES;
use crate::store::many::{self, Key, PART_BYTES, key_rows, organization_of};
use crate::transcripts::LONG_BYTES;

#[async_trait]
impl<E: Words> SearchStore for Index<E> {
    async fn position(&self) -> Result<Position, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let sql = "select position from reader_positions where reader = $1";
        let rows = E::query(&mut connection, sql, &[Value::Text(READER)], None).await?;
        let position = rows.first().map(|row| Columns::<E>::of(row).int()).transpose()?.unwrap_or_default();
        Ok(Position(position.unsigned_abs()))
    }

    async fn index(&self, touched: &[Touched], through: Position) -> Result<Written, StoreError> {
        let mut touched: Vec<&Touched> = touched.iter().collect();
        // In the key's order, so that two writers wait for each other in one order.
        touched.sort_unstable_by_key(|touched| (&touched.organization_id, touched.conversation_id));
        let owned: Vec<Touched> = touched.into_iter().cloned().collect();
        self.assign_numbers(&owned).await?;
        let written =
            if E::MANY_WRITERS { self.index_held(&owned, through).await } else { self.index_alone(&owned, through).await }?;
        if written.changed > 0 {
            E::settle(&self.writer).await?;
        }
        Ok(written)
    }

    async fn find(&self, find: &Find<'_>) -> Result<Vec<Found>, StoreError> {
        let Some(organization) = self.number(find.organization_id).await? else { return Ok(Vec::new()) };
        let mut connection = self.readers.acquire().await?;
        E::find(&mut connection, find, organization).await
    }

    async fn matching(
        &self,
        organization_id: &OrganizationId,
        query: &crate::search::query::Query,
        among: &[ConversationId],
        limit: u32,
    ) -> Result<Matching, StoreError> {
        let Some(organization) = self.number(organization_id).await? else {
            return Ok(Matching { conversations: Vec::new(), truncated: false });
        };
        let mut connection = self.readers.acquire().await?;
        let query = E::query_text(query, organization);
        if !among.is_empty() {
            let found = E::matching_among(&mut connection, organization_id, &query, among).await?;
            return Ok(Matching { conversations: found.into_iter().map(ConversationId).collect(), truncated: false });
        }
        let most_turns = i64::from(limit) * i64::from(TURNS_EACH);
        let sql = format!(
            "with found as materialized ({}) \
             select conversation_id, (select count(*) from found) from (select distinct conversation_id from found) as said limit $4",
            E::matching_sql()
        );
        let values = [
            Value::Text(&query),
            Value::Text(organization_id.as_str()),
            Value::Int(most_turns + 1),
            Value::Int(i64::from(limit) + 1),
        ];
        let (mut conversations, mut turns) = (Vec::new(), 0);
        for row in &E::query(&mut connection, &sql, &values, None).await? {
            let mut columns = Columns::<E>::of(row);
            conversations.push(ConversationId(columns.id()?));
            turns = columns.int()?;
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let truncated = conversations.len() > limit || turns > most_turns;
        conversations.truncate(limit);
        Ok(Matching { conversations, truncated })
    }
}

/// What is to be done to the index.
#[derive(Default)]
struct Plan {
    removed: Vec<Indexed>,
    /// Those that stand in the index as something else.
    replaced: Vec<Indexed>,
    changes: Vec<Change>,
    /// Those of which the words stay as they are.
    moved: Vec<Change>,
}

impl Plan {
    fn count_in(&self, written: &mut Written) {
        written.changed += self.changes.len();
        written.moved += self.moved.len();
        written.removed += self.removed.len();
    }
}

impl<E: Words> Index<E> {
    async fn index_held(&self, touched: &[Touched], through: Position) -> Result<Written, StoreError> {
        let mut transaction = E::begin(&self.writer).await?;
        hold::<E>(&mut transaction, touched).await?;
        let mut written = Written::default();
        for part in parts_of::<E>(&mut transaction, &keys(touched)).await? {
            let plan = self.plan(&mut transaction, &part, touched).await?;
            plan.count_in(&mut written);
            E::remove(&mut transaction, &plan.removed).await?;
            rename::<E>(&mut transaction, &plan.moved).await?;
            E::write(&mut transaction, &plan.changes).await?;
        }
        move_to::<E>(&mut transaction, through).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// Reads first, so that the one writer is kept from others for as short as can be.
    async fn index_alone(&self, touched: &[Touched], through: Position) -> Result<Written, StoreError> {
        let _alone = self.indexing.lock().await;
        let mut plans = Vec::new();
        let mut reading = self.readers.acquire().await?;
        for part in parts_of::<E>(&mut reading, &keys(touched)).await? {
            plans.push(self.plan(&mut reading, &part, touched).await?);
        }
        drop(reading);
        let mut transaction = E::begin(&self.writer).await?;
        hold::<E>(&mut transaction, touched).await?;
        let mut written = Written::default();
        for plan in plans {
            plan.count_in(&mut written);
            E::remove(&mut transaction, &plan.removed).await?;
            rename::<E>(&mut transaction, &plan.moved).await?;
            E::remove(&mut transaction, &plan.replaced).await?;
            E::write(&mut transaction, &plan.changes).await?;
        }
        move_to::<E>(&mut transaction, through).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// Compares what is indexed with what should be.
    async fn plan(&self, connection: &mut E::Connection, part: &[Key], touched: &[Touched]) -> Result<Plan, StoreError> {
        let agents = agents::<E>(connection, part, touched).await?;
        let kept = many::kept::<E>(connection, part).await?;
        let mut indexed = indexed::<E>(connection, part).await?;
        let mut plan = Plan::default();
        for (key, kept) in kept {
            let bytes: usize = kept.iter().map(|kept| payload::plain_len(&kept.data)).sum();
            if bytes > MAX_UNPACKED_BYTES {
                // Nobody can read it either.
                continue;
            }
            let organization = self.known_number(&key.0).ok_or_else(|| StoreError::Corrupt("no number".to_owned()))?;
            let agent_id = agents.get(&key).cloned();
            let conversation_id = ConversationId(key.1);
            let work = move || entries(conversation_id, &kept, agent_id.as_deref());
            let entries = if bytes > LONG_BYTES {
                // What a panic says may quote a conversation.
                tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Corrupt("a transcript".to_owned()))?
            } else {
                work()
            };
            let entries = entries.map_err(|error| StoreError::Corrupt(error.to_string()))?;
            compare(&key, organization, entries, indexed.remove(&key).unwrap_or_default(), &mut plan);
        }
        Ok(plan)
    }
}

fn compare(key: &Key, organization: i64, entries: Vec<Entry>, mut indexed: HashMap<Uuid, Indexed>, plan: &mut Plan) {
    for entry in entries {
        let TurnId(turn_id) = entry.turn_id;
        match indexed.remove(&turn_id) {
            Some(known) if known.says(&entry) => {
                if !known.stands_as(&entry) {
                    plan.moved.push(Change { key: key.clone(), organization, entry });
                }
                continue;
            }
            Some(known) => plan.replaced.push(known),
            None => {}
        }
        plan.changes.push(Change { key: key.clone(), organization, entry });
    }
    plan.removed.extend(indexed.into_values());
}

/// Divides conversations into parts of which what is kept can be held at once. Those nothing is kept of are left out.
async fn parts_of<E: Words>(connection: &mut E::Connection, keys: &[Key]) -> Result<Vec<Vec<Key>>, StoreError> {
    let mut parts: Vec<Vec<Key>> = Vec::new();
    let mut room = 0_usize;
    for (key, bytes) in many::sizes::<E>(connection, keys).await? {
        match parts.last_mut() {
            Some(part) if bytes <= room => part.push(key),
            _ => {
                parts.push(vec![key]);
                room = PART_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    Ok(parts)
}

fn keys(touched: &[Touched]) -> Vec<Key> {
    touched.iter().map(|touched| (touched.organization_id.clone(), touched.conversation_id.0)).collect()
}

/// Notes who leads conversations, and keeps others from indexing them until the transaction is over: PostgreSQL locks also the rows
/// that it does not change.
async fn hold<E: Words>(connection: &mut E::Connection, touched: &[Touched]) -> Result<(), StoreError> {
    let rows = Rows::new(touched.len())
        .text("organization_id", touched.iter().map(|touched| touched.organization_id.as_str()))
        .id("conversation_id", touched.iter().map(|touched| touched.conversation_id.0))
        .opt_text("agent_id", touched.iter().map(|touched| touched.agent.as_ref().map(|agent| agent.id.as_str())))
        .opt_bytes("agent_rank", touched.iter().map(|touched| Some(touched.agent.as_ref().map_or(&[][..], |agent| &agent.rank))));
    let sql = "with {k} insert into search_conversations (organization_id, conversation_id, agent_id, agent_rank) \
               select organization_id, conversation_id, agent_id, agent_rank from k where true \
               on conflict (organization_id, conversation_id) \
               do update set agent_id = excluded.agent_id, agent_rank = excluded.agent_rank \
               where excluded.agent_rank > search_conversations.agent_rank";
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

/// Returns who leads conversations: by what is known, and by what was just told.
async fn agents<E: Words>(
    connection: &mut E::Connection,
    part: &[Key],
    touched: &[Touched],
) -> Result<HashMap<Key, String>, StoreError> {
    let sql = "with {k} select c.organization_id, c.conversation_id, c.agent_id, c.agent_rank \
               from k cross join search_conversations c \
               where c.organization_id = k.organization_id and c.conversation_id = k.conversation_id \
               and c.agent_id is not null";
    let mut known: HashMap<Key, Agent> = HashMap::new();
    for row in E::query(connection, sql, &[], Some(&key_rows(part))).await? {
        let mut columns = Columns::<E>::of(&row);
        let key = (organization_of(&columns.text()?)?, columns.id()?);
        let id = columns.text()?;
        known.insert(key, Agent { rank: columns.bytes()?, id });
    }
    for touched in touched {
        let Some(told) = &touched.agent else { continue };
        let key = (touched.organization_id.clone(), touched.conversation_id.0);
        if known.get(&key).is_none_or(|agent| told > agent) {
            known.insert(key, told.clone());
        }
    }
    Ok(known.into_iter().map(|(key, agent)| (key, agent.id)).collect())
}

/// Returns the turns that are indexed.
async fn indexed<E: Words>(
    connection: &mut E::Connection,
    part: &[Key],
) -> Result<HashMap<Key, HashMap<Uuid, Indexed>>, StoreError> {
    let sql = format!(
        "with {{k}} select t.organization_id, t.conversation_id, t.turn_id, cast(t.number as bigint), cast(t.role as bigint), \
         t.agent_id, t.at, t.hash, {} \
         from k cross join search_turns t where t.organization_id = k.organization_id and t.conversation_id = k.conversation_id",
        E::ID
    );
    let mut found: HashMap<Key, HashMap<Uuid, Indexed>> = HashMap::new();
    for row in E::query(connection, &sql, &[], Some(&key_rows(part))).await? {
        let mut columns = Columns::<E>::of(&row);
        let indexed = Indexed {
            key: (organization_of(&columns.text()?)?, columns.id()?),
            turn_id: columns.id()?,
            number: columns.int()?,
            role: columns.int()?,
            agent_id: columns.opt_text()?,
            at: columns.int()?,
            hash: columns.int()?,
            id: columns.int()?,
        };
        found.entry(indexed.key.clone()).or_default().insert(indexed.turn_id, indexed);
    }
    Ok(found)
}

/// Writes where turns stand and by whom they are; their words stay in the index as they are.
async fn rename<E: Words>(connection: &mut E::Connection, moved: &[Change]) -> Result<(), StoreError> {
    let rows = Rows::new(moved.len())
        .text("organization_id", moved.iter().map(|change| change.key.0.as_str()))
        .id("conversation_id", moved.iter().map(|change| change.key.1))
        .id("turn_id", moved.iter().map(|change| change.entry.turn_id.0))
        .int("number", moved.iter().map(|change| change.entry.number.into()))
        .int("role", moved.iter().map(|change| role_number(change.entry.role)))
        .opt_text("agent_id", moved.iter().map(|change| change.entry.agent_id.as_deref()));
    let sql = "with {k} update search_turns set number = k.number, role = k.role, agent_id = k.agent_id from k \
               where search_turns.organization_id = k.organization_id and search_turns.conversation_id = k.conversation_id \
               and search_turns.turn_id = k.turn_id";
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

async fn move_to<E: Words>(connection: &mut E::Connection, through: Position) -> Result<(), StoreError> {
    let sql = "insert into reader_positions (reader, position) values ($1, $2) \
               on conflict (reader) do update set position = excluded.position \
               where excluded.position > reader_positions.position";
    E::execute(connection, sql, &[Value::Text(READER), Value::Int(to_bigint(through))], None).await?;
    Ok(())
}
