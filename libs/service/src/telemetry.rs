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
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, dynamic_filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use context::{continue_trace, inject_context, inject_span, parse_traceparent, traceparent, tracing_on};

/// What is logged when `RUST_LOG` does not say.
const DEFAULT_FILTER: &str = "info,sqlx=warn,h2=warn,hyper=warn,tower=warn,opentelemetry=warn,async_nats=off,object_store=warn";

/// What is never logged, whatever `RUST_LOG` says: in detail, it shows what is sent, and so what people said.
const SILENT: [&str; 4] = ["async_nats", "lettre", "tokio_tungstenite", "tungstenite"];
/// What is logged as warnings at most: at other levels, addresses of recordings are shown.
const QUIET: &str = "object_store";

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
    tracing_subscriber::registry().with(spans).with(lines(format, &name)).try_init().context("logging")?;
    Ok(Telemetry { traces, metrics, registry })
}

/// Sets up logs alone, for a command that is soon over.
///
/// # Errors
/// When logs have been set up before.
pub fn init_logs(format: LogFormat, service: &str) -> anyhow::Result<()> {
    tracing_subscriber::registry().with(lines(format, service)).try_init().context("logging")
}

fn lines<S>(format: LogFormat, name: &str) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // Dynamic, so that it is asked of every span and line. Otherwise what is always of interest is not asked about, and a library that
    // asks whether it may log and then does not (sqlx, of every connection) leaves an answer behind which the next span gets: it is
    // lost, and with it its place in the trace.
    let filter = filter.and(dynamic_filter_fn(|metadata, _: &Context<'_, S>| may_be_logged(metadata)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.fmt_fields(lines::ShortFields).map_event_format(lines::Text::new).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().map_event_format(|json| lines::Json::new(json, name)).with_filter(filter).boxed(),
    }
}

/// Returns whether a line may be written at all. `RUST_LOG` replaces the default filter, and its most specific part wins, so this
/// stands beside it.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_of = |library: &str| target.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    // A line says which request it belongs to; each step of the way would only make it long.
    target != TRACE_TARGET && !SILENT.into_iter().any(is_of) && (!is_of(QUIET) || *metadata.level() <= Level::WARN)
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::filter::filter_fn;

    use super::*;

    /// Notes the targets and levels of what passes the filter before it.
    #[derive(Clone, Default)]
    struct Passed(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Passed {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.lock().unwrap().push(format!("{} {}", event.metadata().target(), event.metadata().level()));
        }
    }

    #[test]
    fn nobody_can_turn_on_lines_that_show_what_is_sent() {
        let passed = Passed::default();
        let filter = EnvFilter::new("trace,async_nats::connection=trace,object_store=trace").and(filter_fn(may_be_logged));
        let subscriber = tracing_subscriber::registry().with(passed.clone().with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "async_nats::connection", "a body");
            tracing::error!(target: "async_nats", "a body");
            tracing::info!(target: "object_store::client::retry", "an address");
            tracing::warn!(target: "object_store::client::retry", "a warning");
            tracing::trace!(target: "tungstenite::protocol", "a message");
            tracing::debug!(target: "async_nats_of_ours", "a line");
            tracing::trace!(target: "colloquy", "a line");
        });
        let expected = ["object_store::client::retry WARN", "async_nats_of_ours DEBUG", "colloquy TRACE"];
        assert_eq!(*passed.0.lock().unwrap(), expected);
    }
}
