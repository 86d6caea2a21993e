//! A PostgreSQL database for each test.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::{NoContext, Timestamp, Uuid};

/// Returns the server tests may use, from `COLLOQUY_TEST_POSTGRES_URL`.
///
/// # Panics
/// When the variable is not set although `COLLOQUY_REQUIRE_POSTGRES` or `CI` is: tests must not pass by not running.
pub fn server_url() -> Option<String> {
    let url = std::env::var("COLLOQUY_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty());
    let required = ["COLLOQUY_REQUIRE_POSTGRES", "CI"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(url.is_some() || !required, "COLLOQUY_TEST_POSTGRES_URL is not set; tests/run starts a server and sets it");
    url
}

/// Makes a database of its own for one test and returns its URL; `None` when there is no server and none is required.
///
/// The database is left behind, since whoever uses it may still hold connections. The next test that needs one drops an old one
/// that nobody is connected to any more: thousands of them would fill a disk.
pub async fn database_url() -> Option<String> {
    let server = server_url()?;
    let name = format!("test_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(&server).await.expect("the test server is reachable");
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.expect("a database can be made");
    drop_an_old_one(&mut connection).await;
    connection.close().await.ok();
    let (base, query) = match server.split_once('?') {
        Some((base, query)) => (base.to_owned(), format!("?{query}")),
        None => (server.clone(), String::new()),
    };
    let (authority, _) = base.rsplit_once('/').expect("the URL names a database");
    Some(format!("{authority}/{name}{query}"))
}

/// A test that has no connection for so many seconds is over.
const ABANDONED_AFTER: u64 = 180;

/// Drops one of the databases that tests have left behind. Others may be doing the same: then theirs is gone, and that is fine.
async fn drop_an_old_one(connection: &mut PgConnection) {
    // Names begin with the time they were made at, so they compare as the times do.
    let (seconds, _) = Timestamp::now(NoContext).to_unix();
    let newest = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds.saturating_sub(ABANDONED_AFTER), 0)).simple().to_string();
    let sql = "select datname from pg_database
         where datname like 'test\\_%' and datname < 'test_' || $1
             and not exists (select 1 from pg_stat_activity where pg_stat_activity.datname = pg_database.datname)
         order by datname limit 1";
    let name: Option<String> = sqlx::query_scalar(sql).bind(newest).fetch_optional(&mut *connection).await.unwrap_or_default();
    if let Some(name) = name {
        // The name is one of ours: it is made of letters, digits and `_`.
        sqlx::query(AssertSqlSafe(format!("drop database if exists {name}"))).execute(connection).await.ok();
    }
}
