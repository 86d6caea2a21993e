//! What became of what was sent.

use colloquy_proto::ingestion::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;

/// What became of a webhook delivery.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryReceipt {
    /// How many events were new.
    accepted: u32,
    /// How many events were already there.
    duplicates: u32,
    /// The position after which it can be read; 0 when it carried nothing or was quarantined.
    position: u64,
    /// UUID in quarantine, when it could not be mapped.
    quarantine_id: Option<String>,
}

/// What became of native events.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventsReceipt {
    /// How many were new.
    accepted: u32,
    /// How many were already there.
    duplicates: u32,
    /// The position after which they can be read.
    position: u64,
}

/// A delivery that could not be mapped.
#[derive(Serialize, ToSchema)]
pub(crate) struct QuarantinedDelivery {
    /// UUID.
    quarantine_id: String,
    /// UUID of its source.
    source_id: String,
    /// The source's provider.
    provider: String,
    /// When it came.
    received_at: Time,
    /// Why it could not be mapped.
    reason: String,
    /// Its size, secrets removed.
    size_bytes: u64,
    /// How often it was tried.
    attempts: u32,
    /// When a retry mapped it; `null` while it waits.
    resolved_at: Time,
}

/// A page of the quarantine.
#[derive(Serialize, ToSchema)]
pub(crate) struct QuarantinePage {
    /// Newest first.
    pub(crate) deliveries: Vec<QuarantinedDelivery>,
    /// Whether there are more.
    pub(crate) has_more: bool,
    /// Where the next page begins; `null` on the last.
    pub(crate) cursor: Option<String>,
}

impl From<pb::ReceiveWebhookResponse> for DeliveryReceipt {
    fn from(given: pb::ReceiveWebhookResponse) -> Self {
        Self {
            accepted: given.accepted,
            duplicates: given.duplicates,
            position: given.position,
            quarantine_id: Some(given.quarantine_id).filter(|id| !id.is_empty()),
        }
    }
}

impl From<pb::IngestEventsResponse> for EventsReceipt {
    fn from(given: pb::IngestEventsResponse) -> Self {
        Self { accepted: given.accepted, duplicates: given.duplicates, position: given.position }
    }
}

impl From<pb::QuarantinedDelivery> for QuarantinedDelivery {
    fn from(given: pb::QuarantinedDelivery) -> Self {
        Self {
            quarantine_id: given.quarantine_id,
            source_id: given.source_id,
            provider: given.provider,
            received_at: given.received_at.into(),
            reason: given.reason,
            size_bytes: given.size_bytes,
            attempts: given.attempts,
            resolved_at: given.resolved_at.into(),
        }
    }
}
