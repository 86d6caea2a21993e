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

/// PostgreSQL's code for a full disk.
const POSTGRES_DISK_FULL: &str = "53100";
/// How PostgreSQL's codes begin that say nothing about the statement, which may be tried again.
const POSTGRES_PASSING: [&str; 11] = [
    "08",    // the connection
    "40",    // deadlocks, and transactions that cannot be put in an order
    "53",    // insufficient resources: connections, memory
    "57P",   // an operator: stopping, starting, crashed
    "57014", // cancelled, or longer than `statement_timeout`: what waited for a lock too long may not next time
    "55P03", // longer than `lock_timeout`
    "55006", // in use
    "25006", // a connection to what is a replica now
    "25P03", // longer idle in a transaction than allowed
    "25P04", // longer in a transaction than allowed
    "58",    // the system beneath it
];

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
                    _ if code == POSTGRES_DISK_FULL => Self::Full(error),
                    _ if POSTGRES_PASSING.iter().any(|start| code.starts_with(start)) => Self::Unavailable(error),
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Coded(&'static str);

    impl DatabaseError for Coded {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            if self.0 == "23505" { ErrorKind::UniqueViolation } else { ErrorKind::Other }
        }
    }

    fn of(code: &'static str) -> StoreError {
        sqlx::Error::Database(Box::new(Coded(code))).into()
    }

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        let deadlock_and_kin = ["40P01", "40001", "55P03", "57014"];
        let server_comes_and_goes = ["57P01", "57P02", "57P03", "08006", "25006", "58030"];
        let no_room = ["53300", "53200", "53100"];
        for code in deadlock_and_kin.into_iter().chain(server_comes_and_goes).chain(no_room) {
            assert!(of(code).is_transient(), "{code}");
        }
        let broken = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        for error in [broken, sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed] {
            assert!(StoreError::from(error).is_transient());
        }
    }

    #[test]
    fn what_is_wrong_with_the_statement_or_the_data_is_not_tried_again() {
        for code in ["22021", "42P01", "23502", "22P02", "54000", "XX000"] {
            assert!(!of(code).is_transient(), "{code}");
        }
        assert!(matches!(of("23505"), StoreError::Conflict));
    }

    #[test]
    fn a_full_disk_is_told_from_a_busy_database() {
        assert!(matches!(of("53100"), StoreError::Full(_)));
        for (code, is_full) in [("13", true), ("778", true), ("5", false), ("261", false)] {
            assert_eq!(matches!(of(code), StoreError::Full(_)), is_full, "{code}");
            assert!(of(code).is_transient(), "{code}");
        }
    }
}
