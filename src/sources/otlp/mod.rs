//! OTLP: spans of LLM calls as instrumentation libraries, frameworks and gateways send them, over gRPC, HTTP or from
//! the files of a Collector's file exporter.
//!
//! Promises: a span of a call is one observation whatever convention it follows; spans of agents, workflows, tools and
//! gateways' service work are never calls but stay as context, so that two layers of one call can be told to be one;
//! metrics and log records are never added to calls; of prompts and completions nothing is read.
//!
//! Correlation is not done here: spans arrive in any order, in many requests.

mod attributes;
mod attribution;
mod config;
mod dialects;
mod json;
mod metrics;
mod normalize;
mod outcome;
mod place;
mod pyrepr;
mod record;
#[cfg(test)]
mod tests;
mod usage;
mod usage_object;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

pub use config::OtlpConfig;
pub use json::{JsonError, decode_logs, decode_metrics, decode_traces};

use crate::model::{Normalized, RecordRef};
use crate::sources::LogFormat;

/// The OTLP normalizer: requests in, rows out, one row per span or data point at least.
#[derive(Clone, Debug, Default)]
pub struct OtlpSpans {
    config: OtlpConfig,
}

impl OtlpSpans {
    /// A normalizer with the operator's default attributes.
    #[must_use]
    pub const fn new(config: OtlpConfig) -> Self {
        Self { config }
    }

    /// Pushes one row per span, in the request's order; an empty request gives none. A span that can't be true is
    /// rejected alone, the others of the request stay.
    pub fn traces(&self, request: &ExportTraceServiceRequest, at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        normalize::traces(&self.config, request, at, out);
    }

    /// Pushes one row per data point of the `gen_ai.*` metrics and a skip for every other metric.
    pub fn metrics(&self, request: &ExportMetricsServiceRequest, at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        metrics::metrics(&self.config, request, at, out);
    }

    /// Pushes a skip per log record: they repeat what spans say, and hold content.
    pub fn logs(&self, request: &ExportLogsServiceRequest, _at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        let records = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        out.extend(records.flat_map(|scope| &scope.log_records).map(|_| Normalized::Skipped("log_record")));
    }
}

impl LogFormat for OtlpSpans {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn wants(&self, key: &str) -> bool {
        json::wants(key)
    }

    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        json::normalize(self, record, at, out);
    }
}
