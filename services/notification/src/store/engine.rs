//! What this service's transactions need beyond what [`colloquy_storage::engine`] has: their locks.

use colloquy_storage::engine::{self, Outcome};
use sqlx::{Pool, Postgres, Sqlite, Transaction};

pub(super) use colloquy_storage::engine::{Columns, Rows, Value};

/// What the position is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// It may be relied on, by many at a time.
    Rely,
    /// It may be moved, by one.
    Move,
}

/// A database engine.
pub(super) trait Engine: engine::Engine {
    /// The nil UUID: the conversation of what is about none.
    const NIL: &'static str;
    /// Whether one statement can take rows from one table and put them into another.
    const MOVES_AT_ONCE: bool;

    /// Begins a transaction that writes messages and deliveries, beside others of its kind.
    fn begin_beside(pool: &Pool<Self>) -> impl Future<Output = Outcome<Transaction<'static, Self>>> + Send;
    /// The same; whether it happened may be forgotten in a crash of the database that comes at once.
    fn begin_forgettable(pool: &Pool<Self>) -> impl Future<Output = Outcome<Transaction<'static, Self>>> + Send;
    /// Begins a transaction that changes endpoints: it waits until those that write deliveries are over, and they for it.
    fn begin_alone(pool: &Pool<Self>) -> impl Future<Output = Outcome<Transaction<'static, Self>>> + Send;
    /// Keeps others from moving the position until the transaction ends, so that it can be relied on, or moved.
    fn lock_position(connection: &mut Self::Connection, use_of_it: Hold) -> impl Future<Output = Outcome<()>> + Send;
    /// Keeps others from settling these lanes until the transaction ends. `buckets` ascend.
    fn lock_lanes(connection: &mut Self::Connection, buckets: Vec<i32>) -> impl Future<Output = Outcome<()>> + Send;
}

impl Engine for Sqlite {
    const NIL: &'static str = "x'00000000000000000000000000000000'";
    const MOVES_AT_ONCE: bool = false;

    async fn begin_beside(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        // There is one writer.
        <Self as engine::Engine>::begin(pool).await
    }

    async fn begin_forgettable(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        Self::begin_beside(pool).await
    }

    async fn begin_alone(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        Self::begin_beside(pool).await
    }

    async fn lock_position(_: &mut Self::Connection, _: Hold) -> Outcome<()> {
        Ok(())
    }

    async fn lock_lanes(_: &mut Self::Connection, _: Vec<i32>) -> Outcome<()> {
        Ok(())
    }
}

/// What locks are taken on: this service's endpoints, its lanes, and its position.
macro_rules! endpoints_lock {
    () => {
        "1852798057, 0"
    };
}
const LANES_LOCK: i32 = 1_852_798_058;
const POSITION_LOCK: i32 = 1_852_798_059;

/// A batch is joined with the tables row by row, along their keys. A plan that was made while a table was empty, and its size not
/// known, would walk all of it later. Compiling takes longer than any of these statements.
macro_rules! along_keys {
    () => {
        "set local jit = off; set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off; \
         set local enable_bitmapscan = off; set local enable_material = off; "
    };
}

impl Engine for Postgres {
    const NIL: &'static str = "'00000000-0000-0000-0000-000000000000'::uuid";
    const MOVES_AT_ONCE: bool = true;

    // Each statement of a transaction sees what was committed before that statement: what is read after a lock is what whoever
    // held it before left.
    async fn begin_beside(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        pool.begin_with(concat!("begin; ", along_keys!(), "select pg_advisory_xact_lock_shared(", endpoints_lock!(), ")")).await
    }

    async fn begin_forgettable(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        pool.begin_with(concat!(
            "begin; set local synchronous_commit = off; ",
            along_keys!(),
            "select pg_advisory_xact_lock_shared(",
            endpoints_lock!(),
            ")"
        ))
        .await
    }

    async fn begin_alone(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        pool.begin_with(concat!("begin; ", along_keys!(), "select pg_advisory_xact_lock(", endpoints_lock!(), ")")).await
    }

    async fn lock_position(connection: &mut Self::Connection, use_of_it: Hold) -> Outcome<()> {
        // Not a lock on the row: whoever waits for that to change it is passed by those who only read it, for ever if there are many.
        let sql = match use_of_it {
            Hold::Rely => "select pg_advisory_xact_lock_shared($1, 0)",
            Hold::Move => "select pg_advisory_xact_lock($1, 0)",
        };
        sqlx::query(sql).bind(POSITION_LOCK).execute(connection).await.map(drop)
    }

    async fn lock_lanes(connection: &mut Self::Connection, buckets: Vec<i32>) -> Outcome<()> {
        // In ascending order everywhere, so that no two transactions wait for each other.
        sqlx::query("select pg_advisory_xact_lock($1, k) from (select k from unnest($2::int[]) as k order by k) as buckets")
            .bind(LANES_LOCK)
            .bind(buckets)
            .execute(connection)
            .await
            .map(drop)
    }
}
