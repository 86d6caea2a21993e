//! W3C trace context: out of headers, into headers, and as the text that records carry.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// Whether traces are exported.
static ON: AtomicBool = AtomicBool::new(false);

pub(super) fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Returns whether traces are exported. When they are not, spans that only a trace needs are not made.
pub fn tracing_on() -> bool {
    ON.load(Ordering::Relaxed)
}

struct Reading<'a>(&'a HeaderMap);

impl Extractor for Reading<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Writing<'a>(&'a mut HeaderMap);

impl Injector for Writing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// A record's `traceparent` alone.
struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// Makes `span` a child of the trace `headers` carry, when they carry one.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    if tracing_on() && headers.contains_key(TRACEPARENT) {
        let parent = TraceContextPropagator::new().extract(&Reading(headers));
        // Fails when the span is filtered out: there is then no trace to continue.
        let _ = span.set_parent(parent);
    }
}

/// Writes the current span's trace context into `headers`.
pub fn inject_context(headers: &mut HeaderMap) {
    inject_span(&Span::current(), headers);
}

/// Writes the trace context of `span` into `headers`.
pub fn inject_span(span: &Span, headers: &mut HeaderMap) {
    if tracing_on() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut Writing(headers));
    }
}

/// Returns the current span's `traceparent`; empty when there is none.
pub fn traceparent() -> String {
    if !tracing_on() {
        return String::new();
    }
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return String::new();
    }
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8() & 1)
}

/// Reads a record's `traceparent`; `None` when it is none.
pub fn parse_traceparent(text: &str) -> Option<SpanContext> {
    if text.is_empty() {
        return None;
    }
    let context = TraceContextPropagator::new().extract(&Traceparent(text));
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_anything_else_is_none() {
        let read = parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(read.is_sampled());
        assert!(!parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().is_sampled());
        for bad in ["", "00", "words of somebody", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert!(parse_traceparent(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn without_an_exporter_nothing_is_carried() {
        let mut headers = HeaderMap::new();
        inject_context(&mut headers);
        assert!(headers.is_empty());
        assert_eq!(traceparent(), "");
    }
}
