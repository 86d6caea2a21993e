//! Words on PostgreSQL: a `tsvector` of our own tokens, never of text, under GIN.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use colloquy_storage::engine::{Columns, Engine, Outcome, Rows, Value};
use colloquy_storage::{PgPool, StoreError};
use colloquy_types::{ConversationId, OrganizationId};
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::find::{COLUMNS, Conditions, NEWEST, by_relevance, found};
use super::{Change, Find, Found, Indexed, MAX_RANKED, Order, Query, Term, Words, join, role_number, scoped};
use crate::search::entry::Entry;

/// The words come from the index. The organization is checked too, but in words that no other index would take up: with thousands of
/// organizations, a plan made for all of them would read all of the largest.
const FITTING: &str = "t.words @@ cast($1 as tsquery) and t.organization_id || '' = $2";

impl Words for Postgres {
    const MANY_WRITERS: bool = true;
    const ID: &'static str = "cast(0 as bigint)";

    async fn remove(connection: &mut PgConnection, turns: &[Indexed]) -> Result<(), StoreError> {
        let rows = Rows::new(turns.len())
            .text("organization_id", turns.iter().map(|turn| turn.key.0.as_str()))
            .id("conversation_id", turns.iter().map(|turn| turn.key.1))
            .id("turn_id", turns.iter().map(|turn| turn.turn_id));
        let sql = "with {k} delete from search_turns t using k \
                   where t.organization_id = k.organization_id and t.conversation_id = k.conversation_id and t.turn_id = k.turn_id";
        Self::execute(connection, sql, &[], Some(&rows)).await?;
        Ok(())
    }

    async fn write(connection: &mut PgConnection, changes: &[Change]) -> Result<(), StoreError> {
        let words: Vec<String> = changes.iter().map(|change| vector(&change.entry, change.organization)).collect();
        let rows = Rows::new(changes.len())
            .text("organization_id", changes.iter().map(|change| change.key.0.as_str()))
            .id("conversation_id", changes.iter().map(|change| change.key.1))
            .id("turn_id", changes.iter().map(|change| change.entry.turn_id.0))
            .int("number", changes.iter().map(|change| change.entry.number.into()))
            .int("role", changes.iter().map(|change| role_number(change.entry.role)))
            .opt_text("agent_id", changes.iter().map(|change| change.entry.agent_id.as_deref()))
            .int("at", changes.iter().map(|change| change.entry.at))
            .int("length", changes.iter().map(|change| change.entry.length.into()))
            .int("hash", changes.iter().map(|change| change.entry.hash))
            .text("words", words.iter().map(String::as_str));
        let sql = "with {k} insert into search_turns \
                   (organization_id, conversation_id, turn_id, number, role, agent_id, at, length, hash, words) \
                   select organization_id, conversation_id, turn_id, number, role, agent_id, at, length, hash, cast(words as tsvector) \
                   from k \
                   on conflict (organization_id, conversation_id, turn_id) do update set \
                   number = excluded.number, role = excluded.role, agent_id = excluded.agent_id, at = excluded.at, \
                   length = excluded.length, hash = excluded.hash, words = excluded.words";
        Self::execute(connection, sql, &[], Some(&rows)).await?;
        Ok(())
    }

    async fn settle(pool: &PgPool) -> Outcome<()> {
        // Searches read the list of new rows from end to end, so none is left waiting in it. A batch that finds another process at this
        // waits for it.
        let emptied = sqlx::query("select gin_clean_pending_list('search_turns_words')").execute(pool).await;
        if let Err(error) = emptied {
            // It is emptied when it is full all the same.
            tracing::debug!("the list of new rows is not emptied: {error}");
        }
        Ok(())
    }

    async fn find(connection: &mut PgConnection, find: &Find<'_>, organization: i64) -> Result<Vec<Found>, StoreError> {
        let query = Self::query_text(find.query, organization);
        let mut conditions = Conditions::after(vec![Value::Text(&query), Value::Text(find.organization_id.as_str())]);
        conditions.filters(find);
        let select = |conditions: &str, limit: &str| {
            format!("select {COLUMNS} from search_turns t where {FITTING}{conditions} order by {NEWEST} limit {limit}")
        };
        let sql = match find.order {
            Order::Newest => {
                if let Some(place) = find.after {
                    conditions.older_than(place);
                }
                let limit = conditions.bind(Value::Int(find.limit.into()));
                select(&conditions.sql, &limit)
            }
            Order::Relevance => {
                let newest = select(&conditions.sql, &MAX_RANKED.to_string());
                by_relevance(&mut conditions, find, &newest)
            }
        };
        found::<Self>(&Self::query(connection, &sql, &conditions.values, None).await?)
    }

    async fn matching_among(
        connection: &mut PgConnection,
        organization_id: &OrganizationId,
        query: &str,
        among: &[ConversationId],
    ) -> Outcome<Vec<Uuid>> {
        let sql = "with {k} select distinct t.conversation_id from k join search_turns t \
                   on t.organization_id = $2 and t.conversation_id = k.conversation_id \
                   where t.words @@ cast($1 as tsquery) and t.role in (1, 2, 3)";
        let rows = Rows::new(among.len()).id("conversation_id", among.iter().map(|id| id.0));
        let values = [Value::Text(query), Value::Text(organization_id.as_str())];
        let rows = Self::query(connection, sql, &values, Some(&rows)).await?;
        rows.iter().map(|row| Columns::<Self>::of(row).id()).collect()
    }

    fn matching_sql() -> String {
        format!("select t.conversation_id from search_turns t where {FITTING} and t.role in (1, 2, 3) limit $3")
    }

    fn query_text(query: &Query, organization: i64) -> String {
        let wanted = join(&query.wanted, " & ", |term| phrase(term, organization));
        let excluded = query.excluded.iter().map(|term| format!(" & !{}", phrase(term, organization)));
        excluded.fold(wanted, |text, term| text + &term)
    }
}

/// Returns a term as `tsquery` reads it. Tokens are letters and digits, so that quotation marks around them are enough.
fn phrase(term: &Term, organization: i64) -> String {
    let tokens: Vec<String> = term.tokens.iter().map(|token| format!("'{}'", scoped(organization, token))).collect();
    format!("({}{})", tokens.join(" <-> "), if term.is_prefix { ":*" } else { "" })
}

/// Returns the tokens of a turn and their places as `tsvector` reads them.
fn vector(entry: &Entry, organization: i64) -> String {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, token) in entry.tokens.iter().enumerate() {
        if let Some(token) = token {
            places.entry(token).or_default().push(place + 1);
        }
    }
    let mut text = String::new();
    for (token, places) in places {
        // Writing to a string cannot fail.
        let _ = write!(text, "'{}':", scoped(organization, token));
        for (number, place) in places.into_iter().enumerate() {
            let _ = write!(text, "{}{place}", if number == 0 { "" } else { "," });
        }
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_from_tokens_alone() {
        let text = |query: &str| Postgres::query_text(&query.parse().unwrap(), 7);
        assert_eq!(text("Refund \"money back\" canc* -no -\"gift card\""), {
            "('7xrefund') & ('7xmoney' <-> '7xback') & ('7xcanc':*) & !('7xno') & !('7xgift' <-> '7xcard')"
        });
        assert_eq!(text("'); drop table x; --"), "('7xdrop') & ('7xtable') & ('7xx')");
    }
}
