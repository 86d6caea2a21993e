//! Errors as `application/problem+json` (RFC 9457).
//!
//! A handler refuses with a [`Refusal`]. It becomes a response that carries the refusal as an extension, and the request-id layer
//! writes the document, because only there the request id is known. The same layer writes one for every bare error that axum or
//! hyper answer themselves, so no error leaves without a document.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use colloquy_service::{FieldErrors, FieldViolation};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use utoipa::ToSchema;

/// The media type of every error.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
/// What is said of errors that are ours.
const OUR_FAULT: &str = "something went wrong on our side; the request id names it in our logs";
/// So many bad fields are named at most.
const MAX_ERRORS: usize = 100;

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    /// What kind of problem it is: a stable URI, or `about:blank` when the status says it all.
    #[schema(example = "urn:colloquy:problem:conversation-not-found")]
    r#type: Cow<'a, str>,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What went wrong this time, for people; it may change.
    detail: &'a str,
    /// Names the request in our logs; also in the header `x-request-id`.
    request_id: &'a str,
    /// The bad fields and parameters, and what is allowed.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: Vec<FieldProblem<'a>>,
}

/// One bad field or parameter.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldProblem<'a> {
    /// The path of the field, or the name of the parameter.
    #[schema(example = "page_size")]
    field: &'a str,
    /// What is wrong and what is allowed.
    #[schema(example = "must be a whole number from 1 to 100")]
    message: &'a str,
}

/// Why a request is not answered as it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    reason: Cow<'static, str>,
    detail: Cow<'static, str>,
    errors: Vec<FieldViolation>,
    headers: HeaderMap,
}

impl Refusal {
    /// Refuses with `status`, saying why. An empty `reason` means that the status says it all.
    pub(crate) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        let (reason, detail) = (reason.into(), detail.into());
        Self(Box::new(Inner { status, reason, detail, errors: Vec::new(), headers: HeaderMap::new() }))
    }

    /// Refuses because of bad fields.
    pub(crate) fn invalid(errors: Vec<FieldViolation>) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "the request is not valid; `errors` says where");
        refusal.0.errors = errors;
        refusal.0.errors.truncate(MAX_ERRORS);
        refusal
    }

    /// Refuses because of one bad field.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldViolation { field: field.into(), message: message.into() }])
    }

    /// Refuses because nothing is there.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
    }

    /// Refuses a body that is greater than `limit` bytes.
    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", format!("the body must be at most {limit} bytes"))
    }

    /// Refuses a body of a kind that is not understood.
    pub(crate) fn unsupported_media(expected: &str) -> Self {
        let detail = format!("the body must have the content type {expected}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail)
    }

    /// Refuses a body that did not arrive in time.
    pub(crate) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "BODY_TOO_SLOW", "the body did not arrive in time")
            .with(http::header::CONNECTION, "close")
    }

    /// Refuses a body that broke off.
    pub(crate) fn body_broke_off() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BODY_INCOMPLETE", "the body broke off before its end")
    }

    /// Refuses because something broke here.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", OUR_FAULT)
    }

    /// Adds a header to the answer.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.insert(name, value);
        }
        self
    }

    /// Changes what the bad fields are called, and what is said of them.
    pub(crate) fn renaming(mut self, rename: impl FnMut(&mut FieldViolation)) -> Self {
        self.0.errors.iter_mut().for_each(rename);
        self
    }

    /// Returns what is refused with, for an answer whose status alone is known.
    pub(crate) fn bare(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => "there is nothing at this path; GET /openapi.json lists what there is",
            StatusCode::METHOD_NOT_ALLOWED => "this path does not take this method; the header `Allow` lists those it takes",
            _ if status.is_server_error() => OUR_FAULT,
            _ => "the request could not be understood",
        };
        Self::new(status, "", detail)
    }

    /// Returns the status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Writes the document.
    pub(crate) fn write(&self, request_id: &str) -> Body {
        let inner = &self.0;
        let problem = Problem {
            r#type: match inner.reason.as_ref() {
                "" => Cow::Borrowed("about:blank"),
                reason => format!("urn:colloquy:problem:{}", reason.to_ascii_lowercase().replace('_', "-")).into(),
            },
            title: inner.status.canonical_reason().unwrap_or("Error"),
            status: inner.status.as_u16(),
            detail: &inner.detail,
            request_id,
            errors: inner.errors.iter().map(|bad| FieldProblem { field: &bad.field, message: &bad.message }).collect(),
        };
        Body::from(serde_json::to_vec(&problem).unwrap_or_default())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        response.headers_mut().extend(self.0.headers.clone());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response.extensions_mut().insert(self);
        response
    }
}

/// Ends a collection of bad fields.
///
/// # Errors
/// A 400 naming all of them, when there are any.
pub(crate) fn finish(errors: FieldErrors) -> Result<(), Refusal> {
    errors.finish().map_err(|problem| Refusal::invalid(problem.fields))
}

/// Only what is called otherwise on every route has another name then; the rest is for `naming`.
impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let reason = status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default();
        let problem = colloquy_service::Problem::from_status(&status);
        let http_status = http_status(problem.code, &reason);
        if http_status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(grpc.code = ?problem.code, "a service failed: {}", problem.message);
            return Self::internal();
        }
        let detail = match (http_status, problem.fields.is_empty()) {
            // The transport's own words about sockets and streams are for the log.
            (StatusCode::SERVICE_UNAVAILABLE, _) if reason.is_empty() => {
                tracing::warn!(grpc.code = ?problem.code, "a service could not be reached: {}", problem.message);
                "a service behind this one cannot be reached right now".to_owned()
            }
            (StatusCode::BAD_REQUEST, false) => "the request is not valid; `errors` says where".to_owned(),
            _ => problem.message,
        };
        let mut refusal = Self::new(http_status, reason, detail);
        refusal.0.errors = problem.fields;
        refusal.0.errors.truncate(MAX_ERRORS);
        let refusal = refusal.renaming(|bad| {
            if bad.field == "page_token" {
                "cursor".clone_into(&mut bad.field);
            }
        });
        match http_status {
            StatusCode::UNAUTHORIZED => refusal.with(WWW_AUTHENTICATE, "Bearer realm=\"colloquy\""),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                let seconds = problem.retry_after.map_or(1, |wait| wait.as_millis().div_ceil(1000).max(1));
                refusal.with(RETRY_AFTER, &seconds.to_string())
            }
            _ => refusal,
        }
    }
}

fn http_status(code: Code, reason: &str) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted if reason.ends_with("TOO_LARGE") => StatusCode::PAYLOAD_TOO_LARGE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // No service says `UNKNOWN` of itself: it is how the client reports a transport that broke.
        Code::Unavailable | Code::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded | Code::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Ok | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_says_nothing_of_its_cause() {
        let refusal = Refusal::from(Status::internal("table turns is locked"));
        assert_eq!(refusal.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!refusal.0.detail.contains("turns"));
    }
}
