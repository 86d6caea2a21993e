//! Whether the edge runs, and whether it can serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use colloquy_service::transport::Transport;
use futures::future::join_all;
use http::{StatusCode, header};
use serde::Serialize;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::Edge;
use crate::answer::json;
use crate::problem::Refusal;

/// How long a service may take to say that it is well.
const TIMEOUT: Duration = Duration::from_secs(2);

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
    let asked = edge.clients.services.iter().map(async |(name, transport)| (*name, is_serving(transport.clone()).await));
    let answers: Vec<(&str, bool)> = join_all(asked).await;
    let missing: Vec<&str> = answers.iter().filter(|(_, serving)| !serving).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let detail = format!("not serving: {}", missing.join(", "));
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", detail).with(header::RETRY_AFTER, "1"));
    }
    json(&Ready { status: "ok", services: answers.into_iter().map(|(name, _)| (name, "serving")).collect() })
}

async fn is_serving(transport: Transport) -> bool {
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    request.set_timeout(TIMEOUT);
    let answer = tokio::time::timeout(TIMEOUT, async move { HealthClient::new(transport).check(request).await }).await;
    match answer {
        Ok(Ok(answer)) => answer.into_inner().status() == ServingStatus::Serving,
        // A service of this process may leave health to the listener they share: that it answers at all is enough.
        Ok(Err(status)) => status.code() == Code::Unimplemented,
        Err(_) => false,
    }
}
