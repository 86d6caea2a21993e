//! Whether the edge runs, and whether it can serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_service::readiness::serving;
use futures::future::join_all;
use http::{StatusCode, header};
use serde::Serialize;

use crate::Edge;
use crate::answer::json;
use crate::problem::Refusal;

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    services: BTreeMap<&'static str, &'static str>,
}

/// Says that the process runs.
pub(super) async fn live() -> Result<Response, Refusal> {
    json(&Live { status: "ok" })
}

/// Says whether every service behind the edge is serving, and which is not.
pub(super) async fn ready(State(edge): State<Arc<Edge>>) -> Result<Response, Refusal> {
    let services = edge.clients.services.iter();
    let asked = services.map(async |behind| (behind.name, serving(behind.transport.clone(), behind.grpc_name).await.is_ok()));
    let answers: Vec<(&str, bool)> = join_all(asked).await;
    let missing: Vec<&str> = answers.iter().filter(|(_, serving)| !serving).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let detail = format!("not serving: {}", missing.join(", "));
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", detail).with(header::RETRY_AFTER, "1"));
    }
    json(&Ready { status: "ok", services: answers.into_iter().map(|(name, _)| (name, "serving")).collect() })
}
