//! An OTLP collector that keeps what it is sent.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
struct Received {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// A running collector. Ends when dropped.
pub(crate) struct Collector {
    received: Received,
    url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Collector {
    /// Starts one on a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Received::default();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(MetricsServiceServer::new(received.clone()));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let serving = tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        Self { received, url, serving }
    }

    /// Returns the variables that make a process export here, and soon.
    pub(crate) fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
        ]
    }

    /// Returns every span so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let traces = self.received.traces.lock().unwrap();
        let of_resource = traces.iter().flat_map(|request| &request.resource_spans);
        of_resource.flat_map(|spans| &spans.scope_spans).flat_map(|spans| spans.spans.clone()).collect()
    }

    /// Returns the name of the service whose process exported a span.
    pub(crate) fn service_of(&self, span: &Span) -> String {
        let traces = self.received.traces.lock().unwrap();
        let mut of_resource = traces.iter().flat_map(|request| &request.resource_spans);
        let exported = of_resource.find(|spans| {
            let mut inside = spans.scope_spans.iter().flat_map(|spans| &spans.spans);
            inside.any(|other| other.span_id == span.span_id && other.trace_id == span.trace_id)
        });
        attribute(exported.unwrap().resource.as_ref().unwrap(), "service.name").unwrap()
    }

    /// Returns the value of an attribute of whoever exports spans.
    pub(crate) fn resource(&self, key: &str) -> Option<String> {
        let traces = self.received.traces.lock().unwrap();
        let mut resources = traces.iter().flat_map(|request| &request.resource_spans).filter_map(|spans| spans.resource.as_ref());
        resources.find_map(|resource| attribute(resource, key))
    }

    /// Returns the names of the metrics so far.
    pub(crate) fn metric_names(&self) -> Vec<String> {
        let metrics = self.received.metrics.lock().unwrap();
        let of_resource = metrics.iter().flat_map(|request| &request.resource_metrics);
        let metrics = of_resource.flat_map(|metrics| &metrics.scope_metrics).flat_map(|metrics| &metrics.metrics);
        metrics.map(|metric| metric.name.clone()).collect()
    }

    /// Returns all that came, as text to be searched.
    pub(crate) fn everything(&self) -> String {
        format!("{:?}\n{:?}", self.received.traces.lock().unwrap(), self.received.metrics.lock().unwrap())
    }

    /// Waits until the spans that came hold what `holds` looks for.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let started = Instant::now();
        loop {
            let spans = self.spans();
            if holds(&spans) {
                return spans;
            }
            if started.elapsed() > PATIENCE {
                let came: BTreeSet<_> = spans
                    .iter()
                    .map(|span| format!("{:02x?} {}: {}", &span.trace_id[..4], self.service_of(span), span.name))
                    .collect();
                panic!("not within {PATIENCE:?}: {what}; what came, by trace: {came:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn attribute(resource: &Resource, key: &str) -> Option<String> {
    let attribute = resource.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{key} is {other:?}"),
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
