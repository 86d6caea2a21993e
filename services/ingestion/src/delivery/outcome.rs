//! Counting deliveries by what became of them.

use colloquy_service::metrics::{WebhookOutcome, webhook_delivery};
use colloquy_types::Provider;

use super::Delivered;
use crate::error::Error;

/// Counts a delivery that was taken.
pub(super) fn taken(provider: Provider, delivered: &Delivered) {
    let outcome = match delivered {
        Delivered { quarantine_id: Some(_), .. } => WebhookOutcome::Quarantined,
        Delivered { accepted: 0, duplicates: 1.., .. } => WebhookOutcome::Duplicate,
        Delivered { .. } => WebhookOutcome::Accepted,
    };
    webhook_delivery(provider.as_str(), outcome);
}

/// Counts a delivery that was not taken; of an unknown source nobody knows the provider.
pub(super) fn refused(provider: Option<Provider>, error: &Error) {
    webhook_delivery(provider.map_or("unknown", Provider::as_str), outcome(error));
}

fn outcome(error: &Error) -> WebhookOutcome {
    match error {
        Error::Rejected(_) => WebhookOutcome::RefusedSignature,
        Error::SourceNotFound(_) | Error::BodyTooLarge { .. } | Error::Invalid(_) => WebhookOutcome::RefusedOther,
        _ => WebhookOutcome::Failed,
    }
}
