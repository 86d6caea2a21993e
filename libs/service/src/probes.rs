//! What operators ask a process: `/metrics`, `/readyz` and `/livez`.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus::Registry;
use serde::Serialize;

use crate::liveness::Liveness;
use crate::readiness::Readiness;
use crate::telemetry;

#[derive(Serialize)]
struct Live {
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Returns the routes.
pub fn routes(registry: Registry, readiness: Readiness, liveness: Liveness) -> Router {
    let ready = move || async move {
        let report = readiness.report();
        answer(report.ready, &report)
    };
    let live = move || async move {
        let detail = liveness.dead();
        answer(detail.is_none(), &Live { live: detail.is_none(), detail })
    };
    let metrics = move || async move {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::render(&registry))
    };
    Router::new().route("/metrics", get(metrics)).route("/readyz", get(ready)).route("/livez", get(live))
}

fn answer(good: bool, body: &impl Serialize) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}
