//! Where analyzers, their runs and what is still to be asked are kept.

mod analyzers;
mod answers;
mod backfills;
mod budgets;
#[cfg(test)]
mod conformance;
mod news;
mod queue;
mod runs;

use std::sync::Arc;

use colloquy_storage::engine::{Engine, Value};
use colloquy_storage::{Database, StoreError};
use colloquy_types::{OrganizationId, Timestamp};
use sqlx::Pool;
use uuid::Uuid;

pub use analyzers::Analyzers;
pub use answers::Answers;
pub use backfills::{Backfill, BackfillState, Backfills};
pub use budgets::{Budgets, Reservation, Reserved};
pub use news::{NewRun, News};
pub use queue::{Claimed, Done, Priority, Queue, Queued};
pub use runs::{Key, RunFilter, Runs};

/// Everything the module keeps.
pub trait Store: Analyzers + Answers + Backfills + Budgets + News + Queue + Runs {}

impl<T: Analyzers + Answers + Backfills + Budgets + News + Queue + Runs> Store for T {}

/// Returns the store in `database`.
pub fn open(database: &Database) -> Arc<dyn Store> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(SqlStore { writer: sqlite.writer().clone(), readers: sqlite.readers().clone() }),
        Database::Postgres(pool) => Arc::new(SqlStore { writer: pool.clone(), readers: pool.clone() }),
    }
}

/// The store over either engine.
struct SqlStore<E: Engine> {
    writer: Pool<E>,
    readers: Pool<E>,
}

/// A place in a list, newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// When the last item of the page before was made.
    pub at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

const COMPRESSION: i32 = 3;
/// No result unpacks to more; one that does is not one of ours.
const LONGEST: usize = 16 << 20;

/// Packs a JSON text.
fn pack(text: &[u8]) -> Result<Vec<u8>, StoreError> {
    let packed =
        zstd::bulk::compress(text, COMPRESSION).map_err(|_| StoreError::Corrupt("a text that cannot be packed".to_owned()))?;
    let len = u32::try_from(text.len()).map_err(|_| StoreError::Corrupt("a text that is too long".to_owned()))?;
    Ok([&len.to_le_bytes(), packed.as_slice()].concat())
}

/// Unpacks what [`pack`] made.
fn unpack(packed: &[u8], what: &str) -> Result<Vec<u8>, StoreError> {
    let corrupt = || StoreError::Corrupt(what.to_owned());
    let (len, rest) = packed.split_first_chunk::<4>().ok_or_else(corrupt)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > LONGEST {
        return Err(corrupt());
    }
    zstd::bulk::decompress(rest, len).map_err(|_| corrupt())
}

fn key(organization: &OrganizationId, id: Uuid) -> [Value<'_>; 2] {
    [Value::Text(organization.as_str()), Value::Id(id)]
}

fn time_of(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or_default()
}

fn count_of(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn version_of(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn to_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn organization_of(text: &str) -> Result<OrganizationId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an organization".to_owned()))
}
