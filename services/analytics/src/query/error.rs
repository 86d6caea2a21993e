//! Why a question was not answered.

use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question is wrong.
    #[error("{}", .0.message)]
    Bad(Problem),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Bad(problem)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Describe for Error {
    fn describe(&self) -> Problem {
        match self {
            Self::Bad(problem) => problem.clone(),
            Self::Store(error) => error.describe(),
        }
    }
}
