//! What can go wrong with recordings.

use std::time::Duration;

use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::ConversationId;

use super::objects::ObjectsError;

/// Why a recording could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The organization has no such conversation.
    #[error("conversation {0} does not exist")]
    ConversationNotFound(ConversationId),
    /// The conversation has no such recording.
    #[error("conversation {0} has no such recording")]
    RecordingNotFound(ConversationId),
    /// The range begins behind the end.
    #[error("the range lies outside of the recording, which has {size} bytes")]
    RangeNotSatisfiable {
        /// How many bytes there are.
        size: u64,
    },
    /// The request is bad, or another service says that something else is.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// The object store failed.
    #[error("{0}")]
    Objects(#[from] ObjectsError),
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] StoreError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Describe for Error {
    fn describe(&self) -> Problem {
        match self {
            Self::ConversationNotFound(_) => Problem::not_found("CONVERSATION_NOT_FOUND", self.to_string()),
            Self::RecordingNotFound(_) => Problem::not_found("RECORDING_NOT_FOUND", self.to_string()),
            Self::RangeNotSatisfiable { .. } => Problem::out_of_range("RANGE_NOT_SATISFIABLE", self.to_string()),
            Self::Problem(problem) => problem.clone(),
            Self::Objects(error) => error.describe(),
            Self::Store(error) => error.describe(),
        }
    }
}

impl Describe for ObjectsError {
    fn describe(&self) -> Problem {
        match self {
            Self::TooLarge { .. } => Problem::exhausted("RECORDING_TOO_LARGE", self.to_string()),
            Self::Empty => Problem::invalid_field("chunk", self.to_string()),
            Self::Missing => Problem::not_found("RECORDING_NOT_FOUND", self.to_string()),
            Self::Store(_) | Self::TimedOut => {
                tracing::error!("the object store cannot be used: {}", self.cause());
                Problem::unavailable("OBJECT_STORE_UNAVAILABLE", "recordings cannot be reached right now", Duration::from_secs(5))
            }
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        error.describe().into()
    }
}
