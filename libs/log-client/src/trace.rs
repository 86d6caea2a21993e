//! What traces show of a batch: one span for the batch, linked to the traces of its records, and in the trace of each record a
//! span that says when it became part of the view. A batch has thousands of records, so both are bounded.

use std::time::{Duration, SystemTime};

use colloquy_events::Record;
use colloquy_service::telemetry;
use colloquy_types::{Clock, SystemClock};
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// How many records of a batch get a span.
const MAX_TRACED_RECORDS: usize = 64;

/// A batch that is being applied.
pub(crate) struct Batch {
    reader: &'static str,
    span: Span,
    began: SystemTime,
    /// The sampled traces of its records, and their sequences.
    traced: Vec<(SpanContext, u64)>,
}

/// Begins the span of a batch. Without an exporter there is none, and nothing is spent on it.
pub(crate) fn begin(reader: &'static str, records: &[Record]) -> Option<Batch> {
    if !telemetry::tracing_on() || records.is_empty() {
        return None;
    }
    let span = tracing::info_span!(
        target: telemetry::TRACE_TARGET,
        parent: None,
        "apply",
        otel.name = format!("colloquy.{reader}.apply_batch"),
        reader,
        log.records = records.len(),
        log.events = records.iter().map(|record| record.events.len()).sum::<usize>(),
    );
    let contexts = records.iter().filter_map(|record| {
        let context = telemetry::parse_traceparent(&record.traceparent).filter(SpanContext::is_sampled)?;
        Some((context, record.sequence))
    });
    let traced: Vec<_> = contexts.take(MAX_TRACED_RECORDS).collect();
    for (context, _) in &traced {
        span.add_link(context.clone());
    }
    Some(Batch { reader, span, began: now(), traced })
}

/// Spans are told apart by the real time, whatever time the service is given.
fn now() -> SystemTime {
    let millis = u64::try_from(SystemClock.now().as_millis()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// Returns the batch's span.
pub(crate) fn span(batch: Option<&Batch>) -> Span {
    batch.map_or_else(Span::none, |batch| batch.span.clone())
}

/// Writes into the trace of each record that it was applied; it took as long as its batch.
pub(crate) fn applied(batch: Option<Batch>) {
    let Some(Batch { reader, span, began, traced }) = batch else { return };
    let ended = now();
    let tracer = global::tracer("colloquy");
    let batch = span.context().span().span_context().clone();
    for (context, sequence) in traced {
        let builder = tracer.span_builder(format!("colloquy.{reader}.apply"));
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        let mut of_record = builder
            .with_kind(SpanKind::Consumer)
            .with_start_time(began)
            .with_attributes([KeyValue::new("reader", reader), KeyValue::new("log.sequence", sequence)])
            .start_with_context(&tracer, &Context::new().with_remote_span_context(context));
        of_record.add_link(batch.clone(), Vec::new());
        of_record.end_with_timestamp(ended);
    }
}
