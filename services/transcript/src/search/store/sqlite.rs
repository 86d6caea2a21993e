//! Words on SQLite: an FTS5 table of our own tokens, never of text, which holds nothing but the index.
//!
//! A turn's id there begins with when it was said, so that the index itself has the turns in that order: the newest that fit are found
//! without looking at the others.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Outcome, Rows, Value};
use colloquy_types::{ConversationId, OrganizationId};
use sqlx::{Pool, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::find::{COLUMNS, Conditions, by_relevance, found};
use super::{Change, Find, Found, Indexed, MAX_RANKED, Order, Query, Term, Words, join, role_number, scoped};
use crate::search::entry::Entry;

/// An id's lowest bits tell turns of one millisecond apart.
const OWN_BITS: u32 = 21;
const OWN: i64 = (1 << OWN_BITS) - 1;
/// So often another id is tried when one is taken, before it is given up: with two million turns of one millisecond.
const ATTEMPTS: u32 = 200;
/// Stands where a token is that is not indexed; no token of an organization looks like it.
const NO_TOKEN: &str = "x";

const FROM: &str = "from search_words w cross join search_turns t on t.id = w.rowid \
                    where w.search_words match $1 and t.organization_id = $2";

impl Words for Sqlite {
    const MANY_WRITERS: bool = false;
    const ID: &'static str = "t.id";

    async fn remove(connection: &mut SqliteConnection, turns: &[Indexed]) -> Result<(), StoreError> {
        let rows = Rows::new(turns.len()).int("id", turns.iter().map(|turn| turn.id));
        Self::execute(connection, "with {k} delete from search_words where rowid in (select id from k)", &[], Some(&rows))
            .await?;
        Self::execute(connection, "with {k} delete from search_turns where id in (select id from k)", &[], Some(&rows)).await?;
        Ok(())
    }

    async fn write(connection: &mut SqliteConnection, changes: &[Change]) -> Result<(), StoreError> {
        let ids = free_ids(connection, changes).await?;
        let rows = Rows::new(changes.len())
            .int("id", ids.iter().copied())
            .text("organization_id", changes.iter().map(|change| change.key.0.as_str()))
            .id("conversation_id", changes.iter().map(|change| change.key.1))
            .id("turn_id", changes.iter().map(|change| change.entry.turn_id.0))
            .int("number", changes.iter().map(|change| change.entry.number.into()))
            .int("role", changes.iter().map(|change| role_number(change.entry.role)))
            .opt_text("agent_id", changes.iter().map(|change| change.entry.agent_id.as_deref()))
            .int("at", changes.iter().map(|change| change.entry.at))
            .int("length", changes.iter().map(|change| change.entry.length.into()))
            .int("hash", changes.iter().map(|change| change.entry.hash));
        let sql = "with {k} insert into search_turns \
                   (id, organization_id, conversation_id, turn_id, number, role, agent_id, at, length, hash) \
                   select id, organization_id, conversation_id, turn_id, number, role, agent_id, at, length, hash from k";
        Self::execute(connection, sql, &[], Some(&rows)).await?;
        let mut order: Vec<(i64, String)> =
            ids.into_iter().zip(changes).map(|(id, change)| (id, document(&change.entry, change.organization))).collect();
        // The index takes rows in the order of their ids into one list, and begins another where they go back.
        order.sort_unstable_by_key(|(id, _)| *id);
        let rows = Rows::new(order.len())
            .int("id", order.iter().map(|(id, _)| *id))
            .text("words", order.iter().map(|(_, words)| words.as_str()));
        let sql = "with {k} insert into search_words (rowid, words) select id, words from k";
        Self::execute(connection, sql, &[], Some(&rows)).await?;
        Ok(())
    }

    async fn settle(_: &Pool<Self>) -> Outcome<()> {
        Ok(())
    }

    async fn find(connection: &mut SqliteConnection, find: &Find<'_>, organization: i64) -> Result<Vec<Found>, StoreError> {
        let query = Self::query_text(find.query, organization);
        let mut range = Range::of(find);
        if let Some(id) = find.conversation_id {
            let Some(among) = Range::among(connection, find.organization_id, &[id]).await? else { return Ok(Vec::new()) };
            range = range.within(among);
        }
        let mut conditions = Conditions::after(vec![Value::Text(&query), Value::Text(find.organization_id.as_str())]);
        conditions.filters(find);
        match find.order {
            Order::Relevance => {
                let between = range.bind(&mut conditions);
                let newest =
                    format!("select {COLUMNS} {FROM}{}{between} order by w.rowid desc limit {MAX_RANKED}", conditions.sql);
                let sql = by_relevance(&mut conditions, find, &newest);
                found::<Self>(&Self::query(connection, &sql, &conditions.values, None).await?)
            }
            Order::Newest => {
                if let Some(place) = find.after {
                    range.last = range.last.min(place.at << OWN_BITS | OWN);
                    conditions.older_than(place);
                }
                newest(connection, conditions, range, find.limit).await
            }
        }
    }

    async fn matching_among(
        connection: &mut SqliteConnection,
        organization_id: &OrganizationId,
        query: &str,
        among: &[ConversationId],
    ) -> Outcome<Vec<Uuid>> {
        let Some(range) = Range::among(connection, organization_id, among).await? else { return Ok(Vec::new()) };
        let ids = among.iter().map(|id| format!("\"{}\"", id.0.simple())).collect::<Vec<_>>().join(",");
        let ids = format!("[{ids}]");
        let values = [
            Value::Text(query),
            Value::Text(organization_id.as_str()),
            Value::Int(range.first),
            Value::Int(range.last),
            Value::Text(&ids),
        ];
        let sql = format!(
            "select distinct t.conversation_id {FROM} and t.role in (1, 2, 3) and w.rowid between $3 and $4 \
             and t.conversation_id in (select unhex(value) from json_each($5))"
        );
        let rows = Self::query(connection, &sql, &values, None).await?;
        rows.iter().map(|row| Columns::<Self>::of(row).id()).collect()
    }

    fn matching_sql() -> String {
        format!("select t.conversation_id {FROM} and t.role in (1, 2, 3) limit $3")
    }

    fn query_text(query: &Query, organization: i64) -> String {
        let wanted = join(&query.wanted, " AND ", |term| phrase(term, organization));
        if query.excluded.is_empty() {
            return wanted;
        }
        format!("({wanted}) NOT ({})", join(&query.excluded, " OR ", |term| phrase(term, organization)))
    }
}

/// Returns a term as FTS5 reads it. Tokens are letters and digits, so that quotation marks around them are enough.
fn phrase(term: &Term, organization: i64) -> String {
    let tokens: Vec<String> = term.tokens.iter().map(|token| scoped(organization, token)).collect();
    format!("\"{}\"{}", tokens.join(" "), if term.is_prefix { " *" } else { "" })
}

/// Returns the tokens of a turn, in order.
fn document(entry: &Entry, organization: i64) -> String {
    let token = |token: &Option<String>| token.as_ref().map_or_else(|| NO_TOKEN.to_owned(), |token| scoped(organization, token));
    entry.tokens.iter().map(token).collect::<Vec<_>>().join(" ")
}

/// Returns what tells a turn from others of its millisecond. Whoever sends events chooses the ids in them, and may choose alike ones.
fn own_bits(conversation_id: Uuid, turn_id: Uuid, attempt: u32) -> i64 {
    let mut hasher = DefaultHasher::new();
    (conversation_id, turn_id, attempt).hash(&mut hasher);
    hasher.finish() as i64 & OWN
}

/// Returns an id for each turn that no other has.
async fn free_ids(connection: &mut SqliteConnection, changes: &[Change]) -> Result<Vec<i64>, StoreError> {
    let mut ids = vec![0; changes.len()];
    let mut given = HashSet::with_capacity(changes.len());
    let mut waiting: Vec<usize> = (0..changes.len()).collect();
    for attempt in 0..ATTEMPTS {
        if waiting.is_empty() {
            return Ok(ids);
        }
        for &number in &waiting {
            let Change { key, entry, .. } = &changes[number];
            ids[number] = entry.at << OWN_BITS | own_bits(key.1, entry.turn_id.0, attempt);
        }
        let rows = Rows::new(waiting.len()).int("id", waiting.iter().map(|&number| ids[number]));
        let sql = "with {k} select t.id from k cross join search_turns t where t.id = k.id";
        let taken = Sqlite::query(connection, sql, &[], Some(&rows)).await?;
        let taken: HashSet<i64> = taken.iter().map(|row| Columns::<Sqlite>::of(row).int()).collect::<Outcome<_>>()?;
        waiting.retain(|&number| taken.contains(&ids[number]) || !given.insert(ids[number]));
    }
    if waiting.is_empty() { Ok(ids) } else { Err(StoreError::Corrupt("too many turns of one millisecond".to_owned())) }
}

/// A part of the index, by ids.
#[derive(Clone, Copy)]
struct Range {
    first: i64,
    last: i64,
}

impl Range {
    /// Returns the part for the times of a search.
    fn of(find: &Find<'_>) -> Self {
        let id = |at: i64| at.clamp(0, super::super::entry::LATEST_MS + 1).checked_mul(1 << OWN_BITS).unwrap_or(i64::MAX);
        Self { first: find.from.map_or(0, id), last: find.before.map_or(i64::MAX, |before| id(before) - 1) }
    }

    /// Returns the part in which conversations are; `None` when nothing of them is indexed.
    async fn among(
        connection: &mut SqliteConnection,
        organization_id: &OrganizationId,
        ids: &[ConversationId],
    ) -> Outcome<Option<Self>> {
        let sql = "with {k} select min(t.id), max(t.id) from k cross join search_turns t \
                   where t.organization_id = $1 and t.conversation_id = k.conversation_id";
        let rows = Rows::new(ids.len()).id("conversation_id", ids.iter().map(|id| id.0));
        let mut range: Option<Self> = None;
        // One row a chunk.
        for row in Sqlite::query(connection, sql, &[Value::Text(organization_id.as_str())], Some(&rows)).await? {
            let mut columns = Columns::<Sqlite>::of(&row);
            let (Some(first), Some(last)) = (columns.opt_int()?, columns.opt_int()?) else { continue };
            range = Some(
                range.map_or(Self { first, last }, |range| Self { first: range.first.min(first), last: range.last.max(last) }),
            );
        }
        Ok(range)
    }

    fn within(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    fn bind(self, conditions: &mut Conditions<'_>) -> String {
        let (first, last) = (conditions.bind(Value::Int(self.first)), conditions.bind(Value::Int(self.last)));
        format!(" and w.rowid between {first} and {last}")
    }
}

/// Returns the newest turns that fit. The index has them by time alone, so all of the last one's millisecond are put in order.
async fn newest(
    connection: &mut SqliteConnection,
    conditions: Conditions<'_>,
    range: Range,
    limit: u32,
) -> Result<Vec<Found>, StoreError> {
    let Conditions { sql: filters, values } = conditions;
    let at = values.len();
    let sql = format!(
        "select {COLUMNS} {FROM}{filters} and w.rowid between ${} and ${} order by w.rowid desc limit ${}",
        at + 1,
        at + 2,
        at + 3
    );
    let read = |range: Range, limit: i64| {
        let mut values = values.clone();
        values.extend([Value::Int(range.first), Value::Int(range.last), Value::Int(limit)]);
        values
    };
    let mut turns = found::<Sqlite>(&Sqlite::query(connection, &sql, &read(range, limit.into()), None).await?)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if turns.len() >= limit
        && let Some(last) = turns.last().map(|turn| turn.at)
    {
        turns.retain(|turn| turn.at > last);
        let same = range.within(Range { first: last << OWN_BITS, last: last << OWN_BITS | OWN });
        turns.extend(found::<Sqlite>(&Sqlite::query(connection, &sql, &read(same, -1), None).await?)?);
    }
    turns.sort_by_key(|turn| (std::cmp::Reverse(turn.at), turn.conversation_id, turn.number));
    turns.truncate(limit);
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_from_tokens_alone() {
        let text = |query: &str| Sqlite::query_text(&query.parse().unwrap(), 7);
        assert_eq!(
            text("Refund \"money back\" canc* -no -\"gift card\""),
            "(\"7xrefund\" AND \"7xmoney 7xback\" AND \"7xcanc\" *) NOT (\"7xno\" OR \"7xgift 7xcard\")"
        );
        assert_eq!(text("'); drop table x; --"), "\"7xdrop\" AND \"7xtable\" AND \"7xx\"");
    }
}
