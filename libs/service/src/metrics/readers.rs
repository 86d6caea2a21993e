//! What the readers of the log count.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use super::{counter, durations};

struct Readers {
    applied: Counter<u64>,
    set_aside: Counter<u64>,
    unknown: Counter<u64>,
    folds: Histogram<f64>,
}

fn readers() -> &'static Readers {
    static READERS: OnceLock<Readers> = OnceLock::new();
    READERS.get_or_init(|| Readers {
        applied: counter("colloquy_reader_applied_events", "Events that became part of a view."),
        set_aside: counter("colloquy_reader_set_aside_records", "Records that could not be applied."),
        unknown: counter("colloquy_reader_unknown_events", "Events of kinds this release does not know."),
        folds: durations("colloquy_fold_duration", "Time to fold the conversations of a batch, or one transcript."),
    })
}

fn label(reader: &'static str) -> [KeyValue; 1] {
    [KeyValue::new("reader", reader)]
}

/// Notes that events became part of the view of `reader`.
pub fn reader_applied(reader: &'static str, events: usize) {
    readers().applied.add(events as u64, &label(reader));
}

/// Notes that a record could not be applied.
pub fn reader_set_aside(reader: &'static str) {
    readers().set_aside.add(1, &label(reader));
}

/// Notes events of kinds this release does not know.
pub fn reader_unknown(reader: &'static str, events: usize) {
    readers().unknown.add(events as u64, &label(reader));
}

/// Notes how long folding took.
pub fn fold_took(reader: &'static str, took: Duration) {
    readers().folds.record(took.as_secs_f64(), &label(reader));
}
