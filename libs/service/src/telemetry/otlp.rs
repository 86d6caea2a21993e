//! What is exported, where to, and as whom: by OpenTelemetry's standard variables.

use anyhow::Context;
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::Registry;

const SERVICE_NAME: &str = "service.name";
const SERVICE_VERSION: &str = "service.version";
/// What the SDK calls a service that nobody named.
const UNNAMED: &str = "unknown_service";

/// Returns who exports. What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say goes before what we say.
pub(super) fn resource(service: &str, version: &'static str) -> Resource {
    let said = Resource::builder().build();
    let named = said.get(&Key::from_static_str(SERVICE_NAME)).is_some_and(|name| !name.as_str().starts_with(UNNAMED));
    let versioned = said.get(&Key::from_static_str(SERVICE_VERSION)).is_some();
    let mut builder = Resource::builder();
    if !named {
        builder = builder.with_service_name(service.to_owned());
    }
    if !versioned {
        builder = builder.with_attribute(KeyValue::new(SERVICE_VERSION, version));
    }
    builder.build()
}

/// Returns what the process calls itself.
pub(super) fn service_name(resource: &Resource) -> String {
    resource.get(&Key::from_static_str(SERVICE_NAME)).map(|name| name.as_str().into_owned()).unwrap_or_default()
}

/// Returns the metrics, kept for Prometheus and sent over OTLP when the variables say where to.
pub(super) fn metrics(registry: &Registry, resource: Resource) -> anyhow::Result<SdkMeterProvider> {
    let prometheus = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().context("metrics")?;
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(prometheus);
    if !is_wanted("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") {
        return Ok(provider.build());
    }
    let exporter = opentelemetry_otlp::MetricExporter::builder().with_tonic().build();
    Ok(provider.with_periodic_exporter(exporter.context("OTLP exporter of metrics (OTEL_*)")?).build())
}

/// Returns the traces; `None` when nobody wants them.
pub(super) fn traces(resource: Resource) -> anyhow::Result<Option<SdkTracerProvider>> {
    if !is_wanted("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build();
    let exporter = exporter.context("OTLP exporter of traces (OTEL_*)")?;
    // The sampler is the standard variables' (OTEL_TRACES_SAMPLER), read by the SDK.
    Ok(Some(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build()))
}

/// Whether the variables ask for export; `which` may be `none`, and `endpoint` is the one of this signal alone.
fn is_wanted(which: &str, endpoint: &str) -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set.eq_ignore_ascii_case(value));
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is("OTEL_SDK_DISABLED", "true") && !is(which, "none") && (is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set(endpoint))
}
