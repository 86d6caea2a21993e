//! Deliveries, native events and quarantine to and from the wire.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::ingestion::v1 as pb;
use colloquy_providers::verify::Headers;
use colloquy_service::Problem;
use colloquy_types::{QuarantineId, SourceId};

use crate::delivery::Delivered;
use crate::log::Appended;
use crate::native::SentEvent;
use crate::quarantine::Quarantined;
use crate::store::QuarantineFilter;

/// Reads what came before a body. A source id that is none names no source, which is what its sender is told.
pub(crate) fn webhook_head(head: pb::WebhookHead) -> Result<(SourceId, Headers), Problem> {
    let source_id = head.source_id.parse();
    let source_id = source_id.map_err(|_| Problem::not_found("SOURCE_NOT_FOUND", "there is no such source"))?;
    Ok((source_id, head.headers.into_iter().map(|header| (header.name, header.value)).collect()))
}

pub(crate) fn delivered_to_pb(delivered: Delivered) -> pb::ReceiveWebhookResponse {
    pb::ReceiveWebhookResponse {
        position: delivered.position,
        accepted: delivered.accepted,
        duplicates: delivered.duplicates,
        quarantine_id: delivered.quarantine_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(crate) fn sent_events(request: pb::IngestEventsRequest) -> Vec<SentEvent> {
    let read = |event: pb::NativeEvent| SentEvent {
        event_id: event.event_id,
        conversation_id: event.conversation_id,
        kind: event.r#type,
        occurred_at: Some(event.occurred_at).filter(|at| !at.is_empty()),
        data_json: event.data_json,
    };
    request.events.into_iter().map(read).collect()
}

pub(crate) fn ingested_to_pb(appended: &Appended) -> pb::IngestEventsResponse {
    pb::IngestEventsResponse { accepted: appended.accepted, duplicates: appended.duplicates, position: appended.position.0 }
}

pub(crate) fn quarantine_id(text: &str) -> Result<QuarantineId, Problem> {
    text.parse().map_err(|_| Problem::invalid_field("quarantine_id", "must be a UUID"))
}

pub(crate) fn quarantine_filter(request: &pb::ListQuarantineRequest) -> Result<QuarantineFilter, Problem> {
    let source_id = match request.source_id.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Problem::invalid_field("source_id", "must be a UUID"))?),
    };
    Ok(QuarantineFilter { source_id, include_resolved: request.include_resolved })
}

pub(crate) fn quarantined_to_pb(delivery: Quarantined) -> pb::QuarantinedDelivery {
    pb::QuarantinedDelivery {
        quarantine_id: delivery.quarantine_id.to_string(),
        source_id: delivery.source_id.to_string(),
        provider: delivery.provider.to_string(),
        received_at: Some(timestamp_to_pb(delivery.received_at)),
        reason: delivery.reason,
        size_bytes: delivery.size_bytes,
        attempts: delivery.attempts,
        resolved_at: delivery.resolved_at.map(timestamp_to_pb),
    }
}
