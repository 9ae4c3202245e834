//! Logs to standard error, traces to an OTLP endpoint if one is set.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Keeps the exporter alive; [`Telemetry::shutdown`] flushes it.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends what is still buffered.
    pub fn shutdown(self) {
        if let Some(provider) = self.traces {
            // Nothing is left to tell it to: the process is about to end.
            let _ = provider.shutdown();
        }
    }
}

/// Sets up logging (filter from `POLYMETER_LOG`, default `default_filter`) and, if `traces_endpoint` is set, export of
/// polymeter's own spans over OTLP gRPC to it. The caller makes sure that the endpoint is not polymeter itself.
pub fn init(default_filter: &str, format: LogFormat, traces_endpoint: Option<&str>) -> Telemetry {
    let filter = EnvFilter::try_from_env("POLYMETER_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let logs = match format {
        LogFormat::Text => fmt.boxed(),
        LogFormat::Json => fmt.json().boxed(),
    };
    let traces = traces_endpoint.and_then(|endpoint| {
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().ok()?;
        let resource = Resource::builder().with_service_name("polymeter").build();
        Some(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
    });
    let layer = traces.as_ref().map(|provider| {
        // The exporter's own transport must not be traced, or it would feed itself.
        let own = EnvFilter::new("info,h2=off,hyper=off,tonic=off,tower=off,opentelemetry=off");
        tracing_opentelemetry::layer().with_tracer(provider.tracer("polymeter")).with_filter(own)
    });
    // A second call (tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(logs.with_filter(filter)).with(layer).try_init();
    Telemetry { traces }
}
