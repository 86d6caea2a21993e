//! Logs, traces and metrics, set up once in `main`.
//!
//! Logs go to standard error, filtered by `RUST_LOG`. Traces are exported over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//! Metrics are kept for Prometheus to fetch.

use anyhow::Context as _;
use http::HeaderMap;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::Registry;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What must be flushed at the end, and what Prometheus fetches.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    _metrics: SdkMeterProvider,
    registry: Registry,
}

/// Sets up logs, traces and metrics for the process. Call it inside the runtime, once.
///
/// # Errors
/// When the exporter's settings cannot be used.
pub fn init(format: LogFormat) -> anyhow::Result<Telemetry> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().context("metrics")?;
    let metrics = SdkMeterProvider::builder().with_reader(exporter).build();
    opentelemetry::global::set_meter_provider(metrics.clone());

    let traces = if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build().context("OTLP exporter (OTEL_*)")?;
        Some(SdkTracerProvider::builder().with_batch_exporter(exporter).build())
    } else {
        None
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,h2=warn,hyper=warn,tower=warn,opentelemetry=warn"));
    let spans = traces.as_ref().map(|provider| {
        // Without a filter of its own the exporter would also get every span of h2 and hyper.
        let only_ours = tracing_subscriber::filter::Targets::new().with_target("colloquy", tracing::Level::INFO);
        tracing_opentelemetry::layer().with_tracer(provider.tracer("colloquy")).with_filter(only_ours)
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(spans).with(lines).try_init().context("logging")?;
    Ok(Telemetry { traces, _metrics: metrics, registry })
}

impl Telemetry {
    /// Returns what Prometheus fetches.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Sends what is still held. Blocks: call it off the runtime's workers.
    pub fn shutdown(&self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!("traces could not be flushed: {error}");
        }
    }
}

/// Returns the metrics as Prometheus text.
pub fn render(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default()
}

struct Reading<'a>(&'a HeaderMap);

impl Extractor for Reading<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct Writing<'a>(&'a mut HeaderMap);

impl Injector for Writing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<http::HeaderName>(), value.parse()) {
            self.0.insert(name, value);
        }
    }
}

/// Makes `span` a child of the trace `headers` carry, when they carry one.
pub fn continue_trace(span: &tracing::Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Reading(headers));
        // Fails when the span is filtered out or nothing exports: there is then no trace to continue.
        let _ = span.set_parent(parent);
    }
}

/// Writes the current span's trace context into `headers`.
pub fn inject_context(headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&tracing::Span::current().context(), &mut Writing(headers));
}

/// Returns the current span's `traceparent`; empty when there is none.
pub fn traceparent() -> String {
    let mut headers = HeaderMap::new();
    inject_context(&mut headers);
    headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
