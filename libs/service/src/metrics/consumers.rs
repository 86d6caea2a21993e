//! How far the log's consumers are behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use super::gauges::Sources;
use super::{counter, gauge, meter};

/// How many consumers have a label of their own.
pub const MAX_CONSUMER_NAMES: usize = 50;
/// The label of all others.
const OTHER: &str = "other";

/// How far one consumer is behind.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerLag {
    /// Its name.
    pub consumer: String,
    /// How many records it has not acknowledged.
    pub records: u64,
    /// How long ago the first of them was received; 0 without any.
    pub seconds: f64,
}

static SOURCES: Sources<Vec<ConsumerLag>> = Sources::new();
static NAMES: Names = Names::new();

/// Registers how the lag of every consumer of a log is found out. It is asked whenever metrics are read, and must answer from
/// memory.
pub fn register_consumer_lag(lag: impl Fn() -> Vec<ConsumerLag> + Send + Sync + 'static) {
    SOURCES.add(lag, || {
        gauge("colloquy_consumer_lag_records", "Records a consumer has not acknowledged.", |gauge| {
            for (consumer, lag) in by_label() {
                gauge.observe(lag.records, &[KeyValue::new("consumer", consumer)]);
            }
        });
        let meter = meter();
        let seconds = meter.f64_observable_gauge("colloquy_consumer_lag").with_unit("s");
        seconds
            .with_description("Age of the first record a consumer has not acknowledged.")
            .with_callback(|gauge| {
                for (consumer, lag) in by_label() {
                    gauge.observe(lag.seconds, &[KeyValue::new("consumer", consumer)]);
                }
            })
            .build();
    });
}

/// Notes that a consumer was handed a batch again.
pub fn consumer_redelivered(consumer: &str) {
    static REDELIVERED: OnceLock<Counter<u64>> = OnceLock::new();
    let redelivered = REDELIVERED.get_or_init(|| counter("colloquy_consumer_redelivered", "Batches handed out again."));
    redelivered.add(1, &[KeyValue::new("consumer", NAMES.label(consumer))]);
}

/// The greatest lag a label: consumers of several organizations may share a name.
fn by_label() -> BTreeMap<String, ConsumerLag> {
    let mut greatest: BTreeMap<String, ConsumerLag> = BTreeMap::new();
    for lag in SOURCES.ask().into_iter().flatten() {
        let label = NAMES.label(&lag.consumer);
        match greatest.get_mut(&label) {
            Some(known) => {
                known.records = known.records.max(lag.records);
                known.seconds = known.seconds.max(lag.seconds);
            }
            None => {
                greatest.insert(label, lag);
            }
        }
    }
    greatest
}

/// The names that became labels. They stay labels: a series that comes and goes is worse than one that is missing.
struct Names(Mutex<BTreeSet<String>>);

impl Names {
    const fn new() -> Self {
        Self(Mutex::new(BTreeSet::new()))
    }

    fn label(&self, name: &str) -> String {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(name) {
            if names.len() >= MAX_CONSUMER_NAMES {
                return OTHER.to_owned();
            }
            names.insert(name.to_owned());
        }
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_names_become_labels() {
        let names = Names::new();
        for number in 0..MAX_CONSUMER_NAMES {
            let name = format!("consumer-{number}");
            assert_eq!(names.label(&name), name);
        }
        assert_eq!(names.label("one-more"), "other");
        assert_eq!(names.label("consumer-7"), "consumer-7");
    }
}
