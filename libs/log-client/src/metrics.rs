//! What readers count.
//!
//! | name | kind | labels |
//! | --- | --- | --- |
//! | `colloquy_reader_events_applied_total` | counter | `reader` |
//! | `colloquy_reader_events_skipped_total` | counter | `reader` |
//! | `colloquy_reader_records_set_aside_total` | counter | `reader` |

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

struct Metrics {
    applied: Counter<u64>,
    skipped: Counter<u64>,
    set_aside: Counter<u64>,
}

fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| {
        let meter = colloquy_service::metrics::meter();
        let counter =
            |name: &'static str, description: &'static str| meter.u64_counter(name).with_description(description).build();
        Metrics {
            applied: counter("colloquy_reader_events_applied", "Events that became part of a view."),
            skipped: counter("colloquy_reader_events_skipped", "Events of a kind this release does not know."),
            set_aside: counter("colloquy_reader_records_set_aside", "Records that could not be applied."),
        }
    })
}

fn label(reader: &'static str) -> [KeyValue; 1] {
    [KeyValue::new("reader", reader)]
}

pub(crate) fn applied(reader: &'static str, events: usize) {
    metrics().applied.add(events as u64, &label(reader));
}

pub(crate) fn skipped(reader: &'static str, events: usize) {
    metrics().skipped.add(events as u64, &label(reader));
}

pub(crate) fn set_aside(reader: &'static str) {
    metrics().set_aside.add(1, &label(reader));
}
