//! Driver errors, told apart once. Driver text never leaves this type except into the log.

use std::time::Duration;

use colloquy_service::{Describe, Problem};

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another row has the same key.
    #[error("the row exists already")]
    Conflict,
    /// The database cannot be reached or has no connection free; trying again may help.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The disk is full; trying again helps once there is room.
    #[error("the disk is full")]
    Full(#[source] sqlx::Error),
    /// What is stored cannot be read.
    #[error("a stored row cannot be read: {0}")]
    Corrupt(String),
    /// Anything else.
    #[error("the database failed")]
    Other(#[source] sqlx::Error),
}

/// SQLite's result code for a full disk (`SQLITE_FULL`), and the one for failing writes (`SQLITE_IOERR`), low byte.
const SQLITE_FULL: u32 = 13;
const SQLITE_IOERR: u32 = 10;
const SQLITE_BUSY: u32 = 5;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error)
            }
            sqlx::Error::Database(database) => {
                if database.is_unique_violation() {
                    return Self::Conflict;
                }
                let code = database.code().unwrap_or_default();
                match code.parse::<u32>().map(|code| code & 0xff) {
                    // PostgreSQL's codes have five characters and so never mask to SQLite's.
                    Ok(SQLITE_FULL | SQLITE_IOERR) if code.len() < 5 => Self::Full(error),
                    Ok(SQLITE_BUSY) if code.len() < 5 => Self::Unavailable(error),
                    // 53: insufficient resources (53100 disk full); 57P: operator intervention; 08: connection; 40: try again.
                    _ if code == "53100" => Self::Full(error),
                    _ if ["53", "57P", "08", "40"].iter().any(|class| code.starts_with(class)) => Self::Unavailable(error),
                    _ => Self::Other(error),
                }
            }
            _ => Self::Other(error),
        }
    }
}

impl StoreError {
    /// Returns whether trying again later may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }
}

impl Describe for StoreError {
    fn describe(&self) -> Problem {
        let retry = Duration::from_secs(1);
        match self {
            Self::Conflict => Problem::already_exists("ALREADY_EXISTS", "it exists already"),
            Self::Unavailable(cause) => {
                tracing::warn!("the database is not available: {cause}");
                Problem::unavailable("STORAGE_UNAVAILABLE", "storage is not available right now", retry)
            }
            Self::Full(cause) => {
                tracing::error!("the database cannot write: {cause}");
                Problem::unavailable("STORAGE_FULL", "storage has no room right now", Duration::from_secs(10))
            }
            Self::Corrupt(_) | Self::Other(_) => Problem::internal(self),
        }
    }
}
