//! What can go wrong when the service is asked for something.

use colloquy_service::{Describe, Problem};
use colloquy_storage::{BadPageToken, StoreError};
use colloquy_types::ConversationId;
use tonic::Status;

/// Why a call could not be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such conversation in the caller's organization.
    #[error("conversation {0} does not exist")]
    ConversationNotFound(ConversationId),
    /// There is no such agent in the caller's organization.
    #[error("the agent does not exist")]
    AgentNotFound,
    /// The page token cannot be used.
    #[error("page_token {0}")]
    PageToken(#[from] BadPageToken),
    /// The page token is of a walk that began too long ago.
    #[error("page_token is too old")]
    StalePageToken,
    /// The request is bad, or something else has its answer already.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// The log did not take the change.
    #[error("the log refused: {}", .0.message())]
    Log(Status),
    /// Transcript did not say where something was said.
    #[error("transcript refused: {}", .0.message())]
    Search(Status),
    /// The words searched for were said in too many conversations to count those of the list.
    #[error("the conversations in which these words were said cannot be counted")]
    Uncountable,
    /// The store failed.
    #[error(transparent)]
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
            Self::AgentNotFound => Problem::not_found("AGENT_NOT_FOUND", self.to_string()),
            Self::PageToken(bad) => Problem::invalid_field("page_token", bad.to_string()),
            Self::StalePageToken => Problem::invalid_field("page_token", "is older than 30 minutes; begin again without it"),
            Self::Problem(problem) => problem.clone(),
            Self::Log(status) | Self::Search(status) => Problem::from_status(status),
            Self::Uncountable => Problem::invalid_field(
                "include_total",
                "cannot be answered: these words were said in more than 10,000 conversations, and more than 20,000 are to be looked \
                 through; narrow the filter or the search, or leave it out",
            ),
            Self::Store(error) => error.describe(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.describe().into()
    }
}
