//! PostgreSQL: one schema a service.

use std::time::Duration;

use anyhow::Context;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgPool};

/// How many connections one service of one process holds at most.
const MAX_CONNECTIONS: u32 = 16;
/// A connection that was idle for longer is asked whether it still works before it is used again. One used just now is not: a
/// round trip before every query would be most of a short query's time.
const UNPROVEN_AFTER: Duration = Duration::from_secs(1);
/// How long a query waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the database at `url` with `schema` as the only place tables are looked for, making the schema if missing, and brings
/// it up to date.
pub(crate) async fn open(url: &str, schema: &str, migrations: &Migrator) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url.parse().context("not a PostgreSQL URL")?;
    // The migrator's own advisory lock is taken only after the schema must exist.
    let mut connection = sqlx::PgConnection::connect_with(&options).await.context("cannot connect to PostgreSQL")?;
    // The schema's name is one of ours, never input. Two processes may make it at once: the loser's error means it is there.
    let made = sqlx::query(AssertSqlSafe(format!("create schema if not exists \"{schema}\""))).execute(&mut connection).await;
    if let Err(error) = made
        && !error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    {
        return Err(error).with_context(|| format!("cannot make the schema {schema}"));
    }
    connection.close().await.ok();
    let pool = PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > UNPROVEN_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options.options([("search_path", schema)]))
        .await
        .context("cannot connect to PostgreSQL")?;
    migrations.run(&pool).await.with_context(|| format!("cannot migrate the schema {schema}"))?;
    Ok(pool)
}
