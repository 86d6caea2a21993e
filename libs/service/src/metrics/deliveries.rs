//! What comes in, and what waits because of it.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use super::gauges::Sources;
use super::{counter, gauge};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// It is in the log, or says nothing the log keeps.
    Accepted,
    /// All of it was in the log already.
    Duplicate,
    /// It could not be mapped and is kept.
    Quarantined,
    /// Its signature is not genuine.
    RefusedSignature,
    /// It is too large, or nothing we take.
    RefusedOther,
    /// We could not take it; the provider sends it again.
    Failed,
}

impl WebhookOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::RefusedSignature => "refused_signature",
            Self::RefusedOther => "refused_other",
            Self::Failed => "failed",
        }
    }
}

/// Notes what became of a delivery of `provider`; of an unknown source, `unknown`.
pub fn webhook_delivery(provider: &'static str, outcome: WebhookOutcome) {
    static DELIVERIES: OnceLock<Counter<u64>> = OnceLock::new();
    let deliveries = DELIVERIES.get_or_init(|| counter("colloquy_webhook_deliveries", "Deliveries by what became of them."));
    deliveries.add(1, &[KeyValue::new("provider", provider), KeyValue::new("outcome", outcome.as_str())]);
}

/// What waits in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantineSize {
    /// How many deliveries.
    pub deliveries: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Registers how the size of the quarantine is found out; `None` while it is not known.
pub fn register_quarantine(size: impl Fn() -> Option<QuarantineSize> + Send + Sync + 'static) {
    static SOURCES: Sources<Option<QuarantineSize>> = Sources::new();
    SOURCES.add(size, || {
        gauge("colloquy_quarantine_deliveries", "Deliveries in quarantine that wait for a retry.", |gauge| {
            SOURCES.ask().into_iter().flatten().for_each(|size| gauge.observe(size.deliveries, &[]));
        });
        gauge("colloquy_quarantine_bytes", "Bytes of the deliveries in quarantine that wait for a retry.", |gauge| {
            SOURCES.ask().into_iter().flatten().for_each(|size| gauge.observe(size.bytes, &[]));
        });
    });
}

/// Registers how the number of recordings that are still to be fetched is found out; `None` while it is not known.
pub fn register_recording_fetch_queue(waiting: impl Fn() -> Option<u64> + Send + Sync + 'static) {
    static SOURCES: Sources<Option<u64>> = Sources::new();
    SOURCES.add(waiting, || {
        gauge("colloquy_recording_fetch_queue", "Recordings that are still to be fetched.", |gauge| {
            SOURCES.ask().into_iter().flatten().for_each(|waiting| gauge.observe(waiting, &[]));
        });
    });
}
