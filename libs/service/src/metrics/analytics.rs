//! What becomes of conversations that are analysed, and what waits to be.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use super::gauges::Sources;
use super::{counter, durations, gauge, meter};

/// What became of a conversation that was to be analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnalysisOutcome {
    /// It is in the figures.
    Done,
    /// It does not exist any more.
    Gone,
    /// Another service is behind or away.
    Later,
    /// It could not be analysed.
    Failed,
}

impl AnalysisOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Gone => "gone",
            Self::Later => "later",
            Self::Failed => "failed",
        }
    }
}

/// Notes what became of a conversation that was to be analysed.
pub fn analysis(outcome: AnalysisOutcome) {
    static ANALYSES: OnceLock<Counter<u64>> = OnceLock::new();
    let analyses = ANALYSES.get_or_init(|| counter("colloquy_analyses", "Conversations that were to be analysed."));
    analyses.add(1, &[KeyValue::new("outcome", outcome.as_str())]);
}

/// Notes how long the analysers took for a conversation.
pub fn analysis_took(took: Duration) {
    static DURATIONS: OnceLock<Histogram<f64>> = OnceLock::new();
    let durations =
        DURATIONS.get_or_init(|| durations("colloquy_analysis_duration", "Time the analysers took for a conversation."));
    durations.record(took.as_secs_f64(), &[]);
}

/// What waits to be analysed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AnalysisBacklog {
    /// How many conversations.
    pub waiting: u64,
    /// For how long the oldest of those that are due has been; 0 without any.
    pub oldest_due_seconds: f64,
    /// How many hours that are over changed since they were summed up.
    pub hours: u64,
}

/// Registers how the backlog is found out; `None` while it is not known.
pub fn register_analysis_backlog(backlog: impl Fn() -> Option<AnalysisBacklog> + Send + Sync + 'static) {
    static SOURCES: Sources<Option<AnalysisBacklog>> = Sources::new();
    SOURCES.add(backlog, || {
        gauge("colloquy_analysis_queue", "Conversations that wait to be analysed.", |gauge| {
            SOURCES.ask().into_iter().flatten().for_each(|backlog| gauge.observe(backlog.waiting, &[]));
        });
        gauge(
            "colloquy_analysis_hours",
            "Hours that are over and changed since they were summed up; questions read their rows.",
            |gauge| {
                SOURCES.ask().into_iter().flatten().for_each(|backlog| gauge.observe(backlog.hours, &[]));
            },
        );
        let meter = meter();
        let seconds = meter.f64_observable_gauge("colloquy_analysis_oldest_due").with_unit("s");
        seconds
            .with_description("For how long the oldest conversation that is due has been.")
            .with_callback(|gauge| {
                SOURCES.ask().into_iter().flatten().for_each(|backlog| gauge.observe(backlog.oldest_due_seconds, &[]));
            })
            .build();
    });
}
