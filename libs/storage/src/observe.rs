//! What others see of a database: how busy its connections are, and whether it answers.

use std::time::Duration;

use colloquy_service::metrics::{PoolUse, register_pool};
use colloquy_service::readiness::{Check, CheckResult};
use sqlx::{Connection, PgConnection, PgPool, SqlitePool};

use crate::{Database, Sqlite};

/// How long a connection of the pool is waited for before one is made just to see whether that works.
const POOL_PATIENCE: Duration = Duration::from_millis(500);

impl Database {
    /// Measures the connections of `service` and returns the check that the database answers.
    pub fn observe(&self, service: &'static str) -> Check {
        match self {
            Self::Sqlite(sqlite) => sqlite.observe(service, "writer", "readers"),
            Self::Postgres(pool) => {
                let measured = pool.clone();
                register_pool(service, "postgres", move || pool_use(&measured));
                let asked = pool.clone();
                Check::new("database", move || ask_postgres(asked.clone()))
            }
        }
    }
}

impl Sqlite {
    /// Measures the connections of `service`, by the names of its two pools.
    pub fn measure(&self, service: &'static str, writer: &'static str, readers: &'static str) {
        for (name, pool) in [(writer, self.writer().clone()), (readers, self.readers().clone())] {
            register_pool(service, name, move || pool_use(&pool));
        }
    }

    /// Does the same, and returns the check that the file can be read.
    fn observe(&self, service: &'static str, writer: &'static str, readers: &'static str) -> Check {
        self.measure(service, writer, readers);
        let asked = self.readers().clone();
        Check::new("database", move || ask_sqlite(asked.clone()))
    }
}

fn pool_use<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> PoolUse {
    let (open, idle) = (u64::from(pool.size()), pool.num_idle() as u64);
    PoolUse { idle, used: open.saturating_sub(idle), max: u64::from(pool.options().get_max_connections()) }
}

/// Every connection may be at work: then a new one shows whether the database is there. When it is not, the new one says why,
/// which the pool does not, since it keeps trying.
async fn ask_postgres(pool: PgPool) -> CheckResult {
    if let Ok(Ok(mut connection)) = tokio::time::timeout(POOL_PATIENCE, pool.acquire()).await
        && connection.ping().await.is_ok()
    {
        return Ok(());
    }
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await.map_err(|error| describe(&error))?;
    let answer = connection.ping().await.map_err(|error| describe(&error));
    connection.close().await.ok();
    answer
}

async fn ask_sqlite(readers: SqlitePool) -> CheckResult {
    match sqlx::query("select count(*) from sqlite_schema").execute(&readers).await {
        // Without a connection free, they are all at work.
        Ok(_) | Err(sqlx::Error::PoolTimedOut) => Ok(()),
        Err(error) => Err(describe(&error)),
    }
}

/// Says what is wrong, in words of our own: a driver's text may name users and addresses.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.kind().to_string(),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        sqlx::Error::PoolClosed => "closed".to_owned(),
        sqlx::Error::Tls(_) => "no secure connection".to_owned(),
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => "our credentials are refused".to_owned(),
            Some("3D000") => "there is no such database".to_owned(),
            Some("53300") => "too many connections".to_owned(),
            Some("57P01" | "57P02" | "57P03") => "starting or stopping".to_owned(),
            Some(code) => format!("failed (code {code})"),
            None => "failed".to_owned(),
        },
        _ => "failed".to_owned(),
    }
}
