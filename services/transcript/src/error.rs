//! Why a transcript cannot be given.

use colloquy_service::{Describe, Problem};
use colloquy_storage::{BadPageToken, StoreError};

use crate::language::UnknownLanguage;
use crate::payload::Unreadable;

/// Why a transcript cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such conversation, or not in this organization.
    #[error("conversation '{0}' does not exist")]
    NotFound(String),
    /// The view has not come as far as the caller asked it to be.
    #[error("{}", .0.message)]
    NotReached(Problem),
    /// There is no transcript in the language asked for.
    #[error(transparent)]
    Language(#[from] UnknownLanguage),
    /// The transcript does not fit into one message.
    #[error("the transcript is too long for one answer: it holds more than {} MiB", crate::store::MAX_UNPACKED_BYTES >> 20)]
    TooLong,
    /// The page token is not one of this search.
    #[error(transparent)]
    PageToken(#[from] BadPageToken),
    /// Nothing is indexed.
    #[error("search is switched off in this installation (setting 'transcript-search')")]
    SearchOff,
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] StoreError),
    /// What is stored cannot be read.
    #[error("a stored event cannot be read")]
    Unreadable(#[from] Unreadable),
    /// The work was cut short: a defect, or the process is stopping.
    #[error("the work was cut short")]
    CutShort,
}

impl From<tokio::task::JoinError> for Error {
    /// Drops what a panic said, which may quote a conversation.
    fn from(_: tokio::task::JoinError) -> Self {
        Self::CutShort
    }
}

impl Describe for Error {
    fn describe(&self) -> Problem {
        match self {
            Self::NotFound(_) => Problem::not_found("CONVERSATION_NOT_FOUND", self.to_string()),
            Self::NotReached(problem) => problem.clone(),
            Self::Language(error) => Problem::invalid_field("language", error.to_string()),
            Self::TooLong => Problem::exhausted("TRANSCRIPT_TOO_LONG", self.to_string()),
            Self::SearchOff => Problem::failed_precondition("SEARCH_OFF", self.to_string()),
            Self::PageToken(error) => Problem::invalid_field("page_token", error.to_string()),
            Self::Store(error) => error.describe(),
            Self::Unreadable(_) | Self::CutShort => Problem::internal(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_reason() {
        let reasons = [
            (Error::NotFound("x".to_owned()), "CONVERSATION_NOT_FOUND"),
            (Error::NotReached(Problem::deadline_exceeded("late")), "DEADLINE_EXCEEDED"),
            (Error::Language(UnknownLanguage { available: Vec::new() }), "INVALID_ARGUMENT"),
            (Error::TooLong, "TRANSCRIPT_TOO_LONG"),
            (Error::PageToken(BadPageToken::Forged), "INVALID_ARGUMENT"),
            (Error::Store(StoreError::Corrupt("row".to_owned())), "INTERNAL"),
            (Error::Unreadable(Unreadable::new("form")), "INTERNAL"),
        ];
        for (error, reason) in reasons {
            assert_eq!(error.describe().reason, reason, "{error}");
        }
    }
}
