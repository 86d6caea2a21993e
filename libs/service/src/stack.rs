//! The layers around every service, outermost first:
//!
//! 1. trace: a span per call, continuing the caller's trace; sees rejections from the layers beneath;
//! 2. measure: counts and times every call;
//! 3. catch panic: a panic becomes `INTERNAL`, inside the span;
//! 4. deadline: the socket-less path has none of its own;
//! 5. shed: refuses early instead of queueing without bound;
//! 6. auth: last, so that the layers above cover it too.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use futures::FutureExt;
use http::HeaderMap;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::auth::Authenticator;
use crate::{Problem, Service, observe};

/// How long a handler may take to begin its answer when the caller does not say.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);
/// How many calls one service answers at once; more are refused with a retry hint.
const MAX_CONCURRENT_CALLS: usize = 4_096;

/// Returns the service as a router with all layers around it.
pub fn wrap(service: &Service, authenticator: Authenticator) -> Router {
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS));
    service
        .routes
        .clone()
        .into_axum_router()
        .layer(from_fn_with_state(authenticator, crate::auth::authenticate))
        .layer(from_fn_with_state(permits, shed))
        .layer(from_fn(deadline))
        .layer(from_fn(catch_panic))
        .layer(from_fn(observe::measure))
        .layer(from_fn(observe::trace))
}

fn answer(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(axum::body::Body::new)
}

async fn catch_panic(request: Request, next: Next) -> Response {
    match std::panic::AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a handler panicked");
            answer(Status::internal("something went wrong on our side; the request id names it in our logs"))
        }
    }
}

async fn deadline(request: Request, next: Next) -> Response {
    let limit = grpc_timeout(request.headers()).unwrap_or(DEFAULT_DEADLINE);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => answer(Problem::deadline_exceeded("the deadline passed before the answer was ready").into()),
    }
}

async fn shed(State(permits): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match permits.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => answer(Problem::unavailable("OVERLOADED", "too many calls at once", Duration::from_secs(1)).into()),
    }
}

/// Reads the `grpc-timeout` header: up to eight digits and a unit.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_has_digits_and_a_unit() {
        let read =
            |text: &'static str| grpc_timeout(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        for bad in ["", "S", "5", "123456789S", "-1S", "1X"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
