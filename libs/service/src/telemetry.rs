//! Logs, traces and metrics, set up once in `main`.
//!
//! Logs go to standard error, filtered by `RUST_LOG`. Metrics are kept for Prometheus to fetch. Traces and metrics are also sent
//! over OTLP when the standard variables say where to (`OTEL_EXPORTER_OTLP_ENDPOINT`, or one for traces or metrics alone);
//! sampling, headers, intervals and resource attributes have their standard variables too. When traces are not sent, no span is
//! made for them, and nothing is spent on them.

mod context;
mod lines;
mod otlp;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::Registry;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use context::{continue_trace, inject_context, inject_span, parse_traceparent, traceparent, tracing_on};

/// What is logged when `RUST_LOG` does not say.
const DEFAULT_FILTER: &str = "info,sqlx=warn,h2=warn,hyper=warn,tower=warn,opentelemetry=warn,async_nats=off,object_store=warn";

/// The target of spans that are made for traces alone, and stand in no log line.
pub const TRACE_TARGET: &str = "colloquy_trace";

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
    metrics: SdkMeterProvider,
    registry: Registry,
}

/// Sets up logs, traces and metrics for the process, which calls itself `service` (`colloquy-transcript`) unless the standard
/// variables call it something else. Call it inside the runtime, once.
///
/// # Errors
/// When the exporter's settings cannot be used.
pub fn init(format: LogFormat, service: &str, version: &'static str) -> anyhow::Result<Telemetry> {
    let resource = otlp::resource(service, version);
    let name = otlp::service_name(&resource);
    let registry = Registry::new();
    let metrics = otlp::metrics(&registry, resource.clone())?;
    opentelemetry::global::set_meter_provider(metrics.clone());
    let traces = otlp::traces(resource)?;
    if let Some(provider) = &traces {
        opentelemetry::global::set_tracer_provider(provider.clone());
        context::turn_on();
    }
    let spans = traces.as_ref().map(|provider| {
        // Without a filter of its own the exporter would also get every span of h2 and hyper.
        let only_ours = tracing_subscriber::filter::Targets::new().with_target("colloquy", tracing::Level::INFO);
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("colloquy"));
        layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false).with_filter(only_ours)
    });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // A line says which request it belongs to; each step of the way would only make it long.
    let filter = filter.and(tracing_subscriber::filter::filter_fn(|metadata| metadata.target() != TRACE_TARGET));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.fmt_fields(lines::ShortFields).map_event_format(lines::Text::new).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().map_event_format(|json| lines::Json::new(json, &name)).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(spans).with(lines).try_init().context("logging")?;
    Ok(Telemetry { traces, metrics, registry })
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
        if let Err(error) = self.metrics.shutdown() {
            tracing::warn!("metrics could not be flushed: {error}");
        }
    }
}

/// Returns the metrics as Prometheus text.
pub fn render(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default()
}
