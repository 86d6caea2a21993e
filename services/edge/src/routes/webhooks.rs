//! Providers' deliveries: passed on as they arrive, and verified by ingestion.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use colloquy_proto::ingestion::v1 as pb;
use http::HeaderMap;

use crate::answer::{at_position, json};
use crate::clients::Calling;
use crate::path::UuidId;
use crate::problem::Refusal;
use crate::shape::ingestion::DeliveryReceipt;
use crate::{Edge, upload};

/// Receive a webhook
///
/// A provider's delivery. It is verified by its signature, so no API key is needed, and answered 200 only once it is durable. An
/// authenticated body that cannot be mapped is a 200 too, and goes to quarantine. 401: bad or stale signature, nothing was
/// stored. 404: unknown source. 413: too large. 503: it could not be made durable; send it again.
#[utoipa::path(post, path = "/webhooks/{source_id}", tag = "Ingestion", operation_id = "receive_webhook", security(()),
    params(("source_id" = String, Path, description = "UUID of the source.")),
    request_body(content = Vec<u8>, content_type = "*/*", description = "The delivery as the provider sends it."),
    responses((status = 200, description = "It is durable.", body = DeliveryReceipt,
        headers(("x-colloquy-position" = u64, description = "The position after which it can be read.")))))]
pub(super) async fn receive(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    UuidId(source_id): UuidId,
    request: Request,
) -> Result<Response, Refusal> {
    use pb::receive_webhook_request::Part;
    let (parts, body) = request.into_parts();
    let head = pb::WebhookHead { source_id, headers: texts(&parts.headers) };
    let limits = upload::Limits { max_bytes: u64::MAX, idle: edge.settings.idle_timeout, total: edge.settings.upload_timeout };
    let mut ingestion = edge.clients.ingestion.clone();
    let answer = upload::pass_on(
        &parts.headers,
        body,
        limits,
        pb::ReceiveWebhookRequest { part: Some(Part::Head(head)) },
        |chunk| pb::ReceiveWebhookRequest { part: Some(Part::Chunk(chunk)) },
        |pieces| Box::pin(async move { Ok(ingestion.receive_webhook(calling.call_without_key(pieces, limits.total)).await?) }),
    );
    let answer = answer.await?.into_inner();
    let position = answer.position;
    Ok(at_position(json(&DeliveryReceipt::from(answer))?, position))
}

/// The headers that are text, named in lower case, as `http` keeps them.
fn texts(headers: &HeaderMap) -> Vec<pb::Header> {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let pairs =
        headers.iter().filter_map(|(name, value)| Some(pb::Header { name: name.as_str().to_owned(), value: text(value)? }));
    pairs.collect()
}
