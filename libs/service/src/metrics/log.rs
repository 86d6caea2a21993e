//! What the event log measures, whatever engine keeps it.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::metrics::Histogram;

use super::gauges::Sources;
use super::{durations, gauge, meter};

/// Notes that the log made `records` durable together.
pub fn log_batch(records: usize) {
    static BATCHES: OnceLock<Histogram<u64>> = OnceLock::new();
    let batches = BATCHES.get_or_init(|| {
        let bounds = vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];
        let meter = meter();
        let histogram = meter.u64_histogram("colloquy_log_append_batch_records").with_boundaries(bounds);
        histogram.with_description("Records the log made durable together.").build()
    });
    batches.record(records as u64, &[]);
}

/// Notes how long an append took to be durable.
pub fn log_append(took: Duration) {
    static APPENDS: OnceLock<Histogram<f64>> = OnceLock::new();
    let appends = APPENDS.get_or_init(|| durations("colloquy_log_append_duration", "Time from an append to its being durable."));
    appends.record(took.as_secs_f64(), &[]);
}

/// Registers how the number of waiting appends is found out, which must not need the log itself; `None` once it is closed.
pub fn register_log_queue(waiting: impl Fn() -> Option<u64> + Send + Sync + 'static) {
    static SOURCES: Sources<Option<u64>> = Sources::new();
    SOURCES.add(waiting, || {
        gauge("colloquy_log_queue_appends", "Appends that wait to be written.", |gauge| {
            SOURCES.ask().into_iter().flatten().for_each(|waiting| gauge.observe(waiting, &[]));
        });
    });
}

/// Registers how the sequence of the newest record is found out; `None` while it is not known.
pub fn register_log_end(sequence: impl Fn() -> Option<u64> + Send + Sync + 'static) {
    static SOURCES: Sources<Option<u64>> = Sources::new();
    SOURCES.add(sequence, || {
        gauge("colloquy_log_end_position", "Sequence of the newest record.", |gauge| {
            SOURCES.ask().into_iter().flatten().for_each(|sequence| gauge.observe(sequence, &[]));
        });
    });
}
