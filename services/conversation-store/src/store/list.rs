//! Reading a page of a list.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::conditions::{
    history_place, kept_place, key_value, led_place, push_after, push_conversations, push_external_id, push_filter, push_rest,
    push_times, push_topic, push_values,
};
use super::engine::{Columns, Engine, Value, read};
use super::sql::SqlStore;
use super::{Candidates, Kept, Page};
use crate::list::{Cursor, Filter, Key, Lead, Place, Query, Sort, SortField};

/// A conversation of a page; with its record where it was read already.
struct Entry {
    place: Place,
    record: Option<Vec<u8>>,
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_page(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        let walk = self.walk(query, now).await?;
        let mut connection = self.readers.acquire().await?;
        let (entries, has_more) = read_entries::<E>(&mut connection, query, walk.version, true).await?;
        let after = entries.last().map(|last| last.place).filter(|_| has_more);
        let total = if query.count { Some(count::<E>(&mut connection, query).await?) } else { None };
        Ok(Page {
            next: after.map(|after| walk.after(after)),
            conversations: self.complete(&mut connection, &query.organization_id, entries).await?,
            total,
        })
    }

    pub(super) async fn read_candidates(&self, query: &Query, now: Timestamp) -> Result<Candidates, StoreError> {
        let walk = self.walk(query, now).await?;
        let mut connection = self.readers.acquire().await?;
        let (entries, has_more) = read_entries::<E>(&mut connection, query, walk.version, false).await?;
        let places = entries.into_iter().map(|entry| walk.after(entry.place)).collect();
        Ok(Candidates { places, has_more })
    }

    pub(super) async fn read_records(&self, organization: &OrganizationId, places: &[Cursor]) -> Result<Vec<Kept>, StoreError> {
        let entries = places.iter().map(|cursor| Entry { place: cursor.after, record: None }).collect();
        let mut connection = self.readers.acquire().await?;
        self.complete(&mut connection, organization, entries).await
    }

    async fn walk(&self, query: &Query, now: Timestamp) -> Result<Walk, StoreError> {
        Ok(match &query.cursor {
            Some(cursor) => Walk { version: cursor.version, began_at: cursor.began_at },
            None => Walk { version: self.walks.begin(&self.readers, now).await?, began_at: now.as_millis() },
        })
    }

    /// Adds the records of those that were found without. One that was erased meanwhile has none.
    async fn complete(
        &self,
        connection: &mut E::Connection,
        organization: &OrganizationId,
        entries: Vec<Entry>,
    ) -> Result<Vec<Kept>, StoreError> {
        let missing: Vec<Vec<Value<'_>>> = entries
            .iter()
            .filter(|entry| entry.record.is_none())
            .map(|entry| vec![Value::Text(organization.as_str()), Value::Id(entry.place.id)])
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

/// A walk through a list.
struct Walk {
    version: i64,
    began_at: i64,
}

impl Walk {
    /// Returns where it goes on behind a place.
    const fn after(&self, after: Place) -> Cursor {
        Cursor { version: self.version, began_at: self.began_at, after, frequent: false, common: false }
    }
}

/// Reads what a page holds, in order, and whether there is more behind it.
async fn read_entries<E: Engine>(
    connection: &mut E::Connection,
    query: &Query,
    version: i64,
    with_records: bool,
) -> Result<(Vec<Entry>, bool), sqlx::Error> {
    let mut entries = Vec::new();
    for part in parts(query) {
        entries.extend(part.read::<E>(connection, query, version, with_records).await?);
    }
    // After the conversations themselves: one that changes in between is then found twice rather than never.
    entries.extend(read_history::<E>(connection, query, version).await?);
    entries.sort_by(|a, b| a.place.key.cmp_in(query.sort, b.place.key).then(a.place.id.cmp(&b.place.id)));
    entries.dedup_by_key(|entry| entry.place.id);
    let has_more = entries.len() > query.limit;
    entries.truncate(query.limit);
    Ok((entries, has_more))
}

/// A part of a list that one index serves in the list's order; the parts are merged.
#[derive(Clone, Copy)]
struct Part<'q> {
    /// The tag or topic that leads.
    word: Option<(&'static str, &'q str)>,
    /// What else few have in common.
    lead: Option<&'q Lead>,
    /// One of several values, when nothing better leads.
    value: Option<(&'static str, &'q str)>,
    /// Only those without the value that is sorted by.
    absent: bool,
    /// How it is read.
    reach: Reach,
}

/// How the conversations of a part are read.
#[derive(Clone, Copy)]
enum Reach {
    /// In the list's order, by an index.
    All,
    /// Likewise, up to the one with this key.
    UpTo(Key),
    /// As they lie in the table, and sorted then: where few of many are wanted, ten times as fast as looking each up.
    AsTheyLie,
}

/// So many conversations are looked up by an index, to find a page of those that no index leads to.
const LOOKED_UP: i64 = 20_000;

fn parts(query: &Query) -> Vec<Part<'_>> {
    let filter = &query.filter;
    let whole = Part { word: None, lead: None, value: None, absent: false, reach: Reach::All };
    let by_id = filter.lead.as_ref().filter(|lead| matches!(lead, Lead::ExternalId(_)));
    let leads: Vec<Part<'_>> = if query.among.is_some() {
        vec![whole]
    } else if by_id.is_some() && filter.tags.is_empty() && filter.topic.is_none() {
        vec![Part { lead: by_id, ..whole }]
    } else if !filter.tags.is_empty() {
        filter.tags.iter().map(|tag| Part { word: Some(("tag", tag)), ..whole }).collect()
    } else if let Some(topic) = &filter.topic {
        vec![Part { word: Some(("topic", topic)), ..whole }]
    } else if filter.lead.is_some() {
        vec![Part { lead: filter.lead.as_ref(), ..whole }]
    } else if !filter.equal.is_empty() {
        vec![whole]
    } else if let Some((column, values)) = &filter.one_of {
        values.iter().map(|value| Part { value: Some((column.as_str(), value)), ..whole }).collect()
    } else if filter.statuses.len() > 1 {
        filter.statuses.iter().map(|status| Part { value: Some(("status", *status)), ..whole }).collect()
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
        with_records: bool,
    ) -> Result<Vec<Entry>, sqlx::Error> {
        if self.is_led_by_order_alone(query) {
            let edge = E::fetch(connection, self.edge::<E>(query)).await?;
            if let Some(edge) = edge.first() {
                let key = read_key(&mut Columns::<E>::of(edge), query.sort.field)?;
                let near = Part { reach: Reach::UpTo(key), ..*self };
                let near = near.fetch::<E>(connection, query, version, with_records).await?;
                if near.len() > query.limit {
                    return Ok(near);
                }
                let all = Part { reach: Reach::AsTheyLie, ..*self };
                return all.fetch::<E>(connection, query, version, with_records).await;
            }
        }
        self.fetch::<E>(connection, query, version, with_records).await
    }

    /// Returns whether nothing but the list's order leads to what is asked for, so that all conversations may have to be looked at.
    fn is_led_by_order_alone(&self, query: &Query) -> bool {
        let Filter { equal, statuses, rest, .. } = &query.filter;
        let is_led = self.word.is_some() || self.lead.is_some() || self.value.is_some() || self.absent;
        rest.is_some() && !is_led && query.among.is_none() && equal.is_empty() && statuses.is_empty()
    }

    /// Returns the statement that finds the key of the last conversation to be looked up by an index, if there are more.
    fn edge<E: Engine>(&self, query: &Query) -> QueryBuilder<E> {
        let Sort { field, descending } = query.sort;
        let column = format!("c.{}", field.column());
        let mut builder = QueryBuilder::new(format!("select {column} from "));
        push_conversations(&mut builder, query);
        push_times(&mut builder, "c.created_at", &query.filter);
        if field.may_be_absent() {
            builder.push(format!(" and {column} is not null"));
        }
        if let Some(Place { key, id }) = query.cursor.map(|cursor| cursor.after) {
            push_after(&mut builder, &column, "c.conversation_id", descending, key, id);
        }
        builder.push(format!(" order by {column}{}, c.conversation_id limit 1 offset ", if descending { " desc" } else { "" }));
        E::bind(&mut builder, Value::Int(LOOKED_UP));
        builder
    }

    async fn fetch<E: Engine>(
        &self,
        connection: &mut E::Connection,
        query: &Query,
        version: i64,
        with_records: bool,
    ) -> Result<Vec<Entry>, sqlx::Error> {
        let rows = E::fetch(connection, self.statement::<E>(query, version, with_records)).await?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::<E>::of(row);
                let id = columns.id()?;
                let key = read_key(&mut columns, query.sort.field)?;
                let record = if with_records { Some(columns.bytes()?) } else { None };
                Ok(Entry { place: Place { key, id }, record })
            })
            .collect()
    }

    fn statement<E: Engine>(&self, query: &Query, version: i64, with_records: bool) -> QueryBuilder<E> {
        let Sort { field, descending } = query.sort;
        // The words carry what lists are sorted by unless told otherwise, so that their own index serves that order.
        let by_value = self.lead.filter(|lead| !matches!(lead, Lead::ExternalId(_)));
        let is_led = self.word.is_some() || by_value.is_some();
        let lead = if is_led && field == SortField::CreatedAt { "w" } else { "c" };
        // Some conversations are looked up and sorted: how many of a list they are, no index knows. Those with one id are few.
        let as_they_lie = matches!(self.reach, Reach::AsTheyLie);
        let is_sorted = query.among.is_some() || as_they_lie || (self.lead.is_some() && by_value.is_none());
        let column = if is_sorted { format!("({lead}.{} + 0)", field.column()) } else { format!("{lead}.{}", field.column()) };
        let mut builder = QueryBuilder::new("select c.conversation_id, ");
        builder.push(&column).push(if with_records { ", c.record from " } else { " from " });
        match (self.word, by_value) {
            (Some((kind, word)), _) => {
                builder.push("conversation_words w cross join conversations c where w.organization_id = ");
                E::bind(&mut builder, Value::Text(query.organization_id.as_str()));
                builder.push(" and w.kind = ");
                E::bind(&mut builder, Value::Text(kind));
                builder.push(" and w.word = ");
                E::bind(&mut builder, Value::Text(word));
                builder.push(" and c.organization_id = w.organization_id and c.conversation_id = w.conversation_id");
            }
            (None, Some(value)) => {
                builder.push("conversation_values w cross join conversations c where ");
                push_values(&mut builder, query, value);
                // The two times differ only where an older release, which does not know values, has moved the conversation. It is
                // found again, in its place, once its row is brought up to date. Asked for as a range, since of two columns that are
                // equal PostgreSQL believes that few rows have them so.
                builder.push(
                    " and c.organization_id = w.organization_id and c.conversation_id = w.conversation_id
                         and c.created_at <= w.created_at and c.created_at >= w.created_at",
                );
            }
            (None, None) => push_conversations(&mut builder, query),
        }
        if let Some(Lead::ExternalId(id)) = self.lead {
            push_external_id(&mut builder, query, id);
        }
        builder.push(" and c.list_version <= ");
        E::bind(&mut builder, Value::Int(version));
        if let Some((column, value)) = self.value {
            builder.push(format!(" and c.{column} = "));
            E::bind(&mut builder, Value::Text(value));
        }
        let created_at = if as_they_lie { "(c.created_at + 0)".to_owned() } else { format!("{lead}.created_at") };
        push_times(&mut builder, &created_at, &query.filter);
        let sorted_by = if as_they_lie { SortField::CreatedAt } else { field };
        push_filter(&mut builder, "c", &query.filter, self.value.map(|(column, _)| column), sorted_by);
        if let Reach::UpTo(key) = self.reach {
            builder.push(format!(" and {column} {} ", if descending { ">=" } else { "<=" }));
            E::bind(&mut builder, key_value(key));
        }
        if let (Some(topic), Some(("tag", _))) = (&query.filter.topic, self.word) {
            push_topic(&mut builder, topic);
        }
        push_rest::<E>(&mut builder, query, if is_led { &led_place::<E> } else { &kept_place::<E> });
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

fn read_key<E: Engine>(columns: &mut Columns<'_, E>, field: SortField) -> Result<Key, sqlx::Error> {
    Ok(match field {
        SortField::Satisfaction => columns.opt_real()?.map_or(Key::Absent, Key::Real),
        _ => columns.opt_int()?.map_or(Key::Absent, Key::Int),
    })
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
    push_times(&mut builder, "h.created_at", &query.filter);
    push_filter(&mut builder, "h", &query.filter, None, field);
    let topic = query.filter.topic.as_slice();
    for (words, wanted) in [("h.tags", query.filter.tags.as_slice()), ("h.topics", topic)] {
        if wanted.is_empty() {
            continue;
        }
        builder.push(format!(" and exists (select 1 from {} where e.value in (", E::words_of(words)));
        for (number, word) in wanted.iter().enumerate() {
            builder.push(if number == 0 { "" } else { ", " });
            E::bind(&mut builder, Value::Text(word));
        }
        builder.push("))");
    }
    push_rest::<E>(&mut builder, query, &history_place::<E>);
    if let Some(ids) = &query.among {
        builder.push(" and h.conversation_id in (select k.id from ");
        E::push_ids(&mut builder, ids);
        builder.push(")");
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
    let mut builder = QueryBuilder::<E>::new("select count(*) from ");
    push_conversations(&mut builder, query);
    push_times(&mut builder, "c.created_at", &query.filter);
    push_filter(&mut builder, "c", &query.filter, None, SortField::Duration);
    let topic = query.filter.topic.as_slice();
    for (kind, words) in [("tag", query.filter.tags.as_slice()), ("topic", topic)] {
        if words.is_empty() || query.among.is_some() {
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
    match &query.filter.lead {
        Some(Lead::ExternalId(id)) => push_external_id(&mut builder, query, id),
        // As it leads to the page.
        Some(value) if query.among.is_none() && query.filter.tags.is_empty() && query.filter.topic.is_none() => {
            builder.push(
                " and (c.conversation_id, c.created_at) in (select w.conversation_id, w.created_at from conversation_values w where ",
            );
            push_values(&mut builder, query, value);
            builder.push(")");
        }
        _ => {}
    }
    push_rest::<E>(&mut builder, query, &kept_place::<E>);
    let rows = E::fetch(connection, builder).await?;
    Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?).int()
}

/// Returns the statements that read a list, for tests of which indexes serve them.
#[cfg(test)]
pub(super) fn statements<E: Engine>(query: &Query) -> Vec<QueryBuilder<E>> {
    parts(query).iter().map(|part| part.statement::<E>(query, 1, true)).collect()
}
