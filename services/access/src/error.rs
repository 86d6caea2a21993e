//! What can go wrong in access.

use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::KeyId;

/// Why access could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key opens nothing: unknown, expired or revoked, deliberately not told apart.
    #[error("the API key is unknown, expired or revoked")]
    KeyInvalid,
    /// The organization has no such key.
    #[error("API key {0} does not exist")]
    KeyNotFound(KeyId),
    /// The organization is gone.
    #[error("the organization does not exist")]
    OrganizationNotFound,
    /// The machine has no randomness to make keys from.
    #[error("no randomness")]
    NoRandomness,
    /// The request has bad fields.
    #[error("invalid request")]
    Invalid(Problem),
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] StoreError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem)
    }
}

impl Describe for Error {
    fn describe(&self) -> Problem {
        match self {
            Self::KeyInvalid => Problem::unauthenticated("API_KEY_INVALID", self.to_string()),
            Self::KeyNotFound(_) => Problem::not_found("API_KEY_NOT_FOUND", self.to_string()),
            Self::OrganizationNotFound => Problem::not_found("ORGANIZATION_NOT_FOUND", self.to_string()),
            Self::NoRandomness => Problem::internal(self),
            Self::Invalid(problem) => problem.clone(),
            Self::Store(error) => error.describe(),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        error.describe().into()
    }
}
