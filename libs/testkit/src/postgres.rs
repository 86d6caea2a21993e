//! A PostgreSQL database for each test.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

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
/// The database is left behind: the server it is on lives no longer than the test run.
pub async fn database_url() -> Option<String> {
    let server = server_url()?;
    let name = format!("test_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(&server).await.expect("the test server is reachable");
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.expect("a database can be made");
    connection.close().await.ok();
    let (base, query) = match server.split_once('?') {
        Some((base, query)) => (base.to_owned(), format!("?{query}")),
        None => (server.clone(), String::new()),
    };
    let (authority, _) = base.rsplit_once('/').expect("the URL names a database");
    Some(format!("{authority}/{name}{query}"))
}
