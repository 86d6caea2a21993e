//! Deliveries that could not be mapped.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_proto::ingestion::v1 as pb;

use crate::Edge;
use crate::answer::{at_position, json};
use crate::clients::Calling;
use crate::path::UuidId;
use crate::problem::Refusal;
use crate::query::{NoQuery, Query};
use crate::shape::ingestion::{QuarantinePage, QuarantinedDelivery};

/// List the quarantine
///
/// Authenticated deliveries that could not be mapped, with the reason, newest first. Needs the scope `admin`.
#[utoipa::path(get, path = "/quarantine", tag = "Ingestion", operation_id = "list_quarantine",
    params(
        ("source_id" = Option<String>, Query, description = "Only of this source."),
        ("include_resolved" = Option<bool>, Query, description = "Also those a retry has mapped; default false."),
        ("page_size" = Option<i32>, Query, minimum = 1, maximum = 100, description = "How many at most; default 30."),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the previous page, all else unchanged."),
    ),
    responses((status = 200, description = "A page of the quarantine.", body = QuarantinePage)))]
pub(super) async fn list(State(edge): State<Arc<Edge>>, calling: Calling, mut query: Query) -> Result<Response, Refusal> {
    let request = pb::ListQuarantineRequest {
        source_id: query.text("source_id").unwrap_or_default(),
        include_resolved: query.flag("include_resolved"),
        page_size: query.page_size(),
        page_token: query.cursor().unwrap_or_default(),
    };
    query.finish()?;
    let answer = edge.clients.ingestion.clone().list_quarantine(calling.call(request)).await?.into_inner();
    json(&QuarantinePage {
        deliveries: answer.deliveries.into_iter().map(QuarantinedDelivery::from).collect(),
        has_more: !answer.next_page_token.is_empty(),
        cursor: Some(answer.next_page_token).filter(|cursor| !cursor.is_empty()),
    })
}

/// Retry a quarantined delivery
///
/// Maps it again, after a fix. Needs the scope `admin`.
#[utoipa::path(post, path = "/quarantine/{id}/retry", tag = "Ingestion", operation_id = "retry_quarantine",
    params(("id" = String, Path, description = "UUID of the quarantined delivery.")),
    responses((status = 200, description = "Its state now.", body = QuarantinedDelivery,
        headers(("x-colloquy-position" = u64, description = "The position after which it can be read; 0 while quarantined.")))))]
pub(super) async fn retry(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(quarantine_id): UuidId,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let request = pb::RetryQuarantineRequest { quarantine_id };
    let answer = edge.clients.ingestion.clone().retry_quarantine(calling.call(request)).await?.into_inner();
    let delivery = QuarantinedDelivery::from(answer.delivery.ok_or_else(Refusal::internal)?);
    Ok(at_position(json(&delivery)?, answer.position))
}
