//! Why a call of the analytics service is refused.

use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::ConversationId;
use tonic::Status;

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such conversation, or not in this organization.
    #[error("conversation {0} does not exist")]
    ConversationNotFound(ConversationId),
    /// The request is bad, or what it waits for does not come.
    #[error("{}", .0.message)]
    Problem(Problem),
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
            Self::Problem(problem) => problem.clone(),
            Self::Store(error) => error.describe(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.describe().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_reason() {
        let reasons = [
            (Error::ConversationNotFound(ConversationId(uuid::Uuid::nil())), "CONVERSATION_NOT_FOUND"),
            (Error::Problem(Problem::invalid_field("time", "must be there")), "INVALID_ARGUMENT"),
            (Error::Store(StoreError::Corrupt("row".to_owned())), "INTERNAL"),
        ];
        for (error, reason) in reasons {
            assert_eq!(error.describe().reason, reason, "{error}");
        }
    }
}
