//! What every listener measures.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;

use super::durations;

/// Times of calls over gRPC.
pub struct GrpcMetrics(Histogram<f64>);

impl GrpcMetrics {
    /// Notes one call.
    pub fn record(&self, method: &'static str, code: &'static str, took: Duration) {
        self.0.record(took.as_secs_f64(), &[KeyValue::new("method", method), KeyValue::new("code", code)]);
    }
}

/// Returns the times of calls over gRPC.
pub fn grpc() -> &'static GrpcMetrics {
    static METRICS: OnceLock<GrpcMetrics> = OnceLock::new();
    METRICS.get_or_init(|| GrpcMetrics(durations("colloquy_grpc_request_duration", "Time to the beginning of the answer.")))
}

/// Times of calls over HTTP.
pub struct HttpMetrics(Histogram<f64>);

impl HttpMetrics {
    /// Notes one call; `route` is the pattern, never the path.
    pub fn record(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = [
            KeyValue::new("method", method),
            KeyValue::new("route", route.to_owned()),
            KeyValue::new("status", i64::from(status)),
        ];
        self.0.record(took.as_secs_f64(), &labels);
    }
}

/// Returns the times of calls over HTTP.
pub fn http() -> &'static HttpMetrics {
    static METRICS: OnceLock<HttpMetrics> = OnceLock::new();
    METRICS.get_or_init(|| HttpMetrics(durations("colloquy_http_request_duration", "Time to the beginning of the answer.")))
}
