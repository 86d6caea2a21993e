//! The span of a call to another service, so that a trace shows the way as well as the places.

use axum::http::HeaderMap;
use http::{Request, Response};
use tonic::body::Body;
use tracing::Span;
use tracing::field::Empty;

use crate::telemetry;

/// Begins the span of a call and writes its trace context into the call's headers. Without an exporter there is none.
pub(crate) fn begin(request: &mut Request<Body>) -> Span {
    if !telemetry::tracing_on() {
        return Span::none();
    }
    // The path of a generated client: it names a method and nothing else.
    let method = request.uri().path().trim_start_matches('/');
    let span = tracing::info_span!(
        target: telemetry::TRACE_TARGET,
        "call",
        otel.name = method,
        otel.kind = "client",
        rpc.system = "grpc",
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        otel.status_code = Empty,
    );
    telemetry::inject_span(&span, request.headers_mut());
    span
}

/// Notes how the call began to be answered.
pub(crate) fn answered<E>(span: &Span, answer: &Result<Response<Body>, E>) {
    if span.is_none() {
        return;
    }
    // Without a status in its head, an answer has a body whose trailers say the rest.
    let code = answer.as_ref().map_or(Some(14), |answer| status_code(answer.headers()));
    note_status(span, code.unwrap_or(0));
}

/// Returns the `grpc-status` of a head that has one.
pub(crate) fn status_code(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Writes a status into a span; only what is a fault of the service makes it an error.
pub(crate) fn note_status(span: &Span, code: u8) {
    span.record("rpc.grpc.status_code", code);
    // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    if matches!(code, 2 | 4 | 12..=15) {
        span.record("otel.status_code", "ERROR");
    }
}
