//! Request ids, and the error documents that carry them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method};
use uuid::Uuid;

use crate::problem::{PROBLEM_JSON, Refusal};

/// The header, and the metadata key.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// No id a caller gives is longer.
const MAX_LENGTH: usize = 128;

/// What names a request in logs, answers and calls.
#[derive(Clone)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    /// Returns the caller's own id when it is plain enough to be repeated everywhere, and a new UUIDv7 else.
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match given.filter(|id| is_plain(id)) {
            Some(id) => Self(id.into()),
            None => Self(Uuid::now_v7().to_string().into()),
        }
    }

    /// Returns the id.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id when it is a UUID: what a caller made up may mean something to somebody, and stays out of our traces.
    pub(crate) fn for_traces(&self) -> &str {
        if Uuid::try_parse(&self.0).is_ok() { &self.0 } else { "given by the caller" }
    }
}

fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    !id.is_empty() && id.len() <= MAX_LENGTH && id.bytes().all(plain)
}

/// The outermost layer: names the request, writes the documents of errors, and sets what every answer has.
pub(crate) async fn layer(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(&request);
    let is_head = request.method() == Method::HEAD;
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    write_problem(&mut response, &id, is_head);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn write_problem(response: &mut Response, id: &RequestId, is_head: bool) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    let refusal = response.extensions_mut().remove::<Refusal>().unwrap_or_else(|| Refusal::bare(status));
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    *response.body_mut() = if is_head { Body::empty() } else { refusal.write(id.as_str()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_taken_over() {
        for good in ["a", "01980000-0000-7000-8000-000000000000", "trace:1.2_3"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "a b", "ä", "<script>", &"a".repeat(129)] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
