//! How what a list asks for becomes conditions of SQL.

use colloquy_filter::sql::{Bound, Place as FieldPlace, condition};
use colloquy_filter::{Expression, Field, Kind, Op, fields};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::engine::{Engine, Value};
use crate::list::{Filter, Key, Lead, Query, SortField};

pub(super) fn key_value(key: Key) -> Value<'static> {
    match key {
        Key::Int(number) => Value::Int(number),
        Key::Real(number) => Value::Real(number),
        Key::Absent => Value::OptInt(None),
    }
}

/// Narrows to what comes behind a place. The first condition is what an index is entered with.
pub(super) fn push_after<E: Engine>(
    builder: &mut QueryBuilder<E>,
    column: &str,
    id: &str,
    descending: bool,
    key: Key,
    after: Uuid,
) {
    let (beyond, at_or_beyond) = if descending { ("<", "<=") } else { (">", ">=") };
    builder.push(format!(" and {column} {at_or_beyond} "));
    E::bind(builder, key_value(key));
    builder.push(format!(" and ({column} {beyond} "));
    E::bind(builder, key_value(key));
    builder.push(format!(" or {id} > "));
    E::bind(builder, Value::Id(after));
    builder.push(")");
}

/// Narrows to when the filter says; `column` is when conversations were created.
pub(super) fn push_times<E: Engine>(builder: &mut QueryBuilder<E>, column: &str, filter: &Filter) {
    for (bound, operator) in [(filter.created_from, ">="), (filter.created_before, "<")] {
        if let Some(bound) = bound {
            builder.push(format!(" and {column} {operator} "));
            E::bind(builder, Value::Int(bound.as_millis()));
        }
    }
}

/// Narrows to what else the filter's columns say, but `decided`.
pub(super) fn push_filter<E: Engine>(
    builder: &mut QueryBuilder<E>,
    table: &str,
    filter: &Filter,
    decided: Option<&str>,
    sorted_by: SortField,
) {
    for (column, wanted) in &filter.equal {
        builder.push(format!(" and {table}.{} = ", column.as_str()));
        E::bind(builder, Value::Text(wanted));
    }
    let statuses: Vec<&str> = filter.statuses.clone();
    let others = filter.one_of.iter().map(|(column, values)| (column.as_str(), values.iter().map(String::as_str).collect()));
    for (column, wanted) in [("status", statuses)].into_iter().chain(others).filter(|(column, _)| Some(*column) != decided) {
        match wanted.as_slice() {
            [] => {}
            [value] => {
                builder.push(format!(" and {table}.{column} = "));
                E::bind(builder, Value::Text(value));
            }
            several => {
                // Written as an expression, so that it filters what an index in the list's order yields instead of choosing one.
                builder.push(format!(" and {table}.{column} || '' in ("));
                for (number, value) in several.iter().enumerate() {
                    builder.push(if number == 0 { "" } else { ", " });
                    E::bind(builder, Value::Text(value));
                }
                builder.push(")");
            }
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

/// Narrows `w` to the values that lead.
pub(super) fn push_values<E: Engine>(builder: &mut QueryBuilder<E>, query: &Query, lead: &Lead) {
    let (name, column, value) = match lead {
        Lead::Text { name, is } => (name, "text_value", Value::Text(is)),
        Lead::Number { name, is } => (name, "number_value", Value::Real(*is)),
        // Leads by itself.
        Lead::ExternalId(_) => return,
    };
    builder.push("w.organization_id = ");
    E::bind(builder, Value::Text(query.organization_id.as_str()));
    builder.push(" and w.name = ");
    E::bind(builder, Value::Text(name));
    builder.push(format!(" and w.{column} = "));
    E::bind(builder, value);
}

/// Narrows to an id of a provider. Asked for by itself, the database reads nothing but the index of those ids.
pub(super) fn push_external_id<E: Engine>(builder: &mut QueryBuilder<E>, query: &Query, id: &str) {
    builder.push(" and c.conversation_id in (select i.conversation_id from conversations i where i.organization_id = ");
    E::bind(builder, Value::Text(query.organization_id.as_str()));
    builder.push(" and i.external_id = ");
    E::bind(builder, Value::Bytes(id.as_bytes()));
    builder.push(")");
}

pub(super) fn push_topic<E: Engine>(builder: &mut QueryBuilder<E>, topic: &str) {
    builder.push(
        " and exists (select 1 from conversation_words t
             where t.organization_id = c.organization_id and t.kind = 'topic' and t.created_at = c.created_at
                 and t.conversation_id = c.conversation_id and t.word = ",
    );
    E::bind(builder, Value::Text(topic));
    builder.push(")");
}

/// Begins with the conversations of the organization, or with some of them.
pub(super) fn push_conversations<E: Engine>(builder: &mut QueryBuilder<E>, query: &Query) {
    if let Some(ids) = &query.among {
        E::push_ids(builder, ids);
        builder.push(" cross join ");
    }
    builder.push("conversations c where c.organization_id = ");
    E::bind(builder, Value::Text(query.organization_id.as_str()));
    if query.among.is_some() {
        builder.push(" and c.conversation_id = k.id");
        for (kind, words) in [("tag", query.filter.tags.as_slice()), ("topic", query.filter.topic.as_slice())] {
            let is = |word: &String| {
                let (field, value) = (Field::Known(kind), colloquy_filter::Value::Text(word.clone()));
                Expression::Compare { field, op: Op::Eq, value }
            };
            if !words.is_empty() {
                builder.push(" and ");
                push_condition(builder, &Expression::Any(words.iter().map(is).collect()), &kept_place::<E>);
            }
        }
    }
}

/// Narrows to what no index serves.
pub(super) fn push_rest<E: Engine>(builder: &mut QueryBuilder<E>, query: &Query, place_of: &dyn Fn(&Field) -> FieldPlace) {
    if let Some(rest) = &query.filter.rest {
        builder.push(" and ");
        push_condition(builder, rest, place_of);
    }
}

fn push_condition<E: Engine>(builder: &mut QueryBuilder<E>, rest: &Expression, place_of: &dyn Fn(&Field) -> FieldPlace) {
    let condition = condition(rest, &|field: &Field| place_of(field));
    for (number, text) in condition.texts.iter().enumerate() {
        builder.push(text);
        match condition.values.get(number) {
            Some(Bound::Text(text)) => E::bind(builder, Value::Text(text)),
            Some(Bound::Int(number)) => E::bind(builder, Value::Int(*number)),
            Some(Bound::Real(number)) => E::bind(builder, Value::Real(*number)),
            Some(Bound::Bool(truth)) => E::bind(builder, Value::Int((*truth).into())),
            None => {}
        }
    }
}

/// Returns where a field of the conversations themselves stands. That something which is always true is compared by order keeps
/// PostgreSQL from reading all words or values of the organization, to look up those of one page.
pub(super) fn kept_place<E: Engine>(field: &Field) -> FieldPlace {
    let of_conversation = |table: &str, alias: &str, ordered_by: &str| {
        format!(
            "{table} {alias} where {alias}.organization_id = c.organization_id and {alias}.conversation_id = c.conversation_id
                 and {alias}.{ordered_by} <= c.{ordered_by}"
        )
    };
    let words = |kind: &str| match json_column(kind) {
        Some(column) => json_words::<E>("c", column),
        None => FieldPlace::Words {
            from: format!("{} and x.kind = '{kind}'", of_conversation("conversation_words", "x", "created_at")),
            word: format!("x.word{}", E::BYTEWISE),
        },
    };
    match field {
        Field::Known("external_id") => FieldPlace::Column(format!("{}{}", E::text_of("c.external_id"), E::BYTEWISE)),
        Field::Custom(_) => FieldPlace::Extracted {
            // Their times may be older than those of their conversation.
            from: of_conversation("conversation_values", "v", "conversation_id"),
            name: "v.name".to_owned(),
            text: format!("coalesce(v.text_value, v.long_value){}", E::BYTEWISE),
            number: "v.number_value".to_owned(),
        },
        field => place::<E>("c", field, words),
    }
}

/// Returns where a field stands of conversations that a word or a value leads to. Written so that PostgreSQL looks values up by
/// conversation, and does not join the two: it believes few to have a value that perhaps all of these have, and would sort those.
pub(super) fn led_place<E: Engine>(field: &Field) -> FieldPlace {
    match kept_place::<E>(field) {
        FieldPlace::Extracted { name, text, number, .. } => FieldPlace::Extracted {
            from: "(select y.name, y.text_value, y.long_value, y.number_value from conversation_values y
                 where y.organization_id = c.organization_id and y.conversation_id = c.conversation_id) v where 1 = 1"
                .to_owned(),
            name,
            text,
            number,
        },
        place => place,
    }
}

/// Returns where a field stands in what conversations were before they changed.
pub(super) fn history_place<E: Engine>(field: &Field) -> FieldPlace {
    let words = |kind: &str| match json_column(kind) {
        Some(column) => json_words::<E>("h", column),
        None => json_words::<E>("h", &format!("{kind}s")),
    };
    match field {
        // That never changes.
        Field::Known("external_id") => FieldPlace::Column(format!(
            "(select {} from conversations i where i.organization_id = h.organization_id and i.conversation_id = h.conversation_id){}",
            E::text_of("i.external_id"),
            E::BYTEWISE
        )),
        Field::Custom(_) => FieldPlace::Extracted {
            from: format!("{} where 1 = 1", E::members_of("h.custom_values")),
            name: "e.key".to_owned(),
            text: format!("{}{}", E::MEMBER_TEXT, E::BYTEWISE),
            number: E::MEMBER_NUMBER.to_owned(),
        },
        field => place::<E>("h", field, words),
    }
}

/// Returns the column with the words of this kind where they stand with their conversation: those that no index has.
fn json_column(kind: &str) -> Option<&'static str> {
    match kind {
        "keyword" => Some("keywords"),
        "error" => Some("error_codes"),
        _ => None,
    }
}

fn json_words<E: Engine>(table: &str, column: &str) -> FieldPlace {
    let from = format!("{} where 1 = 1", E::words_of(&format!("{table}.{column}")));
    FieldPlace::Words { from, word: format!("e.value{}", E::BYTEWISE) }
}

/// Columns are written as expressions, so that they filter what an index in the list's order yields instead of choosing one.
fn place<E: Engine>(table: &str, field: &Field, words: impl Fn(&str) -> FieldPlace) -> FieldPlace {
    let Some(spec) = fields::spec(field).filter(|spec| spec.listed) else { return FieldPlace::Nowhere };
    match spec.kind {
        Kind::Words => words(spec.column),
        Kind::Text | Kind::Phone | Kind::Word(_) => FieldPlace::Column(format!("({table}.{} || ''){}", spec.column, E::BYTEWISE)),
        _ => FieldPlace::Column(format!("({table}.{} + 0)", spec.column)),
    }
}
