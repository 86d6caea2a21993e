//! Reading a page of a list.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::engine::{Columns, Engine, Value, read};
use super::sql::SqlStore;
use super::{Kept, Page};
use crate::list::{Cursor, Filter, Key, Place, Query, Sort, SortField};

/// A conversation of a page; with its record where it was read already.
struct Entry {
    place: Place,
    record: Option<Vec<u8>>,
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_page(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        let (version, began_at) = match &query.cursor {
            Some(cursor) => (cursor.version, cursor.began_at),
            None => (self.walks.begin(&self.readers, now).await?, now.as_millis()),
        };
        let mut connection = self.readers.acquire().await?;
        let mut entries = Vec::new();
        for part in parts(query) {
            entries.extend(part.read::<E>(&mut connection, query, version).await?);
        }
        // After the conversations themselves: one that changes in between is then found twice rather than never.
        entries.extend(read_history::<E>(&mut connection, query, version).await?);
        entries.sort_by(|a, b| a.place.key.cmp_in(query.sort, b.place.key).then(a.place.id.cmp(&b.place.id)));
        entries.dedup_by_key(|entry| entry.place.id);
        let has_more = entries.len() > query.limit;
        entries.truncate(query.limit);
        let after = entries.last().map(|last| last.place).filter(|_| has_more);
        let total = if query.count { Some(count::<E>(&mut connection, query).await?) } else { None };
        Ok(Page {
            next: after.map(|after| Cursor { version, began_at, after }),
            conversations: self.complete(&mut connection, query, entries).await?,
            total,
        })
    }

    /// Adds the records of those that were found in the history. One that was erased meanwhile has none.
    async fn complete(
        &self,
        connection: &mut E::Connection,
        query: &Query,
        entries: Vec<Entry>,
    ) -> Result<Vec<Kept>, StoreError> {
        let missing: Vec<Vec<Value<'_>>> = entries
            .iter()
            .filter(|entry| entry.record.is_none())
            .map(|entry| vec![Value::Text(query.organization_id.as_str()), Value::Id(entry.place.id)])
            .collect();
        let head = "with k (organization_id, conversation_id) as (values ";
        let tail = ") select c.conversation_id, c.record from k cross join conversations c
             where c.organization_id = k.organization_id and c.conversation_id = k.conversation_id";
        let mut records: HashMap<Uuid, Vec<u8>> = HashMap::new();
        for row in read::<E>(connection, head, &missing, tail).await? {
            let mut columns = Columns::<E>::of(&row);
            records.insert(columns.id()?, columns.bytes()?);
        }
        let kept = entries.into_iter().filter_map(|entry| {
            let id = entry.place.id;
            let bytes = entry.record.or_else(|| records.remove(&id))?;
            Some(Kept { id: ConversationId(id), bytes })
        });
        Ok(kept.collect())
    }
}

/// A part of a list that one index serves in the list's order; the parts are merged.
#[derive(Clone, Copy)]
struct Part<'q> {
    /// The tag or topic that leads.
    word: Option<(&'static str, &'q str)>,
    /// The status, when the list has several and nothing better leads.
    status: Option<&'static str>,
    /// Only those without the value that is sorted by.
    absent: bool,
}

fn parts(query: &Query) -> Vec<Part<'_>> {
    let filter = &query.filter;
    let whole = Part { word: None, status: None, absent: false };
    let leads: Vec<Part<'_>> = if !filter.tags.is_empty() {
        filter.tags.iter().map(|tag| Part { word: Some(("tag", tag)), ..whole }).collect()
    } else if let Some(topic) = &filter.topic {
        vec![Part { word: Some(("topic", topic)), ..whole }]
    } else if filter.statuses.len() > 1 && filter.equal.is_empty() {
        filter.statuses.iter().map(|status| Part { status: Some(*status), ..whole }).collect()
    } else {
        vec![whole]
    };
    let only_absent_left = query.cursor.is_some_and(|cursor| matches!(cursor.after.key, Key::Absent));
    let mut parts = Vec::new();
    if !only_absent_left {
        parts.extend(&leads);
    }
    if query.sort.field.may_be_absent() {
        parts.extend(leads.iter().map(|part| Part { absent: true, ..*part }));
    }
    parts
}

impl Part<'_> {
    async fn read<E: Engine>(
        &self,
        connection: &mut E::Connection,
        query: &Query,
        version: i64,
    ) -> Result<Vec<Entry>, sqlx::Error> {
        let rows = E::fetch(connection, self.statement::<E>(query, version)).await?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::<E>::of(row);
                let id = columns.id()?;
                let key = read_key(&mut columns, query.sort.field)?;
                Ok(Entry { place: Place { key, id }, record: Some(columns.bytes()?) })
            })
            .collect()
    }

    fn statement<E: Engine>(&self, query: &Query, version: i64) -> QueryBuilder<E> {
        let Sort { field, descending } = query.sort;
        // The words carry what lists are sorted by unless told otherwise, so that their own index serves that order.
        let lead = if self.word.is_some() && field == SortField::CreatedAt { "w" } else { "c" };
        let column = format!("{lead}.{}", field.column());
        let mut builder = QueryBuilder::new("select c.conversation_id, ");
        builder.push(&column).push(", c.record from ");
        match self.word {
            Some((kind, word)) => {
                builder.push("conversation_words w cross join conversations c where w.organization_id = ");
                E::bind(&mut builder, Value::Text(query.organization_id.as_str()));
                builder.push(" and w.kind = ");
                E::bind(&mut builder, Value::Text(kind));
                builder.push(" and w.word = ");
                E::bind(&mut builder, Value::Text(word));
                builder.push(" and c.organization_id = w.organization_id and c.conversation_id = w.conversation_id");
            }
            None => {
                builder.push("conversations c where c.organization_id = ");
                E::bind(&mut builder, Value::Text(query.organization_id.as_str()));
            }
        }
        builder.push(" and c.list_version <= ");
        E::bind(&mut builder, Value::Int(version));
        if let Some(status) = self.status {
            builder.push(" and c.status = ");
            E::bind(&mut builder, Value::Text(status));
        }
        let statuses = if self.status.is_some() { [].as_slice() } else { query.filter.statuses.as_slice() };
        push_filter(&mut builder, "c", lead, &query.filter, statuses, field);
        if let (Some(topic), Some(("tag", _))) = (&query.filter.topic, self.word) {
            push_topic(&mut builder, topic);
        }
        if self.absent {
            builder.push(format!(" and {column} is null"));
        } else if field.may_be_absent() {
            builder.push(format!(" and {column} is not null"));
        }
        let id = format!("{lead}.conversation_id");
        match query.cursor.map(|cursor| cursor.after) {
            Some(Place { key: Key::Absent, id: after }) => {
                builder.push(format!(" and {id} > "));
                E::bind(&mut builder, Value::Id(after));
            }
            Some(Place { key, id: after }) if !self.absent => push_after(&mut builder, &column, &id, descending, key, after),
            _ => {}
        }
        builder.push(" order by ");
        if !self.absent {
            builder.push(format!("{column}{}, ", if descending { " desc" } else { "" }));
        }
        builder.push(format!("{id} limit "));
        E::bind(&mut builder, Value::Int(query.limit as i64 + 1));
        builder
    }
}

fn key_value(key: Key) -> Value<'static> {
    match key {
        Key::Int(number) => Value::Int(number),
        Key::Real(number) => Value::Real(number),
        Key::Absent => Value::OptInt(None),
    }
}

fn read_key<E: Engine>(columns: &mut Columns<'_, E>, field: SortField) -> Result<Key, sqlx::Error> {
    Ok(match field {
        SortField::Satisfaction => columns.opt_real()?.map_or(Key::Absent, Key::Real),
        _ => columns.opt_int()?.map_or(Key::Absent, Key::Int),
    })
}

/// Narrows to what comes behind a place. The first condition is what an index is entered with.
fn push_after<E: Engine>(builder: &mut QueryBuilder<E>, column: &str, id: &str, descending: bool, key: Key, after: Uuid) {
    let (beyond, at_or_beyond) = if descending { ("<", "<=") } else { (">", ">=") };
    builder.push(format!(" and {column} {at_or_beyond} "));
    E::bind(builder, key_value(key));
    builder.push(format!(" and ({column} {beyond} "));
    E::bind(builder, key_value(key));
    builder.push(format!(" or {id} > "));
    E::bind(builder, Value::Id(after));
    builder.push(")");
}

/// Narrows to what the filter's columns say. `times` is the table whose `created_at` is compared.
fn push_filter<E: Engine>(
    builder: &mut QueryBuilder<E>,
    table: &str,
    times: &str,
    filter: &Filter,
    statuses: &[&'static str],
    sorted_by: SortField,
) {
    for (column, wanted) in &filter.equal {
        builder.push(format!(" and {table}.{} = ", column.as_str()));
        E::bind(builder, Value::Text(wanted));
    }
    match statuses {
        [] => {}
        [status] => {
            builder.push(format!(" and {table}.status = "));
            E::bind(builder, Value::Text(status));
        }
        several => {
            // Written as an expression, so that it filters what an index in the list's order yields instead of choosing one.
            builder.push(format!(" and {table}.status || '' in ("));
            for (number, status) in several.iter().enumerate() {
                builder.push(if number == 0 { "" } else { ", " });
                E::bind(builder, Value::Text(status));
            }
            builder.push(")");
        }
    }
    let bounds = [(filter.created_from, ">="), (filter.created_before, "<")];
    for (bound, operator) in bounds {
        if let Some(bound) = bound {
            builder.push(format!(" and {times}.created_at {operator} "));
            E::bind(builder, Value::Int(bound.as_millis()));
        }
    }
    // As above: lists sorted by something else keep their order's index.
    let duration = if sorted_by == SortField::Duration { "duration_ms" } else { "duration_ms + 0" };
    for (bound, operator) in [(filter.duration_min_ms, ">="), (filter.duration_max_ms, "<=")] {
        if let Some(bound) = bound {
            builder.push(format!(" and {table}.{duration} {operator} "));
            E::bind(builder, Value::Int(bound));
        }
    }
}

fn push_topic<E: Engine>(builder: &mut QueryBuilder<E>, topic: &str) {
    builder.push(
        " and exists (select 1 from conversation_words t
             where t.organization_id = c.organization_id and t.kind = 'topic' and t.created_at = c.created_at
                 and t.conversation_id = c.conversation_id and t.word = ",
    );
    E::bind(builder, Value::Text(topic));
    builder.push(")");
}

/// Returns the conversations that were in the list when the walk began and have changed since.
async fn read_history<E: Engine>(connection: &mut E::Connection, query: &Query, version: i64) -> Result<Vec<Entry>, sqlx::Error> {
    let Sort { field, descending } = query.sort;
    let column = format!("h.{}", field.column());
    let mut builder = QueryBuilder::<E>::new("select h.conversation_id, ");
    builder.push(&column).push(" from conversation_list_history h where h.organization_id = ");
    E::bind(&mut builder, Value::Text(query.organization_id.as_str()));
    builder.push(" and h.valid_to > ");
    E::bind(&mut builder, Value::Int(version));
    builder.push(" and h.valid_from <= ");
    E::bind(&mut builder, Value::Int(version));
    push_filter(&mut builder, "h", "h", &query.filter, &query.filter.statuses, field);
    let topic = query.filter.topic.as_slice();
    for (words, wanted) in [("h.tags", query.filter.tags.as_slice()), ("h.topics", topic)] {
        if wanted.is_empty() {
            continue;
        }
        builder.push(format!(" and exists ({} in (", E::each_word(words)));
        for (number, word) in wanted.iter().enumerate() {
            builder.push(if number == 0 { "" } else { ", " });
            E::bind(&mut builder, Value::Text(word));
        }
        builder.push("))");
    }
    match query.cursor.map(|cursor| cursor.after) {
        None => {}
        Some(Place { key: Key::Absent, id }) => {
            builder.push(format!(" and {column} is null and h.conversation_id > "));
            E::bind(&mut builder, Value::Id(id));
        }
        Some(Place { key, id }) => {
            builder.push(format!(" and ({column} is null or (1 = 1"));
            push_after(&mut builder, &column, "h.conversation_id", descending, key, id);
            builder.push("))");
        }
    }
    builder
        .push(format!(" order by {column} is null, {column}{}, h.conversation_id limit ", if descending { " desc" } else { "" }));
    E::bind(&mut builder, Value::Int(query.limit as i64 + 1));
    let rows = E::fetch(connection, builder).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::<E>::of(row);
            let id = columns.id()?;
            Ok(Entry { place: Place { key: read_key(&mut columns, field)?, id }, record: None })
        })
        .collect()
}

async fn count<E: Engine>(connection: &mut E::Connection, query: &Query) -> Result<i64, sqlx::Error> {
    let mut builder = QueryBuilder::<E>::new("select count(*) from conversations c where c.organization_id = ");
    E::bind(&mut builder, Value::Text(query.organization_id.as_str()));
    push_filter(&mut builder, "c", "c", &query.filter, &query.filter.statuses, SortField::Duration);
    let topic = query.filter.topic.as_slice();
    for (kind, words) in [("tag", query.filter.tags.as_slice()), ("topic", topic)] {
        if words.is_empty() {
            continue;
        }
        builder.push(" and c.conversation_id in (select w.conversation_id from conversation_words w where w.organization_id = ");
        E::bind(&mut builder, Value::Text(query.organization_id.as_str()));
        builder.push(" and w.kind = ");
        E::bind(&mut builder, Value::Text(kind));
        builder.push(" and w.word in (");
        for (number, word) in words.iter().enumerate() {
            builder.push(if number == 0 { "" } else { ", " });
            E::bind(&mut builder, Value::Text(word));
        }
        builder.push("))");
    }
    let rows = E::fetch(connection, builder).await?;
    Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?).int()
}

/// Returns the statements that read a list, for tests of which indexes serve them.
#[cfg(test)]
pub(super) fn statements<E: Engine>(query: &Query) -> Vec<QueryBuilder<E>> {
    parts(query).iter().map(|part| part.statement::<E>(query, 1)).collect()
}
