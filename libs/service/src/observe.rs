//! The two layers that look on: a span a call, and its time by method and status.

use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use tracing::field::Empty;

use crate::client_span::{note_status, status_code};
use crate::{methods, metrics, telemetry};

/// Makes a span around a call, continuing the caller's trace.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let method = methods::known(request.uri().path());
    let span = tracing::info_span!(
        "grpc",
        otel.name = method,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        otel.status_code = Empty,
    );
    telemetry::continue_trace(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    if telemetry::tracing_on() {
        note_status(&span, status_code(response.headers()).unwrap_or(0));
    }
    response
}

/// Counts and times a call. Only methods and codes that exist become labels: a caller must not be able to grow the metrics.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let method = methods::known(request.uri().path());
    let started = Instant::now();
    let response = next.run(request).await;
    metrics::grpc().record(method, code(status_code(response.headers()).unwrap_or(0)), started.elapsed());
    response
}

/// Returns a status code as a label.
fn code(code: u8) -> &'static str {
    const CODES: [&str; 17] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
    CODES.get(usize::from(code)).copied().unwrap_or("2")
}
