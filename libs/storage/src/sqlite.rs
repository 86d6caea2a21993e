//! SQLite, set up the one way that neither loses nor locks: WAL, one writer, several readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use sqlx::Connection;
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// When a commit is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before it answers. For what is kept nowhere else.
    Full,
    /// At the next checkpoint; the file stays consistent. For views, which the log replays.
    Lazy,
}

/// How much of the file each connection keeps in memory, in KiB (negative by SQLite's convention).
const CACHE: &str = "-4096";
/// How long a reader waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log shrinks to this after a checkpoint, in bytes.
const JOURNAL_SIZE_LIMIT: &str = "16777216";

/// One SQLite file: a writer pool of one connection, since a second one would only find the file locked, and readers.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file at `path`, making it and its folder if missing, and brings it up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or migrated.
    pub async fn open(path: &Path, durability: Durability, migrations: &Migrator) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let synchronous = match durability {
            Durability::Full => SqliteSynchronous::Full,
            Durability::Lazy => SqliteSynchronous::Normal,
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(8192)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256)
            .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
            .pragma("cache_size", CACHE)
            .pragma("temp_store", "memory")
            // What is deleted is overwritten: an erased conversation must not survive in free pages.
            .pragma("secure_delete", "on")
            .optimize_on_close(false, None);
        let writer = pool().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        // A full disk makes SQLite itself roll a transaction back, and the driver, whose own attempt then fails, believes for ever
        // that the connection is still in it. Such a connection is replaced.
        let writer = writer.before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }));
        let writer = writer.connect_with(options.clone()).await.with_context(|| format!("cannot open {}", path.display()))?;
        migrate(path, &writer, migrations).await?;
        let readers = pool().max_connections(readers_at_once()).acquire_timeout(ACQUIRE_TIMEOUT).max_lifetime(None);
        let readers = readers.connect_with(options.read_only(true)).await.context("cannot open a reader")?;
        Ok(Self { writer, readers })
    }

    /// Returns the pool that writes: one connection.
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Returns the pool that reads.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Closes the file; everything committed is then in it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Returns options every pool has: a file does not hang up, so nobody has to ask whether a connection still works.
fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new().test_before_acquire(false)
}

/// Returns how many connections read at once: reading is work for a processor, since what is read often is in memory.
fn readers_at_once() -> u32 {
    std::thread::available_parallelism().map_or(3, |cpus| u32::try_from(cpus.get()).unwrap_or(8).clamp(3, 8))
}

/// Migrates under a lock on a file beside the database: SQLite's own migration lock does nothing, and `colloquy keys` may run
/// beside a server that is starting.
async fn migrate(path: &Path, writer: &SqlitePool, migrations: &Migrator) -> anyhow::Result<()> {
    let mut lock_path = PathBuf::from(path).into_os_string();
    lock_path.push(".migrate-lock");
    let lock = std::fs::File::create(&lock_path).context("cannot make the migration lock")?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await?.context("cannot lock for migration")?;
    let migrated = migrations.run(writer).await.with_context(|| format!("cannot migrate {}", path.display()));
    drop(lock);
    migrated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreError;

    async fn insert(sqlite: &Sqlite) -> Result<(), StoreError> {
        let mut transaction = sqlite.writer().begin_with("begin immediate").await?;
        sqlx::query("insert into pages (content) values (zeroblob(1000000))").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    #[tokio::test]
    async fn writing_goes_on_once_a_full_disk_has_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = Migrator::DEFAULT;
        let sqlite = Sqlite::open(&folder.path().join("full.sqlite"), Durability::Lazy, &nothing).await.unwrap();
        sqlx::query("create table pages (content blob)").execute(sqlite.writer()).await.unwrap();
        // To SQLite, a file that may not grow is a disk that is full. Only this connection is told so.
        sqlx::query("pragma max_page_count = 10").execute(sqlite.writer()).await.unwrap();
        assert!(matches!(insert(&sqlite).await, Err(StoreError::Full(_))));
        insert(&sqlite).await.unwrap();
        let rows: i64 = sqlx::query_scalar("select count(*) from pages").fetch_one(sqlite.readers()).await.unwrap();
        assert_eq!(rows, 1);
    }
}
