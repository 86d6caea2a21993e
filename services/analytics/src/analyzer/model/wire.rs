//! One HTTP exchange with an endpoint, beneath the client library: bounded in time and size, and silent about what was said.
//!
//! The library would log what it cannot read and what a failing server wrote, which may be words of the conversation. So nothing
//! but well-formed JSON of a successful answer reaches it.

use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::de::IgnoredAny;

/// Sends requests.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) http: reqwest::Client,
    pub(super) timeout: Duration,
    pub(super) most_bytes: usize,
    /// Whether requests carry the key.
    pub(super) has_key: bool,
}

/// Why an exchange brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// Nobody there.
    #[error("the model's endpoint cannot be reached")]
    Unreachable,
    /// It was there, and the exchange broke.
    #[error("the connection to the model's endpoint broke")]
    Broken,
    /// It took too long.
    #[error("the model did not answer in time")]
    TimedOut,
    /// It answered that it does not.
    #[error("the model's endpoint answered {}", status.as_u16())]
    Status { status: StatusCode, retry_after: Option<Duration> },
    /// It answered more than is read.
    #[error("the model's answer is too long")]
    TooLong,
    /// It answered something else than JSON.
    #[error("the model's endpoint did not answer with JSON")]
    NotJson,
}

impl tower::Service<HttpRequestFactory> for Wire {
    type Response = Response;
    type Error = OpenAIError;
    type Future = BoxFuture<'static, Result<Response, OpenAIError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move {
            let mut request = request.build().await?;
            if !wire.has_key {
                request.headers_mut().remove(AUTHORIZATION);
            }
            let exchange = tokio::time::timeout(wire.timeout, exchange(&wire.http, request, wire.most_bytes)).await;
            exchange.unwrap_or(Err(WireError::TimedOut)).map_err(|error| OpenAIError::Boxed(Box::new(error)))
        })
    }
}

async fn exchange(http: &reqwest::Client, request: reqwest::Request, most_bytes: usize) -> Result<Response, WireError> {
    let mut response = http.execute(request).await.map_err(|error| match error {
        error if error.is_timeout() => WireError::TimedOut,
        error if error.is_connect() => WireError::Unreachable,
        _ => WireError::Broken,
    })?;
    let status = response.status();
    if !status.is_success() {
        return Err(WireError::Status { status, retry_after: retry_after(response.headers()) });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| WireError::Broken)? {
        if body.len() + chunk.len() > most_bytes {
            return Err(WireError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice::<IgnoredAny>(&body).map_err(|_| WireError::NotJson)?;
    Ok(Response::from(http::Response::new(body)))
}

/// Reads a wait in seconds; dates are not used by these endpoints.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
