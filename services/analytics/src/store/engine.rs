//! How this service's transactions begin, beyond what [`colloquy_storage::engine`] has.

use colloquy_storage::engine::{self, Outcome};
use sqlx::{Pool, Postgres, Sqlite, Transaction};

pub(super) use colloquy_storage::engine::{Columns, Rows, Value};

/// A database engine.
pub(super) trait Engine: engine::Engine {
    /// Begins a transaction whose statements find their rows along keys.
    fn begin_along_keys(pool: &Pool<Self>) -> impl Future<Output = Outcome<Transaction<'static, Self>>> + Send;
}

impl Engine for Sqlite {
    async fn begin_along_keys(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        <Self as engine::Engine>::begin(pool).await
    }
}

impl Engine for Postgres {
    async fn begin_along_keys(pool: &Pool<Self>) -> Outcome<Transaction<'static, Self>> {
        // A batch is joined with the tables row by row, along their keys. A plan that was made while a table was empty, and its size
        // not known, would walk all of it later. Compiling takes longer than any of these statements.
        pool.begin_with(
            "begin; set local jit = off; set local enable_seqscan = off; set local enable_hashjoin = off; \
             set local enable_mergejoin = off; set local enable_material = off",
        )
        .await
    }
}
