//! The layers around every route, outermost first:
//!
//! 1. request id: everything below can name the request; writes the documents of errors;
//! 2. trace: a span per request, continuing the caller's trace;
//! 3. measure: counts and times every request by the pattern of its route;
//! 4. catch panic: a panic becomes a 500, inside the span;
//! 5. shed: refuses early instead of queueing without bound;
//! 6. compress: JSON and text, never recordings.
//!
//! The time limit stands around groups of routes instead: some have bodies that take long. So does the look at the key: some are
//! answered without one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use colloquy_service::{metrics, telemetry};
use futures::FutureExt;
use http::{Extensions, HeaderMap, Method, StatusCode, Version};
use tokio::sync::Semaphore;
use tonic::Code;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tracing::Instrument;
use tracing::field::Empty;

use crate::Edge;
use crate::clients::Calling;
use crate::problem::Refusal;
use crate::request_id::{self, RequestId};
use crate::upload;

/// How many requests are answered at once; more are refused with a retry hint.
const MAX_CONCURRENT_REQUESTS: usize = 4_096;
/// Bodies up to this many bytes are not worth compressing.
const SMALL_BODY_BYTES: u64 = 1_024;
/// What is compressed.
const COMPRESSED: [&str; 6] =
    ["application/json", "application/x-subrip", "text/html", "text/plain", "text/plain; charset=utf-8", "text/vtt"];

/// Puts the layers around `router`.
pub(crate) fn around(router: Router) -> Router {
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_REQUESTS));
    let compress = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(SMALL_BODY_BYTES).and(is_text as fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool));
    router
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(compress)
        .layer(from_fn_with_state(permits, shed))
        .layer(from_fn(catch_panic))
        .layer(from_fn(measure))
        .layer(from_fn(trace))
        .layer(from_fn(request_id::layer))
}

/// Refuses whoever has no key of ours, before anything of the request is read: strangers learn nothing of what it should look like. What
/// the key may do, the services say, and when access cannot be asked they say that too.
pub(crate) async fn known_key(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(calling) = Calling::from_request_parts(&mut parts, &()).await;
    match edge.live.authenticator.key_of(&calling.headers()).await {
        Err(status) if status.code() == Code::Unauthenticated => {
            upload::discard_unless_held_back(&parts.headers, body).await;
            Refusal::from(status).into_response()
        }
        Ok(_) | Err(_) => next.run(Request::from_parts(parts, body)).await,
    }
}

/// Puts a time limit around routes whose bodies are small.
pub(crate) async fn time_limit(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the answer was not ready in time";
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", detail).into_response()
        }
    }
}

fn is_text(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|content_type| COMPRESSED.contains(&content_type))
}

/// The pattern of the route: never the path itself, which names people's conversations.
fn route(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or("unmatched", MatchedPath::as_str).to_owned()
}

/// A caller can send any word as a method, but must not be able to grow the metrics.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

async fn trace(request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().map_or("", RequestId::for_traces);
    let (method, route) = (method(request.method()), route(&request));
    let span = tracing::info_span!(
        "http",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        request.id = request_id,
    );
    if telemetry::tracing_on() {
        span.record("otel.name", format!("{method} {route}"));
    }
    telemetry::continue_trace(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

async fn measure(request: Request, next: Next) -> Response {
    let (method, route) = (method(request.method()), route(&request));
    let started = Instant::now();
    let response = next.run(request).await;
    metrics::http().record(method, &route, response.status().as_u16(), started.elapsed());
    response
}

async fn catch_panic(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a handler panicked");
            Refusal::internal().into_response()
        }
    }
}

async fn shed(State(permits): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match permits.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "too many requests at once");
            refusal.with(http::header::RETRY_AFTER, "1").into_response()
        }
    }
}
