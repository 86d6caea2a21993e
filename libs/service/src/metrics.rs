//! The metrics of every service. Names are documented here and nowhere else; labels have few values and no ids.
//!
//! | name | kind | labels | meaning |
//! | --- | --- | --- | --- |
//! | `colloquy_http_request_duration_seconds` | histogram | `route`, `method`, `status` | REST: time to the beginning of the answer |
//! | `colloquy_grpc_request_duration_seconds` | histogram | `method`, `code` | gRPC, serving: time to the beginning of the answer |
//! | `colloquy_client_retries_total` | counter | `service` | gRPC, calling: calls that were tried again |
//! | `colloquy_webhook_deliveries_total` | counter | `provider`, `outcome` | deliveries by what became of them |
//! | `colloquy_log_append_batch_records` | histogram | | records the log made durable together |
//! | `colloquy_log_append_duration_seconds` | histogram | | time from an append to its being durable |
//! | `colloquy_log_queue_appends` | gauge | | appends that wait to be written |
//! | `colloquy_log_end_position` | gauge | | sequence of the newest record |
//! | `colloquy_consumer_lag_records` | gauge | `consumer` | records a consumer has not acknowledged |
//! | `colloquy_consumer_lag_seconds` | gauge | `consumer` | age of the first of them, 0 without any |
//! | `colloquy_consumer_redelivered_total` | counter | `consumer` | batches handed out again |
//! | `colloquy_reader_applied_events_total` | counter | `reader` | events that became part of a view |
//! | `colloquy_reader_set_aside_records_total` | counter | `reader` | records that could not be applied |
//! | `colloquy_reader_unknown_events_total` | counter | `reader` | events of kinds this release does not know |
//! | `colloquy_fold_duration_seconds` | histogram | `reader` | folding: the conversations of a batch, or one transcript |
//! | `colloquy_quarantine_deliveries` | gauge | | deliveries in quarantine that wait for a retry |
//! | `colloquy_quarantine_bytes` | gauge | | their bodies, secrets removed |
//! | `colloquy_recording_fetch_queue` | gauge | | recordings that are still to be fetched |
//! | `colloquy_streams_open` | gauge | `subject`, `transport` | live streams of a `conversation` or an `organization` over `websocket` or `sse` |
//! | `colloquy_stream_frames_total` | counter | `transport` | frames sent on live streams |
//! | `colloquy_stream_lagged_total` | counter | `subject` | times a client was too slow and began anew with a snapshot |
//! | `colloquy_control_commands_total` | counter | `provider`, `command`, `outcome` | commands by what became of them: `applied`, or why not |
//! | `colloquy_notification_attempts_total` | counter | `kind`, `outcome` | attempts to tell an endpoint something |
//! | `colloquy_notification_attempt_duration_seconds` | histogram | `kind` | time from the beginning of an attempt to its answer |
//! | `colloquy_notification_pending` | gauge | | deliveries that are pending |
//! | `colloquy_notification_oldest_due_seconds` | gauge | | for how long the oldest delivery that is due has been, 0 without any |
//! | `colloquy_notification_endpoints_disabled_total` | counter | `reason` | endpoints the server disabled |
//! | `colloquy_analyses_total` | counter | `outcome` | conversations that were to be analysed, by what became of them |
//! | `colloquy_analysis_duration_seconds` | histogram | | time the analysers took for a conversation |
//! | `colloquy_analysis_queue` | gauge | | conversations that wait to be analysed |
//! | `colloquy_analysis_hours` | gauge | | hours that are over and changed since they were summed up; questions read their rows |
//! | `colloquy_analysis_oldest_due_seconds` | gauge | | for how long the oldest of them that is due has been, 0 without any |
//! | `colloquy_alerts_opened_total` | counter | `scope`, `severity` | alerts that rules on a `conversation` or a `metric` raised |
//! | `colloquy_alert_window_looks_total` | counter | `outcome` | looks at rules over a window: `kept`, or `late` when another replica's was |
//! | `colloquy_database_pool_connections` | gauge | `service`, `pool`, `state` | connections that are `idle`, in use (`used`), allowed (`max`) |
//!
//! Over OTLP a unit is not part of the name: `colloquy_fold_duration` in `s`; and a counter has no `_total`.
//!
//! `outcome` of a delivery: `accepted`, `duplicate`, `quarantined`, `refused_signature`, `refused_other`, `failed`. Consumers are
//! those of the services, by name, the first [`MAX_CONSUMER_NAMES`] of them; what organizations call theirs is no label, and they
//! ask `ListConsumers`. `kind` of an attempt: `webhook`, `slack`, `email`; its `outcome`: `taken`, `retried`, `exhausted`, `gone`.
//! `reason`: `gone`, `failing`. `outcome` of an analysis: `done`, `gone`, `later`, `failed`. Gauges of the log, its consumers, the
//! quarantine, the fetch queue and the backlogs of notifications and analyses are of the whole installation and a few seconds old:
//! replicas tell the same, so take the maximum, not the sum.
//!
//! Gauges are asked for, not told: whoever has the number registers a function, which must answer at once.

mod alerts;
mod analytics;
mod clients;
mod consumers;
mod control;
mod databases;
mod deliveries;
mod gauges;
mod log;
mod notifications;
mod polled;
mod readers;
mod requests;
mod streams;

use opentelemetry::global;
use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram, Meter};

pub use alerts::{alert_opened, alert_window_looked};
pub use analytics::{AnalysisBacklog, AnalysisOutcome, analysis, analysis_took, register_analysis_backlog};
pub use clients::client_retry;
pub use consumers::{ConsumerLag, MAX_CONSUMER_NAMES, consumer_redelivered, register_consumer_lag};
pub use control::control_command;
pub use databases::{PoolUse, register_pool};
pub use deliveries::{QuarantineSize, WebhookOutcome, register_quarantine, register_recording_fetch_queue, webhook_delivery};
pub use log::{log_append, log_batch, register_log_end, register_log_queue};
pub use notifications::{
    AttemptOutcome, NotificationBacklog, notification_attempt, notification_endpoint_disabled, register_notification_backlog,
};
pub use polled::Polled;
pub use readers::{fold_took, reader_applied, reader_set_aside, reader_unknown};
pub use requests::{GrpcMetrics, HttpMetrics, grpc, http};
pub use streams::{stream_closed, stream_frames, stream_lagged, stream_opened};

/// Returns the meter all of Colloquy's metrics come from.
pub fn meter() -> Meter {
    global::meter("colloquy")
}

/// A histogram of times; `_seconds` becomes part of its name.
fn durations(name: &'static str, description: &'static str) -> Histogram<f64> {
    let bounds = vec![0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
    meter().f64_histogram(name).with_unit("s").with_description(description).with_boundaries(bounds).build()
}

/// A counter; `_total` becomes part of its name.
fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    meter().u64_counter(name).with_description(description).build()
}

/// A gauge of whole numbers, which is asked for by `observe`.
fn gauge(name: &'static str, description: &'static str, observe: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static) {
    meter().u64_observable_gauge(name).with_description(description).with_callback(observe).build();
}
