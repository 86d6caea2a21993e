//! What went wrong, said once: [`Problem`] becomes a gRPC status with `google.rpc` details, and at the edge a problem document.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo` Colloquy sends (AIP-193).
pub(crate) const ERROR_DOMAIN: &str = "colloquy";

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path.
    pub field: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// An error as its receiver sees it. The reason is part of the API; the message is for people and may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The class of error.
    pub code: Code,
    /// Upper snake case, stable.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The bad fields of an invalid request.
    pub fields: Vec<FieldViolation>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
}

/// Errors that know how they look from outside.
pub trait Describe {
    /// Returns what the receiver is told. The only place that chooses a code.
    fn describe(&self) -> Problem;
}

impl Problem {
    fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), fields: Vec::new(), retry_after: None }
    }

    /// The request has bad fields.
    pub fn invalid(fields: Vec<FieldViolation>) -> Self {
        let named: Vec<String> = fields.iter().map(|bad| format!("{}: {}", bad.field, bad.message)).collect();
        Self { fields, ..Self::new(Code::InvalidArgument, "INVALID_ARGUMENT", named.join("; ")) }
    }

    /// One field of the request is bad.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldViolation { field: field.into(), message: message.into() }])
    }

    /// The thing does not exist, or not for this caller.
    pub fn not_found(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, reason, message)
    }

    /// The caller is not known.
    pub fn unauthenticated(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, reason, message)
    }

    /// The caller may not do this.
    pub fn permission_denied(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, reason, message)
    }

    /// The state of the thing does not allow this; trying again does not help until it changes.
    pub fn failed_precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// The thing exists already.
    pub fn already_exists(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::AlreadyExists, reason, message)
    }

    /// A bound was reached: a size, a count, a quota.
    pub fn exhausted(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::ResourceExhausted, reason, message)
    }

    /// A range outside of what exists.
    pub fn out_of_range(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::OutOfRange, reason, message)
    }

    /// It took too long.
    pub fn deadline_exceeded(message: impl Into<String>) -> Self {
        Self::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
    }

    /// It cannot be done now; trying again after `retry_after` may help.
    pub fn unavailable(reason: &'static str, message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Code::Unavailable, reason, message) }
    }

    /// Something broke that the caller cannot mend. The cause is logged here, once, and not shown.
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = cause.to_string();
        let mut source = cause.source();
        while let Some(error) = source {
            chain = format!("{chain}: {error}");
            source = error.source();
        }
        tracing::error!(error.cause = chain, "an internal error was answered: {chain}");
        Self::new(Code::Internal, "INTERNAL", "something went wrong on our side; the request id names it in our logs")
    }

    /// Reads a problem back from a status another service answered.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let fields = details.bad_request().map(|bad| {
            let violations = bad.field_violations.iter();
            violations.map(|bad| FieldViolation { field: bad.field.clone(), message: bad.description.clone() }).collect()
        });
        Self {
            code: status.code(),
            reason: "UPSTREAM",
            message: status.message().to_owned(),
            fields: fields.unwrap_or_default(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

impl Describe for Problem {
    fn describe(&self) -> Problem {
        self.clone()
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(problem.reason, ERROR_DOMAIN, std::collections::HashMap::new());
        for bad in problem.fields {
            details.add_bad_request_violation(bad.field, bad.message);
        }
        if let Some(delay) = problem.retry_after {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(problem.code, problem.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_retry_survive_the_status() {
        let problem =
            Problem { retry_after: Some(Duration::from_secs(2)), ..Problem::invalid_field("page_size", "must be 1 to 100") };
        let status = Status::from(problem.clone());
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "INVALID_ARGUMENT");
        let read = Problem::from_status(&status);
        assert_eq!((read.code, read.fields, read.retry_after), (problem.code, problem.fields, problem.retry_after));
    }
}
