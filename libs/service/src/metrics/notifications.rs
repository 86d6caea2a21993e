//! What goes out to endpoints, and what waits to.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use super::gauges::Sources;
use super::{counter, durations, gauge, meter};

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The endpoint took it.
    Taken,
    /// It failed, and follows again.
    Retried,
    /// It failed, and was the last of its schedule.
    Exhausted,
    /// The endpoint is gone for good.
    Gone,
}

impl AttemptOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Retried => "retried",
            Self::Exhausted => "exhausted",
            Self::Gone => "gone",
        }
    }
}

struct Attempts {
    total: Counter<u64>,
    durations: Histogram<f64>,
    disabled: Counter<u64>,
}

fn attempts() -> &'static Attempts {
    static ATTEMPTS: OnceLock<Attempts> = OnceLock::new();
    ATTEMPTS.get_or_init(|| Attempts {
        total: counter("colloquy_notification_attempts", "Attempts to tell an endpoint something."),
        durations: durations("colloquy_notification_attempt_duration", "Time from the beginning of an attempt to its answer."),
        disabled: counter("colloquy_notification_endpoints_disabled", "Endpoints the server disabled."),
    })
}

/// Notes an attempt at an endpoint of `kind` (`webhook`).
pub fn notification_attempt(kind: &'static str, outcome: AttemptOutcome, took: Duration) {
    let attempts = attempts();
    attempts.total.add(1, &[KeyValue::new("kind", kind), KeyValue::new("outcome", outcome.as_str())]);
    attempts.durations.record(took.as_secs_f64(), &[KeyValue::new("kind", kind)]);
}

/// Notes that the server disabled an endpoint because of `reason` (`gone`, `failing`).
pub fn notification_endpoint_disabled(reason: &'static str) {
    attempts().disabled.add(1, &[KeyValue::new("reason", reason)]);
}

/// What waits to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NotificationBacklog {
    /// How many deliveries are pending.
    pub pending: u64,
    /// For how long the oldest of those that are due has been; 0 without any.
    pub oldest_due_seconds: f64,
}

/// Registers how the backlog is found out; `None` while it is not known.
pub fn register_notification_backlog(backlog: impl Fn() -> Option<NotificationBacklog> + Send + Sync + 'static) {
    static SOURCES: Sources<Option<NotificationBacklog>> = Sources::new();
    SOURCES.add(backlog, || {
        gauge("colloquy_notification_pending", "Deliveries that are pending.", |gauge| {
            SOURCES.ask().into_iter().flatten().for_each(|backlog| gauge.observe(backlog.pending, &[]));
        });
        let meter = meter();
        let seconds = meter.f64_observable_gauge("colloquy_notification_oldest_due").with_unit("s");
        seconds
            .with_description("For how long the oldest delivery that is due has been.")
            .with_callback(|gauge| {
                SOURCES.ask().into_iter().flatten().for_each(|backlog| gauge.observe(backlog.oldest_due_seconds, &[]));
            })
            .build();
    });
}
