//! Which database a service keeps its data in.

use std::fmt;
use std::path::{Path, PathBuf};

use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::{Durability, Sqlite, postgres};

/// Where a service's database is, as the settings say it.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// One SQLite file a service in this folder.
    SqliteFolder(PathBuf),
    /// A PostgreSQL database, one schema a service.
    Postgres(String),
}

impl DatabaseUrl {
    /// Reads a setting: `sqlite:` (in `data_dir`), `sqlite:/folder`, or `postgres://…`.
    ///
    /// # Errors
    /// A sentence saying what is allowed. The URL, which may hold a password, is not repeated.
    pub fn parse(text: &str, data_dir: &Path) -> Result<Self, String> {
        if let Some(folder) = text.strip_prefix("sqlite:") {
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            return Ok(Self::SqliteFolder(if folder.is_empty() { data_dir.to_owned() } else { PathBuf::from(folder) }));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err("must be 'sqlite:', 'sqlite:/folder' or 'postgres://…'".to_owned())
    }
}

impl fmt::Debug for DatabaseUrl {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqliteFolder(folder) => write!(f, "sqlite:{}", folder.display()),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

/// A service's migrations, one numbered folder an engine.
pub struct Migrations {
    sqlite: Migrator,
    postgres: Migrator,
}

impl Migrations {
    /// Returns the migrations of this release.
    ///
    /// A database that a newer release has migrated is opened all the same: during a rolling upgrade, and after a rollback, this
    /// release runs on it. So a migration must leave the release before it working (ARCHITECTURE.md, "Rolling upgrades").
    pub fn new(mut sqlite: Migrator, mut postgres: Migrator) -> Self {
        sqlite.set_ignore_missing(true);
        postgres.set_ignore_missing(true);
        Self { sqlite, postgres }
    }

    /// Returns those for SQLite.
    pub const fn sqlite(&self) -> &Migrator {
        &self.sqlite
    }
}

/// An open database.
#[derive(Clone, Debug)]
pub enum Database {
    /// A SQLite file.
    Sqlite(Sqlite),
    /// A PostgreSQL schema.
    Postgres(PgPool),
}

impl Database {
    /// Opens the database of the service `name` (`conversation-store`) and brings it up to date.
    ///
    /// # Errors
    /// When it cannot be opened or migrated.
    pub async fn open(url: &DatabaseUrl, name: &str, durability: Durability, migrations: &Migrations) -> anyhow::Result<Self> {
        let name = name.replace('-', "_");
        match url {
            DatabaseUrl::SqliteFolder(folder) => {
                let path = folder.join(format!("{name}.sqlite"));
                Ok(Self::Sqlite(Sqlite::open(&path, durability, &migrations.sqlite).await?))
            }
            DatabaseUrl::Postgres(url) => {
                Ok(Self::Postgres(postgres::open(url, &format!("colloquy_{name}"), &migrations.postgres).await?))
            }
        }
    }

    /// Closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::{Migration, MigrationType};

    use super::*;

    fn migrator(count: i64) -> Migrator {
        let migration = |version: i64| {
            let sql = sqlx::AssertSqlSafe(format!("create table made_{version} (number integer)"));
            Migration::new(version, "a table".into(), MigrationType::Simple, sqlx::SqlSafeStr::into_sql_str(sql), false)
        };
        Migrator::with_migrations((1..=count).map(migration).collect())
    }

    async fn open(url: &DatabaseUrl, count: i64) -> anyhow::Result<Database> {
        Database::open(url, "upgraded", Durability::Full, &Migrations::new(migrator(count), migrator(count))).await
    }

    #[tokio::test]
    async fn a_release_opens_a_database_that_a_newer_one_has_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let mut urls = vec![DatabaseUrl::SqliteFolder(folder.path().to_owned())];
        if let Some(url) = colloquy_testkit::postgres::database_url().await {
            urls.push(DatabaseUrl::parse(&url, folder.path()).unwrap());
        }
        for url in urls {
            open(&url, 1).await.unwrap().close().await;
            open(&url, 2).await.unwrap().close().await;
            open(&url, 1).await.unwrap().close().await;
        }
    }
}
