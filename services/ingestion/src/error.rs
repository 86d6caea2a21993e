//! Why ingestion could not do what it was asked, and how that looks from outside.

use std::time::Duration;

use colloquy_providers::verify::Rejection;
use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::{QuarantineId, SourceId};

use crate::log::LogError;
use colloquy_storage::SealError;

/// When to try again after something that mends itself.
const SOON: Duration = Duration::from_secs(1);
/// When to try again after something that somebody has to mend.
const LATER: Duration = Duration::from_secs(60);

/// Why ingestion could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such source, or not for this caller.
    #[error("source {0} does not exist")]
    SourceNotFound(SourceId),
    /// There is no such quarantined delivery, or not for this caller.
    #[error("quarantined delivery {0} does not exist")]
    QuarantineNotFound(QuarantineId),
    /// The source was changed by others again and again meanwhile.
    #[error("source {0} is being changed by others")]
    SourceContended(SourceId),
    /// Fields of the request are bad.
    #[error("{}", .0.message)]
    Invalid(Problem),
    /// The delivery does not prove where it comes from.
    #[error("the delivery is not authenticated: {0}")]
    Rejected(Rejection),
    /// The delivery is larger than its source may send.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// The body could not be kept in a temporary file.
    #[error("the body could not be spooled")]
    Spool(#[source] std::io::Error),
    /// The recording in the delivery could not be stored.
    #[error("the recording could not be stored: {0}")]
    RecordingNotStored(String),
    /// The source has as much in quarantine as it may.
    #[error("the quarantine of source {source_id} is full")]
    QuarantineFull {
        /// Whose quarantine.
        source_id: SourceId,
    },
    /// What is stored could not be compressed or read back.
    #[error("compression failed")]
    Compression(#[source] std::io::Error),
    /// Something sealed cannot be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The process is stopping, or a worker broke.
    #[error("the work was interrupted")]
    Interrupted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem)
    }
}

impl Describe for Error {
    fn describe(&self) -> Problem {
        match self {
            Self::SourceNotFound(_) => Problem::not_found("SOURCE_NOT_FOUND", self.to_string()),
            Self::QuarantineNotFound(_) => Problem::not_found("QUARANTINE_NOT_FOUND", self.to_string()),
            Self::SourceContended(_) => Problem::unavailable("SOURCE_CONTENDED", self.to_string(), SOON),
            Self::Invalid(problem) => problem.clone(),
            Self::Rejected(_) => Problem::unauthenticated("SIGNATURE_INVALID", self.to_string()),
            Self::BodyTooLarge { .. } => Problem::exhausted("BODY_TOO_LARGE", self.to_string()),
            Self::Spool(cause) => {
                tracing::error!("a delivery's body could not be spooled: {cause}");
                Problem::unavailable("SPOOL_UNAVAILABLE", "the body cannot be taken right now", 10 * SOON)
            }
            Self::RecordingNotStored(cause) => {
                tracing::warn!("a delivery's recording could not be stored: {cause}");
                Problem::unavailable("RECORDINGS_UNAVAILABLE", "the recording cannot be stored right now", 5 * SOON)
            }
            Self::QuarantineFull { .. } => {
                tracing::error!("{self}; retry or resolve what is in it");
                Problem::unavailable("QUARANTINE_FULL", "the delivery cannot be mapped, and the quarantine is full", LATER)
            }
            Self::Compression(_) | Self::Seal(_) => Problem::internal(self),
            Self::Interrupted => Problem::unavailable("STOPPING", self.to_string(), SOON),
            Self::Store(error) => error.describe(),
            Self::Log(error) => error.describe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tonic::Code;
    use uuid::Uuid;

    use super::*;

    fn io() -> std::io::Error {
        std::io::ErrorKind::StorageFull.into()
    }

    #[test]
    fn every_error_has_its_code_and_reason() {
        let source_id = SourceId(Uuid::nil());
        let cases = [
            (Error::SourceNotFound(source_id), Code::NotFound, "SOURCE_NOT_FOUND"),
            (Error::QuarantineNotFound(QuarantineId(Uuid::nil())), Code::NotFound, "QUARANTINE_NOT_FOUND"),
            (Error::SourceContended(source_id), Code::Unavailable, "SOURCE_CONTENDED"),
            (Error::Invalid(Problem::invalid_field("a", "b")), Code::InvalidArgument, "INVALID_ARGUMENT"),
            (Error::Rejected(Rejection::Mismatch), Code::Unauthenticated, "SIGNATURE_INVALID"),
            (Error::BodyTooLarge { limit: 1 }, Code::ResourceExhausted, "BODY_TOO_LARGE"),
            (Error::Spool(io()), Code::Unavailable, "SPOOL_UNAVAILABLE"),
            (Error::RecordingNotStored("why".to_owned()), Code::Unavailable, "RECORDINGS_UNAVAILABLE"),
            (Error::QuarantineFull { source_id }, Code::Unavailable, "QUARANTINE_FULL"),
            (Error::Compression(io()), Code::Internal, "INTERNAL"),
            (Error::Seal(SealError::Decrypt), Code::Internal, "INTERNAL"),
            (Error::Interrupted, Code::Unavailable, "STOPPING"),
            (Error::Store(StoreError::Full(sqlx::Error::PoolClosed)), Code::Unavailable, "STORAGE_FULL"),
            (Error::Log(LogError::QueueFull), Code::Unavailable, "LOG_QUEUE_FULL"),
        ];
        let mut kinds = BTreeSet::new();
        for (error, code, reason) in cases {
            let problem = error.describe();
            assert_eq!((problem.code, problem.reason), (code, reason), "{error:?}");
            assert_eq!(problem.retry_after.is_some(), code == Code::Unavailable, "{error:?}");
            // A variant that is added here without a case above does not compile.
            kinds.insert(match error {
                Error::SourceNotFound(_) => 0,
                Error::QuarantineNotFound(_) => 1,
                Error::SourceContended(_) => 2,
                Error::Invalid(_) => 3,
                Error::Rejected(_) => 4,
                Error::BodyTooLarge { .. } => 5,
                Error::Spool(_) => 6,
                Error::RecordingNotStored(_) => 7,
                Error::QuarantineFull { .. } => 8,
                Error::Compression(_) => 9,
                Error::Seal(_) => 10,
                Error::Interrupted => 11,
                Error::Store(_) => 12,
                Error::Log(_) => 13,
            });
        }
        assert_eq!(kinds.len(), 14);
    }
}
