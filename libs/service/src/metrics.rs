//! The metrics every service has. Names are documented here; labels have few values and no ids.
//!
//! | name | kind | labels |
//! | --- | --- | --- |
//! | `colloquy_grpc_request_duration_seconds` | histogram | `method`, `code` |
//! | `colloquy_http_request_duration_seconds` | histogram | `route`, `method`, `status` |

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::{KeyValue, global};

/// Returns the meter all of Colloquy's metrics come from.
pub fn meter() -> Meter {
    global::meter("colloquy")
}

fn durations(name: &'static str, description: &'static str) -> Histogram<f64> {
    let bounds = vec![0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
    meter().f64_histogram(name).with_unit("s").with_description(description).with_boundaries(bounds).build()
}

/// Times of calls over gRPC.
pub struct GrpcMetrics(Histogram<f64>);

impl GrpcMetrics {
    /// Notes one call.
    pub fn record(&self, method: &str, code: &str, took: Duration) {
        let labels = [KeyValue::new("method", method.to_owned()), KeyValue::new("code", code.to_owned())];
        self.0.record(took.as_secs_f64(), &labels);
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
    pub fn record(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = [
            KeyValue::new("method", method.to_owned()),
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
