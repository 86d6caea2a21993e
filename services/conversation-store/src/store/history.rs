//! Walks through lists that change meanwhile.
//!
//! Every transaction that changes what lists filter or sort by has a version, ascending in the order of their commits. A walk sees
//! the lists as they were at the version at which it began: its pages read the conversations whose columns are as old, and, from a
//! history, what the columns of the others were then. So it neither repeats nor skips a conversation, whatever changes.
//!
//! History is written only where a walk may ask for it: for columns that were valid at the version for which the last walk
//! began. A conversation that changes at every turn leaves one entry a walk, and none while nobody walks.

use colloquy_types::Timestamp;
use tokio::sync::{Mutex, MutexGuard};

use super::WALK_LIMIT;
use super::engine::{Columns, Engine, statement};

/// The last walk that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastWalk {
    /// The version it sees.
    pub(super) version: i64,
    /// When it began, in milliseconds.
    pub(super) began_at: i64,
}

impl LastWalk {
    /// Returns whether the walk, or one before it that is still going on, may ask for columns valid since `valid_from`.
    pub(super) fn may_see(&self, valid_from: i64, now: Timestamp) -> bool {
        let forgotten = now.as_millis() - self.began_at > WALK_LIMIT.as_millis() as i64 + 2 * NOTED_AGAIN_AFTER_MS;
        self.version >= valid_from && !forgotten
    }
}

/// What this process knows of walks.
pub(super) enum Walks {
    /// All that there is to know: nobody else writes to the database.
    InThisProcess(Mutex<Known>),
    /// Others write too, so it stands in the database.
    InTheDatabase,
}

/// The version last committed, and the last walk.
#[derive(Debug)]
pub(super) struct Known {
    /// None while a commit is under way, and after one whose outcome nobody saw.
    version: Option<i64>,
    last: LastWalk,
    /// Walks that began before this process did; they may have begun up to just now.
    inherited: bool,
}

impl Walks {
    /// Returns walks of a database at `version`.
    pub(super) fn in_this_process(version: i64) -> Self {
        let last = LastWalk { version, began_at: 0 };
        Self::InThisProcess(Mutex::new(Known { version: Some(version), last, inherited: true }))
    }

    /// Returns walks that the database knows.
    pub(super) const fn in_the_database() -> Self {
        Self::InTheDatabase
    }

    /// Begins a walk and returns the version it sees.
    pub(super) async fn begin<E: Engine>(&self, pool: &sqlx::Pool<E>, now: Timestamp) -> Result<i64, sqlx::Error> {
        let now = now.as_millis();
        match self {
            Self::InThisProcess(known) => {
                let mut known = known.lock().await;
                let version = match known.version {
                    Some(version) => version,
                    None => {
                        let mut connection = pool.acquire().await?;
                        let read = sqlx::QueryBuilder::new("select version from view_state where id = 1");
                        let rows = E::fetch(&mut connection, read).await?;
                        Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?).int()?
                    }
                };
                *known = Known { version: Some(version), last: LastWalk { version, began_at: now }, inherited: false };
                Ok(version)
            }
            Self::InTheDatabase => {
                let mut connection = pool.acquire().await?;
                let read = sqlx::QueryBuilder::new("select version, issued, issued_at from view_state where id = 1");
                let rows = E::fetch(&mut connection, read).await?;
                let mut columns = Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?);
                let (version, issued, issued_at) = (columns.int()?, columns.int()?, columns.int()?);
                // Noting the same version again every so often keeps its history from being forgotten.
                if issued == version && now - issued_at < NOTED_AGAIN_AFTER_MS {
                    return Ok(version);
                }
                let note = statement::<E>(
                    "update view_state set issued = version, issued_at = ",
                    &[vec![super::engine::Value::Int(now)]],
                    " where id = 1 returning version",
                );
                let rows = E::fetch(&mut connection, note).await?;
                Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?).int()
            }
        }
    }

    /// Keeps walks from beginning until what is returned is dropped, so that a commit can be made known with what it needs.
    pub(super) async fn hold(&self) -> Option<MutexGuard<'_, Known>> {
        match self {
            Self::InThisProcess(known) => Some(known.lock().await),
            // The transaction holds the row that says so.
            Self::InTheDatabase => None,
        }
    }
}

/// In the database, a walk of the version of another one is noted only after this long.
const NOTED_AGAIN_AFTER_MS: i64 = 60_000;

impl Known {
    /// Returns the last walk.
    pub(super) fn last(&mut self, now: Timestamp) -> LastWalk {
        if self.inherited {
            self.inherited = false;
            self.last.began_at = now.as_millis();
        }
        self.last
    }

    /// Notes that a commit is under way.
    pub(super) const fn committing(&mut self) {
        self.version = None;
    }

    /// Notes that `version` is committed.
    pub(super) const fn committed(&mut self, version: i64) {
        self.version = Some(version);
    }
}
