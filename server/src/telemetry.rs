//! Export of metrics and traces by OTLP over HTTP, configured by the standard `OTEL_...` variables.
//!
//! For the binary, and for hosts without telemetry of their own. Other hosts set the global meter
//! provider and their own `tracing` layer instead.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::http;
use crate::observe::TARGET;

/// Timeout of an export, unless `OTEL_EXPORTER_OTLP_TIMEOUT` is set.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum size of a collector's response.
const LONGEST: usize = 1 << 20;

/// A running export.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Our own HTTP client on the caller's runtime, because exporters run on threads without one.
#[derive(Debug, Clone)]
struct Client {
    runtime: Handle,
    patience: Duration,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let patience = self.patience;
        let asked = self.runtime.spawn(async move {
            let answer = tokio::time::timeout(patience, http::ask(request, LONGEST)).await;
            answer.unwrap_or_else(|_| Err(String::from("no answer in time")))
        });
        Ok(asked.await??)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a signal is exported.
fn is_wanted(variable_name: &str) -> Result<bool, String> {
    match variable(variable_name).as_deref() {
        None | Some("otlp") => Ok(true),
        Some("none") => Ok(false),
        Some(other) => Err(format!("{variable_name} is {other}: otlp and none are known here")),
    }
}

fn check_protocol(signal: &str) -> Result<(), String> {
    let names = [
        format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"),
        String::from("OTEL_EXPORTER_OTLP_PROTOCOL"),
    ];
    match names.iter().find_map(|name| Some((name, variable(name)?))) {
        Some((name, other)) if other != "http/protobuf" => {
            Err(format!("{name} is {other}: http/protobuf is spoken here"))
        }
        _ => Ok(()),
    }
}

fn resource() -> Resource {
    let is_named = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if is_named { resource.build() } else { resource.with_service_name("rejoin-server").build() }
}

impl Telemetry {
    /// Starts the export on this runtime; call it before a server is opened. Returns a message if a
    /// variable is invalid.
    pub fn start(runtime: &Handle) -> Result<Self, String> {
        let mut started = Self { traces: None, metrics: None };
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(started);
        }
        let patience = variable("OTEL_EXPORTER_OTLP_TIMEOUT").and_then(|text| text.parse().ok());
        let client = Client {
            runtime: runtime.clone(),
            patience: patience.map_or(PATIENCE, Duration::from_millis),
        };
        if is_wanted("OTEL_TRACES_EXPORTER")? {
            check_protocol("TRACES")?;
            let exporter = SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_http_client(client.clone())
                .build()
                .map_err(|error| error.to_string())?;
            let provider = SdkTracerProvider::builder()
                .with_resource(resource())
                .with_batch_exporter(exporter)
                .build();
            started.traces = Some(provider);
        }
        if is_wanted("OTEL_METRICS_EXPORTER")? {
            check_protocol("METRICS")?;
            let exporter = MetricExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_http_client(client)
                .build()
                .map_err(|error| error.to_string())?;
            let provider = SdkMeterProvider::builder()
                .with_resource(resource())
                .with_periodic_exporter(exporter)
                .build();
            global::set_meter_provider(provider.clone());
            started.metrics = Some(provider);
        }
        Ok(started)
    }

    /// The layer that traces this library's spans only: log events may contain private data.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.traces.as_ref()?.tracer("rejoin-server");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        let ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET);
        Some(layer.with_filter(ours))
    }

    /// Exports the remaining data. Blocks; must not be called within the runtime.
    pub fn stop(self) {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "the last telemetry is not handed out");
        };
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown()) {
            failed(&error);
        }
        if let Some(Err(error)) = self.metrics.map(|metrics| metrics.shutdown()) {
            failed(&error);
        }
    }
}
