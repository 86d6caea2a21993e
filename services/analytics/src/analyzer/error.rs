//! Why a call about analyzers is refused.

use std::time::Duration;

use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::ConversationId;
use tonic::Status;
use uuid::Uuid;

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is bad.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// There is no such analyzer, or not in this organization.
    #[error("analyzer '{0}' does not exist")]
    AnalyzerNotFound(Uuid),
    /// The analyzer never had such a version.
    #[error("analyzer '{0}' has no version {1}")]
    VersionNotFound(Uuid, u32),
    /// There is no such back-fill, or not in this organization.
    #[error("back-fill '{0}' does not exist")]
    BackfillNotFound(Uuid),
    /// There is no such conversation, or not in this organization.
    #[error("conversation {0} does not exist")]
    ConversationNotFound(ConversationId),
    /// It is not over.
    #[error("conversation {0} is not over; analyzers judge conversations that have ended")]
    ConversationLive(ConversationId),
    /// The organization has as many analyzers as it may.
    #[error("an organization has at most {0} analyzers; remove one first")]
    TooMany(u32),
    /// The organization has as many back-fills under way as it may.
    #[error("an organization has at most {0} back-fills under way; wait for one to go through its conversations")]
    TooManyBackfills(u32),
    /// Others changed the analyzer again and again.
    #[error("analyzer '{0}' is being changed by somebody else")]
    Busy(Uuid),
    /// The installation has none.
    #[error("no language model is configured: analyzers can be defined and changed, and run once the operator has set one")]
    NoModel,
    /// The day's tokens are used.
    #[error("the tokens of the day are used up; there are new ones at midnight UTC")]
    OverBudget,
    /// The model did not answer while the caller waited.
    #[error("the model has not answered yet; the answer is kept once it has, ask for it again")]
    TooSlow,
    /// As many questions are being asked as may be at once.
    #[error("as many questions are being asked as may be at once; try again when one is answered")]
    Crowded,
    /// The model did not answer, and may later.
    #[error("{0}")]
    ModelUnavailable(String),
    /// Another service refused what only it can tell, or is away.
    #[error("{}", .0.message())]
    Upstream(Status),
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] StoreError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.describe().into()
    }
}

impl Describe for Error {
    fn describe(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Problem(problem) => problem.clone(),
            Self::AnalyzerNotFound(_) => Problem::not_found("ANALYZER_NOT_FOUND", text),
            Self::VersionNotFound(..) => Problem::not_found("ANALYZER_VERSION_NOT_FOUND", text),
            Self::BackfillNotFound(_) => Problem::not_found("BACKFILL_NOT_FOUND", text),
            Self::ConversationNotFound(_) => Problem::not_found("CONVERSATION_NOT_FOUND", text),
            Self::ConversationLive(_) => Problem::failed_precondition("CONVERSATION_NOT_OVER", text),
            Self::TooMany(_) => Problem::exhausted("TOO_MANY_ANALYZERS", text),
            Self::TooManyBackfills(_) => Problem::exhausted("TOO_MANY_BACKFILLS", text),
            Self::Busy(_) => Problem::unavailable("ANALYZER_BUSY", text, Duration::from_secs(1)),
            Self::NoModel => Problem::failed_precondition("MODEL_NOT_CONFIGURED", text),
            Self::OverBudget => Problem::exhausted("MODEL_BUDGET_EXHAUSTED", text),
            Self::TooSlow => Problem::deadline_exceeded(text),
            Self::Crowded => Problem::unavailable("MODEL_BUSY", text, Duration::from_secs(10)),
            Self::ModelUnavailable(_) => Problem::unavailable("MODEL_UNAVAILABLE", text, Duration::from_secs(30)),
            Self::Upstream(status) => Problem::from_status(status),
            Self::Store(error) => error.describe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_reason() {
        let (id, conversation) = (Uuid::nil(), ConversationId(Uuid::nil()));
        let reasons = [
            (Error::Problem(Problem::invalid_field("name", "must be there")), "INVALID_ARGUMENT"),
            (Error::AnalyzerNotFound(id), "ANALYZER_NOT_FOUND"),
            (Error::VersionNotFound(id, 2), "ANALYZER_VERSION_NOT_FOUND"),
            (Error::BackfillNotFound(id), "BACKFILL_NOT_FOUND"),
            (Error::ConversationNotFound(conversation), "CONVERSATION_NOT_FOUND"),
            (Error::ConversationLive(conversation), "CONVERSATION_NOT_OVER"),
            (Error::TooMany(50), "TOO_MANY_ANALYZERS"),
            (Error::TooManyBackfills(5), "TOO_MANY_BACKFILLS"),
            (Error::Busy(id), "ANALYZER_BUSY"),
            (Error::NoModel, "MODEL_NOT_CONFIGURED"),
            (Error::OverBudget, "MODEL_BUDGET_EXHAUSTED"),
            (Error::TooSlow, "DEADLINE_EXCEEDED"),
            (Error::Crowded, "MODEL_BUSY"),
            (Error::ModelUnavailable("away".to_owned()), "MODEL_UNAVAILABLE"),
            (Error::Upstream(Status::unavailable("away")), "UPSTREAM"),
            (Error::Store(StoreError::Corrupt("row".to_owned())), "INTERNAL"),
        ];
        for (error, reason) in reasons {
            assert_eq!(error.describe().reason, reason, "{error}");
        }
    }
}
