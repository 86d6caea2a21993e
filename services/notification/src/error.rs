//! Why a call about endpoints or deliveries is refused.

use std::time::Duration;

use colloquy_service::{Describe, Problem};
use colloquy_storage::{SealError, StoreError};
use colloquy_types::Timestamp;
use tonic::Status;
use uuid::Uuid;

use crate::secrets::MOST_PREVIOUS;

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is bad.
    #[error("{}", .0.message)]
    Invalid(Problem),
    /// There is no such endpoint, or not in this organization.
    #[error("webhook endpoint '{0}' does not exist")]
    EndpointNotFound(Uuid),
    /// The endpoint has no such delivery.
    #[error("webhook delivery '{0}' does not exist")]
    DeliveryNotFound(Uuid),
    /// The organization has as many endpoints as it may.
    #[error("an organization has at most {0} webhook endpoints; remove one first")]
    TooMany(u32),
    /// Others changed the endpoint again and again.
    #[error("webhook endpoint '{0}' is being changed by somebody else")]
    Busy(Uuid),
    /// Nothing is sent to it.
    #[error("webhook endpoint '{0}' is disabled; enable it first")]
    Disabled(Uuid),
    /// Its deliveries carry no signature.
    #[error("deliveries to endpoints of the kind '{0}' are not signed, so there is no secret")]
    NotSigned(&'static str),
    /// It was rotated again and again within a day, and every secret there was still signs.
    #[error(
        "webhook endpoint '{endpoint}' has {MOST_PREVIOUS} earlier secrets that still sign, as many as it may; \
         rotate again once the oldest of them ends, at {first_end}"
    )]
    TooManySecrets {
        /// The endpoint.
        endpoint: Uuid,
        /// When the first of them ends.
        first_end: Timestamp,
    },
    /// Conversation-store refused what only it can tell, or is away.
    #[error("{}", .0.message())]
    Conversations(Status),
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] StoreError),
    /// What is secret cannot be sealed or opened.
    #[error("a secret cannot be kept or read")]
    Seal(#[from] SealError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem)
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
            Self::Invalid(problem) => problem.clone(),
            Self::EndpointNotFound(_) => Problem::not_found("WEBHOOK_ENDPOINT_NOT_FOUND", text),
            Self::DeliveryNotFound(_) => Problem::not_found("WEBHOOK_DELIVERY_NOT_FOUND", text),
            Self::TooMany(_) => Problem::exhausted("TOO_MANY_WEBHOOK_ENDPOINTS", text),
            Self::Busy(_) => Problem::unavailable("WEBHOOK_ENDPOINT_BUSY", text, Duration::from_secs(1)),
            Self::Disabled(_) => Problem::failed_precondition("WEBHOOK_ENDPOINT_DISABLED", text),
            Self::NotSigned(_) => Problem::failed_precondition("WEBHOOK_ENDPOINT_NOT_SIGNED", text),
            Self::TooManySecrets { .. } => Problem::failed_precondition("TOO_MANY_WEBHOOK_SECRETS", text),
            Self::Conversations(status) => Problem::from_status(status),
            Self::Store(error) => error.describe(),
            Self::Seal(error) => Problem::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_reason() {
        let id = Uuid::nil();
        let reasons = [
            (Error::Invalid(Problem::invalid_field("url", "must be a URL")), "INVALID_ARGUMENT"),
            (Error::EndpointNotFound(id), "WEBHOOK_ENDPOINT_NOT_FOUND"),
            (Error::DeliveryNotFound(id), "WEBHOOK_DELIVERY_NOT_FOUND"),
            (Error::TooMany(50), "TOO_MANY_WEBHOOK_ENDPOINTS"),
            (Error::Busy(id), "WEBHOOK_ENDPOINT_BUSY"),
            (Error::Disabled(id), "WEBHOOK_ENDPOINT_DISABLED"),
            (Error::NotSigned("slack"), "WEBHOOK_ENDPOINT_NOT_SIGNED"),
            (Error::TooManySecrets { endpoint: id, first_end: Timestamp::default() }, "TOO_MANY_WEBHOOK_SECRETS"),
            (Error::Conversations(Status::unavailable("away")), "UPSTREAM"),
            (Error::Store(StoreError::Corrupt("row".to_owned())), "INTERNAL"),
            (Error::Seal(SealError::Decrypt), "INTERNAL"),
        ];
        for (error, reason) in reasons {
            assert_eq!(error.describe().reason, reason, "{error}");
        }
    }
}
