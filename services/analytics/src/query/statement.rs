//! Statements, written piece by piece. Their texts are our own words; whatever comes from a question is bound.

use colloquy_filter::Expression;
use colloquy_filter::sql::{self, Bound};
use colloquy_storage::engine::{Engine, Outcome, Rows, Value};
use colloquy_types::OrganizationId;
use sqlx::{Postgres, Sqlite};

use super::schema::{Dimension, Source};
use super::time::{Buckets, HOUR, Run, SINCE_YEAR_ONE};

/// What the engines need besides what they have in common.
pub(crate) trait Dialect: Engine {
    /// What makes long questions quick, for one transaction.
    const BEFORE: Option<&'static str>;
}

impl Dialect for Sqlite {
    const BEFORE: Option<&'static str> = None;
}

impl Dialect for Postgres {
    // Groups are kept in memory; and what is compiled for one statement costs more than it saves.
    const BEFORE: Option<&'static str> = Some("select set_config('work_mem', '32MB', true), set_config('jit', 'off', true)");
}

/// Of more pieces of time the numbers are not bound: SQLite looks for each among all others.
const MOST_BOUND: usize = 100;

/// A statement's values and joins.
#[derive(Debug)]
pub(crate) struct Statement {
    values: Vec<Bound>,
    joins: String,
    joined: usize,
}

/// Half-open stretches of a column's values.
pub(crate) type Ranges = [(i64, i64)];

impl Statement {
    /// Begins a statement about an organization, which is `$1`.
    pub(crate) fn about(organization: &OrganizationId) -> Self {
        Self { values: vec![Bound::Text(organization.as_str().to_owned())], joins: String::new(), joined: 0 }
    }

    /// Binds a number.
    pub(crate) fn int(&mut self, number: i64) -> String {
        self.bind(Bound::Int(number))
    }

    /// Writes a number of one of so many pieces of time: of many it stands in the text itself. Thousands of years have tens of thousands
    /// of changes of the clock, and engines take no more values than that.
    fn int_of(&mut self, pieces: usize, number: i64) -> String {
        if pieces > MOST_BOUND { format!("({number})") } else { self.int(number) }
    }

    /// Binds a number.
    pub(crate) fn real(&mut self, number: f64) -> String {
        self.bind(Bound::Real(number))
    }

    /// Binds a text.
    pub(crate) fn text(&mut self, text: &str) -> String {
        self.bind(Bound::Text(text.to_owned()))
    }

    fn bind(&mut self, value: Bound) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Writes an expression as a condition on `features f`.
    pub(crate) fn condition(&mut self, expression: &Expression) -> String {
        let condition = sql::condition(expression, &sql::features("f"));
        let text = condition.numbered(self.values.len() + 1);
        self.values.extend(condition.values);
        text
    }

    /// Joins a table about the conversation; returns what it is called.
    fn join(&mut self, table: &str, condition: impl FnOnce(&mut Self, &str) -> String) -> String {
        let alias = format!("j{}", self.joined);
        self.joined += 1;
        let condition = condition(self, &alias);
        self.joins.push_str(&format!(
            " left join {table} {alias} on {alias}.organization_id = f.organization_id and {alias}.conversation_id = f.conversation_id \
             and {condition}"
        ));
        alias
    }

    /// Joins values extracted by name; returns what the table is called.
    pub(crate) fn extracted(&mut self, name: &str) -> String {
        self.join("feature_values", |statement, alias| {
            let name = statement.text(name);
            format!("{alias}.name = {name}")
        })
    }

    /// Returns the columns that say a dimension's value: one, or two for an extracted one (a text and a number). `at` is when a
    /// conversation began.
    pub(crate) fn dimension(&mut self, dimension: &Dimension, at: &str, offsets: &[(i64, i64)]) -> Vec<String> {
        match &dimension.source {
            Source::Column(column) => vec![format!("f.{column}")],
            Source::Words(kind) => {
                let alias = self.join("feature_words", |_, alias| format!("{alias}.kind = '{kind}'"));
                vec![format!("{alias}.word")]
            }
            Source::Extracted(name) => {
                let alias = self.extracted(name);
                vec![format!("{alias}.text_value"), format!("{alias}.number_value")]
            }
            Source::HourOfDay => vec![format!("({} / {HOUR}) % 24", self.local(at, offsets))],
            Source::DayOfWeek => vec![format!("({} / {}) % 7 + 1", self.local(at, offsets), 24 * HOUR)],
        }
    }

    /// Returns the time by the clock on the wall, since the year 1.
    fn local(&mut self, at: &str, offsets: &[(i64, i64)]) -> String {
        let pieces: Vec<(i64, i64)> = offsets.iter().map(|(from, offset)| (*from, offset + SINCE_YEAR_ONE)).collect();
        let count = pieces.len();
        let offset = self.pieces(at, &pieces, count, &mut |statement, piece| statement.int_of(count, *piece));
        format!("({at} + {offset})")
    }

    /// Returns the number of the bucket that `at` is in, which lies within these runs of them.
    pub(crate) fn bucket(&mut self, at: &str, buckets: &Buckets, runs: &[Run]) -> String {
        if buckets.len() == 1 {
            return "cast(0 as bigint)".to_owned();
        }
        let runs: Vec<_> = runs.iter().map(|run| (run.start, *run)).collect();
        let count = runs.len();
        self.pieces(at, &runs, count, &mut |statement, run| {
            let (start, width) = (statement.int_of(count, run.start), statement.int_of(count, run.width));
            let first = statement.int_of(count, i64::try_from(run.first).unwrap_or(i64::MAX));
            format!("({first} + ({at} - {start}) / {width})")
        })
    }

    /// Chooses among pieces, `count` in all, by where each begins, in as few comparisons as there can be.
    fn pieces<T>(
        &mut self,
        at: &str,
        pieces: &[(i64, T)],
        count: usize,
        write: &mut impl FnMut(&mut Self, &T) -> String,
    ) -> String {
        match pieces {
            [] => "cast(0 as bigint)".to_owned(),
            [(_, piece)] => write(self, piece),
            pieces => {
                let (before, after) = pieces.split_at(pieces.len() / 2);
                let from = self.int_of(count, after[0].0);
                let before = self.pieces(at, before, count, write);
                let after = self.pieces(at, after, count, write);
                format!("case when {at} < {from} then {before} else {after} end")
            }
        }
    }

    /// Chooses among bins by their lower bounds; returns a bin's number.
    pub(crate) fn bin(&mut self, value: &str, bounds: &[f64], first: i64) -> String {
        match bounds {
            [] | [_] => format!("cast({first} as bigint)"),
            bounds => {
                let middle = bounds.len() / 2;
                let from = self.real(bounds[middle]);
                let before = self.bin(value, &bounds[..middle], first);
                let after = self.bin(value, &bounds[middle..], first + middle as i64);
                format!("case when {value} < {from} then {before} else {after} end")
            }
        }
    }

    /// Returns the joins that were asked for.
    pub(crate) fn joins(&self) -> &str {
        &self.joins
    }

    /// Returns the beginning of a query and where it reads from: the rows of `table`, called `alias`, whose `column` lies in one of the
    /// ranges.
    pub(crate) fn from(&mut self, table: &str, alias: &str, column: &str, ranges: &Ranges) -> From {
        if let [(from, to)] = ranges {
            let (from, to) = (self.int(*from), self.int(*to));
            return From {
                with: String::new(),
                tables: format!("{table} {alias}"),
                condition: format!("{alias}.organization_id = $1 and {alias}.{column} >= {from} and {alias}.{column} < {to}"),
            };
        }
        From {
            with: "with {k} ".to_owned(),
            // SQLite never changes the order of a cross join.
            tables: format!("k cross join {table} {alias}"),
            condition: format!("{alias}.organization_id = $1 and {alias}.{column} >= k.a and {alias}.{column} < k.b"),
        }
    }

    /// Runs the statement; `ranges` are those it was written for.
    pub(crate) async fn run<E: Dialect>(
        &self,
        connection: &mut E::Connection,
        sql: &str,
        ranges: &Ranges,
    ) -> Outcome<Vec<E::Row>> {
        let values: Vec<Value<'_>> = self.values.iter().map(Bound::as_value).collect();
        if ranges.len() == 1 {
            return E::query(connection, sql, &values, None).await;
        }
        let from = ranges.iter().map(|(from, _)| *from);
        let rows = Rows::new(ranges.len()).int("a", from).int("b", ranges.iter().map(|(_, to)| *to));
        E::query(connection, sql, &values, Some(&rows)).await
    }
}

/// Where a query reads from.
#[derive(Debug)]
pub(crate) struct From {
    /// What stands before `select`.
    pub(crate) with: String,
    /// The tables.
    pub(crate) tables: String,
    /// Which rows.
    pub(crate) condition: String,
}
