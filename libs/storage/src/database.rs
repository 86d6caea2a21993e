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
    /// For SQLite.
    pub sqlite: Migrator,
    /// For PostgreSQL.
    pub postgres: Migrator,
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
