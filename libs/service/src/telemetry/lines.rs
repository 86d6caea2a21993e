//! Log lines with the ids of the trace they belong to.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, Full, Json as JsonFormat, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::tracing_on;

/// Returns the span the line is written in, when there is a trace.
fn current() -> Option<SpanContext> {
    if !tracing_on() {
        return None;
    }
    Some(Context::map_current(|context| context.span().span_context().clone())).filter(SpanContext::is_valid)
}

/// What only exporters need of a span; the rest says the same in fewer words.
const FOR_EXPORTERS: &str = "otel.";

/// Fields for people.
pub(super) struct ShortFields;

impl<'writer> FormatFields<'writer> for ShortFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = ShortVisitor { writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct ShortVisitor<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Visit for ShortVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_err() || field.name().starts_with(FOR_EXPORTERS) {
            return;
        }
        let space = if std::mem::take(&mut self.is_first) { "" } else { " " };
        self.result = match field.name() {
            "message" => write!(self.writer, "{space}{value:?}"),
            name => write!(self.writer, "{space}{name}={value:?}"),
        };
    }
}

/// Lines for people; the trace stands at the end.
pub(super) struct Text(Format<Full>);

impl Text {
    pub(super) fn new(format: Format<Full>) -> Self {
        Self(format)
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(span) = current() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        let inner = Writer::new(&mut line);
        self.0.format_event(context, inner, event)?;
        writeln!(writer, "{} trace_id={}", line.trim_end_matches('\n'), span.trace_id())
    }
}

/// Lines for machines: who writes, and the ids of the trace, stand beside the fields of the event.
pub(super) struct Json {
    format: Format<JsonFormat>,
    /// `"service":"…"`, which is the same on every line.
    service: String,
}

impl Json {
    pub(super) fn new(format: Format<JsonFormat>, service: &str) -> Self {
        let name: String = service.chars().filter(|letter| !letter.is_control() && !"\"\\".contains(*letter)).collect();
        // The list of spans holds the current one.
        Self { format: format.flatten_event(true).with_current_span(false), service: format!("\"service\":\"{name}\"") }
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let Some(fields) = line.strip_prefix('{') else { return writer.write_str(&line) };
        write!(writer, "{{{}", self.service)?;
        if let Some(span) = current() {
            write!(writer, ",\"trace_id\":\"{}\",\"span_id\":\"{}\"", span.trace_id(), span.span_id())?;
        }
        write!(writer, ",{fields}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_says_who_wrote_it() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let layer = layer.json().map_event_format(|format| Json::new(format, "colloquy-\"transcript\""));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _span = tracing::info_span!("grpc", rpc.method = "m").entered();
            tracing::info!(number = 7, "words");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with(r#"{"service":"colloquy-transcript","timestamp":"#), "{text}");
        assert!(text.contains(r#""message":"words","number":7"#), "{text}");
        assert!(text.contains(r#""spans":[{"rpc.method":"m","name":"grpc"}]"#), "{text}");
        assert!(text.ends_with("}\n"), "{text}");
    }
}
