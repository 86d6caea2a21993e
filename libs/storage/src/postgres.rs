//! PostgreSQL: one schema a service.

use std::time::Duration;

use anyhow::Context;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::time::Instant;

/// How many connections one service of one process holds at most.
const MAX_CONNECTIONS: u32 = 16;
/// A connection that was idle for longer is asked whether it still works before it is used again. One used just now is not: a
/// round trip before every query would be most of a short query's time.
const UNPROVEN_AFTER: Duration = Duration::from_secs(1);
/// How long a query waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a process that starts waits for a server that is away, as one is that starts at the same time.
const WAIT_AT_START: Duration = Duration::from_secs(60);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The waits between attempts: doubled each time, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Opens the database at `url` with `schema` as the only place tables are looked for, making the schema if missing, and brings
/// it up to date.
pub(crate) async fn open(url: &str, schema: &str, migrations: &Migrator) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url.parse().context("not a PostgreSQL URL")?;
    let mut patience = Patience::begin();
    // The migrator's own advisory lock is taken only after the schema must exist.
    let mut connection = patience.until_there(|| PgConnection::connect_with(&options)).await?;
    // The schema's name is one of ours, never input. Two processes may make it at once: the loser's error means it is there.
    let made = sqlx::query(AssertSqlSafe(format!("create schema if not exists \"{schema}\""))).execute(&mut connection).await;
    if let Err(error) = made
        && !error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    {
        return Err(error).with_context(|| format!("cannot make the schema {schema}"));
    }
    connection.close().await.ok();
    let pools = PgPoolOptions::new()
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
        });
    let options = options.options([("search_path", schema)]);
    let pool = patience.until_there(|| pools.clone().connect_with(options.clone())).await?;
    migrations.run(&pool).await.with_context(|| format!("cannot migrate the schema {schema}"))?;
    Ok(pool)
}

/// What is left of the time that a server may be away when a process starts.
struct Patience {
    until: Instant,
    is_told: bool,
}

impl Patience {
    fn begin() -> Self {
        Self { until: Instant::now() + WAIT_AT_START, is_told: false }
    }

    /// Connects, again and again while the server is away.
    ///
    /// # Errors
    /// When it is away for too long, or refuses us for a reason that does not pass: a wrong password, a missing database.
    async fn until_there<T, F>(&mut self, connect: impl Fn() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let mut wait = FIRST_WAIT;
        loop {
            let attempt = tokio::time::timeout(CONNECT_TIMEOUT, connect()).await;
            let error = match attempt.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))) {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            if !is_away(&error) {
                return Err(error).context("cannot connect to PostgreSQL");
            }
            if Instant::now() + wait > self.until {
                return Err(error).with_context(|| format!("PostgreSQL was away for {} seconds", WAIT_AT_START.as_secs()));
            }
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!("waiting for PostgreSQL: {error}");
            }
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }
}

/// Returns whether a server may be there a little later: it cannot be reached, is starting, or has no connection free.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use colloquy_testkit::{Fault, FaultProxy, postgres, until};
    use sqlx::migrate::Migrator;
    use tokio::net::TcpStream;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Returns the URL of a new database, and of the same by way of a proxy.
    async fn by_way_of_a_proxy() -> Option<(String, String, FaultProxy)> {
        let url = postgres::database_url().await?;
        let options: PgConnectOptions = url.parse().unwrap();
        let server: SocketAddr = format!("{}:{}", options.get_host(), options.get_port()).parse().unwrap();
        let proxy = FaultProxy::start(server).await;
        let there = format!("{}:{}", options.get_host(), options.get_port());
        assert!(url.contains(&there), "the test server is named otherwise in its URL");
        let proxied = url.replace(&there, &proxy.address().to_string());
        Some((url, proxied, proxy))
    }

    async fn open_schema(url: &str) -> anyhow::Result<PgPool> {
        open(url, "colloquy_test", &Migrator::with_migrations(Vec::new())).await
    }

    #[tokio::test]
    async fn a_server_that_is_away_at_the_start_is_waited_for() {
        let Some((_, url, proxy)) = by_way_of_a_proxy().await else { return };
        proxy.set(Fault::Refuse);
        let address = proxy.address();
        until(SOON, "connections are refused", || async { TcpStream::connect(address).await.is_err() }).await;
        let opening = tokio::spawn(async move { open_schema(&url).await });
        // Longer than the first waits: it must have been refused, and more than once.
        assert!(tokio::time::timeout(Duration::from_secs(1), until_finished(&opening)).await.is_err(), "it did not wait");
        proxy.set(Fault::None);
        let opened = tokio::time::timeout(SOON, opening).await.expect("it is opened soon");
        opened.unwrap().unwrap().close().await;
    }

    async fn until_finished<T>(task: &tokio::task::JoinHandle<T>) {
        until(SOON, "the task is finished", || async { task.is_finished() }).await;
    }

    #[tokio::test]
    async fn a_server_that_refuses_us_for_good_is_not_waited_for() {
        let Some(url) = postgres::database_url().await else { return };
        let error = tokio::time::timeout(SOON, open_schema(&format!("{url}_missing"))).await.expect("it fails at once");
        let message = format!("{:#}", error.unwrap_err());
        assert!(message.starts_with("cannot connect to PostgreSQL") && message.contains("does not exist"), "{message}");
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        assert!(is_away(&sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into())));
        assert!(!is_away(&sqlx::Error::Configuration("no such option".into())));
    }
}
