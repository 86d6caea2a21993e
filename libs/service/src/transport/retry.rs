//! Calling again what was not answered.
//!
//! A call that was answered `UNAVAILABLE` is made again when that can do no harm: the method is idempotent
//! ([`Method::idempotent`]), or nothing has begun to work on the call. At most [`MOST_ATTEMPTS`], within the call's own deadline,
//! after waits that double and are shortened by chance, on another connection where there is one; and only as long as few calls
//! need it, so that an outage is not made worse by everybody asking thrice. A service that asks for patience (`RetryInfo`) gets
//! it; when it asks for more than [`LONGEST_WAIT`] the answer goes to the caller, who is told how long to wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Request, Response};
use rand::RngExt;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt;
use tower::retry::budget::{Budget as _, TpsBudget};

use super::Transport;
use super::balance::Avoid;
use super::failure::{self, CameFrom, NotProcessed};
use super::replay::{Kept, Whole, keep};
use crate::methods::Method;
use crate::{Problem, metrics};

/// How often a call is made at most.
const MOST_ATTEMPTS: u32 = 3;
/// The bound of the first wait; each next one's is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// Longer waits than this are the caller's to make.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Of all calls, the part that may be made again, and how many a second in any case.
#[derive(Clone)]
pub(super) struct Budget(Arc<TpsBudget>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2)))
    }
}

/// One call, before it is made.
pub(super) struct Call {
    pub(super) request: Request<Body>,
    /// The method, when the contract knows it.
    pub(super) method: Option<&'static Method>,
    /// When the caller stops waiting.
    pub(super) expires: Instant,
}

/// Makes a call, again where that helps and does no harm.
pub(super) async fn run(transport: Transport, call: Call, budget: Budget) -> Response<Body> {
    let Call { request, method, expires } = call;
    let (parts, body) = request.into_parts();
    let Some(method) = method.filter(|method| method.one_request) else {
        return once(transport, Request::from_parts(parts, body)).await;
    };
    let body: Bytes = match keep(body).await {
        Ok(Kept::Whole(bytes)) => bytes,
        Ok(Kept::TooLong(body)) => return once(transport, Request::from_parts(parts, body)).await,
        Err(status) => return status.into_http(),
    };
    budget.0.deposit();
    let mut avoid = None;
    let mut attempt = 1;
    loop {
        let mut request = Request::from_parts(parts.clone(), Body::new(Whole::new(body.clone())));
        if let Some(address) = avoid {
            request.extensions_mut().insert(Avoid(address));
        }
        if attempt > 1 && request.headers().contains_key(GRPC_TIMEOUT) {
            request.headers_mut().insert(GRPC_TIMEOUT, remaining(expires));
        }
        let response = once(transport.clone(), request).await;
        if !failure::is_unavailable(&response) {
            return response;
        }
        let harmless = method.idempotent || response.extensions().get::<NotProcessed>().is_some();
        let wait = wait_after(attempt, asked_to_wait(&response));
        let Some(wait) = wait.filter(|wait| harmless && attempt < MOST_ATTEMPTS && Instant::now() + *wait < expires) else {
            return response;
        };
        if !budget.0.withdraw() {
            return response;
        }
        metrics::client_retry(method.service());
        avoid = response.extensions().get().map(|CameFrom(address)| *address);
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

async fn once(transport: Transport, request: Request<Body>) -> Response<Body> {
    let Ok(response) = transport.oneshot(request).await;
    response
}

fn asked_to_wait(response: &Response<Body>) -> Option<Duration> {
    if !response.headers().contains_key("grpc-status-details-bin") {
        return None;
    }
    Problem::from_status(&Status::from_header_map(response.headers())?).retry_after
}

/// Returns how long to wait after a failed attempt; `None` when that is too long.
fn wait_after(attempt: u32, asked: Option<Duration>) -> Option<Duration> {
    let bound = FIRST_WAIT.saturating_mul(1 << (attempt - 1).min(8));
    let wait = bound.mul_f64(rand::rng().random_range(0.0..=1.0));
    // Whoever is asked to wait comes a little later still, so that not everybody comes at once.
    let wait = asked.map_or(wait, |asked| asked.saturating_add(wait));
    (wait <= LONGEST_WAIT).then_some(wait)
}

/// Returns what is left of a call's time, as gRPC writes it.
fn remaining(expires: Instant) -> HeaderValue {
    timeout(expires.saturating_duration_since(Instant::now()))
}

/// Returns a time as gRPC writes it: at most eight digits.
pub(super) fn timeout(limit: Duration) -> HeaderValue {
    let text = match limit.as_millis() {
        milliseconds @ 0..=99_999_999 => format!("{milliseconds}m"),
        milliseconds => format!("{}S", (milliseconds / 1_000).min(99_999_999)),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_heed_what_was_asked() {
        for _ in 0..100 {
            assert!(wait_after(1, None).unwrap() <= Duration::from_millis(50));
            assert!(wait_after(2, None).unwrap() <= Duration::from_millis(100));
            assert!(wait_after(1, Some(Duration::from_millis(200))).unwrap() >= Duration::from_millis(200));
        }
        assert_eq!(wait_after(1, Some(Duration::from_secs(1))), None);
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits() {
        assert_eq!(timeout(Duration::from_millis(1_500)), "1500m");
        assert_eq!(timeout(Duration::from_secs(1_000_000)), "1000000S");
        assert_eq!(timeout(Duration::MAX), "99999999S");
    }
}
