//! What can go wrong with the log.

use std::time::Duration;

use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::Position;

/// Why the log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// More is waiting to be written than the queue may hold.
    #[error("the log's queue is full")]
    QueueFull,
    /// The log is closing.
    #[error("the log is closing")]
    Closed,
    /// No message could carry the record to a reader.
    #[error("record {index} is too large: {bytes} bytes, at most {limit}")]
    RecordTooLarge {
        /// Its place in the append.
        index: usize,
        /// Its size.
        bytes: usize,
        /// The greatest size.
        limit: usize,
    },
    /// More events than positions within a record.
    #[error("record {index} has {count} events, at most {limit}")]
    TooManyEvents {
        /// Its place in the append.
        index: usize,
        /// How many it has.
        count: usize,
        /// The greatest number.
        limit: usize,
    },
    /// A reader stands after the end of the log: the log was lost or replaced, and must not be skipped silently.
    #[error("position {after} lies beyond the end of the log, {end}")]
    BeyondEnd {
        /// Where the reader stands.
        after: Position,
        /// Where the log ends.
        end: Position,
    },
    /// Consumers are kept for ever, so there must not be any number of them.
    #[error("there are {0} consumers already")]
    TooManyConsumers(usize),
    /// The engine's servers are away, or do not answer. What was asked may have happened; asking again does no harm.
    #[error("the log's servers failed: {0}")]
    Engine(String),
    /// The engine's storage failed.
    #[error("the log's storage failed")]
    Store(#[from] StoreError),
}

impl LogError {
    /// Returns the error of servers that failed.
    pub(super) fn engine(error: impl std::fmt::Display) -> Self {
        Self::Engine(error.to_string())
    }
}

impl From<sqlx::Error> for LogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Describe for LogError {
    fn describe(&self) -> Problem {
        let soon = Duration::from_millis(250);
        match self {
            Self::QueueFull => Problem::unavailable("LOG_QUEUE_FULL", "the event log has too much to write right now", soon),
            Self::Closed => Problem::unavailable("LOG_CLOSING", "the event log is closing", Duration::from_secs(1)),
            Self::RecordTooLarge { index, .. } | Self::TooManyEvents { index, .. } => {
                Problem::invalid_field(format!("records[{index}]"), self.to_string())
            }
            Self::BeyondEnd { .. } => Problem::out_of_range("POSITION_BEYOND_END", self.to_string()),
            Self::TooManyConsumers(_) => Problem::exhausted("TOO_MANY_CONSUMERS", self.to_string()),
            Self::Engine(reason) => {
                tracing::debug!("the log's servers failed: {reason}");
                Problem::unavailable("LOG_UNAVAILABLE", "the event log cannot be reached right now", Duration::from_secs(1))
            }
            Self::Store(error) => error.describe(),
        }
    }
}
