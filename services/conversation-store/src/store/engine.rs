//! What differs between the two database engines. Everything else of the store is written once, above this.

use sqlx::{Database, Executor, PgPool, Pool, Postgres, QueryBuilder, Row, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

/// A value to be bound.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    OptText(Option<&'a str>),
    Int(i64),
    OptInt(Option<i64>),
    Real(f64),
    OptReal(Option<f64>),
    Id(Uuid),
    Bytes(&'a [u8]),
}

/// A database engine.
pub(crate) trait Engine: Database + Sized {
    /// Put behind a text, makes it be ordered by its bytes.
    const BYTEWISE: &'static str;
    /// The table `e` whose `value` takes each member of the JSON array in column `column`.
    fn words_of(column: &str) -> String;
    /// The table `e` whose `key` takes the name of each member of the JSON object in column `column`.
    fn members_of(column: &str) -> String;
    /// The text a member of it is, or null.
    const MEMBER_TEXT: &'static str;
    /// The number a member of it is, or null.
    const MEMBER_NUMBER: &'static str;
    /// Which conversations are outdated, word for word as their index has it.
    const OUTDATED: &'static str;
    /// The text whose bytes are in `column`.
    fn text_of(column: &str) -> String;
    /// Adds the table `k` with `ids` as its `id`; one text of SQL, however many they are.
    fn push_ids(builder: &mut QueryBuilder<Self>, ids: &[Uuid]);
    /// Narrows `column` to `ids`, by its index: how many conversations there are does not matter, nor how many the database believes
    /// there are. One text of SQL, however many they are.
    fn push_one_of(builder: &mut QueryBuilder<Self>, column: &str, ids: &[Uuid]);
    /// Binds a value at the end of a statement.
    fn bind(builder: &mut QueryBuilder<Self>, value: Value<'_>);
    /// Runs a statement.
    fn execute(
        connection: &mut Self::Connection,
        builder: QueryBuilder<Self>,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
    /// Runs a query.
    fn fetch(
        connection: &mut Self::Connection,
        builder: QueryBuilder<Self>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;
    /// Begins a transaction that writes.
    fn begin(pool: &Pool<Self>) -> impl Future<Output = Result<Transaction<'static, Self>, sqlx::Error>> + Send;
    /// Reads a column.
    fn text(row: &Self::Row, at: usize) -> Result<Option<String>, sqlx::Error>;
    /// Reads a column.
    fn int(row: &Self::Row, at: usize) -> Result<Option<i64>, sqlx::Error>;
    /// Reads a column.
    fn real(row: &Self::Row, at: usize) -> Result<Option<f64>, sqlx::Error>;
    /// Reads a column.
    fn id(row: &Self::Row, at: usize) -> Result<Uuid, sqlx::Error>;
    /// Reads a column.
    fn bytes(row: &Self::Row, at: usize) -> Result<Option<Vec<u8>>, sqlx::Error>;
    /// Keeps other writers away from the conversations with these keys until the transaction ends.
    fn lock(connection: &mut Self::Connection, keys: &[i64]) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Reads the columns of a row in their order.
pub(super) struct Columns<'a, E: Engine> {
    row: &'a E::Row,
    next: usize,
}

type Read<T> = Result<T, sqlx::Error>;

impl<'a, E: Engine> Columns<'a, E> {
    /// Begins with the first column.
    pub(super) fn of(row: &'a E::Row) -> Self {
        Self { row, next: 0 }
    }

    fn advance(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn opt_text(&mut self) -> Read<Option<String>> {
        E::text(self.row, self.advance())
    }

    pub(super) fn text(&mut self) -> Read<String> {
        self.opt_text()?.ok_or(sqlx::Error::RowNotFound)
    }

    pub(super) fn opt_int(&mut self) -> Read<Option<i64>> {
        E::int(self.row, self.advance())
    }

    pub(super) fn int(&mut self) -> Read<i64> {
        self.opt_int()?.ok_or(sqlx::Error::RowNotFound)
    }

    pub(super) fn opt_real(&mut self) -> Read<Option<f64>> {
        E::real(self.row, self.advance())
    }

    pub(super) fn id(&mut self) -> Read<Uuid> {
        E::id(self.row, self.advance())
    }

    pub(super) fn opt_bytes(&mut self) -> Read<Option<Vec<u8>>> {
        E::bytes(self.row, self.advance())
    }

    pub(super) fn bytes(&mut self) -> Read<Vec<u8>> {
        self.opt_bytes()?.ok_or(sqlx::Error::RowNotFound)
    }
}

macro_rules! common {
    () => {
        fn bind(builder: &mut QueryBuilder<Self>, value: Value<'_>) {
            match value {
                Value::Text(text) => builder.push_bind(text),
                Value::OptText(text) => builder.push_bind(text),
                Value::Int(number) => builder.push_bind(number),
                Value::OptInt(number) => builder.push_bind(number),
                Value::Real(number) => builder.push_bind(number),
                Value::OptReal(number) => builder.push_bind(number),
                Value::Id(id) => builder.push_bind(id),
                Value::Bytes(bytes) => builder.push_bind(bytes),
            };
        }

        fn text(row: &Self::Row, at: usize) -> Result<Option<String>, sqlx::Error> {
            row.try_get(at)
        }

        fn int(row: &Self::Row, at: usize) -> Result<Option<i64>, sqlx::Error> {
            row.try_get(at)
        }

        fn real(row: &Self::Row, at: usize) -> Result<Option<f64>, sqlx::Error> {
            row.try_get(at)
        }

        fn id(row: &Self::Row, at: usize) -> Result<Uuid, sqlx::Error> {
            row.try_get(at)
        }

        fn bytes(row: &Self::Row, at: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
            row.try_get(at)
        }

        async fn execute(connection: &mut Self::Connection, mut builder: QueryBuilder<Self>) -> Result<u64, sqlx::Error> {
            Ok(connection.execute(builder.build()).await?.rows_affected())
        }

        async fn fetch(
            connection: &mut Self::Connection,
            mut builder: QueryBuilder<Self>,
        ) -> Result<Vec<Self::Row>, sqlx::Error> {
            connection.fetch_all(builder.build()).await
        }
    };
}

impl Engine for Sqlite {
    const BYTEWISE: &'static str = "";

    fn words_of(column: &str) -> String {
        format!("json_each({column}) as e")
    }

    fn members_of(column: &str) -> String {
        format!("json_each({column}) as e")
    }

    const MEMBER_TEXT: &'static str = "(case when e.type = 'text' then e.value end)";
    const OUTDATED: &'static str = "coalesce(substr(turns, 1, 2), x'') <> x'1001'";
    const MEMBER_NUMBER: &'static str = "(case when e.type in ('integer', 'real') then e.value end)";

    fn text_of(column: &str) -> String {
        format!("cast({column} as text)")
    }

    fn push_ids(builder: &mut QueryBuilder<Self>, ids: &[Uuid]) {
        let mut list = String::with_capacity(2 + ids.len() * 35);
        list.push('[');
        for (number, id) in ids.iter().enumerate() {
            list.push_str(if number == 0 { "\"" } else { ",\"" });
            list.push_str(id.simple().encode_lower(&mut Uuid::encode_buffer()));
            list.push('"');
        }
        list.push(']');
        builder.push("(select unhex(e.value) as id from json_each(");
        builder.push_bind(list);
        builder.push(") as e) as k");
    }

    fn push_one_of(builder: &mut QueryBuilder<Self>, column: &str, ids: &[Uuid]) {
        builder.push(format!("{column} in (select k.id from "));
        Self::push_ids(builder, ids);
        builder.push(")");
    }

    async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Self>, sqlx::Error> {
        // A deferred transaction that reads first could not always become a writer.
        pool.begin_with("begin immediate").await
    }

    async fn lock(_: &mut Self::Connection, _: &[i64]) -> Result<(), sqlx::Error> {
        // There is one writer.
        Ok(())
    }

    common!();
}

impl Engine for Postgres {
    const BYTEWISE: &'static str = " collate \"C\"";

    fn words_of(column: &str) -> String {
        format!("json_array_elements_text({column}::json) as e(value)")
    }

    fn members_of(column: &str) -> String {
        format!("json_each({column}::json) as e(key, value)")
    }

    const MEMBER_TEXT: &'static str = "(case json_typeof(e.value) when 'string' then e.value #>> '{}' end)";
    const OUTDATED: &'static str = "substr(turns, 1, 2) <> '\\x1001'::bytea";
    const MEMBER_NUMBER: &'static str =
        "(case json_typeof(e.value) when 'number' then cast(e.value #>> '{}' as double precision) end)";

    fn text_of(column: &str) -> String {
        // No text holds the character NUL.
        format!("(case when position('\\x00'::bytea in {column}) = 0 then convert_from({column}, 'UTF8') end)")
    }

    fn push_ids(builder: &mut QueryBuilder<Self>, ids: &[Uuid]) {
        builder.push("unnest(");
        builder.push_bind(ids.to_vec());
        builder.push(") as k(id)");
    }

    fn push_one_of(builder: &mut QueryBuilder<Self>, column: &str, ids: &[Uuid]) {
        builder.push(format!("{column} = any("));
        builder.push_bind(ids.to_vec());
        builder.push(")");
    }

    async fn begin(pool: &PgPool) -> Result<Transaction<'static, Self>, sqlx::Error> {
        pool.begin().await
    }

    async fn lock(connection: &mut Self::Connection, keys: &[i64]) -> Result<(), sqlx::Error> {
        // In ascending order everywhere, so that two writers never wait for each other.
        sqlx::query(
            "select pg_advisory_xact_lock(k)
             from (select k from unnest($1::bigint[]) as k order by k) as keys",
        )
        .bind(keys)
        .execute(connection)
        .await
        .map(drop)
    }

    common!();
}

/// How many rows one statement takes. Few sizes, so that few statements have to be prepared.
const CHUNKS: [usize; 4] = [128, 32, 8, 1];

/// Divides `rows` into chunks of the sizes statements are prepared for.
pub(super) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// Begins a statement with `rows` as a list of value lists between `head` and `tail`.
pub(super) fn statement<E: Engine>(head: &str, rows: &[Vec<Value<'_>>], tail: &str) -> QueryBuilder<E> {
    let mut builder = QueryBuilder::new(head);
    for (number, row) in rows.iter().enumerate() {
        builder.push(if number == 0 { "(" } else { "), (" });
        for (place, value) in row.iter().enumerate() {
            if place > 0 {
                builder.push(", ");
            }
            E::bind(&mut builder, *value);
        }
    }
    builder.push(")");
    builder.push(tail);
    builder
}

/// Runs `head … tail` over all rows.
pub(super) async fn write<E: Engine>(
    connection: &mut E::Connection,
    head: &str,
    rows: &[Vec<Value<'_>>],
    tail: &str,
) -> Result<(), sqlx::Error> {
    for chunk in chunks(rows) {
        E::execute(connection, statement(head, chunk, tail)).await?;
    }
    Ok(())
}

/// Runs the query `head … tail` over all rows.
pub(super) async fn read<E: Engine>(
    connection: &mut E::Connection,
    head: &str,
    rows: &[Vec<Value<'_>>],
    tail: &str,
) -> Result<Vec<E::Row>, sqlx::Error> {
    let mut found = Vec::new();
    for chunk in chunks(rows) {
        found.extend(E::fetch(connection, statement(head, chunk, tail)).await?);
    }
    Ok(found)
}
