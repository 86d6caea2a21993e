//! Statements that both database engines take: a store is written once, over an [`Engine`].
//!
//! A statement is a text with `$1`, `$2`, … for single values, and `{k}` where a table of rows stands that it works on; how each
//! engine gets such rows is its own affair (an array a column on PostgreSQL, chunks of value lists on SQLite).

use std::fmt::Write;

use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Pool, Postgres, Row, Sqlite, Transaction};
use uuid::Uuid;

/// A value to be bound.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A text, or nothing.
    OptText(Option<&'a str>),
    /// A whole number.
    Int(i64),
    /// A whole number, or nothing.
    OptInt(Option<i64>),
    /// A number.
    Real(f64),
    /// A number, or nothing.
    OptReal(Option<f64>),
    /// Yes or no.
    Bool(bool),
    /// An id.
    Id(Uuid),
    /// An id, or nothing.
    OptId(Option<Uuid>),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Bytes, or nothing.
    OptBytes(Option<&'a [u8]>),
}

/// A column of values to be bound.
#[derive(Debug)]
enum Column<'a> {
    Text(Vec<&'a str>),
    OptText(Vec<Option<&'a str>>),
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    OptReal(Vec<Option<f64>>),
    Bool(Vec<bool>),
    Id(Vec<Uuid>),
    OptBytes(Vec<Option<&'a [u8]>>),
}

impl Column<'_> {
    const fn array_type(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::OptText(_) => "text[]",
            Self::Int(_) | Self::OptInt(_) => "bigint[]",
            Self::OptReal(_) => "double precision[]",
            Self::Bool(_) => "boolean[]",
            Self::Id(_) => "uuid[]",
            Self::OptBytes(_) => "bytea[]",
        }
    }
}

/// Rows that one statement works on: the table `k`. Statements look tables up by it as `from k cross join t where …`: SQLite takes a
/// cross join in the order in which it is written, and would read the whole of a large table at its own choice.
#[derive(Debug, Default)]
pub struct Rows<'a> {
    len: usize,
    columns: Vec<(&'static str, Column<'a>)>,
}

impl<'a> Rows<'a> {
    /// Begins a table of `len` rows.
    pub const fn new(len: usize) -> Self {
        Self { len, columns: Vec::new() }
    }

    fn with(mut self, name: &'static str, column: Column<'a>) -> Self {
        self.columns.push((name, column));
        self
    }

    /// Adds a column of texts.
    pub fn text(self, name: &'static str, values: impl Iterator<Item = &'a str>) -> Self {
        self.with(name, Column::Text(values.collect()))
    }

    /// Adds a column of texts, some of them absent.
    pub fn opt_text(self, name: &'static str, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        self.with(name, Column::OptText(values.collect()))
    }

    /// Adds a column of whole numbers.
    pub fn int(self, name: &'static str, values: impl Iterator<Item = i64>) -> Self {
        self.with(name, Column::Int(values.collect()))
    }

    /// Adds a column of whole numbers, some of them absent.
    pub fn opt_int(self, name: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.with(name, Column::OptInt(values.collect()))
    }

    /// Adds a column of numbers, some of them absent.
    pub fn opt_real(self, name: &'static str, values: impl Iterator<Item = Option<f64>>) -> Self {
        self.with(name, Column::OptReal(values.collect()))
    }

    /// Adds a column of truths.
    pub fn bool(self, name: &'static str, values: impl Iterator<Item = bool>) -> Self {
        self.with(name, Column::Bool(values.collect()))
    }

    /// Adds a column of ids.
    pub fn id(self, name: &'static str, values: impl Iterator<Item = Uuid>) -> Self {
        self.with(name, Column::Id(values.collect()))
    }

    /// Adds a column of bytes, some of them absent.
    pub fn opt_bytes(self, name: &'static str, values: impl Iterator<Item = Option<&'a [u8]>>) -> Self {
        self.with(name, Column::OptBytes(values.collect()))
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// Where the rows stand in a statement.
const ROWS: &str = "{k}";

/// A database engine.
pub trait Engine: Database + Sized {
    /// Ends a query whose rows others may not get at the same time.
    const SKIP_LOCKED: &'static str;
    /// Ends a query whose rows others may not change until the transaction is over.
    const FOR_UPDATE: &'static str;

    /// Begins a transaction that reads from one state.
    fn begin_reading(pool: &Pool<Self>) -> impl Future<Output = Outcome<Transaction<'static, Self>>> + Send;
    /// Begins a transaction that writes.
    fn begin(pool: &Pool<Self>) -> impl Future<Output = Outcome<Transaction<'static, Self>>> + Send;

    /// Runs a query once for all rows, or once a chunk of them; `values` are `$1` and so on, the rows stand for `{k}`. The text is made of
    /// a store's own words alone: what comes from outside is bound.
    fn query(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
        rows: Option<&Rows<'_>>,
    ) -> impl Future<Output = Outcome<Vec<Self::Row>>> + Send;
    /// Runs a statement likewise; returns how many rows it changed.
    fn execute(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
        rows: Option<&Rows<'_>>,
    ) -> impl Future<Output = Outcome<u64>> + Send;

    /// Reads a column.
    fn text(row: &Self::Row, at: usize) -> Outcome<Option<String>>;
    /// Reads a column.
    fn int(row: &Self::Row, at: usize) -> Outcome<Option<i64>>;
    /// Reads a column.
    fn real(row: &Self::Row, at: usize) -> Outcome<Option<f64>>;
    /// Reads a column.
    fn bool(row: &Self::Row, at: usize) -> Outcome<Option<bool>>;
    /// Reads a column.
    fn id(row: &Self::Row, at: usize) -> Outcome<Option<Uuid>>;
    /// Reads a column.
    fn bytes(row: &Self::Row, at: usize) -> Outcome<Option<Vec<u8>>>;
}

/// What a statement came to.
pub type Outcome<T> = Result<T, sqlx::Error>;

/// Reads the columns of a row in their order.
pub struct Columns<'a, E: Engine> {
    row: &'a E::Row,
    next: usize,
}

impl<'a, E: Engine> Columns<'a, E> {
    /// Begins with the first column.
    pub const fn of(row: &'a E::Row) -> Self {
        Self { row, next: 0 }
    }

    const fn advance(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// Reads a text.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn opt_text(&mut self) -> Outcome<Option<String>> {
        E::text(self.row, self.advance())
    }

    /// Reads a text that is there.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn text(&mut self) -> Outcome<String> {
        self.opt_text()?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads a whole number.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn opt_int(&mut self) -> Outcome<Option<i64>> {
        E::int(self.row, self.advance())
    }

    /// Reads a whole number that is there.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn int(&mut self) -> Outcome<i64> {
        self.opt_int()?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn opt_real(&mut self) -> Outcome<Option<f64>> {
        E::real(self.row, self.advance())
    }

    /// Reads a number that is there.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn real(&mut self) -> Outcome<f64> {
        self.opt_real()?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads a truth.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn opt_bool(&mut self) -> Outcome<Option<bool>> {
        E::bool(self.row, self.advance())
    }

    /// Reads a truth that is there.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn bool(&mut self) -> Outcome<bool> {
        self.opt_bool()?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads an id.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn opt_id(&mut self) -> Outcome<Option<Uuid>> {
        E::id(self.row, self.advance())
    }

    /// Reads an id that is there.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn id(&mut self) -> Outcome<Uuid> {
        self.opt_id()?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn opt_bytes(&mut self) -> Outcome<Option<Vec<u8>>> {
        E::bytes(self.row, self.advance())
    }

    /// Reads bytes that are there.
    ///
    /// # Errors
    /// When the column holds something else.
    pub fn bytes(&mut self) -> Outcome<Vec<u8>> {
        self.opt_bytes()?.ok_or(sqlx::Error::RowNotFound)
    }
}

macro_rules! common {
    () => {
        fn text(row: &Self::Row, at: usize) -> Outcome<Option<String>> {
            row.try_get(at)
        }

        fn int(row: &Self::Row, at: usize) -> Outcome<Option<i64>> {
            row.try_get(at)
        }

        fn real(row: &Self::Row, at: usize) -> Outcome<Option<f64>> {
            row.try_get(at)
        }

        fn bool(row: &Self::Row, at: usize) -> Outcome<Option<bool>> {
            row.try_get(at)
        }

        fn id(row: &Self::Row, at: usize) -> Outcome<Option<Uuid>> {
            row.try_get(at)
        }

        fn bytes(row: &Self::Row, at: usize) -> Outcome<Option<Vec<u8>>> {
            row.try_get(at)
        }
    };
}

/// Binds `values` at the end of a query.
macro_rules! bind_values {
    ($query:expr, $values:expr) => {
        $values.iter().fold($query, |query, value| match *value {
            Value::Text(text) => query.bind(text),
            Value::OptText(text) => query.bind(text),
            Value::Int(number) => query.bind(number),
            Value::OptInt(number) => query.bind(number),
            Value::Real(number) => query.bind(number),
            Value::OptReal(number) => query.bind(number),
            Value::Bool(value) => query.bind(value),
            Value::Id(id) => query.bind(id),
            Value::OptId(id) => query.bind(id),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::OptBytes(bytes) => query.bind(bytes),
        })
    };
}

/// How many rows one statement takes on SQLite. Few sizes, so that few statements have to be prepared.
const CHUNKS: [usize; 4] = [128, 32, 8, 1];

/// Divides `len` rows into chunks of the sizes statements are prepared for.
fn chunks(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= len - from)?;
        from += size;
        Some(from - size..from)
    })
}

/// Returns the rows as SQLite takes them: a list of value lists. Where nothing else is bound, their places need no names: SQLite looks
/// for each name in a list of all, which took a tenth of the time of whoever writes much.
fn value_lists(rows: &Rows<'_>, len: usize, values: usize) -> String {
    let mut text = format!("k ({}) as (values ", rows.names());
    let mut place = values;
    for number in 0..len {
        text.push_str(if number == 0 { "(" } else { ", (" });
        for column in 0..rows.columns.len() {
            place += 1;
            // Writing to a string cannot fail.
            let between = if column == 0 { "" } else { ", " };
            let _ = if values == 0 { write!(text, "{between}?") } else { write!(text, "{between}${place}") };
        }
        text.push(')');
    }
    text.push(')');
    text
}

type SqliteQuery<'q> = Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_chunk<'q>(query: SqliteQuery<'q>, rows: &'q Rows<'_>, chunk: std::ops::Range<usize>) -> SqliteQuery<'q> {
    chunk.fold(query, |query, at| {
        rows.columns.iter().fold(query, |query, (_, column)| match column {
            Column::Text(values) => query.bind(values[at]),
            Column::OptText(values) => query.bind(values[at]),
            Column::Int(values) => query.bind(values[at]),
            Column::OptInt(values) => query.bind(values[at]),
            Column::OptReal(values) => query.bind(values[at]),
            Column::Bool(values) => query.bind(values[at]),
            Column::Id(values) => query.bind(values[at]),
            Column::OptBytes(values) => query.bind(values[at]),
        })
    })
}

impl Engine for Sqlite {
    const SKIP_LOCKED: &'static str = "";
    const FOR_UPDATE: &'static str = "";

    async fn begin_reading(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        pool.begin().await
    }

    async fn begin(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        // A deferred transaction that reads first could not always become a writer.
        pool.begin_with("begin immediate").await
    }

    async fn query(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
        rows: Option<&Rows<'_>>,
    ) -> Outcome<Vec<Self::Row>> {
        let Some(rows) = rows else {
            return bind_values!(sqlx::query(AssertSqlSafe(sql)), values).fetch_all(connection).await;
        };
        let mut found = Vec::new();
        for chunk in chunks(rows.len) {
            // Made of our own texts alone; what comes from outside is bound.
            let sql = sql.replace(ROWS, &value_lists(rows, chunk.len(), values.len()));
            let query = bind_chunk(bind_values!(sqlx::query(AssertSqlSafe(sql)), values), rows, chunk);
            found.extend(query.fetch_all(&mut *connection).await?);
        }
        Ok(found)
    }

    async fn execute(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
        rows: Option<&Rows<'_>>,
    ) -> Outcome<u64> {
        let Some(rows) = rows else {
            return Ok(bind_values!(sqlx::query(AssertSqlSafe(sql)), values).execute(connection).await?.rows_affected());
        };
        let mut changed = 0;
        for chunk in chunks(rows.len) {
            // As above.
            let sql = sql.replace(ROWS, &value_lists(rows, chunk.len(), values.len()));
            let query = bind_chunk(bind_values!(sqlx::query(AssertSqlSafe(sql)), values), rows, chunk);
            changed += query.execute(&mut *connection).await?.rows_affected();
        }
        Ok(changed)
    }

    common!();
}

/// Returns the rows as PostgreSQL takes them: an array a column.
fn arrays(rows: &Rows<'_>, values: usize) -> String {
    let arrays: Vec<String> = (rows.columns.iter().enumerate())
        .map(|(number, (_, column))| format!("${}::{}", values + number + 1, column.array_type()))
        .collect();
    format!("k ({}) as (select * from unnest({}))", rows.names(), arrays.join(", "))
}

type PostgresQuery<'q> = Query<'q, Postgres, sqlx::postgres::PgArguments>;

fn bind_arrays<'q>(query: PostgresQuery<'q>, rows: &'q Rows<'_>) -> PostgresQuery<'q> {
    rows.columns.iter().fold(query, |query, (_, column)| match column {
        Column::Text(values) => query.bind(values),
        Column::OptText(values) => query.bind(values),
        Column::Int(values) => query.bind(values),
        Column::OptInt(values) => query.bind(values),
        Column::OptReal(values) => query.bind(values),
        Column::Bool(values) => query.bind(values),
        Column::Id(values) => query.bind(values),
        Column::OptBytes(values) => query.bind(values),
    })
}

impl Engine for Postgres {
    const SKIP_LOCKED: &'static str = "for update skip locked";
    const FOR_UPDATE: &'static str = "for update";

    async fn begin_reading(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        pool.begin_with("begin isolation level repeatable read read only").await
    }

    async fn begin(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        pool.begin().await
    }

    async fn query(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
        rows: Option<&Rows<'_>>,
    ) -> Outcome<Vec<Self::Row>> {
        let Some(rows) = rows else {
            return bind_values!(sqlx::query(AssertSqlSafe(sql)), values).fetch_all(connection).await;
        };
        if rows.len == 0 {
            return Ok(Vec::new());
        }
        // Made of our own texts alone; what comes from outside is bound.
        let sql = sql.replace(ROWS, &arrays(rows, values.len()));
        bind_arrays(bind_values!(sqlx::query(AssertSqlSafe(sql)), values), rows).fetch_all(connection).await
    }

    async fn execute(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
        rows: Option<&Rows<'_>>,
    ) -> Outcome<u64> {
        let Some(rows) = rows else {
            return Ok(bind_values!(sqlx::query(AssertSqlSafe(sql)), values).execute(connection).await?.rows_affected());
        };
        if rows.len == 0 {
            return Ok(0);
        }
        // As above.
        let sql = sql.replace(ROWS, &arrays(rows, values.len()));
        Ok(bind_arrays(bind_values!(sqlx::query(AssertSqlSafe(sql)), values), rows).execute(connection).await?.rows_affected())
    }

    common!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_divided_into_few_sizes() {
        let sizes: Vec<usize> = chunks(300).map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [128, 128, 32, 8, 1, 1, 1, 1]);
        assert_eq!(chunks(0).count(), 0);
    }

    #[tokio::test]
    async fn tables_are_looked_up_by_the_rows_and_not_read_whole() {
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        sqlx::raw_sql("create table t (a text not null, b blob not null, c integer, unique (a, b)) strict")
            .execute(&mut *connection)
            .await
            .unwrap();
        let rows = Rows::new(128).text("a", ["x"; 128].into_iter()).id("b", (0..128).map(Uuid::from_u128));
        for statement in [
            "select min(t.c), max(t.c) from k cross join t where t.a = 'x' and t.b = k.b",
            "select min(t.rowid), max(t.rowid) from k cross join t where t.a = 'x' and t.b = k.b",
            "select t.a, t.b, sum(t.c) from k cross join t where t.a = k.a and t.b = k.b group by t.a, t.b",
            "update t set c = 1 from k where t.a = k.a and t.b = k.b",
            "delete from t where (a, b) in (select a, b from k)",
        ] {
            let sql = format!("explain query plan with {{k}} {statement}");
            let plan = Sqlite::query(&mut connection, &sql, &[], Some(&rows)).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| Sqlite::text(row, 3).unwrap().unwrap()).collect();
            assert!(plan.iter().any(|step| step.ends_with("(a=? AND b=?)")), "{statement}: {plan:?}");
        }
    }

    #[test]
    fn each_engine_gets_rows_in_its_own_way() {
        let rows = Rows::new(2).text("a", ["x", "y"].into_iter()).int("b", [1, 2].into_iter());
        assert_eq!(value_lists(&rows, 2, 1), "k (a, b) as (values ($2, $3), ($4, $5))");
        assert_eq!(value_lists(&rows, 2, 0), "k (a, b) as (values (?, ?), (?, ?))");
        assert_eq!(arrays(&rows, 1), "k (a, b) as (select * from unnest($2::text[], $3::bigint[]))");
    }
}
